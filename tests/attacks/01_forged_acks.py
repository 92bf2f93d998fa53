"""A.1: a third client at a broker without rules publishes acks of its own, and says that an agent is offline."""
import json
import os
import subprocess

import forge
from rig import Agent, Collector, Process, Rig, attack, changes, expect, held, is_control, main, wait

PREFIX = "afferent/v1/19/press-88"


class Stranger:
    """A client of the broker that belongs to nobody: it hears everything, and says what it likes."""

    def __init__(self, rig, port):
        self.rig, self.port = rig, port
        self.ear = Process(rig, "heard", ["mosquitto_sub", "-p", str(port), "-t", "#", "-q", "1", "-F", "%t %x"])

    def heard(self, kind):
        lines = [line.split(" ") for line in self.ear.said().splitlines() if line.startswith("afferent/") and " " in line]
        return [bytes.fromhex(payload) for topic, payload in lines if topic.endswith("/" + kind) and len(payload) % 2 == 0]

    def say(self, kind, payload, *more):
        file = self.rig.path("payload")
        with open(file, "wb") as out:
            out.write(payload)
        subprocess.run(["mosquitto_pub", "-p", str(self.port), "-q", "1", "-t", f"{PREFIX}/{kind}", "-f", file, *more],
                       check=True, timeout=30)

    def newest_batch(self, codes):
        """The batch with the last of these breakdowns: they go to the broker although nobody is there to take them."""
        for message in reversed(self.heard("up")):
            for batch in forge.batches(message):
                if any(f'code="{codes[-1]}"' in line for line in batch.events()):
                    return batch
        return None

    def forgeries(self, genuine, nonce, batch, key):
        right, wrong = forge.resume(batch), forge.resume(batch, check=0x6174746163)
        return [
            ("an ack without a signature", forge.bare(forge.ack(right))),
            ("an ack without a signature, with a wrong check", forge.bare(forge.ack(wrong))),
            ("an ack signed by a key of the attacker's", forge.like(genuine, nonce, "press-88", key, forge.ack(right))),
            ("the same with a wrong check", forge.like(genuine, nonce, "press-88", key, forge.ack(wrong))),
            ("a welcome by that key", forge.like(genuine, nonce, "press-88", key, forge.welcome(1, wrong))),
            ("a genuine ack with other bytes in it", genuine[:-20] + bytes(20)),
        ]


def body(rig: Rig):
    broker, port = rig.broker()
    stranger = Stranger(rig, port)
    collector = Collector(rig, broker=port).start()
    agent = Agent(rig, port).start()
    agent.break_down("before-", 20)
    agent.wait_delivered()
    replayed = wait("the attacker has recorded acks", lambda: [m for m in stranger.heard("down") if forge.is_down(m)])
    genuine = replayed[-1]
    collector.stop()

    attack("The collector is stopped. The agent accepts 100 breakdowns and sends them to the broker, to which everybody may "
           "publish. There a third client reads them, and answers in the collector's place.")
    expect("The agent holds all 100 until the collector itself has them.")
    codes = agent.break_down("E", 100)
    batch = wait("the breakdowns are at the broker", lambda: stranger.newest_batch(codes))
    nonce = [m for m in stranger.heard("up") if forge.is_hello(m)][-1][90:106]
    ignored = agent.figure("afferent_agent_ignored_total")
    key = forge.Key(os.urandom(32))
    forged = stranger.forgeries(genuine, nonce, batch, key)
    for what, message in forged:
        print(f"          … {what}")
        stranger.say("down", message)
    print(f"          … {len(replayed)} genuine messages of before, replayed")
    for message in replayed:
        stranger.say("down", message)
    wait("the agent has counted what it ignores", lambda: agent.figure("afferent_agent_ignored_total") >= ignored + len(forged))
    held(agent.lag() >= 100, f"the agent still holds {agent.lag():.0f} events, and has counted what it ignored")

    hello = [m for m in stranger.heard("up") if forge.is_hello(m)][-1]
    collector.start()
    wait("all 100 are in the log", lambda: sorted(collector.codes("E")) == sorted(codes))
    wait("the collector's acks release them", lambda: agent.lag() < 10)
    is_control(True, "the collector's own acks release them: all 100 are in the log, once")

    attack("A retained `offline` in the agent's name, signed by the attacker, and one that the agent itself has signed before.")
    expect("The collector goes on saying that the agent is online: it knows that from the session.")

    def state():
        return next(a["state"] for a in json.loads(collector.get("/v1/agents")[1])["agents"] if a["name"] == "press-88")
    wait("the agent is online", lambda: state() == "online")
    nonce = [m for m in stranger.heard("up") if forge.is_hello(m)][-1][90:106]
    stranger.say("state", forge.offline(hello, nonce, "press-88", key), "-r")
    stranger.say("state", b'{"online":false}', "-r")
    agent.break_down("after-", 1)
    wait("the agent's next breakdown is in the log", lambda: collector.codes("after-"))
    held(state() == "online", "the agent is online")
    held(not changes(collector.events(), "conflict"), "nobody took it for two machines")

    genuine = [m for m in stranger.heard("down") if forge.is_down(m)][-1]
    collector.process.kill()
    codes = agent.break_down("K", 10)
    batch = wait("the breakdowns are at the broker", lambda: stranger.newest_batch(codes))
    with open(os.path.join(collector.data, "collector.key"), "rb") as file:
        own = forge.Key(file.read())
    stranger.say("down", forge.like(genuine, nonce, "press-88", own, forge.ack(forge.resume(batch))))
    wait("the agent believes it", lambda: agent.lag() < 10)
    is_control(True, "the same forgery with the collector's private key does release: what holds is the signature")


main(body)
