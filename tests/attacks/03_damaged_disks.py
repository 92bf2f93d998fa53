"""A.3: parts of an agent's ring log vanish or are zeroed, its key is emptied, and a bit of the unified log is flipped."""
import os
import shutil

import forge
from rig import Agent, Collector, Rig, attack, changes, code_of, expect, held, is_control, main, wait

COUNT, SIZE = 400, 1000
SMALL = '[ring]\npool_bytes = "8MiB"\nsegment_bytes = "64KiB"\n'


def filled(rig):
    """An agent that has accepted much and reached nobody, stopped: its directory, to be damaged in copies."""
    agent = Agent(rig, Collector(rig, "nobody").mqtt, folder="filled", extra=SMALL).start()
    codes = agent.break_down("E", COUNT, message="x" * SIZE)
    agent.stop()
    return agent.data, codes


def newest_critical(data):
    """The critical segments of a ring, newest last."""
    found = []
    for name in os.listdir(os.path.join(data, "ring")):
        if name.endswith(".seg"):
            segment = forge.Segment(os.path.join(data, "ring", name))
            if segment.entries and segment.entries[0][1].stream == 0:
                found.append((segment.entries[0][1].first, segment.path))
    return [path for _, path in sorted(found)]


def losses(events):
    """Sequences that the agent has declared as lost, by reason."""
    found = {}
    for event in events:
        if event["type"].startswith("afferent.loss") and event["source"] == "press-88":
            data = event["data"]
            found.setdefault(data["reason"], []).append((int(data["first"]), int(data["end"])))
    return found


def after(rig, name, data, codes, damage):
    """Damages a copy, starts it with a collector, and gives what is in the log."""
    collector = Collector(rig, f"collector-{name}").start()
    agent = Agent(rig, collector.mqtt, folder=name, extra=SMALL)
    shutil.copytree(data, agent.data)
    for left in ("agent.sock",):
        if os.path.exists(os.path.join(agent.data, left)):
            os.remove(os.path.join(agent.data, left))
    damage(agent.data)
    agent.start()
    agent.break_down("then-", 1)
    wait("what was accepted afterwards is in the log", lambda: collector.codes("then-"))
    agent.wait_delivered()
    events = collector.events()
    found = [code_of(event) for event in events if code_of(event) in set(codes)]
    if len(found) != len(set(found)):
        held(False, "nothing is in the log twice")
    agent.stop()
    collector.stop()
    return events, found, agent


def vanished(rig, name, what, data, codes, damage):
    attack(f"{what} {COUNT} breakdowns had been accepted, and none delivered.")
    expect("Capture goes on. What is left arrives; what is gone is declared as vanished, with its sequences.")
    events, found, _ = after(rig, name, data, codes, damage)
    gone = [range for reason, ranges in losses(events).items() if "vanished" in reason or reason == "corrupt" for range in ranges]
    missing = len(codes) - len(found)
    count = sum(end - first for first, end in gone)
    held(missing > 0 and count >= missing, f"{len(found)} arrived, {missing} are gone, {count} sequences are declared: {losses(events)}")
    used = {}
    for event in events:
        if event["source"] == "press-88":
            place = (event["stream"], event["epoch"], int(event["sequence"]))
            if place in used:
                held(False, "no sequence is used twice", str(place))
            used[place] = True
    happened_again = [range for range in gone if any(
        code_of(event) == "then-0" and range[0] <= int(event["sequence"]) < range[1] and
        any(e["type"].startswith("afferent.loss") and e["data"]["epoch"] == event["epoch"] for e in events) for event in events)]
    held(not happened_again, "what is accepted afterwards has sequences of its own")


def delete_newest(data):
    os.remove(newest_critical(data)[-1])


def zero_newest(data):
    path = newest_critical(data)[-1]
    size = os.path.getsize(path)
    with open(path, "wb") as file:
        file.write(bytes(size))


def empty_all_but_one(data):
    for path in newest_critical(data)[1:]:
        with open(path, "wb"):
            pass


def no_ring(data):
    shutil.rmtree(os.path.join(data, "ring"))


def no_ring_and_no_witness(data):
    no_ring(data)
    shutil.rmtree(os.path.join(data, "witness"))


def rings(rig):
    data, codes = filled(rig)
    print(f"          {len(newest_critical(data))} segments of the ring hold breakdowns")
    _, found, _ = after(rig, "whole", data, codes, lambda _: None)
    is_control(len(found) == COUNT, f"an undamaged copy delivers all {COUNT}")
    vanished(rig, "deleted", "The newest segment of the ring is deleted.", data, codes, delete_newest)
    vanished(rig, "zeroed", "The newest segment of the ring is overwritten with zeros.", data, codes, zero_newest)
    vanished(rig, "emptied", "All segments but the oldest are emptied.", data, codes, empty_all_but_one)
    vanished(rig, "ringless", "The ring's directory is gone.", data, codes, no_ring)

    attack("Ring and witness are both gone: nothing on that disk knows what there was.")
    expect("An event says that the ring was replaced.")
    events, found, _ = after(rig, "bare", data, codes, no_ring_and_no_witness)
    replaced = changes(events, "ring_replaced")
    held(replaced, f"the agent says so: {replaced[0]['data'] if replaced else None}")

    attack("identity.key is emptied.")
    expect("Capture goes on with a WARN, and what the ring holds is sealed again under the new key.")

    def no_key(data):
        os.truncate(os.path.join(data, "identity.key"), 0)
    events, found, agent = after(rig, "keyless", data, codes, no_key)
    held(len(found) == COUNT, f"all {COUNT} arrived", f"{len(found)} of {COUNT}")
    held("WARN" in agent.said() and "key" in agent.said(), "the agent warns of it")
    reasons = {e["data"]["reason"] for e in changes(events, "resealed")}
    held("other_key" in reasons, f"the new epoch says why: {reasons}")


def log(rig):
    collector = Collector(rig, "flipped").start()
    agent = Agent(rig, collector.mqtt, folder="flipped-agent", name="press-90").start()
    codes = agent.break_down("E", 300)
    agent.wait_delivered()
    wait("all are in the log", lambda: len(collector.codes("E")) == 300)
    is_control(collector.get("/healthz")[1] == "ok\n", "before, health is `ok`")
    agent.stop()
    collector.stop()
    attack("One bit of the unified log is flipped, in the largest of the batches with 300 delivered breakdowns.")
    expect("ERROR in the collector's log, health is degraded, and the agent is asked for them again.")
    path = collector.segments()[0]
    with open(path, "rb") as file:
        data = bytearray(file.read())
    entries = forge.Segment(path).entries
    largest = max((entry for entry in entries if entry[1].source == "press-90"), key=lambda entry: entry[1].count)
    at = data.find(largest[2]) + 300
    data[at] ^= 1
    with open(path, "wb") as file:
        file.write(data)
    is_control(largest[1].count > 1, f"the batch holds {largest[1].count} events")
    collector.start()
    is_degraded = wait("health says what is wrong", lambda: collector.get("/healthz")[1].startswith("degraded") and collector.get("/healthz")[1])
    held(True, "health: " + " ".join(is_degraded.split("\n")).strip())
    held("ERROR" in collector.said(), "the collector's log has an ERROR")
    agent.start()
    wait("they are in the log again, each once", lambda: sorted(collector.codes("E")) == sorted(codes))
    held(True, "the agent was asked, and all 300 are in the log again, each once")
    agent.stop()
    collector.stop()


def body(rig: Rig):
    rings(rig)
    log(rig)


main(body)
