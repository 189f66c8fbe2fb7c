"""Runs every example client, with its real ZeroMQ library, against three real daemons.

    python examples/clients/check.py PATH/TO/statemesh [BUILD_FOLDER]

Needs what requirements.txt names, and node, npm, java, mvn, go, cc with libzmq. Prints one line for each check and then
'N passed, M failed'.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import zmq

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent
# Default ports at addresses of their own: a mesh that already runs with `statemesh up` is not in the way.
HOSTS = {"one": "127.0.70.1", "two": "127.0.70.2", "three": "127.0.70.3"}
ADDRESS = f"tcp://{HOSTS['one']}:7400"
# No daemon listens at the first one.
ADDRESSES = ",".join(f"tcp://{host}:7400" for host in ["127.0.70.9", *HOSTS.values()])
SECURED_HOSTS = {"four": "127.0.71.1", "five": "127.0.71.2"}
# No daemon listens at the first one.
SECURED_ADDRESSES = f"tcp://127.0.71.9:7400,tcp://{SECURED_HOSTS['four']}:7400,tcp://{SECURED_HOSTS['five']}:7400"
READY_SECONDS = 15
CLIENT_SECONDS = 60
BUILD_SECONDS = 600
COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"


class Failed(Exception):
    """A check that did not hold; its text says what was seen."""


def expect(holds, seen):
    if not holds:
        raise Failed(seen)


class Mesh:
    """Daemons, ended with the block. Their logs go to files that are shown when one of them does not start."""

    def __init__(self, binary, folder, hosts, settings=None):
        self.binary, self.folder, self.hosts, self.processes = binary, folder, hosts, []
        self.environment = {**os.environ, **(settings or {})}

    def __enter__(self):
        for name, host in self.hosts.items():
            log = open(self.folder / f"{name}.log", "wb")
            flags = ["--name", name, "--mesh", "clients", "--listen-address", host]
            flags += ["--discovery-seeds", ",".join(f"{other}:7403" for other in self.hosts.values() if other != host)]
            flags += ["--machines", str(EXAMPLES / "order")]
            command = [self.binary, "daemon", *flags]
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))
        try:
            self.wait_until_complete()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_complete(self):
        deadline = time.monotonic() + READY_SECONDS
        while not all(self.sees_everybody(host) for host in self.hosts.values()):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                logs = "\n".join(f"{name}: {(self.folder / f'{name}.log').read_text()[-2000:]}" for name in self.hosts)
                raise Failed(f"the daemons are not ready after {READY_SECONDS} s\n{logs}")
            time.sleep(0.05)

    def sees_everybody(self, host):
        try:
            with urllib.request.urlopen(f"http://{host}:7480/health/ready", timeout=1) as answer:
                ready = answer.status == 200
            with urllib.request.urlopen(f"http://{host}:7480/v1/placement", timeout=1) as answer:
                placement = json.load(answer)
        except OSError:
            return False
        # All serve their shares: while a partition moves, placement and where may name another daemon, or none.
        return ready and not placement["moving"] and len(set(placement["map"])) == len(self.hosts)

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ask(address, request):
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, 5000, 5000
    socket.connect(address)
    try:
        socket.send_json(request)
        return socket.recv_json()
    finally:
        socket.close()


def run(command, folder, seconds=CLIENT_SECONDS):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    shown = " ".join(str(word) for word in command)
    expect(done.returncode == 0, f"{shown} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def clients(build):
    """Name -> (folder, how to build it, how to run it)."""
    return {
        "python": (HERE / "python", [], [sys.executable, "client.py"]),
        "javascript": (
            HERE / "javascript",
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            ["node", "client.mjs"],
        ),
        "java": (
            HERE / "java",
            ["mvn", "-q", "-B", COPY_DEPENDENCIES, f"-DoutputDirectory={build / 'java'}"],
            ["java", "-cp", f"{build / 'java'}/*", "Client.java"],
        ),
        "go": (HERE / "go", ["go", "build", "-o", build / "client-go", "."], [build / "client-go"]),
        "c": (
            HERE / "c",
            ["cc", "-Wall", "-Wextra", "-Werror", "client.c", "-lzmq", "-o", build / "client-c"],
            [build / "client-c"],
        ),
    }


def check_client(name, build):
    folder, prepare, command = clients(build)[name]
    if prepare:
        run(prepare, folder, BUILD_SECONDS)
    output = run([*command, ADDRESSES, f"client-{name}"], folder)
    replies = {reply["id"]: reply for reply in map(json.loads, output.splitlines())}
    expect(sorted(replies) == [1, 2, 3, 4], output)
    expect(all(reply["ok"] for reply in replies.values()), output)
    expect([replies[number]["value"] for number in (1, 2, 3)] == ["open", "open", "paid"], output)
    expect((replies[4]["context"]["total"], replies[4]["context"]["paid"]) == (3000, 3000), output)


def check_short(_name, _build):
    sources = [file for file in HERE.glob("*/*") if file.suffix in {".py", ".mjs", ".java", ".go", ".c"}]
    expect(len(sources) == 13, sources)
    long = [str(file) for file in sources if len(file.read_text().splitlines()) >= 40]
    expect(not long, f"40 lines or more: {long}")


def check_first_page(_name, _build):
    text = (EXAMPLES.parent / "README.md").read_text()
    program = text.split("```python\n")[1].split("```")[0]
    expect("tcp://127.0.0.1:7400" in program, program)
    reply = run([sys.executable, "-c", program.replace("tcp://127.0.0.1:7400", ADDRESS)], HERE)
    expect("'value': 'paid'" in reply, reply)


def check_direct(_name, _build):
    owners = set()
    for number in range(24):
        key = f"direct-{number}"
        first, reply = run([sys.executable, "direct.py", ADDRESSES, key], HERE / "python").splitlines()
        where = ask(ADDRESS, {"op": "where", "id": 1, "machine": "order", "key": key})
        expect(first == f"order/{key} is in partition {where['partition']}, which {where['owner']} owns", f"{first}; {where}")
        expect(json.loads(reply)["value"] == "paid", reply)
        owners.add(where["owner"])
    expect(owners == set(HOSTS), f"only {owners} own any of 24 keys")


def curve_clients(build):
    """Name -> (folder, how to build it, how to run it); javascript's and java's libraries are those of their other client."""
    return {
        "python": (HERE / "python", [], [sys.executable, "curve.py"]),
        "javascript": (HERE / "javascript", [], ["node", "curve.mjs"]),
        "java": (HERE / "java", [], ["java", "-cp", f"{build / 'java'}/*", "Curve.java"]),
        "go": (HERE / "go-curve", ["go", "build", "-o", build / "curve-go", "."], [build / "curve-go"]),
        "c": (
            HERE / "c",
            ["cc", "-Wall", "-Wextra", "-Werror", "curve.c", "-lzmq", "-o", build / "curve-c"],
            [build / "curve-c"],
        ),
    }


def keys_of(binary, folder):
    """The settings of daemons with keys, and what a client needs: the daemons' public key and a pair of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run([binary, "keys", "init", "--folder", "."], folder)
    public = run([binary, "keys", "new", "client.key"], folder).strip()
    run([binary, "keys", "allow", "client", public, "--ops", "read,send", "--file", "clients.toml"], folder)
    secret = (folder / "client.key").read_text().split('secret = "')[1].split('"')[0]
    settings = {
        "STATEMESH_SECURITY_MODE": "curve",
        "STATEMESH_SECURITY_KEY": str(folder / "daemon.key"),
        "STATEMESH_SECURITY_KEYS": str(folder / "clients.toml"),
        "STATEMESH_GOSSIP_KEYS_FILE": str(folder / "gossip.keys"),
    }
    return settings, [(folder / "daemon.pub").read_text().strip(), public, secret]


def check_curve(name, build):
    folder, prepare, command = curve_clients(build)[name]
    if prepare:
        run(prepare, folder, BUILD_SECONDS)
    keys = json.loads((build / "keys.json").read_text())
    reply = json.loads(run([*command, SECURED_ADDRESSES, *keys, f"curve-{name}"], folder))
    expect((reply["ok"], reply["value"]) == (True, "paid"), reply)
    if name != "python":
        return
    try:
        run([*command, SECURED_ADDRESSES, *keys[:2], keys[2][::-1], "stranger"], folder)
    except Failed:
        return
    raise Failed("a client with another secret key was let in")


def check_effects(_name, _build):
    command = [sys.executable, "effects.py", ADDRESSES, "6"]
    worker = subprocess.Popen(command, cwd=HERE / "python", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in HOSTS:
            expect(worker.stderr.readline().startswith("watching "), "effects.py does not watch every daemon")
        # A subscription is on its way when the program says so: go on asking for refunds until it has made enough.
        for number in range(200):
            order = {"machine": "order", "key": f"refunded-{number}"}
            for event in ({"type": "PAY", "amount": 3}, {"type": "CANCEL"}):
                ask(ADDRESS, {"op": "send", "id": 1, **order, "event": event})
            if worker.poll() is not None:
                break
            time.sleep(0.01)
        output, errors = worker.communicate(timeout=10)
    finally:
        worker.kill()
        worker.wait()
    replies = [json.loads(line.split(" ", 1)[1]) for line in output.splitlines()]
    expect(len(replies) == 6 and all(reply["value"] == "refunded" for reply in replies), output + errors)


def check_watch(_name, _build):
    command = [sys.executable, "watch.py", ADDRESSES, "3"]
    watcher = subprocess.Popen(command, cwd=HERE / "python", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        expect(watcher.stderr.readline() == "watching 3 daemons\n", "the watcher did not find three daemons")
        # A subscription is on its way when the watcher says so: keep changing orders until it has seen enough.
        for number in range(200):
            event = {"type": "PAY", "amount": number + 1}
            ask(ADDRESS, {"op": "send", "id": 1, "machine": "order", "key": f"watched-{number}", "event": event})
            if watcher.poll() is not None:
                break
            time.sleep(0.01)
        output, errors = watcher.communicate(timeout=10)
    finally:
        watcher.kill()
        watcher.wait()
    lines = output.splitlines()
    expect(len(lines) == 3 and all(line.startswith("order/watched-") for line in lines), output + errors)
    expect(any("'paid'" in line for line in lines), output)


def connected(kind, address, **options):
    socket = zmq.Context.instance().socket(kind)
    socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, 5000, 5000
    for name, value in options.items():
        socket.setsockopt(getattr(zmq, name), value)
    socket.connect(address)
    return socket


def pay(socket, key):
    """Sends a PAY, and expects its reply."""
    request = {"op": "send", "id": key, "machine": "order", "key": key, "event": {"type": "PAY", "amount": 1}}
    socket.send_json(request)
    reply = socket.recv_json()
    expect(reply["ok"] and reply["id"] == key, reply)


def check_correlated(_name, _build):
    with connected(zmq.REQ, ADDRESS, REQ_CORRELATE=1, REQ_RELAXED=1) as socket:
        # Three daemons: most keys are elsewhere, and the number of a request waits for its answer.
        for number in range(24):
            pay(socket, f"correlated-{number}")
        # A request that is given up for another one: only the other one's answer counts.
        socket.send_json({"op": "ping", "id": "given up"})
        pay(socket, "correlated-0")


def check_probing(_name, _build):
    for kind in (zmq.REQ, zmq.DEALER):
        with connected(kind, ADDRESS, PROBE_ROUTER=1) as socket:
            for number in range(6):
                pay(socket, f"probing-{number}")


@contextlib.contextmanager
def proxied():
    """A zmq_proxy in front of a daemon: its address for clients."""
    context = zmq.Context.instance()
    front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    front.linger = back.linger = 0
    at = f"tcp://127.0.0.1:{front.bind_to_random_port('tcp://127.0.0.1')}"
    back.connect(ADDRESS)
    control_address = "inproc://control-of-the-proxy"
    control, told = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    told.bind(control_address)
    control.connect(control_address)
    proxy = threading.Thread(target=zmq.proxy_steerable, args=(front, back, None, told))
    proxy.start()
    try:
        yield at
    finally:
        control.send(b"TERMINATE")
        proxy.join()
        for socket in (front, back, control, told):
            socket.close()


def check_proxied(_name, _build):
    with proxied() as at:
        with connected(zmq.REQ, at) as req, connected(zmq.DEALER, at) as dealer, connected(zmq.REQ, at, REQ_CORRELATE=1) as third:
            for number in range(24):
                for socket in (req, dealer, third):
                    pay(socket, f"proxied-{number}")


def sockets(build):
    """Name -> (folder, how to run it): programs that pay over a socket of a kind, whose libraries those of the clients are."""
    return {
        "javascript": (HERE / "javascript", ["node", "test/sockets.mjs"]),
        "java": (HERE / "java", ["java", "-cp", f"{build / 'java'}/*", "test/Sockets.java"]),
    }


def check_kind(name, build, kind, address=ADDRESS):
    """Three daemons: most keys are elsewhere, and what stands in front of a request waits for its answer."""
    folder, command = sockets(build)[name]
    replies = [json.loads(line) for line in run([*command, address, kind, "24"], folder).splitlines()]
    expect([reply["id"] for reply in replies] == [f"{name}-{kind}-{number}" for number in range(24)], replies)
    expect(all(reply["ok"] for reply in replies), replies)


def check_correlated_by(name, build):
    check_kind(name, build, "correlating-req")


def check_probing_by(name, build):
    for kind in ("probing-req", "probing-dealer"):
        check_kind(name, build, kind)


def check_proxied_by(name, build):
    with proxied() as at:
        for kind in ("req", "dealer", "correlating-req"):
            check_kind(name, build, kind, at)


def main():
    binary = Path(sys.argv[1]).resolve()
    build = Path(sys.argv[2] if len(sys.argv) > 2 else "target/clients").resolve()
    build.mkdir(parents=True, exist_ok=True)
    checks = {"each client is under 40 lines": (check_short, "")}
    checks |= {f"the {name} client, at several addresses": (check_client, name) for name in clients(build)}
    checks |= {
        "a REQ that correlates": (check_correlated, ""),
        "a REQ and a DEALER that probe": (check_probing, ""),
        "a REQ and a DEALER behind a proxy": (check_proxied, ""),
    }
    for name in sockets(build):
        checks |= {
            f"a REQ of {name} that correlates": (check_correlated_by, name),
            f"a REQ and a DEALER of {name} that probe": (check_probing_by, name),
            f"a REQ and a DEALER of {name} behind a proxy": (check_proxied_by, name),
        }
    checks |= {"the program of the first page": (check_first_page, "")}
    checks |= {"direct.py finds the owner": (check_direct, ""), "watch.py sees changes": (check_watch, "")}
    checks |= {"effects.py makes the refunds of every daemon": (check_effects, "")}
    checks |= {f"the {name} client with keys, at several addresses": (check_curve, name) for name in curve_clients(build)}
    settings, keys = keys_of(binary, build / "keys")
    (build / "keys.json").write_text(json.dumps(keys))
    failed = 0
    try:
        with Mesh(binary, build, HOSTS), Mesh(binary, build, SECURED_HOSTS, settings):
            for title, (check, name) in checks.items():
                try:
                    check(name, build)
                    print(f"ok   {title}", flush=True)
                except (Failed, OSError, LookupError, ValueError, subprocess.SubprocessError, zmq.ZMQError) as error:
                    failed += 1
                    print(f"FAIL {title}: {type(error).__name__}: {error}", flush=True)
    except Failed as error:
        failed = len(checks)
        print(f"FAIL {error}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.environ.setdefault("GOFLAGS", "-mod=readonly")
    main()
