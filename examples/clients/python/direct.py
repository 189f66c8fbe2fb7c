"""Talks to the daemon that owns an order, without a hop:  python direct.py [ADDRESS,...] [KEY]   (needs pyzmq)"""

import sys
import zmq

MASK = 2**64 - 1


def partition_of(name, partitions):  # FNV-1a, then MurmurHash3's finaliser
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    h = ((h ^ h >> 33) * 0xFF51AFD7ED558CCD) & MASK
    h = ((h ^ h >> 33) * 0xC4CEB9FE1A85EC53) & MASK
    return (h ^ h >> 33) % partitions


def connect(addresses):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger, socket.rcvtimeo, socket.immediate = 0, 5000, True  # milliseconds; nothing waits for a daemon that is not there
    for address in addresses.split(","):
        socket.connect(address)
    return socket


addresses = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:7400"
key = sys.argv[2] if len(sys.argv) > 2 else "direct"
any_daemon = connect(addresses)
any_daemon.send_json({"op": "placement", "id": 1})
placement = any_daemon.recv_json()
partition = partition_of(f"order/{key}", placement["partitions"])
index = placement["map"][partition]
owner, clients = placement["owners"][index], placement["clients"][index]
print(f"order/{key} is in partition {partition}, which {owner} owns")
direct = connect(f"tcp://{clients}")
direct.send_json({"op": "send", "id": 3, "machine": "order", "key": key, "event": {"type": "PAY", "amount": 3}})
print(direct.recv_string())
