"""B.8: a rename must not hide what the old name still held."""
import time

from proofs import COMPLETE, INCOMPLETE, Span, certificate, heard_after, next_second, verdict
from rig import Agent, Collector, Rig, attack, changes, expect, held, is_control, main, run, wait


def body(rig: Rig):
    span = Span()
    collector = Collector(rig).start()
    agent = Agent(rig, collector.mqtt, folder="agent").start()
    agent.break_down("before-", 3)
    agent.wait_delivered()
    known = time.time()
    heard_after(collector, "press-88", known)
    collector.stop()
    hidden = agent.break_down("hidden-", 1)
    since = next_second()
    agent.stop()

    attack("An agent accepts a breakdown of 88-C while its collector is away. Then it is given another name, press-89. Its ring "
           "holds the breakdown under the old name, which nobody ships any more.")
    expect("A certificate of the machine 88-C is INCOMPLETE, and names press-88.")
    collector.start()
    renamed = Agent(rig, collector.mqtt, name="press-89", folder="agent").start()
    renamed.break_down("after-", 3)
    wait("the new name's breakdowns are in the log", lambda: len(collector.codes("after-")) == 3)
    heard_after(collector, "press-89", since)
    is_control(not collector.codes(hidden[0]), "the breakdown is not in the log")
    aliases = [e["data"] for e in changes(collector.events(), "alias")]
    held(aliases, f"the log knows both names: {aliases[0] if aliases else None}")
    renamed.stop()
    collector.stop()
    code, text = certificate(collector.data, span, until=since)
    named = [line for line in text.splitlines() if "press-88" in line and "open" in line.lower()] or \
        [line for line in text.splitlines() if "press-88" in line]
    held(code == INCOMPLETE, f"the machine: exit code {code}: {verdict(text)}; {named[0].strip() if named else ''}", text)
    code, text = certificate(collector.data, span, of=("--source", "press-89"), until=since)
    held(code == INCOMPLETE, f"the new name: exit code {code}: {verdict(text)}", text)
    code, text = certificate(collector.data, span, until=int(known))
    is_control(code in (COMPLETE, INCOMPLETE), f"the time before the collector went away: exit code {code}: {verdict(text)}")

    # The old name once more: now all of it comes.
    collector.start()
    back = Agent(rig, collector.mqtt, name="press-88", folder="agent").start()
    wait("the breakdown is in the log", lambda: collector.codes(hidden[0]))
    again = time.time()
    heard_after(collector, "press-88", again)
    back.stop()
    run("collector", "agents", "retire", "press-89", "--why", "renamed by mistake", "--who", "the attack script", "--http",
        f"127.0.0.1:{collector.http}")
    wait("the retirement is an event", lambda: changes(collector.events(), "retired"))
    collector.stop()
    code, text = certificate(collector.data, span, of=("--source", "press-88"), until=int(again))
    print(f"          under the old name it is delivered: exit code {code}: {verdict(text)}")


main(body)
