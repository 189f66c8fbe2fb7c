"""Prints the changes of every order, from every daemon:  python watch.py [ADDRESS,...] [COUNT]   (needs pyzmq, msgpack)"""

import sys
import msgpack
import zmq

addresses = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7400"
count = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize

context = zmq.Context()
client = context.socket(zmq.DEALER)
client.linger, client.rcvtimeo = 0, 5000  # milliseconds
client.immediate = True  # nothing waits for a daemon that is not there
for address in addresses.split(","):
    client.connect(address)
client.send_json({"op": "members", "id": 1})
members = [member for member in client.recv_json()["members"] if member["status"] == "alive"]

changes = context.socket(zmq.SUB)
changes.subscribe("order/")  # a prefix: "order/42" would watch one order
for member in members:
    changes.connect(f"tcp://{member['changes']}")
print(f"watching {len(members)} daemons", file=sys.stderr, flush=True)
for _ in range(count):
    topic, change = changes.recv_multipart()
    print(topic.decode(), msgpack.unpackb(change), flush=True)
