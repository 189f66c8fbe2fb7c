// Proto.Actor's cluster: a member that has an actor for each key, and in a process of its own a cluster client that asks them.
//
//	protoactor serve           prints its port and its member's id; ends with its stdin
//	protoactor client PORT ID  runs a round for each line of stdin; ends with it. A line is
//	                           REQUESTS_FILE REQUEST_BYTES IN_FLIGHT WARM_UP_MS MEASURED_MS
//
// A round's result is what load.h says. Members are told about each other, as there is nothing to discover.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/cluster"
	"github.com/asynkron/protoactor-go/cluster/identitylookup/disthash"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	kind = "lamp"
	host = "127.0.0.1"
)

// lamp is the actor of a key.
type lamp struct {
	switched uint32
}

// Receive switches the lamp, and answers how it is now, as a daemon would.
func (l *lamp) Receive(context actor.Context) {
	message, ok := context.Message().(*wrapperspb.BytesValue)
	if !ok || len(message.Value) < idAt+4 {
		return
	}
	l.switched++
	reply := append(make([]byte, 0, 64), 0x84, 0xa2, 'i', 'd', 0xce)
	reply = append(reply, message.Value[idAt:idAt+4]...)
	state := "\xa4high"
	if l.switched%2 == 0 {
		state = "\xa3low"
	}
	reply = append(reply, "\xa2ok\xc3\xa5value\x81\xa2on"+state+"\xa3seq\xce"...)
	reply = append(reply, byte(l.switched>>24), byte(l.switched>>16), byte(l.switched>>8), byte(l.switched))
	context.Respond(wrapperspb.Bytes(reply))
}

// members is a cluster provider for members that are known.
type members []*cluster.Member

func (m members) StartMember(c *cluster.Cluster) error {
	_, port, err := c.ActorSystem.GetHostPort()
	if err != nil {
		return err
	}
	c.MemberList.UpdateClusterTopology([]*cluster.Member{member(c.ActorSystem.ID, port)})
	return nil
}

func (m members) StartClient(c *cluster.Cluster) error {
	c.MemberList.UpdateClusterTopology(cluster.Members(m))
	return nil
}

func (m members) Shutdown(bool) error { return nil }

func member(id string, port int) *cluster.Member {
	return &cluster.Member{Id: id, Host: host, Port: int32(port), Kinds: []string{kind}}
}

func newCluster(port int, known members, kinds ...cluster.ConfigOption) *cluster.Cluster {
	quiet := func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	system := actor.NewActorSystem(actor.WithLoggerFactory(quiet))
	return cluster.New(system, cluster.Configure("bench", known, disthash.New(), remote.Configure(host, port), kinds...))
}

func serve() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	lamps := cluster.NewKind(kind, actor.PropsFromProducer(func() actor.Actor { return &lamp{} }))
	c := newCluster(port, nil, cluster.WithKinds(lamps))
	c.StartMember()
	fmt.Println(port, c.ActorSystem.ID)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", host+":0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 4 && os.Args[1] == "client":
		var port int
		if port, err = strconv.Atoi(os.Args[2]); err == nil {
			err = client(port, os.Args[3])
		}
	default:
		err = fmt.Errorf("usage: protoactor serve | protoactor client PORT ID")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "protoactor:", err)
		os.Exit(1)
	}
}
