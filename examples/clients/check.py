"""Runs every example client, with its real ZeroMQ library, against three real daemons.

    python examples/clients/check.py PATH/TO/statemesh [BUILD_FOLDER]

Needs what requirements.txt names, and node, npm, java, mvn, go, cc with libzmq. Prints one line for each check and then
'N passed, M failed'.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import zmq

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent
# Default ports at addresses of their own: a mesh that somebody runs with `statemesh up` is not in the way.
HOSTS = {"one": "127.0.70.1", "two": "127.0.70.2", "three": "127.0.70.3"}
ADDRESS = f"tcp://{HOSTS['one']}:7400"
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
    """Three daemons, ended with the block. Their logs go to files that are shown when one of them does not start."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.processes = binary, folder, []

    def __enter__(self):
        for name, host in HOSTS.items():
            log = open(self.folder / f"{name}.log", "wb")
            flags = ["--name", name, "--mesh", "clients", "--listen-address", host]
            flags += ["--discovery-seeds", ",".join(f"{other}:7403" for other in HOSTS.values() if other != host)]
            flags += ["--machines", str(EXAMPLES / "order")]
            self.processes.append(subprocess.Popen([self.binary, "daemon", *flags], stdout=log, stderr=log))
        try:
            self.wait_until_complete()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_complete(self):
        deadline = time.monotonic() + READY_SECONDS
        while not all(self.sees_everybody(host) for host in HOSTS.values()):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                logs = "\n".join(f"{name}: {(self.folder / f'{name}.log').read_text()[-2000:]}" for name in HOSTS)
                raise Failed(f"the daemons are not ready after {READY_SECONDS} s\n{logs}")
            time.sleep(0.05)

    @staticmethod
    def sees_everybody(host):
        try:
            with urllib.request.urlopen(f"http://{host}:7480/health/ready", timeout=1) as answer:
                ready = answer.status == 200
        except OSError:
            return False
        members = ask(f"tcp://{host}:7400", {"op": "members", "id": 1})["members"]
        return ready and sum(member["status"] == "alive" for member in members) == len(HOSTS)

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
    output = run([*command, ADDRESS, f"client-{name}"], folder)
    replies = {reply["id"]: reply for reply in map(json.loads, output.splitlines())}
    expect(sorted(replies) == [1, 2, 3, 4], output)
    expect(all(reply["ok"] for reply in replies.values()), output)
    expect([replies[number]["value"] for number in (1, 2, 3)] == ["open", "open", "paid"], output)
    expect((replies[4]["context"]["total"], replies[4]["context"]["paid"]) == (3000, 3000), output)


def check_short(_name, _build):
    sources = [file for file in HERE.glob("*/*") if file.suffix in {".py", ".mjs", ".java", ".go", ".c"}]
    expect(len(sources) == 7, sources)
    long = [str(file) for file in sources if len(file.read_text().splitlines()) >= 40]
    expect(not long, f"40 lines or more: {long}")


def check_direct(_name, _build):
    owners = set()
    for number in range(24):
        key = f"direct-{number}"
        first, reply = run([sys.executable, "direct.py", ADDRESS, key], HERE / "python").splitlines()
        where = ask(ADDRESS, {"op": "where", "id": 1, "machine": "order", "key": key})
        expect(first == f"order/{key} is in partition {where['partition']}, which {where['owner']} owns", f"{first}; {where}")
        expect(json.loads(reply)["value"] == "paid", reply)
        owners.add(where["owner"])
    expect(owners == set(HOSTS), f"only {owners} own any of 24 keys")


def check_watch(_name, _build):
    command = [sys.executable, "watch.py", ADDRESS, "3"]
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


def main():
    binary = Path(sys.argv[1]).resolve()
    build = Path(sys.argv[2] if len(sys.argv) > 2 else "target/clients").resolve()
    build.mkdir(parents=True, exist_ok=True)
    checks = {"each client is under 40 lines": (check_short, "")}
    checks |= {f"the {name} client": (check_client, name) for name in clients(build)}
    checks |= {"direct.py finds the owner": (check_direct, ""), "watch.py sees changes": (check_watch, "")}
    failed = 0
    try:
        with Mesh(binary, build):
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
