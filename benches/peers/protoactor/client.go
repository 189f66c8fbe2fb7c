package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/cluster"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	idAt     = 5
	keyAt    = 35
	keyBytes = 12
)

// round is one line of stdin: load by as many goroutines as there are requests in flight.
type round struct {
	requests               []byte
	requestBytes, inFlight int
	warmUp, measured       time.Duration
	turn                   atomic.Uint64
	errors, answered       atomic.Uint64
}

func client(port int, id string) error {
	c := newCluster(0, members{member(id, port)})
	c.StartClient()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		r, err := read(lines.Text())
		if err != nil {
			return err
		}
		if err := r.run(c); err != nil {
			return err
		}
	}
	return lines.Err()
}

func read(line string) (*round, error) {
	var path string
	var warmUp, measured int
	r := &round{}
	if _, err := fmt.Sscan(line, &path, &r.requestBytes, &r.inFlight, &warmUp, &measured); err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	r.warmUp, r.measured = time.Duration(warmUp)*time.Millisecond, time.Duration(measured)*time.Millisecond
	var err error
	r.requests, err = os.ReadFile(path)
	if err == nil && (r.requestBytes < keyAt+keyBytes || len(r.requests) < r.requestBytes) {
		err = fmt.Errorf("%s: no request in it", path)
	}
	return r, err
}

func (r *round) run(c *cluster.Cluster) error {
	cpu := cpuNanos()
	begin := time.Now().Add(r.warmUp)
	latencies := make([][]uint64, r.inFlight)
	var workers sync.WaitGroup
	for slot := range latencies {
		workers.Add(1)
		go func() {
			defer workers.Done()
			latencies[slot] = r.work(c, uint32(slot), begin)
		}()
	}
	workers.Wait()
	var count uint64
	for _, some := range latencies {
		count += uint64(len(some))
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	head := []uint64{r.errors.Load(), cpuNanos() - cpu, r.answered.Load(), count}
	for _, numbers := range append([][]uint64{head}, latencies...) {
		if err := binary.Write(out, binary.NativeEndian, numbers); err != nil {
			return err
		}
	}
	return out.Flush()
}

// work keeps one request in flight until the round ends.
func (r *round) work(c *cluster.Cluster, slot uint32, begin time.Time) (latencies []uint64) {
	end := begin.Add(r.measured)
	count := uint64(len(r.requests) / r.requestBytes)
	for {
		from := int((r.turn.Add(1)-1)%count) * r.requestBytes
		request := append([]byte(nil), r.requests[from:from+r.requestBytes]...)
		binary.BigEndian.PutUint32(request[idAt:], slot)
		since := time.Now()
		if !since.Before(end) {
			return latencies
		}
		reply, err := c.Request(string(request[keyAt:keyAt+keyBytes]), kind, wrapperspb.Bytes(request))
		answer, ok := reply.(*wrapperspb.BytesValue)
		if err != nil || !ok || len(answer.Value) < idAt+4 || binary.BigEndian.Uint32(answer.Value[idAt:]) != slot {
			r.errors.Add(1)
			continue
		}
		r.answered.Add(1)
		if !since.Before(begin) {
			latencies = append(latencies, uint64(time.Since(since)))
		}
	}
}

func cpuNanos() uint64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return uint64(usage.Utime.Nano() + usage.Stime.Nano())
}
