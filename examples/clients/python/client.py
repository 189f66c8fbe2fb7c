"""Sends events to an order and prints the replies:  python client.py [ADDRESS,...] [KEY]   (needs pyzmq)"""

import sys
import zmq

addresses = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7400"
key = sys.argv[2] if len(sys.argv) > 2 else "python"

socket = zmq.Context().socket(zmq.DEALER)
socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, 5000, 5000  # milliseconds
socket.immediate = True  # nothing waits for a daemon that is not there
for address in addresses.split(","):
    socket.connect(address)

requests = [
    {"op": "send", "event": {"type": "ADD", "price": 1500, "quantity": 2}},
    {"op": "send", "event": {"type": "PAY", "amount": 1000}},
    {"op": "send", "event": {"type": "PAY", "amount": 2000}},
    {"op": "get"},
]
for number, request in enumerate(requests, start=1):
    # One after the other: of several daemons each gets the next request, and only an answer says that one was done.
    socket.send_json({"id": number, "machine": "order", "key": key, **request})
    print(socket.recv_string())  # in JSON, as asked; `id` says which request it answers
