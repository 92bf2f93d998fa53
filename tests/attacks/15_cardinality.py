"""A producer makes up machines, alarms and values, so that models have no room for what is real."""
import json

from rig import Agent, Collector, Rig, attack, expect, held, is_control, main, wait

MADE_UP = 20_000
ROOM, SHARE = 16_384, 4096
RSS_MIB_MAX = 256


def made_up(number):
    machine = f"m{number}"
    return [
        {"subject": machine, "type": "breakdown", "code": "E1", "severity": "fatal"},
        {"subject": machine, "type": "alarm", "condition": f"c{number}", "transition": "raised", "priority": 1000},
        {"subject": f"{machine}/x", "value": number},
    ]


def body(rig: Rig):
    collector = Collector(rig).start()
    agent = Agent(rig, collector.mqtt).start()
    stranger = Agent(rig, collector.mqtt, name="press-9").start()

    def state(name):
        """A state that has seen all that is in the log now."""
        end = next(int(line.split()[1]) for line in collector.get("/metrics")[1].splitlines()
                   if line.startswith("afferent_log_end_offset "))

        def seen():
            answer = json.loads(collector.get(f"/v1/models/{name}")[1])
            return answer if int(answer.get("offset", -1)) >= end else None

        return wait(f"{name} has seen everything", seen)["state"]

    def rss_mib():
        with open(f"/proc/{collector.process.child.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) // 1024

    attack(f"{MADE_UP} machines break down, raise an alarm of the highest priority and measure something; none of them exists.")
    expect("Their source has its share of every model, and no more: nothing of another source makes way.")
    for first in range(0, MADE_UP, 1000):
        stranger.accept([line for number in range(first, first + 1000) for line in made_up(number)])
    stranger.wait_delivered()
    agent.accept([
        {"subject": "77-A", "type": "state", "state": "executing"},
        {"subject": "77-A/pump", "type": "breakdown", "code": "REAL", "message": "no pressure"},
        {"subject": "77-A/pump", "type": "alarm", "condition": "pressure", "transition": "raised", "priority": 1},
        {"subject": "77-A/pump/pressure", "value": 0.5},
    ])
    agent.wait_delivered()
    wait("what is real is in the log", lambda: collector.get("/v1/events?subject=77-A/**&type=breakdown")[1])
    states, alarms = state("states?intervals=0"), state("alarms")
    held(states["machines"].get("77-A", {}).get("state") == "not_available", "77-A broke down after all that, and is shown so")
    held(state("kpi")["machines"]["77-A"]["failures"] == 1, "its failure counts")
    held(state("last")["subjects"]["77-A/pump/pressure"]["value"] == 0.5, "its last value is shown")
    held("pressure" in [alarm["condition"] for alarm in alarms["active"]], "so is its alarm, of the lowest priority")
    kept = len([name for name in states["machines"] if name.startswith("m")])
    is_control(MADE_UP > ROOM and kept == SHARE, f"{MADE_UP} were made up, room is for {ROOM}, and {kept} of them are kept")

    attack("All the while, nobody is told that something is missing.")
    expect("The answers name what is not shown and whose it is; health and metrics say so while it lasts, and a minute more.")
    held(states["not_shown"]["sources"][0]["source"] == "press-9", f"states: {json.dumps(states['not_shown'])[:120]}…")
    held(alarms["dropped"]["count"] == MADE_UP - SHARE, f"alarms: {alarms['dropped']['count']} dropped")
    words = collector.get("/healthz")[1]
    held("not-shown: " in words and "press-9" in words, f"health: {words.splitlines()[-1][:120]}…", words)
    line = 'afferent_model_not_shown{model="states@1",what="machines"} 1'
    held(line in collector.get("/metrics")[1].splitlines(), f"metrics: {line}")
    held(rss_mib() <= RSS_MIB_MAX, f"{rss_mib()} MiB are resident")


main(body)
