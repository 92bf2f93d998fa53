"""A.5: what came a moment ago looks ten years old to the collector's clock, and retention is on."""
import os
import time

import forge
from rig import Agent, Collector, Rig, attack, changes, control, expect, figure, held, is_control, main, wait

COUNT = 3000
MONTH = 'storage.segment_mib = 1\n[retention]\nage = "30d"'
SMALL = "storage.segment_mib = 1\n[retention]\nsize_mib = 2"
TEN_YEARS_US = 10 * 365 * 86400 * 10**6


def first_offset(collector):
    return int(figure(collector.get("/metrics")[1], "afferent_log_first_offset"))


def body(rig: Rig):
    collector = Collector(rig, extra="storage.segment_mib = 1").start()
    agent = Agent(rig, collector.mqtt).start()
    agent.accept([{"subject": "88-C/note", "value": "x" * 1000} for _ in range(COUNT)])
    agent.wait_delivered()
    agent.stop()
    collector.stop()
    whole = len(collector.segments())
    is_control(whole >= 3, f"the log has {whole} segments")

    collector.extra = MONTH
    print("          A collector whose clock is a year ahead: it asks the kernel itself for the time, so that no library can lie to "
          "it. That side is the test\n          retention::tests::a_collector_that_boots_with_a_clock_a_year_ahead_deletes_nothing. "
          "Here the same distance is made from the other side.")
    attack("All ingest times in the log are moved ten years back, each checksum made right.")
    expect("Nothing is deleted: attestations bind the times, and retention checks them first; ERROR and health say so.")
    for path in collector.segments():
        if os.path.exists(path.replace(".seg", ".idx")):
            os.remove(path.replace(".seg", ".idx"))  # Derived from the segment: the next start recreates it, with these times.
        segment = forge.Segment(path)
        segment.write(segment.entries, stamp=lambda stamp: stamp - TEN_YEARS_US)
    before = len(collector.said())
    collector.start()
    wait("retention has looked at them, and says so",
         lambda: "ERROR afferent_collector::retention" in collector.said()[before:])
    time.sleep(2)  # Time in which something could be deleted: what must not happen has no condition to wait for.
    held(first_offset(collector) == 0 and not changes(collector.events(), "trimmed"), "nothing was deleted")
    lines = [line for line in collector.said()[before:].splitlines() if "retention" in line or "ERROR" in line]
    held(lines, f"the collector says: {lines[0][28:] if lines else None}")
    health = collector.get("/healthz")[1]
    held(health.startswith("degraded"), "health: " + " ".join(health.split("\n")).strip())
    collector.stop()

    fresh = Collector(rig, "small", extra=SMALL).start()
    agent = Agent(rig, fresh.mqtt, folder="small-agent").start()
    agent.accept([{"subject": "88-C/note", "value": "x" * 1000} for _ in range(2 * COUNT)])
    agent.wait_delivered()
    fresh.stop()
    fresh.start()
    wait("the rule by size removes the oldest segments", lambda: first_offset(fresh) > 0)
    control(f"a rule by size, which uses no clock, does delete: the log begins at {first_offset(fresh)} now")
    agent.stop()
    fresh.stop()


main(body)
