"""What every attack stands on: a collector, agents and a broker of its own, in a folder that goes away with it.

Only Python's standard library, on loopback, on free ports. Whatever was started is killed when the script ends, however it
ends. Nothing here sleeps for luck: `wait` asks for a condition until it holds, or gives up after a bound.
"""
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("AFFERENT_BIN", os.path.join(ROOT, "target", "debug"))
WAIT_S = 60


class Worked(Exception):
    """The attack has worked, or the control has not: the script fails."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(what, condition, bound_s=WAIT_S):
    """What `condition` returns, once that is true. A server that does not answer yet is not true."""
    end = time.monotonic() + bound_s
    while True:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise Worked(f"waited {bound_s} s in vain until {what}")
        time.sleep(0.05)


# --- What is printed
def attack(text):
    print(f"ATTACK    {text}", flush=True)


def expect(text):
    print(f"EXPECTED  {text}", flush=True)


def happened(text):
    print(f"HAPPENED  {text}", flush=True)


def control(text):
    print(f"CONTROL   {text}", flush=True)


def held(condition, text, otherwise=""):
    """`text` is what must have happened."""
    if not condition:
        raise Worked(f"not so: {text}. {otherwise}")
    happened(text)


def is_control(condition, text, otherwise=""):
    """`text` shows that the attack is one: it works where nothing protects."""
    if not condition:
        raise Worked(f"the control fails, so this proves nothing: {text}. {otherwise}")
    control(text)


# --- Processes
class Process:
    def __init__(self, rig, name, command, environment=None):
        self.name, self.log = name, os.path.join(rig.folder, f"{name}.log")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                          env={**os.environ, **(environment or {})})
        rig.processes.append(self)

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def kill(self):
        self.stop(signal.SIGKILL)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()


class Rig:
    """A folder, and what runs in it."""

    def __init__(self):
        self.folder, self.processes = tempfile.mkdtemp(prefix="afferent-attack-"), []
        atexit.register(self.close)

    def close(self):
        for process in reversed(self.processes):
            process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def broker(self):
        """A Mosquitto that lets everybody do everything."""
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        if program is None:
            raise Worked("mosquitto is missing. Install it: sudo apt-get install mosquitto mosquitto-clients")
        port = free_port()
        config = self.write("mosquitto.conf", f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 10000\n")
        process = Process(self, "mosquitto", [program, "-c", config])
        wait("mosquitto takes connections", lambda: socket.create_connection(("127.0.0.1", port)).close() or True)
        return process, port


class Collector:
    def __init__(self, rig, name="collector", broker=None, extra=""):
        self.rig, self.name, self.data = rig, name, rig.path(name)
        self.mqtt, self.http, self.broker, self.extra = broker or free_port(), free_port(), broker, extra
        self.process = None

    def start(self, environment=None):
        way = f'broker = "mqtt://127.0.0.1:{self.broker}"\n' if self.broker else ""
        listen = "" if self.broker else f'[mqtt]\nlisten = "127.0.0.1:{self.mqtt}"\n'
        config = self.rig.write(f"{self.name}.toml", f'data = "{self.data}"\n{way}{self.extra}\n{listen}'
                                f'[http]\nlisten = "127.0.0.1:{self.http}"\n')
        self.process = Process(self.rig, self.name, [f"{BIN}/afferent-collector", "run", "--config", config], environment)
        wait("the collector answers", lambda: self.get("/healthz")[0])
        return self

    def stop(self):
        self.process.stop()

    def get(self, path, method="GET", body=None):
        """Status, text and headers of an answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data, {"content-type": "application/json"},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode(), refusal.headers

    def events(self):
        """All events of the log, by the API."""
        metrics = self.get("/metrics")[1]
        found, at = [], int(figure(metrics, "afferent_log_first_offset"))
        while at < figure(metrics, "afferent_log_end_offset"):
            _, text, headers = self.get(f"/v1/events?from={at}&limit=50000")
            found += [json.loads(line) for line in text.splitlines()]
            at = int(headers["afferent-next-offset"])
        return found

    def codes(self, prefix=""):
        """The codes of all breakdowns, each as often as it is there."""
        return [code for code in map(code_of, self.events()) if code and code.startswith(prefix)]

    def said(self):
        return self.process.said()

    def segments(self):
        return segments(os.path.join(self.data, "log", "0"))

    def dump(self):
        """All events, from the files."""
        output = run("collector", "log", "dump", "--data", self.data)[1]
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


class Agent:
    def __init__(self, rig, port, name="press-88", folder=None, ship="", extra=""):
        self.rig, self.port, self.name, self.ship, self.extra = rig, port, name, ship, extra
        self.folder = folder or f"agent-{name}"
        self.data, self.http, self.process = rig.path(self.folder), free_port(), None

    def start(self):
        config = self.rig.write(f"{self.folder}.toml", (
            f'[agent]\nname = "{self.name}"\ndata_dir = "{self.data}"\nheartbeat_s = 1\n'
            f'[ship]\nurl = "mqtt://127.0.0.1:{self.port}"\n{self.ship}\n[http]\naddress = "127.0.0.1:{self.http}"\n'
            f'[intake.host]\nenabled = false\n{self.extra}\n'))
        self.process = Process(self.rig, self.folder, [f"{BIN}/afferent-agent", "run", "--config", config])
        wait("the agent takes producers", lambda: self.connect().close() or True)
        return self

    def stop(self):
        self.process.stop()

    def connect(self):
        producer = socket.socket(socket.AF_UNIX)
        producer.connect(os.path.join(self.data, "agent.sock"))
        return producer

    def accept(self, lines):
        """Hands events over, and returns once the agent has said that it has them on disk."""
        with self.connect() as producer:
            producer.settimeout(60)
            producer.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
            for answer in producer.makefile():
                answer = json.loads(answer)
                if "error" in answer:
                    raise Worked(f"the agent refuses an event: {answer}")
                if answer["accepted"] >= len(lines):
                    return

    def break_down(self, prefix, count, first=0, message="", time=None):
        """`count` breakdowns with codes `prefix`0, `prefix`1, …; returns the codes."""
        codes = [f"{prefix}{number}" for number in range(first, first + count)]
        more = {"time": time} if time else {}
        self.accept([{"subject": "88-C", "type": "breakdown", "code": code, "message": message, **more} for code in codes])
        return codes

    def figure(self, name):
        """An agent that has just begun may not answer yet: capture comes first."""
        until = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=30) as answer:
                    return figure(answer.read().decode(), name)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def lag(self):
        """Events that it holds and that were not acknowledged."""
        return self.figure("afferent_agent_unacked_events")

    def wait_delivered(self):
        """The figures are those of a moment ago: only ones that were taken after this call count, which a heartbeat's
        commit shows."""
        commits = self.figure("afferent_agent_commits_total")
        wait("a newer status", lambda: self.figure("afferent_agent_commits_total") > commits)
        wait("the agent has delivered everything", lambda: self.lag() == 0)

    def said(self):
        return self.process.said()

    def segments(self):
        return segments(os.path.join(self.data, "ring"))


def figure(metrics, name):
    """A figure, summed over its labels."""
    lines = [line for line in metrics.splitlines() if line.startswith((name + " ", name + "{"))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def segments(folder):
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(os.path.join(folder, name) for name in names if name.endswith(".seg"))


def code_of(event):
    data = event.get("data")
    return data.get("code") if isinstance(data, dict) else None


def changes(events, change):
    """The life-cycle events of a kind."""
    return [event for event in events if isinstance(event.get("data"), dict) and event["data"].get("change") == change]


def run(program, *arguments):
    """Runs `afferent-PROGRAM` to its end: exit code, and what it printed."""
    done = subprocess.run([f"{BIN}/afferent-{program}", *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def main(body):
    """Runs an attack; exits 1 when it worked."""
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))
    rig = Rig()
    try:
        body(rig)
    except Worked as why:
        print(f"FAILED    {why}", flush=True)
        for process in rig.processes if "ATTACK_LOGS" in os.environ else []:
            print(f"--- {process.name}\n{process.said()[-6000:]}")
        sys.exit(1)
    print("HELD", flush=True)
