// Sends events to an order and prints the replies:  go run . [ADDRESS,... KEY]   (needs github.com/go-zeromq/zmq4)
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/go-zeromq/zmq4"
)

func main() {
	given := append(os.Args, "tcp://127.0.0.1:7400", "go")[1:3]
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	socket, err := zmq4.NewDealer(ctx, zmq4.WithDialerMaxRetries(0)), context.Canceled
	for at := strings.Split(given[0], ","); err != nil && len(at) > 0; at = at[1:] {
		err = socket.Dial(at[0]) // the first daemon that can be reached
	}
	check(err)
	for i, request := range []string{
		`"op":"send","event":{"type":"ADD","price":1500,"quantity":2}`,
		`"op":"send","event":{"type":"PAY","amount":1000}`, `"op":"send","event":{"type":"PAY","amount":2000}`, `"op":"get"`,
	} {
		check(socket.Send(zmq4.NewMsgString(fmt.Sprintf(`{"id":%d,"machine":"order","key":%q,%s}`, i+1, given[1], request))))
		reply, err := socket.Recv() // in JSON, as asked; `id` says which request it answers
		check(err)
		fmt.Println(string(reply.Bytes()))
	}
}
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
