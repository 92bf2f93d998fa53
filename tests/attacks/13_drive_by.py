"""A web page of somebody else has a browser ask the collector, and somebody posts under a name that looks like an agent's."""
import http.client
import json

from rig import Agent, Collector, Rig, attack, expect, held, is_control, main, run, wait

EVENT = {"specversion": "1.0", "id": "1", "type": "com.example.wear.v1", "subject": "88-C"}


class Browser:
    """Sends what a browser sends."""

    def __init__(self, collector):
        self.collector = collector

    def ask(self, method, path, body="", kind=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.collector.http, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        headers = {"host": f"127.0.0.1:{self.collector.http}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if kind:
            headers["content-type"] = kind
        for name, text in {**headers, "content-length": str(len(body))}.items():
            connection.putheader(name, text)
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def body(rig: Rig):
    collector = Collector(rig).start()
    agent = Agent(rig, collector.mqtt).start()
    agent.break_down("E", 3)
    agent.wait_delivered()
    browser = Browser(collector)
    collector.get("/v1/subscriptions/erp", "PUT", {"from": "first"})

    def lag():
        return json.loads(collector.get("/v1/subscriptions/erp")[1])["lag"]

    before = lag()
    reset, end = "/v1/subscriptions/erp/reset", '{"to":"end"}'
    attack("A page of another origin has the browser reset a subscription: without asking, as a form or a text.")
    expect("Refused by Origin, by Sec-Fetch-Site, and by the type of the body, each on its own.")
    for headers in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        status, words = browser.ask("POST", reset, end, "application/json", **headers)
        held(status == 403, f"{headers}: {status}", words)
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        status, words = browser.ask("POST", reset, end, kind)
        held(status == 415, f"a body of the type {kind}: {status}", words)
    held(lag() == before, f"the subscription is still {before} events behind")

    attack("The page's own name resolves to this machine by now: the browser takes both for one origin.")
    expect("`Host` is no name of the collector: it neither reads nor posts.")
    evil = f"evil.example:{collector.http}"
    for method, path in (("GET", "/v1/events"), ("GET", "/"), ("POST", reset)):
        status, words = browser.ask(method, path, end if method == "POST" else "", "application/json", host=evil)
        held(status == 421, f"{method} {path} as {evil}: {status}", words)
    status, _ = browser.ask("POST", reset, end, "application/json", origin=f"http://127.0.0.1:{collector.http}")
    is_control(status == 204 and lag() == "0", "the collector's own page resets it")

    attack("Somebody posts under a name that looks like an agent's.")
    expect("Refused, whatever is changed about it that one does not see.")

    def post(source):
        return browser.ask("POST", "/v1/events", json.dumps({**EVENT, "source": source}), "application/cloudevents+json")

    for source in ("press-88", "Press-88", " press-88", "press-88\u00a0", "press-88\u200b", "pr\u0435ss-88"):
        status, words = post(source)
        held(status == 422, f"{source!a}: {status}", words)
    wait("another name is taken", lambda: post("/wear")[0] == 200)
    is_control(True, "another name is taken")

    attack("The collector is told to listen for everybody.")
    expect("`check` refuses it unless the file says that it is meant.")
    file = rig.write("open.toml", f'data = "{rig.path("open")}"\n[mqtt]\nlisten = "127.0.0.1:0"\n[http]\nlisten = "0.0.0.0:0"\n')
    code, words = run("collector", "check", "--config", file)
    held(code != 0 and "insecure" in words, f"exit code {code}: {words.strip()[:120]}…", words)
    with open(file, "a", encoding="utf-8") as more:
        more.write("insecure = true\n")
    code, words = run("collector", "check", "--config", file)
    is_control(code == 0, "with `insecure = true` it is taken", words)


main(body)
