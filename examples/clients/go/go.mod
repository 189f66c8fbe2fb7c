module client

go 1.19

require github.com/go-zeromq/zmq4 v0.15.0

require (
	github.com/go-zeromq/goczmq/v4 v4.2.2 // indirect
	golang.org/x/sync v0.0.0-20220601150217-0de741cfad7f // indirect
	golang.org/x/text v0.3.7 // indirect
)
