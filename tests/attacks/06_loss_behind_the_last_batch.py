"""B.6: what an epoch loses behind its last batch, and what a ring still holds."""
import os
import time

import forge
from proofs import COMPLETE, INCOMPLETE, Span, certificate, heard_after, next_second, verdict
from rig import Agent, Collector, Rig, attack, expect, held, is_control, main, run, wait

SMALL = '[ring]\npool_bytes = "8MiB"\nsegment_bytes = "64KiB"\n'
COUNT, SIZE = 300, 1000


def newest_segment(data):
    folder = os.path.join(data, "ring")
    segments = [forge.Segment(os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".seg")]
    return max((s for s in segments if s.entries and s.entries[0][1].stream == 0), key=lambda s: s.entries[0][1].first).path


def torn(rig):
    span = Span()
    collector = Collector(rig)
    agent = Agent(rig, collector.mqtt, extra=SMALL).start()
    agent.break_down("E", COUNT, message="x" * SIZE)
    until = next_second()
    agent.stop()
    attack(f"An agent has accepted {COUNT} breakdowns and reached nobody; the newest segment of its ring is deleted. So the loss "
           "lies behind the last batch that will ever come of that epoch, and leaves no hole between batches.")
    expect("The certificate is INCOMPLETE, exit code 1, and names what was lost.")
    os.remove(newest_segment(agent.data))
    collector.start()
    agent.start()
    agent.wait_delivered()
    heard_after(collector, "press-88", until)
    agent.stop()
    collector.stop()
    code, text = certificate(collector.data, span, until=until)
    held(code == INCOMPLETE, f"exit code {code}: {verdict(text)}", text)
    lost = [line for line in text.splitlines() if "vanished" in line or "lost" in line]
    held(lost, f"it says: {lost[0] if lost else ''}", text)


def in_ring(rig):
    span = Span()
    collector = Collector(rig, "second").start()
    agent = Agent(rig, collector.mqtt, folder="second-agent").start()
    agent.break_down("before-", 3)
    agent.wait_delivered()
    known = time.time()
    heard_after(collector, "press-88", known)
    wait("it is complete up to then", lambda: run("collector", "certificate", "--machine", "88-C", "--http",
         f"127.0.0.1:{collector.http}", *span.until(int(known)))[0] in (COMPLETE, INCOMPLETE))
    collector.stop()
    attack("98 more breakdowns are accepted while the collector is away; nobody but the agent's ring knows of them.")
    expect("A certificate over that time is not complete: the agent has not spoken since; with the agent's ring as evidence it says "
           "what is there.")
    agent.break_down("ring-", 98)
    agent.stop()
    code, text = certificate(collector.data, span, until=int(known))
    is_control(code == COMPLETE, f"for the time before, exit code {code}: {verdict(text)}", text)
    until = next_second()
    code, text = certificate(collector.data, span, until=until)
    held(code == INCOMPLETE, f"exit code {code}: {verdict(text)}", text)
    code, text = certificate(collector.data, span, "--ring", os.path.join(agent.data, "ring"), until=until)
    named = [line for line in text.splitlines() if "ring" in line]
    held(code == INCOMPLETE and named, f"with the ring, exit code {code}: {named[0] if named else ''}", text)


def body(rig: Rig):
    torn(rig)
    in_ring(rig)


main(body)
