"""B.7: one event that is dated 2031 must not prove anything about the years until then."""
import time

from proofs import COMPLETE, INCOMPLETE, Span, certificate, heard_after, verdict
from rig import Agent, Collector, Rig, attack, expect, held, is_control, main

YEAR_S = 365 * 86400


def body(rig: Rig):
    span = Span()
    collector = Collector(rig).start()
    agent = Agent(rig, collector.mqtt).start()
    agent.break_down("E", 3)
    agent.break_down("dated-", 1, time="2031-01-01T00:00:00Z")
    agent.wait_delivered()
    known = time.time()
    heard_after(collector, "press-88", known)
    agent.stop()
    collector.stop()

    attack("A producer has sent one breakdown that is dated 2031. Then the machine falls silent, and somebody asks for a "
           "certificate of the next year.")
    expect("INCOMPLETE: it is known until the agent's last word, and no event of a producer counts as that.")
    code, text = certificate(collector.data, span, until=int(known))
    is_control(code == COMPLETE, f"up to the agent's last word, exit code {code}: {verdict(text)}", text)
    for what, until in (("the coming year", time.time() + YEAR_S), ("the next ten seconds", time.time() + 10)):
        code, text = certificate(collector.data, span, until=until)
        held(code == INCOMPLETE, f"{what}: exit code {code}: {verdict(text)}", text)
    open_ = [line for line in text.splitlines() if "nothing is known" in line]
    held(open_, f"it says: {open_[0].strip() if open_ else ''}", text)


main(body)
