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
           "holds the breakdown under the old name.")
    expect("The breakdown arrives under the name that it was accepted under, the log joins both names, and no certificate is "
           "complete that leaves press-88 out.")
    collector.start()
    is_control(not collector.codes(hidden[0]), "before the agent is back the breakdown is not in the log")
    renamed = Agent(rig, collector.mqtt, name="press-89", folder="agent").start()
    renamed.break_down("after-", 3)
    wait("the new name's breakdowns are in the log", lambda: len(collector.codes("after-")) == 3)
    wait("the old name's breakdown is in the log", lambda: collector.codes(hidden[0]))
    sources = [event["source"] for event in collector.events() if event["data"].get("code") == hidden[0]]
    held(sources == ["press-88"], f"the breakdown came once, under the old name: {sources}")
    heard_after(collector, "press-89", since)
    aliases = [e["data"] for e in changes(collector.events(), "alias")]
    held(aliases, f"the log knows both names: {aliases[0] if aliases else None}")
    renamed.stop()
    collector.stop()
    code, text = certificate(collector.data, span, until=since)
    held(code in (COMPLETE, INCOMPLETE) and "press-88" in text, f"the machine: exit code {code}: {verdict(text)}", text)
    code, text = certificate(collector.data, span, of=("--source", "press-89"), until=since)
    held(code in (COMPLETE, INCOMPLETE) and "press-88" in text, f"the new name: exit code {code}: {verdict(text)}", text)
    code, text = certificate(collector.data, span, until=int(known))
    is_control(code in (COMPLETE, INCOMPLETE), f"the time before the collector went away: exit code {code}: {verdict(text)}")

    # The old name will not speak again, which an operator says.
    collector.start()
    run("collector", "agents", "retire", "press-88", "--why", "it is press-89 now", "--who", "the attack script", "--http",
        f"127.0.0.1:{collector.http}")
    wait("the retirement is an event", lambda: changes(collector.events(), "retired"))
    collector.stop()
    code, text = certificate(collector.data, span, of=("--source", "press-88"), until=since)
    print(f"          the old name is retired: exit code {code}: {verdict(text)}")


main(body)
