// Sends events to an order and prints the replies:  go run . [ADDRESS KEY]   (needs github.com/go-zeromq/zmq4)
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/go-zeromq/zmq4"
)

func main() {
	address, key := "tcp://127.0.0.1:7400", "go"
	if len(os.Args) > 2 {
		address, key = os.Args[1], os.Args[2]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	socket := zmq4.NewDealer(ctx)
	check(socket.Dial(address))
	for i, request := range []string{
		`"op":"send","event":{"type":"ADD","price":1500,"quantity":2}`,
		`"op":"send","event":{"type":"PAY","amount":1000}`, `"op":"send","event":{"type":"PAY","amount":2000}`, `"op":"get"`,
	} {
		check(socket.Send(zmq4.NewMsgString(fmt.Sprintf(`{"id":%d,"machine":"order","key":%q,%s}`, i+1, key, request))))
	}
	for replies := 0; replies < 4; replies++ {
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
