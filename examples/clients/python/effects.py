"""Carries out the refunds that orders of a whole mesh ask for:  python effects.py [ADDRESS,...] [COUNT]   (needs pyzmq, msgpack)"""

import sys
import time
import msgpack
import zmq

addresses = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7400"
count = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
context = zmq.Context()
client, changes = context.socket(zmq.DEALER), context.socket(zmq.SUB)
for socket in (client, changes):
    socket.linger, socket.rcvtimeo = 0, 2000  # milliseconds
client.immediate = True  # nothing waits for a daemon that is not there
for address in addresses.split(","):
    client.connect(address)
changes.subscribe("order/")
watched, look_again = set(), 0.0
while count > 0:
    if time.monotonic() >= look_again:  # each daemon publishes what it owns, and others may have joined
        look_again = time.monotonic() + 2
        client.send_json({"op": "members"})
        for at in {member["changes"] for member in client.recv_json()["members"] if member["status"] == "alive"} - watched:
            changes.connect(f"tcp://{at}")
            watched.add(at)
            print(f"watching {at}", file=sys.stderr, flush=True)
    try:
        topic, body = changes.recv_multipart()
    except zmq.Again:  # no change came
        continue
    for effect in msgpack.unpackb(body).get("effects", []):
        if effect["type"] == "requestRefund":
            key = topic.decode().removeprefix("order/")
            token = f"refund {key} {effect['params']['attempt']}"  # a retry with this token is harmless
            event = {"type": "REFUNDED"}  # once the payment provider has paid it back
            client.send_json({"op": "send", "machine": "order", "key": key, "event": event, "dedup": token})
            print(key, client.recv_string(), flush=True)
            count -= 1
