"""A.2: an agent's data directory is restored from a backup; and a copy of it runs on a second machine."""
import os
import shutil
import time

from rig import Agent, Collector, Rig, attack, changes, code_of, expect, held, is_control, main, wait

CLONE_S = 12


def epochs_of(events, codes):
    return {event["epoch"] for event in events if code_of(event) in codes}


def all_arrive(collector, codes):
    wait("all of them are in the log, once", lambda: sorted(c for c in collector.codes() if c in codes) == sorted(codes))


def restored(rig):
    collector = Collector(rig, "restored").start()
    agent = Agent(rig, collector.mqtt).start()
    before = agent.break_down("before-", 10)
    agent.wait_delivered()
    agent.stop()
    shutil.copytree(agent.data, rig.path("backup"))

    attack("The agent's directory is put back from a backup. Since then 50 breakdowns were accepted and delivered; in place of "
           "their sequences 50 others are accepted before the collector is reached again.")
    expect("All 100 are in the log, under two epochs, and the second one's first event says why.")
    agent.start()
    since = agent.break_down("since-", 50)
    agent.wait_delivered()
    agent.stop()
    collector.stop()
    shutil.rmtree(agent.data)
    shutil.copytree(rig.path("backup"), agent.data)
    agent.start()
    again = agent.break_down("again-", 50)
    collector.start()
    all_arrive(collector, before + since + again)
    events = collector.events()
    old, new = epochs_of(events, since), epochs_of(events, again)
    held(old and new and not old & new, "all 110 are in the log, once; those accepted since and those accepted again under "
         f"different epochs ({len(old | new)} in all)", f"{old} {new}")
    resealed = [e for e in changes(events, "resealed") if e["source"] == "press-88"]
    held(resealed and resealed[0]["data"]["reason"] == "diverged", "the new epoch's first event names the old one: "
         f"{resealed[0]['data'] if resealed else None}")
    lost = [e for e in events if e["type"].startswith("afferent.loss")]
    held(not lost and not changes(events, "gap"), "nothing was declared lost")
    held(not changes(events, "conflict"), "a directory that was restored is not taken for a second machine")
    agent.wait_delivered()
    agent.break_down("then-", 5)
    wait("it goes on", lambda: len(collector.codes("then-")) == 5)
    agent.stop()
    collector.stop()


def cloned(rig):
    collector = Collector(rig, "cloned").start()
    one = Agent(rig, collector.mqtt, name="press-89", folder="one").start()
    one.break_down("before-", 10)
    one.wait_delivered()
    one.stop()
    shutil.copytree(one.data, rig.path("two"))
    for left in ("agent.sock", "lock"):
        if os.path.exists(rig.path("two", left)):
            os.remove(rig.path("two", left))

    attack("A copy of the agent's directory, its key with it, runs on a second machine while the first goes on. Both accept a "
           f"breakdown twice a second, {CLONE_S} s long.")
    expect("Every breakdown of both arrives; one event names the conflict; neither throws the other out.")
    two = Agent(rig, collector.mqtt, name="press-89", folder="two")
    one.start()
    two.start()
    codes, until = [], time.monotonic() + CLONE_S
    while time.monotonic() < until:
        number = len(codes) // 2
        codes += one.break_down("one-", 1, number) + two.break_down("two-", 1, number)
        time.sleep(0.5)  # The pace of the producers, and nothing that anything waits for.
    all_arrive(collector, codes)
    events = collector.events()
    held(True, f"all {len(codes)} are in the log, once")
    epochs = epochs_of(events, {c for c in codes if c.startswith("one-")}), epochs_of(events, {c for c in codes if c.startswith("two-")})
    held(not epochs[0] & epochs[1], f"under {len(epochs[0])} + {len(epochs[1])} epochs, none of both")
    wait("the conflict is an event", lambda: changes(collector.events(), "conflict"))
    events = collector.events()
    held(len(changes(events, "conflict")) == 1, f"one event names both machines: {changes(events, 'conflict')[0]['data']}")
    links = [e for e in events if e["source"] == "press-89" and e["data"].get("change") in ("link_up", "link_down")]
    held(len(links) <= 8, f"{len(links)} link events in {CLONE_S} s")
    with_power = f"{one.figure('afferent_agent_link_up'):.0f} + {two.figure('afferent_agent_link_up'):.0f}"
    held(with_power == "1 + 1", "both are connected")
    taken = collector.get("/metrics")[1]
    held("afferent_taken_over_total 0" in taken, "no connection was taken over")
    one.stop()
    two.stop()
    is_control(not changes(collector.events()[:12], "conflict"), "before the copy ran there was no conflict to name")


def body(rig: Rig):
    restored(rig)
    cloned(rig)


main(body)
