// Pays an order over CURVE, by the first daemon that can be reached (needs github.com/pebbe/zmq4, which needs libzmq):
//
//	go run . tcp://HOST:PORT,tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]
package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	zmq "github.com/pebbe/zmq4"
)

func main() {
	key := append(os.Args, "curve-go")[5] // the fifth argument, if there is one
	socket, err := zmq.NewSocket(zmq.DEALER)
	check(err)
	check(socket.SetRcvtimeo(5 * time.Second))
	check(socket.SetSndtimeo(5 * time.Second))
	check(socket.SetLinger(0))
	check(socket.SetImmediate(true)) // nothing waits for a daemon that is not there
	check(socket.ClientAuthCurve(os.Args[2], os.Args[3], os.Args[4]))
	for _, address := range strings.Split(os.Args[1], ",") {
		check(socket.Connect(address))
	}
	_, err = socket.Send(fmt.Sprintf(`{"op":"send","id":1,"machine":"order","key":%q,"event":{"type":"PAY","amount":3}}`, key), 0)
	check(err)
	reply, err := socket.Recv(0)
	check(err)
	fmt.Println(reply)
}
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
