"""Pays an order over CURVE, by the first daemon that can be reached:

    python curve.py tcp://HOST:PORT,tcp://HOST:PORT SERVER_KEY PUBLIC_KEY SECRET_KEY [KEY]   (needs pyzmq)
"""

import sys
import zmq

addresses, server_key, public_key, secret_key = sys.argv[1:5]
key = sys.argv[5] if len(sys.argv) > 5 else "curve-python"

socket = zmq.Context().socket(zmq.DEALER)
socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, 5000, 5000  # milliseconds
socket.immediate = True  # nothing waits for a daemon that is not there
socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = (
    text.encode() for text in (server_key, public_key, secret_key)
)
for address in addresses.split(","):
    socket.connect(address)
socket.send_json({"op": "send", "id": 1, "machine": "order", "key": key, "event": {"type": "PAY", "amount": 3}})
print(socket.recv_string())
