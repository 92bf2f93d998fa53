"""Strangers that make up names: of agents, each with a key of its own, and of subscriptions that nobody reads."""
import http.client
import os
import socket
import struct

import forge
from rig import Agent, Collector, Rig, attack, changes, expect, held, is_control, main, wait

NEW_MAX = 20
UNMOVED_OF_ONE = 250
QUOTA_EXCEEDED, NOT_AUTHORIZED = 0x97, 0x87


def shard(name):
    """FNV-1a of 64 bits, modulo 64."""
    found = 0xcbf29ce484222325
    for byte in name.encode():
        found = (found ^ byte) * 0x100000001b3 % (1 << 64)
    return found % 64


def text(given):
    return struct.pack(">H", len(given)) + given


class Client:
    """An MQTT 5 client at an address of its own, that speaks as one agent."""

    def __init__(self, port, from_, name):
        self.name, self.topic = name, f"afferent/v1/{shard(name):02d}/{name}".encode()
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(from_, 0))
        self.send(0x10, text(b"MQTT") + bytes([5, 2, 0, 0, 0]) + text(b""))
        self.wait(0x20)
        self.send(0x82, b"\0\1\0" + text(self.topic + b"/down") + b"\0")
        self.wait(0x90)

    def send(self, head, body):
        self.stream.sendall(bytes([head]) + forge.varint(len(body)) + body)

    def take(self, count):
        taken = b""
        while len(taken) < count:
            more = self.stream.recv(count - len(taken))
            if not more:
                raise OSError("the connection ended")
            taken += more
        return taken

    def wait(self, *kinds):
        """The next packet of one of these kinds, and what follows its length."""
        while True:
            kind, length, shift, more = self.take(1)[0], 0, 0, 0x80
            while more & 0x80:
                more = self.take(1)[0]
                length, shift = length | (more & 0x7f) << shift, shift + 7
            body = self.take(length)
            if kind & 0xf0 in kinds:
                return kind & 0xf0, body

    def say(self, message):
        """Publishes; the reason of the answer, and what the collector says of it."""
        self.send(0x32, text(self.topic + b"/up") + b"\0\2\0" + message)
        reason, said = None, None
        while reason is None or (reason == 0 and said is None):
            kind, body = self.wait(0x40, 0x30)
            if kind == 0x40:
                reason = body[2] if len(body) > 2 else 0
            else:
                properties = 2 + len(self.topic + b"/down")
                said = body[properties + 1 + body[properties]:]
        return reason, said

    def hello(self, key, answer):
        fields = bytes(16) + os.urandom(16) + b"\0" + forge.varint(0) + forge.varint(0) + b"\0"
        content = forge.varint(0) + forge.varint(1) + forge.varint(0)
        return forge.sealed(self.name, key, b"\0\0" + bytes(16) + b"\7" * 16 + answer + key.public + fields + content)

    def prove(self, key):
        """Says hello and proves it; the reason when it is refused."""
        reason, welcome = self.say(self.hello(key, bytes(16)))
        if reason == 0:
            reason, _ = self.say(self.hello(key, welcome[106:122]))
        self.stream.close()
        return reason


def put(collector, name, from_):
    """Makes a subscription from an address; status, words and when to come again."""
    client = http.client.HTTPConnection("127.0.0.1", collector.http, timeout=60, source_address=(from_, 0))
    client.request("PUT", f"/v1/subscriptions/{name}", "{}", {"content-type": "application/json"})
    answer = client.getresponse()
    outcome = answer.status, answer.read().decode(), answer.headers.get("retry-after")
    client.close()
    return outcome


def body(rig: Rig):
    # What one address may bring is 1,024 by itself; signing is slow here.
    collector = Collector(rig, extra=f"names.new_max = {NEW_MAX}").start()
    agent = Agent(rig, collector.mqtt).start()
    agent.break_down("before-", 1)
    agent.wait_delivered()

    attack(f"A stranger makes up {NEW_MAX + 10} names, and proves a key of its own for each.")
    expect(f"Its address brings {NEW_MAX} within ten minutes; then it is told to come later, in MQTT, in health and in the log.")
    key = forge.Key(b"stranger".ljust(32))
    outcomes = [Client(collector.mqtt, "127.0.0.2", f"stranger-{number}").prove(key) for number in range(NEW_MAX + 10)]
    is_control(outcomes[:NEW_MAX] == [0] * NEW_MAX, f"{NEW_MAX} of them are let in: a name costs nothing", outcomes)
    held(outcomes[NEW_MAX:].count(QUOTA_EXCEEDED) >= 8, "those beyond are refused with reason code 0x97", outcomes)
    health = collector.get("/healthz")[1]
    held("127.0.0.2 has used" in health and "names.new_max" in collector.said(), health.strip()[-150:], health)
    let_in = outcomes.count(0)
    wait("metrics count them", lambda: f"afferent_names_new {let_in}\n" in collector.get("/metrics")[1])
    held("stranger-" not in collector.get("/metrics")[1], "metrics count them, and name none")

    attack("Meanwhile an agent that was never here comes from another address, and one that is known goes on.")
    expect("Both deliver; the name of neither can be taken.")
    newcomer = Agent(rig, collector.mqtt, name="press-89").start()
    newcomer.break_down("new-", 1)
    agent.break_down("on-", 1)
    for one in (newcomer, agent):
        one.wait_delivered()
    held(collector.codes("new-") + collector.codes("on-") == ["new-0", "on-0"], "what they have sent is in the log")
    reasons = [Client(collector.mqtt, "127.0.0.3", name).prove(key) for name in ("press-88", "press-89")]
    held(reasons == [NOT_AUTHORIZED] * 2, "who comes with another key is refused", reasons)

    attack("1,000 subscriptions are made by one client, and read by nobody.")
    expect(f"It has {UNMOVED_OF_ONE} that were never committed; another client makes one, and reads and commits it.")
    outcomes = [put(collector, f"s-{number}", "127.0.0.2") for number in range(1000)]
    statuses = [status for status, *_ in outcomes]
    is_control(statuses.count(201) == UNMOVED_OF_ONE, f"{UNMOVED_OF_ONE} are made, and there is room for 1,000")
    status, words, again = outcomes[-1]
    held(status == 429 and again == "60" and "DELETE" in words, f"then {status}, to come again in {again} s: {words[:150]}", words)
    held(put(collector, "erp", "127.0.0.1")[0] == 201, "another client makes one")
    _, _, headers = collector.get("/v1/subscriptions/erp/fetch?member=a", "POST", {})
    status = collector.get("/v1/subscriptions/erp/commit", "POST", {"cursor": headers["afferent-cursor"]})[0]
    held(status == 204, "and uses it")

    attack("The collector is started again.")
    expect("It knows the same names: what it holds to a key is in its log.")
    before = collector.get("/v1/agents")[1].count('"name":"stranger-')
    pins = changes(collector.events(), "key_pinned")
    collector.stop()
    collector.start()
    after = collector.get("/v1/agents")[1].count('"name":"stranger-')
    held(before == after == let_in and len(pins) >= let_in, f"{after} names of the stranger, each with an event")
    agent.break_down("after-", 1)
    agent.wait_delivered()
    wait("health says ok", lambda: collector.get("/healthz")[1] == "ok\n")
    held(collector.codes("after-") == ["after-0"], "agents deliver, and health says ok")


main(body)
