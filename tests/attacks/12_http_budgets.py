"""A stranger takes all connections, streams, bytes and computing time of the HTTP server that there are to be had."""
import resource
import select
import socket
import threading
import time

from rig import Agent, Collector, Rig, attack, expect, figure, held, is_control, main, wait

RSS_MIB_MAX = 256
# Of what an attack took, buffers for the next time may stay.
STAYS_MIB_MAX = 24
CROWD = 2060


def labelled(metrics, name):
    """A figure with its labels; 0 while there is none."""
    return next((float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name + " ")), 0)


class Siege:
    def __init__(self, rig):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.collector = Collector(rig).start()
        self.agent = Agent(rig, self.collector.mqtt).start()
        self.count = 0
        self.rest_mib = self.rest()

    def rest(self):
        """What it holds of its own once it has given back what its start took: no less after three seconds."""
        lowest, since = self.memory_mib("RssAnon"), time.monotonic()
        while time.monotonic() - since < 3:
            now = self.memory_mib("RssAnon")
            if now < lowest:
                lowest, since = now, time.monotonic()
            time.sleep(0.1)
        return lowest

    def connect(self, request, from_="127.0.0.1"):
        stream = socket.create_connection(("127.0.0.1", self.collector.http), timeout=60, source_address=(from_, 0))
        try:
            stream.sendall(request)
        except OSError:
            pass  # It was turned away at once.
        return stream

    def metric(self, name):
        return figure(self.collector.get("/metrics")[1], name)

    def refused(self, kind):
        return labelled(self.collector.get("/metrics")[1], f'afferent_refused_total{{kind="{kind}"}}')

    def memory_mib(self, what):
        with open(f"/proc/{self.collector.process.child.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(what + ":")) // 1024

    def taken_mib(self):
        """What it holds of its own beyond what it held before the attacks."""
        return self.memory_mib("RssAnon") - self.rest_mib

    def holds(self, when):
        self.count += 1
        before = self.metric("afferent_agent_events_total")
        self.agent.break_down(f"S{self.count}-", 1)
        wait("an event arrives", lambda: self.metric("afferent_agent_events_total") > before)
        status, words, _ = self.collector.get("/healthz")
        rss = self.memory_mib("VmRSS")
        held(status == 200 and rss <= RSS_MIB_MAX,
             f"{when}: events arrive, /metrics answers, /healthz says {words.split()[0]!r}, {rss} MiB are resident", words)

    def is_as_before(self):
        begun = time.monotonic()
        wait("health says ok", lambda: self.collector.get("/healthz")[1] == "ok\n")
        wait("connections are given back", lambda: self.held("connections") <= 1)
        wait("memory is given back", lambda: self.taken_mib() <= STAYS_MIB_MAX)
        held(self.collector.get("/v1/agents")[0] == 200,
             f"after {time.monotonic() - begun:.0f} s all is as before, but for {self.taken_mib()} MiB of memory")

    def held(self, what):
        return labelled(self.collector.get("/metrics")[1], f'afferent_http_held{{what="{what}"}}')

    def head(self, path, length, kind="application/x-ndjson"):
        return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.collector.http}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {length}\r\n\r\n").encode()


def silent_posts(siege):
    attack(f"{CROWD} posts whose body never comes.")
    expect("The client has its share of connections and no more; health and metrics have a reserve; bodies have a time limit.")
    crowd = [siege.connect(siege.head("/v1/events", 1000)) for _ in range(CROWD)]
    siege.holds("meanwhile")
    status, words, _ = siege.collector.get("/v1/agents")
    is_control(status == 429, f"the share of this client is used up: {words}")
    crowd[0].settimeout(60)
    answer = crowd[0].recv(4096).decode()
    held(answer.startswith("HTTP/1.1 408 "), f"a body that does not come: {answer.splitlines()[0]}", answer)
    wait("all have ended", lambda: siege.held("connections") <= 1)
    for stream in crowd:
        stream.close()
    siege.is_as_before()


def unfinished_posts(siege):
    attack("300 posts of 3.9 MB that lack their last byte.")
    expect("Memory is taken out of one budget as bytes come; whoever finds none is told to come again.")
    body, crowd = b" " * 3_899_999, []

    def send():
        stream = siege.connect(siege.head("/v1/events", len(body) + 1))
        crowd.append(stream)
        try:
            stream.sendall(body)
        except OSError:
            pass

    threads = [threading.Thread(target=send, daemon=True) for _ in range(300)]
    for thread in threads:
        thread.start()
    wait("some find no room", lambda: siege.refused("http-bodies") > 0)
    wait("the bodies that came are held", lambda: siege.taken_mib() > STAYS_MIB_MAX)
    is_control(True, f"they hold {siege.taken_mib()} MiB")
    siege.holds("meanwhile")
    for thread in threads:
        thread.join(60)
    siege.holds("when all was sent")
    is_control(300 * len(body) >> 20 > 4 * RSS_MIB_MAX, f"they have sent {300 * len(body) >> 20} MiB")
    for stream in crowd:
        stream.close()
    siege.is_as_before()


def streams(siege):
    attack(f"{CROWD} event streams that nobody reads, each from the first event on.")
    expect("A thousand of one client are served; beyond its share it is refused, and nobody else is.")
    request = f"GET /v1/stream?from=first HTTP/1.1\r\nHost: 127.0.0.1:{siege.collector.http}\r\n\r\n".encode()
    crowd = [siege.connect(request) for _ in range(1000)]
    wait("a thousand are open", lambda: siege.held("streams") == 1000)
    is_control(siege.refused("http-streams") == 0, "a thousand are no attack")
    crowd += [siege.connect(request) for _ in range(CROWD - 1000)]
    wait("some are refused", lambda: siege.refused("http-streams") > 0)
    siege.holds("meanwhile")
    other = siege.connect(request, "127.0.0.2")
    held(other.recv(4096).startswith(b"HTTP/1.1 200 "), "a client with another address has a stream")
    for stream in crowd + [other]:
        stream.close()
    siege.is_as_before()


def plans(siege):
    attack("20 plans of 8 alternatives with 6 rules each, at the same time.")
    expect("One is computed at a time, for two minutes at most and while its client waits; a state of the past is told all "
           "the same.")
    condition = " && ".join(f"subject != '{number}'" for number in range(10, 55))
    rule = f'[[alternative.rule]]\naction = "relabel"\nset = {{ message = "x" }}\nwhen = "{condition}"\n'
    plan = "".join(f'[[alternative]]\nname = "a{number}"\n{6 * rule}' for number in range(8)).encode()
    for start in range(0, 20_000, 1000):
        siege.agent.accept([{"subject": "88-C/x", "value": number} for number in range(start, start + 1000)])
    crowd = [siege.connect(siege.head("/v1/what-if", len(plan), "application/toml") + plan) for _ in range(20)]
    siege.holds("meanwhile")
    status, state, _ = siege.collector.get("/v1/models/kpi?as_of=1")
    held(status == 200, f"as of offset 1: {state[:60]}…", state)
    unanswered = len(crowd) - len(select.select(crowd, [], [], 0)[0])
    is_control(unanswered >= 19, f"{unanswered} plans are not answered yet")
    for stream in crowd:
        stream.close()
    siege.is_as_before()


def body(rig: Rig):
    siege = Siege(rig)
    siege.holds("before")
    for one in (silent_posts, unfinished_posts, streams, plans):
        one(siege)


main(body)
