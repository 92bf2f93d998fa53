"""What the attacks on certificates share: a log with two agents, certificates, and the edits of an insider."""
import shutil
import time

from rig import Agent, Collector, changes, run, utc, wait

COMPLETE, INCOMPLETE, WRONG, REFUTED = 0, 1, 2, 3
# Of `log verify`, which has two answers.
SOUND, NOT_SOUND = 0, 1


class Span:
    """Everything between the start of the script and the moment that is asked for."""

    def __init__(self):
        self.begun = time.time() - 1

    def until(self, seconds=None):
        return ["--from", utc(self.begun), "--until", utc(seconds or time.time())]


def next_second():
    """The first whole second behind everything so far: the end of a span that has all of it."""
    return int(time.time()) + 1


def certificate(data, span, *more, of=("--machine", "88-C"), until=None):
    """Exit code and text of a certificate drawn from files."""
    return run("collector", "certificate", *of, "--data", data, *span.until(until), *more)


def verify(data, *more):
    return run("collector", "log", "verify", "--data", data, *more)


def verdict(text):
    lines = [line for line in text.splitlines() if line.startswith("verdict")]
    return lines[0].removeprefix("verdict").strip() if lines else text.strip().splitlines()[-1]


def heard_after(collector, agent, seconds):
    """Waits until the log has a heartbeat of the agent from behind this time."""
    def is_there():
        beats = [e for e in changes(collector.events(), "heartbeat") if e["source"] == agent]
        return beats and beats[-1]["time"] > utc(seconds + 1)
    wait(f"{agent} has said how far it is", is_there)


def filled(rig, name="collector", agents=("press-88", "press-90")):
    """A collector's directory with breakdowns of two agents, cleanly stopped; when the last of them was known; the agents."""
    collector = Collector(rig, name, extra='storage.segment_mib = 1').start()
    made = [Agent(rig, collector.mqtt, name=agent, folder=f"{name}-{agent}").start() for agent in agents]
    for round in range(5):
        for agent in made:
            agent.break_down(f"{agent.name}-{round}-", 3)
            agent.wait_delivered()
    known = time.time()
    for agent in made:
        heard_after(collector, agent.name, known)
    for agent in made:
        agent.wait_delivered()
        agent.stop()
    collector.stop()
    return collector, int(known), made


def copy(rig, collector, name):
    """A copy of the data directory, to be forged."""
    shutil.copytree(collector.data, rig.path(name))
    return rig.path(name)


def attestations(rig, collector, name="witness"):
    """The log's attestations, a line each, as an operator keeps them outside."""
    lines = [event["data"]["attestation"] for event in changes(collector.dump(), "attested")]
    return rig.write(name, "".join(line + "\n" for line in lines))
