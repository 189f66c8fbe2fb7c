module curve

go 1.19

require github.com/pebbe/zmq4 v1.2.11
