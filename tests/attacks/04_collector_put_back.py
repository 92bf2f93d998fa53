"""A.4: the collector's data is restored from a backup, or its log is deleted, while readers and agents have gone on."""
import json
import os
import shutil

from rig import Agent, Collector, Rig, attack, changes, expect, held, is_control, main, wait


class Reader:
    """Somebody who has read up to the log's end: by a page's cursor, and by a named subscription."""

    def __init__(self, collector):
        self.collector = collector
        self.cursor = collector.get("/v1/events?limit=2000")[2]["afferent-next-cursor"]
        collector.get("/v1/subscriptions/wear", "PUT", {})
        answer = collector.get("/v1/subscriptions/wear/fetch?member=a&wait=1", "POST")
        status, text, _ = collector.get("/v1/subscriptions/wear/commit", "POST", {"cursor": answer[2]["afferent-cursor"]})
        is_control(status == 204, "the subscription is committed", text)

    def go_on(self):
        return self.collector.get(f"/v1/events?limit=2000&cursor={self.cursor}")

    def subscription(self):
        return json.loads(self.collector.get("/v1/subscriptions/wear")[1])


def put_back(rig, name, what, damage):
    collector = Collector(rig, name).start()
    agent = Agent(rig, collector.mqtt, folder=f"{name}-agent").start()
    before = agent.break_down("before-", 5)
    agent.wait_delivered()
    collector.stop()
    shutil.copytree(collector.data, rig.path(f"{name}-backup"))
    collector.start()
    since = agent.break_down("since-", 20)
    agent.wait_delivered()
    reader = Reader(collector)
    is_control(reader.go_on()[0] == 200 and not reader.subscription().get("error"),
               "before, the cursor and the subscription are good")
    ended = int(json.loads(collector.get("/v1/agents")[1])["log"]["end"])

    attack(f"{what} 20 breakdowns had been acknowledged since, and readers had read up to offset {ended}.")
    expect("The agent sends again what it still has; a RolledBack event, ERROR and health say what has happened; the cursor is "
           "refused with a remedy; the subscription is in error until somebody resets it.")
    collector.stop()
    damage(collector, rig.path(f"{name}-backup"))
    collector.start()
    wait("all 25 are in the log, once", lambda: sorted(collector.codes()) == sorted(before + since))
    held(True, "all 25 are in the log, each once: the agent has sent them again")
    rolled = wait("the log says that it was put back", lambda: changes(collector.events(), "rolled_back"))
    held(rolled, f"the event: {rolled[0]['data']}")
    held("ERROR" in collector.said(), "the collector's log has an ERROR")
    health = collector.get("/healthz")[1]
    held(health.startswith("degraded"), "health: " + " ".join(health.split("\n")).strip())
    status, text, _ = reader.go_on()
    problem = json.loads(text) if status >= 400 else {}
    held(status >= 400 and problem.get("remedy"), f"the cursor is refused with {status}: {problem.get('detail')}; {problem.get('remedy')}", text[:300])
    told = reader.subscription()
    held(told.get("error") and told.get("lag") is None, f"the subscription: {told.get('error')}", str(told))
    status, text, _ = collector.get("/v1/subscriptions/wear/fetch?member=a&wait=1", "POST")
    held(status >= 400, f"and gives nothing: {status}")
    collector.get("/v1/subscriptions/wear/reset", "POST", {"to": "first"})
    status, text, _ = collector.get("/v1/subscriptions/wear/fetch?member=a&wait=1", "POST")
    is_control(status == 200 and "since-19" in text, "after a reset it gives everything again")
    agent.stop()
    collector.stop()


def from_backup(collector, backup):
    """The log alone: subscriptions stay, as on a disk of their own, and so know more than the log."""
    shutil.rmtree(os.path.join(collector.data, "log"))
    shutil.copytree(os.path.join(backup, "log"), os.path.join(collector.data, "log"))


def deleted(collector, _backup):
    shutil.rmtree(os.path.join(collector.data, "log"))


def body(rig: Rig):
    put_back(rig, "restored", "The collector's log is put back from a backup.", from_backup)
    put_back(rig, "deleted", "The collector's log is deleted.", deleted)


main(body)
