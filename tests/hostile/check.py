"""Attackers against a daemon that serves a well-behaved client all the while; and keys, right, wrong, revoked and replayed.

    python tests/hostile/check.py PATH/TO/statemesh [BUILD_FOLDER]

Needs pyzmq, cc with libzmq, node with the modules of examples/clients/javascript. Prints one line for each check and then
'N passed, M failed'.

A client's p99 during an attack is compared with its p99 while the same attackers attack another daemon: what that costs the
machine and its kernel is on both sides, what it costs the attacked daemon on one. Where each attack is a connection of its own,
it is compared with as many connections to the same daemon that do nothing wrong: what a connection costs is a check of its
own. An attacker has a machine of its own, here it shares ours: so attackers and that other daemon have a core of their own. The client shares its daemon's, at a real-time
priority: what it waits for is the daemon, not the scheduler. (Without a second core and the right to such a priority, they
are told apart by niceness alone.)
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import zmq

HERE = Path(__file__).resolve().parent
MODULES = HERE.parent.parent / "examples" / "clients" / "javascript"
PLAIN, SECURED = "127.0.71.1", "127.0.71.2"
# Daemons that are attacked while the client of another one is looked at.
PLAIN_DECOY, SECURED_DECOY = "127.0.71.4", "127.0.71.5"
# Attackers come from 127.0.0.1, as everybody does who does not ask for another address; who behaves well does.
SOURCE = "127.0.72.1"
WINDOW_SECONDS = 1.6
ATTACKERS = 2
# On a machine that does other things too a window can be disturbed by these, and attackers may hardly run: so pairs of windows
# are repeated, and the best one counts.
ROUNDS = 6
MAX_RATIO = 2.0
# For clients that come and go, well-behaved or not, a thousand times a second, which is what limits.connections_per_second lets
# in: each handshake takes the daemon's core some 50 us in the kernel, which is as much as a client's own p99 on a fast machine
# (50 to 130 us). They were seen at 1.6 to 3.9 times; a gate needs room.
MAX_HANDSHAKES_RATIO = 6.0
MAX_GROWTH_MB = 96
# Failures after which kubelet acts, if nobody says otherwise.
PROBE_ROUNDS = 3


class Failed(Exception):
    """A check that did not hold; its text says what was seen."""


def expect(holds, seen):
    if not holds:
        raise Failed(seen)


def endpoint(host, port=7400, source=SOURCE):
    return f"tcp://{source}:0;{host}:{port}"


class Keys:
    """A folder with a daemon's keys, gossip's, and a list of clients; all made by the command line."""

    def __init__(self, statemesh, folder):
        self.statemesh, self.folder = statemesh, folder
        for name in ("daemon.key", "good.key", "revoked.key", "stranger.key", "clients.toml", "gossip.keys"):
            (folder / name).unlink(missing_ok=True)
        self.public = {name: self.make(name) for name in ("daemon", "good", "revoked", "stranger")}
        self.allow("good")
        self.allow("revoked")
        self.run("keys", "rotate", "add", "--file", "gossip.keys")

    def run(self, *words):
        done = subprocess.run([self.statemesh, *words], cwd=self.folder, capture_output=True, text=True, timeout=10)
        expect(done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def make(self, name):
        return self.run("keys", "new", f"{name}.key")

    def allow(self, name):
        self.run("keys", "allow", name, self.public[name], "--ops", "read,send", "--file", "clients.toml")

    def secret(self, name):
        lines = (self.folder / f"{name}.key").read_text().splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("secret"))

    def of(self, name):
        """Server's, own public and own secret key of a client."""
        return [self.public["daemon"], self.public[name], self.secret(name)]

    def flags(self):
        words = ["--security-mode", "curve", "--security-key", "daemon.key", "--security-keys", "clients.toml"]
        return [*words, "--gossip-keys-file", "gossip.keys"]


class Daemon:
    """One daemon, ended with the block."""

    def __init__(self, statemesh, folder, host, flags, place=()):
        self.host = host
        self.log = folder / f"daemon-{host}.log"
        words = [*(place or DAEMON), statemesh, "daemon", "--name", "a", "--mesh", "hostile", "--listen-address", host, *flags]
        words += ["--machines", HERE / "machine.json", "--limits-handshake", "1s", "--limits-heartbeat", "300ms"]
        self.process = subprocess.Popen(words, cwd=folder, stdout=self.log.open("wb"), stderr=subprocess.STDOUT)

    def __enter__(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.host}:7480/health/ready", timeout=1) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.__exit__()
                raise Failed(f"the daemon at {self.host} is not ready: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.host}:7480/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name]
        expect(found, f"there is no metric {name}")
        return sum(found)

    def resident_mb(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def is_alive(self):
        return self.process.poll() is None


def works(words):
    """Whether this machine, and our rights on it, let a program be started in this way."""
    try:
        return subprocess.run([*words, "true"], capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


def places():
    """How the daemon, its client and the attackers are started, for each to have the processor that it would have."""
    cores = sorted(os.sched_getaffinity(0))
    ours, theirs = ["taskset", "-c", str(cores[0])], ["taskset", "-c", ",".join(map(str, cores[1:]))]
    urgent = ["chrt", "-f", "10"]
    if len(cores) > 1 and works(theirs) and works(urgent):
        return ours, [*ours, *urgent], theirs
    return [], [], ["nice", "-n", "19"]


DAEMON, CLIENT, ATTACKER = places()


def start(words):
    return subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Attack:
    """One kind of attacker. `grows` names a metric that shows that the daemon noticed; `beside` is what it is compared with."""

    def __init__(self, program, name, grows=None, port=7400, file=None, ratio=MAX_RATIO, beside=None):
        self.program, self.name, self.grows, self.port, self.file, self.ratio = program, name, grows, port, file, ratio
        self.beside = beside

    def words(self, build, host, seconds):
        head = [build / "flood"] if self.program == "flood" else [sys.executable, HERE / "attacks.py"]
        return [*head, self.name, host, self.port, seconds, *([self.file] if self.file else [])]


def probe(build, daemon, keys, beside):
    """p50 and p99 in microseconds of the well-behaved client while these programs run, and what they printed."""
    good = start([*CLIENT, build / "probe", endpoint(daemon.host), WINDOW_SECONDS, *keys])
    # It is connected when the others begin: whether somebody new gets in is another check.
    time.sleep(0.15)
    running = [start([*ATTACKER, *words]) for words in beside]
    out, err = good.communicate(timeout=30)
    printed = []
    for process in running:
        text, errors = process.communicate(timeout=30)
        expect(process.returncode == 0, f"an attacker failed: {text} {errors}")
        printed.append(text.strip())
    expect(good.returncode == 0, f"the well-behaved client failed: {err}")
    _, p50, p99, _ = map(float, out.split())
    return p50, p99, printed


@contextlib.contextmanager
def dealer(address, keys=()):
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        # Who is told that its key is wrong has nowhere to send to any more.
        client.linger, client.rcvtimeo, client.sndtimeo = 0, 2000, 2000
        if keys:
            client.curve_serverkey, client.curve_publickey, client.curve_secretkey = (key.encode() for key in keys)
        client.connect(address)
        yield client


def ping(client):
    client.send_json({"op": "ping", "id": 1})
    return client.recv_json()["ok"]


def is_served(client):
    try:
        return ping(client)
    except zmq.Again:
        return False


def gets_in(daemon, keys=()):
    """Whether somebody new is served."""
    with dealer(endpoint(daemon.host), keys) as client:
        return is_served(client)


def withstands(daemon, decoy, build, attack, keys=()):
    """The daemon serves its client while it is attacked, does not grow, and lets somebody new in."""
    here = [attack.words(build, daemon.host, WINDOW_SECONDS)] * ATTACKERS
    control, host = (attack.beside, daemon.host) if attack.beside else (attack, decoy.host)
    compared = [control.words(build, host, WINDOW_SECONDS)] * ATTACKERS
    before_mb = daemon.resident_mb()
    noticed = daemon.metric(attack.grows) if attack.grows else 0
    seen = []
    for _ in range(ROUNDS):
        _, calm, _ = probe(build, daemon, keys, compared)
        entered = []
        newcomer = threading.Timer(0.8, lambda: entered.append(gets_in(daemon, keys)))
        newcomer.start()
        _, attacked, printed = probe(build, daemon, keys, here)
        newcomer.join()
        expect(daemon.is_alive(), f"the daemon is gone: {daemon.log.read_text()[-2000:]}")
        expect(entered == [True], "nobody new got in during the attack")
        count = sum(map(int, printed))
        has_noticed = not attack.grows or daemon.metric(attack.grows) > noticed
        if count > 0:
            seen.append((attacked / calm, calm, attacked, count))
        if count > 0 and attacked / calm <= attack.ratio and has_noticed:
            break
    growth = daemon.resident_mb() - before_mb
    expect(growth < MAX_GROWTH_MB, f"the daemon grew by {growth:.0f} MB")
    expect(seen, "the attackers did nothing")
    expect(has_noticed, f"{attack.grows} counted nothing")
    ratio, calm, attacked, count = min(seen)
    called = "beside clients that come and go" if attack.beside else "calm"
    said = f"p99 {calm:.0f} us {called}, {attacked:.0f} us attacked ({ratio:.1f} times), {count} attacks, {growth:+.0f} MB"
    expect(ratio <= attack.ratio, said)
    return said


COME_AND_GO = Attack("python", "come_and_go", ratio=MAX_HANDSHAKES_RATIO)


def connecting(program, name, grows=None):
    """Each attack is a connection of its own."""
    return Attack(program, name, grows, beside=COME_AND_GO)


PLAIN_ATTACKS = {
    "clients that come and go": COME_AND_GO,
    "headers that announce up to 2^64 bytes": connecting("python", "big_header", "statemesh_protocol_errors_total"),
    "CVE-2019-6250: a frame whose length wraps around": connecting("python", "cve_2019_6250", "statemesh_protocol_errors_total"),
    "CVE-2019-13132: metadata longer than anybody's buffer": connecting("python", "cve_2019_13132", "statemesh_protocol_errors_total"),
    "CVE-2020-15166: connections that say nothing of use": Attack("python", "cve_2020_15166"),
    "500 connections that send a byte now and then": Attack("flood", "dribble"),
    "5,000 half-open connections": Attack("flood", "half-open", "statemesh_refused_hasty_total"),
    "handshakes without end": Attack("flood", "handshakes", "statemesh_refused_hasty_total", ratio=MAX_HANDSHAKES_RATIO),
    "a million subscriptions": Attack("flood", "subscriptions", "statemesh_refused_subscriptions_total", port=7401),
    "commands after READY": Attack("python", "after_ready", "statemesh_protocol_errors_total"),
    "every command with every length": connecting("python", "every_command", "statemesh_protocol_errors_total"),
    "MessagePack and JSON 100,000 deep": connecting("python", "nesting", "statemesh_malformed_frames_total"),
    "MessagePack whose lengths lie": connecting("python", "lying_lengths", "statemesh_malformed_frames_total"),
    "lists of everything": Attack("python", "lists"),
    "one identity from two clients": connecting("python", "twins"),
    # A bomb is over when its connection is closed: the next one begins with another.
    "bombs of tiny frames": Attack("flood", "tiny", "statemesh_refused_malformed_total", ratio=MAX_HANDSHAKES_RATIO),
}


def dribblers_are_closed(daemon, build):
    """Nobody holds a connection by sending a byte now and then."""
    closed = lambda: daemon.metric("statemesh_silent_connections_total") + daemon.metric("statemesh_handshake_timeouts_total")
    before = closed()
    subprocess.run([build / "flood", "dribble", daemon.host, "7400", "4"], check=True, timeout=20, capture_output=True)
    gone = closed() - before
    expect(gone >= 450, f"{gone:.0f} of 500 were closed")
    return f"{gone:.0f} of 500 were closed within 4 s"


def recorded(daemon, keys, folder):
    """Everything that a client with a good key sends, taken down between it and the daemon."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = bytearray()

    def pump(source, sink, keep):
        while part := source.recv(65536):
            if keep:
                taken.extend(part)
            sink.sendall(part)

    def serve():
        near, _ = listener.accept()
        far = socket.create_connection((daemon.host, 7400))
        for source, sink, keep in ((near, far, True), (far, near, False)):
            threading.Thread(target=lambda a=source, b=sink, k=keep: quietly(pump, a, b, k), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with dealer(f"tcp://127.0.0.1:{listener.getsockname()[1]}", keys) as client:
        expect(ping(client), "the recorded client was not served")
    listener.close()
    path = folder / "recorded"
    path.write_bytes(taken)
    return path


def quietly(work, *arguments):
    try:
        work(*arguments)
    except OSError:
        pass


def over_zeromq_js(daemon, keys):
    words = ["node", HERE / "curve.mjs", MODULES, f"tcp://{daemon.host}:7400", *keys]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=20)
    expect(done.returncode == 0, done.stderr)
    return done.stdout.strip() != "no answer" and json.loads(done.stdout)["ok"]


def keys_decide(daemon, keys):
    """Right and wrong keys, over libsodium by two libraries; a wrong server key; none at all."""
    wrong_server = [keys.public["stranger"], *keys.of("good")[1:]]
    for what, served in (("pyzmq", gets_in), ("zeromq.js", over_zeromq_js)):
        expect(served(daemon, keys.of("good")), f"{what}: a good key is not served")
        expect(not served(daemon, keys.of("stranger")), f"{what}: a stranger is served")
        expect(not served(daemon, wrong_server), f"{what}: it talks to a server with another key")
    expect(not gets_in(daemon), "a client without keys is served")
    expect(daemon.metric("statemesh_refused_keys_total") > 0, "no refused key was counted")
    return "over pyzmq and zeromq.js"


def revoking_ends_sessions(daemon, keys):
    """A revoked key loses its open connection within two seconds or so, and does not come in again."""
    with dealer(endpoint(daemon.host), keys.of("revoked")) as client:
        expect(ping(client), "it is not served before")
        keys.run("keys", "revoke", "revoked", "--file", "clients.toml")
        start = asked = time.monotonic()
        # By new connections: on a busy machine the open one may be silent for a while, and its key count all the same. What counts
        # is when somebody knocked in vain, not how long that took to be seen.
        while gets_in(daemon, keys.of("revoked")):
            expect(asked < start + 5, "it comes in after 5 s")
            time.sleep(0.05)
            asked = time.monotonic()
        took = asked - start
        expect(took < 4, f"it comes in after {took:.1f} s")
        expect(not is_served(client), "its open connection is still served")
    expect(not gets_in(daemon, keys.of("revoked")), "it came in again")
    expect(gets_in(daemon, keys.of("good")), "others no longer come in")
    return f"ended within {took:.1f} s"


def descriptors_run_out(statemesh, folder):
    """With few file descriptors clients get only so many that probes are answered all the while, and new ones when others go."""
    limited = ["prlimit", "--nofile=64:64", "--", statemesh]
    host = "127.0.71.3"
    words = [*limited, "daemon", "--name", "few", "--listen-address", host, "--machines", HERE / "machine.json"]
    daemon = Daemon.__new__(Daemon)
    daemon.host, daemon.log = host, folder / "daemon-few.log"
    daemon.process = subprocess.Popen([str(word) for word in words], cwd=folder, stdout=daemon.log.open("wb"), stderr=subprocess.STDOUT)
    with daemon, dealer(endpoint(host)) as client:
        expect(ping(client), "it is not served")
        held = [socket.create_connection((host, 7400)) for _ in range(100)]
        time.sleep(0.3)
        expect(ping(client), "who was connected is no longer served")
        said = probed(daemon, "http_idle", seconds=1)
        expect(daemon.metric("statemesh_http_connections_limit") < 64 / 4, "over HTTP there are places without descriptors")
        for connection in held:
            connection.close()
        deadline = time.monotonic() + 10
        while not gets_in(daemon):
            expect(time.monotonic() < deadline, "nobody gets in any more")
        expect(daemon.metric("statemesh_refused_connections_total") > 0, "nobody was refused")
    return f"existing clients went on, and new ones came in again; {said}"


class Late(Failed):
    """No answer in time: whose fault that was is not seen from one alone."""


def probed(daemon, attack, seconds=4):
    """The longest time that a probe took during an attack. Each must be answered, as kubelet asks: by a new connection, with a
    second for the answer. On a machine that does other things too somebody may have had no processor for as long: as kubelet does,
    it is judged by three rounds in a row, a daemon that is kept from answering being late in all of them."""
    for _ in range(PROBE_ROUNDS - 1):
        with contextlib.suppress(Late):
            return probed_once(daemon, attack, seconds)
    return probed_once(daemon, attack, seconds)


def probed_once(daemon, attack, seconds):
    guests = start([*ATTACKER, sys.executable, HERE / "attacks.py", attack, daemon.host, 7480, seconds + 2])
    time.sleep(1)
    longest, count, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for path in ("live", "ready"):
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(f"http://{daemon.host}:7480/health/{path}", timeout=1) as answer:
                    expect(answer.status == 200, f"{path} is {answer.status}")
            except OSError as error:
                guests.communicate(timeout=30)
                # Closed, it had asked so late that others were let in for it.
                raise Late(f"{path} failed after {count} that were answered: {error}") from error
            longest, count = max(longest, time.monotonic() - begun), count + 1
        time.sleep(0.05)
    out, errors = guests.communicate(timeout=30)
    expect(guests.returncode == 0 and int(out) > 256, f"the guests were not there: {out} {errors}")
    if longest >= 1:
        raise Late(f"a probe took {longest:.2f} s")
    return f"{count} probes beside {int(out)} connections, the longest {longest * 1000:.0f} ms"


HTTP_GUESTS = {
    "300 idle HTTP connections": "http_idle",
    "300 HTTP heads of a byte now and then": "http_dribble",
    "300 HTTP connections that are kept alive": "http_kept_alive",
}


def build_programs(build):
    for name, libraries in (("flood", []), ("probe", ["-lzmq"])):
        words = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", HERE / f"{name}.c", "-o", build / name, *libraries]
        subprocess.run([str(word) for word in words], check=True, timeout=120)


def checks(statemesh, build):
    """Titles and what they do, in order; a daemon is started when the first check on it runs."""
    with Daemon(statemesh, build, PLAIN, []) as plain, Daemon(statemesh, build, PLAIN_DECOY, [], ATTACKER) as decoy:
        for title, attack in PLAIN_ATTACKS.items():
            yield title, lambda: withstands(plain, decoy, build, attack)
        yield "a byte now and then holds no connection", lambda: dribblers_are_closed(plain, build)
        for what, attack in HTTP_GUESTS.items():
            yield f"{what} keep no probe out", lambda: probed(plain, attack)
    keys = Keys(statemesh, build)
    secured, decoy = Daemon(statemesh, build, SECURED, keys.flags()), Daemon(statemesh, build, SECURED_DECOY, keys.flags(), ATTACKER)
    with secured, decoy:
        good = keys.of("good")
        yield "keys decide who comes in", lambda: keys_decide(secured, keys)
        file = recorded(secured, good, build)
        for title, name, ratio in (
            ("a recorded handshake, replayed", "replay", MAX_HANDSHAKES_RATIO),
            ("CURVE hellos, replayed", "hellos", MAX_HANDSHAKES_RATIO),
            ("CVE-2020-15166 with security on", "cve_2020_15166", MAX_RATIO),
        ):
            attack = Attack("python", name, file=file, ratio=ratio)
            yield title, lambda: withstands(secured, decoy, build, attack, good)
        yield "revoking a key ends its sessions", lambda: revoking_ends_sessions(secured, keys)
    yield "file descriptors run out", lambda: descriptors_run_out(statemesh, build)


def main():
    statemesh = Path(sys.argv[1]).resolve()
    build = Path(sys.argv[2] if len(sys.argv) > 2 else "target/hostile").resolve()
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    build.mkdir(parents=True, exist_ok=True)
    build_programs(build)
    passed = failed = 0
    for title, check in checks(statemesh, build):
        if only not in title:
            continue
        try:
            print(f"ok   {title}: {check()}", flush=True)
            passed += 1
        except (Failed, OSError, LookupError, ValueError, subprocess.SubprocessError, zmq.ZMQError) as error:
            failed += 1
            print(f"FAIL {title}: {type(error).__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
