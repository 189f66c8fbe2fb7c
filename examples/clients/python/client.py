"""Sends events to an order and prints the replies:  python client.py [ADDRESS] [KEY]   (needs pyzmq)"""

import sys
import zmq

address = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7400"
key = sys.argv[2] if len(sys.argv) > 2 else "python"

socket = zmq.Context().socket(zmq.DEALER)
socket.linger, socket.rcvtimeo = 0, 5000  # milliseconds
socket.connect(address)

events = [
    {"type": "ADD", "price": 1500, "quantity": 2},
    {"type": "PAY", "amount": 1000},
    {"type": "PAY", "amount": 2000},
]
for number, event in enumerate(events, start=1):
    socket.send_json({"op": "send", "id": number, "machine": "order", "key": key, "event": event})
socket.send_json({"op": "get", "id": 4, "machine": "order", "key": key})
for _ in range(4):
    print(socket.recv_string())  # in JSON, as asked; `id` says which request it answers
