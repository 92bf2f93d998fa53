//! The OpenAPI document against the router, and answers against the document.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use afferent_protocol::event::LossReason;
use afferent_protocol::ids::{Epoch, Sequence, Stream, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::sources::{LaneView, LossView, RangeView};

/// The document, in which no object has members that its schema does not name.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::to_value(<openapi::Document as utoipa::OpenApi>::openapi()).unwrap();
    let mut parts = BTreeSet::new();
    parts_of(&document, &mut parts);
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    for (_, schema) in schemas.iter_mut().filter(|(name, _)| !parts.contains(*name)) {
        close(schema);
    }
    document
});

/// Names of schemas that are parts of others: their objects have the members of those too.
fn parts_of(schema: &Value, parts: &mut BTreeSet<String>) {
    let below = schema.as_object().into_iter().flat_map(|object| object.values());
    below.chain(schema.as_array().into_iter().flatten()).for_each(|below| parts_of(below, parts));
    let named = schema["allOf"].as_array().into_iter().flatten().filter_map(|part| part["$ref"].as_str());
    parts.extend(named.filter_map(|name| name.rsplit('/').next()).map(str::to_owned));
}

fn close(schema: &mut Value) {
    if schema["allOf"].is_array() {
        schema["unevaluatedProperties"] = json!(false);
        return;
    }
    let Some(object) = schema.as_object_mut() else { return };
    if object.contains_key("properties") {
        object.entry("additionalProperties").or_insert(json!(false));
    }
    for below in object.values_mut() {
        match below {
            Value::Array(list) => list.iter_mut().for_each(close),
            below => close(below),
        }
    }
}

/// What is documented for this path, with names in it.
fn operation<'d>(document: &'d Value, method: &str, path: &str) -> Option<&'d Value> {
    let given: Vec<&str> = path.split('?').next()?.split('/').collect();
    let fits = |template: &str| {
        let known: Vec<&str> = template.split('/').collect();
        let fits = |(known, given): (&&str, &&str)| known == given || known.starts_with('{');
        known.len() == given.len() && known.iter().zip(&given).all(fits)
    };
    let paths = document["paths"].as_object()?;
    // What is there by its own name goes before what has a name in its place.
    let (_, methods) =
        paths.iter().filter(|(template, _)| fits(template)).min_by_key(|(path, _)| path.contains('{'))?;
    methods.get(method)
}

/// Whether an answer is one that the document has; why not, if it is not.
fn find_fault(method: &str, path: &str, status: u16, kind: &str, body: &str) -> Option<String> {
    let document = &*CLOSED;
    let Some(operation) = operation(document, method, path) else {
        return (!matches!(status, 404 | 405)).then(|| "there is no such path".to_owned());
    };
    let response = &operation["responses"][status.to_string()];
    let Some(response) = response.as_object() else { return Some(format!("status {status} is not documented")) };
    let Some(content) = response.get("content") else {
        return (!body.is_empty()).then(|| "no body is documented".to_owned());
    };
    let kind = kind.split(';').next().unwrap_or_default();
    let Some(content) = content.get(kind) else { return Some(format!("{kind:?} is not documented")) };
    let schema = json!({ "allOf": [content["schema"]], "components": document["components"] });
    let is_json = kind.ends_with("json") && kind != events::NDJSON;
    let value = if is_json { serde_json::from_str(body).unwrap() } else { json!(body) };
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> = validator.iter_errors(&value).map(|fault| fault.to_string()).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Holds an answer against the document.
pub(super) fn check(method: &str, path: &str, status: u16, headers: &ureq::http::HeaderMap, body: &str) {
    let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
    if let Some(fault) = find_fault(method, path, status, kind, body) {
        panic!("{method} {path} is answered {status}, {kind}, and the document has another answer: {fault}: {body}");
    }
    let varies = headers.get_all("vary").iter().any(|value| value == "accept");
    let is_chosen = operation(&CLOSED, method, path).is_some_and(has_several_types);
    assert_eq!(varies, is_chosen, "{method} {path} is answered {status}: `Vary` has `accept` where that chooses");
}

/// Whether the header `Accept` chooses among media types of an answer.
fn has_several_types(operation: &Value) -> bool {
    let responses = operation["responses"].as_object().into_iter().flat_map(|responses| responses.values());
    responses.filter_map(|response| response["content"].as_object()).any(|content| content.len() > 1)
}

#[test]
fn an_answer_that_the_document_does_not_have_is_found() {
    let fault = |status, kind, body: &str| find_fault("get", "/v1/agents", status, kind, body);
    let log = json!({ "first": "1", "end": "2" });
    let right = json!({ "log": log, "warnings": [], "agents": [], "refused": [] });
    let json = "application/json";
    assert_eq!(fault(200, json, &right.to_string()), None);
    assert!(fault(202, json, &right.to_string()).unwrap().contains("not documented"));
    assert!(fault(200, "text/plain", &right.to_string()).unwrap().contains("not documented"));
    for (member, value) in [("agents", json!({})), ("log", json!({ "first": 1, "end": "2" })), ("more", json!(1))] {
        let mut wrong = right.clone();
        wrong[member] = value;
        assert!(fault(200, json, &wrong.to_string()).is_some(), "{wrong}");
    }
    let mut wrong = right;
    wrong.as_object_mut().unwrap().remove("log");
    assert!(fault(200, json, &wrong.to_string()).is_some(), "{wrong}");
    let range = |fate: Value| {
        let range = json!({ "first": 1, "end": "18446744073709551615", "fate": fate });
        json!({ "allOf": [{ "$ref": "#/components/schemas/Range" }] , "range": range })
    };
    for (fate, is_right) in [("present", true), ("vanished", false)] {
        let Value::Object(mut parts) = range(json!(fate)) else { unreachable!() };
        let range = parts.remove("range").unwrap();
        let schema = json!({ "allOf": parts["allOf"], "components": CLOSED["components"] });
        assert_eq!(jsonschema::is_valid(&schema, &range), is_right, "{range}");
    }
}

fn short((status, _, body): Answer) -> (u16, String) {
    (status, body)
}

/// A source that has lost something, of which something is missing, and of which something was refused.
fn troubled() -> SourceView {
    let range = RangeView { first: Sequence::new(3), end: Sequence::new(u64::MAX) };
    let (first, end, declared) = (Sequence::ZERO, Sequence::new(2), Timestamp::default());
    let lane = LaneView {
        stream: Stream::Samples,
        epoch: Epoch::new(7),
        end: Sequence::new(3),
        durable_end: Sequence::new(3),
        batches: 1,
        events: 1,
        gaps: vec![range],
        lost_events: 2,
        losses: vec![LossView { first, end, reason: LossReason::Evicted, declared }],
        in_ring: Some(range),
        at_most: false,
    };
    SourceView {
        lanes: vec![lane],
        refused: vec![("signature", 3)],
        ..SourceView::new(SourceId::new("press-88").unwrap())
    }
}

#[tokio::test]
async fn every_path_is_answered_as_the_document_has_it() {
    let served = Served::with_six_events().await;
    served.sources.publish(vec![(troubled().source, Some(troubled()))]);
    let kind = crate::refused::RefusalKind::HttpSlow;
    let refused = crate::refused::Refused { kind, name: None, user: None, topic: None, peer: None, why: "too slow" };
    served.health.refused.note(&refused);
    served.health.set_agent_access(crate::intake::AgentAccess::Open);
    let span = "from=1970-01-01T00:00:00Z&until=1970-01-02T00:00:00Z";
    let mut paths: Vec<String> = [
        "/healthz",
        "/metrics",
        "/v1/agents",
        "/v1/events",
        "/v1/models",
        "/v1/models/diff?left=kpi@1&right=kpi@1",
        "/v1/models/states?limit=1&as_of=13",
        "/v1/openapi.json",
        "/v1/subscriptions",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(["source=press-88", "machine=88-C"].map(|of| format!("/v1/certificate?{of}&{span}")));
    let models: Value = serde_json::from_str(&served.get("/v1/models").await.2).unwrap();
    assert!(models.as_array().unwrap().len() > 5, "{models}");
    let models = models.as_array().unwrap().iter();
    paths.extend(models.map(|model| format!("/v1/models/{}", model["model"].as_str().unwrap())));
    for path in paths {
        assert_eq!(served.get(&path).await.0, 200, "{path}");
    }
    let answers = [
        served.put("/v1/subscriptions/wear", r#"{"filter": {"type": "alarm"}}"#).await,
        served.post("/v1/subscriptions/wear/fetch?member=a", "").await,
        served.post("/v1/subscriptions/wear/reset", r#"{"to": "first"}"#).await,
        short(served.get("/v1/subscriptions/wear").await),
        served.post("/v1/models/kpi@1/recompute", "").await,
        served.post("/v1/what-if", "[[alternative]]\nname = \"none\"\n").await,
    ];
    assert_eq!(answers.map(|(status, _)| status), [201, 200, 204, 200, 202, 200]);
    let published = r#"{"events":[{"source":"/wear","id":"7","partition":0,"offset":"16","duplicate":false}]}"#;
    assert_eq!(find_fault("post", "/v1/events", 200, "application/json", published), None);
}

#[tokio::test]
async fn the_document_names_every_route_and_every_method_and_no_other() {
    let served = Served::with_six_events().await;
    let document: Value = serde_json::from_str(&served.get("/v1/openapi.json").await.2).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let documented: Vec<&str> = paths.keys().map(String::as_str).collect();
    let mut routed: Vec<&str> = routes().iter().map(|(path, _)| *path).collect();
    routed.sort_unstable();
    assert_eq!(documented, routed);
    for (path, methods) in paths {
        let (address, url) = (served.address, path.replace("{name}", "x"));
        let allowed = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::config::Config::builder().http_status_as_error(false).build().into();
            let answer = agent.patch(format!("http://{address}{url}")).send_empty().unwrap();
            assert_eq!(answer.status(), 405);
            answer.headers()["allow"].to_str().unwrap().to_ascii_lowercase()
        });
        let allowed = allowed.await.unwrap();
        let mut allowed: Vec<&str> = allowed.split(',').filter(|method| *method != "head").collect();
        allowed.sort_unstable();
        let mut documented: Vec<&str> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        documented.sort_unstable();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[test]
fn the_document_lists_the_types_that_can_be_asked_for() {
    let document = serde_json::to_value(<openapi::Document as utoipa::OpenApi>::openapi()).unwrap();
    for path in ["/v1/events", "/v1/stream"] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let types = parameters.iter().find(|parameter| parameter["name"] == "type").unwrap();
        assert_eq!((&types["required"], &types["schema"]["type"]), (&json!(false), &json!("string")), "{path}");
        let words = types["schema"]["description"].as_str().unwrap();
        let listed = words.split_once("own types are ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
        assert_eq!(listed.split(", ").collect::<Vec<_>>(), crate::kinds::short_names(), "{path}");
    }
}

#[tokio::test]
async fn unknown_parameters_are_refused_by_every_path_but_those_of_probes() {
    let served = Served::with_six_events().await;
    let document = serde_json::to_value(<openapi::Document as utoipa::OpenApi>::openapi()).unwrap();
    let mut refusing = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let (address, query) = (served.address, "cuont=1");
            let request = format!(
                "{} {}?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                method.to_ascii_uppercase(),
                path.replace("{name}", "x")
            );
            let answer = tokio::task::spawn_blocking(move || {
                let mut socket = std::net::TcpStream::connect(address).unwrap();
                socket.write_all(request.as_bytes()).unwrap();
                let mut answer = String::new();
                socket.read_to_string(&mut answer).unwrap();
                answer
            });
            let answer = answer.await.unwrap();
            if ["/healthz", "/metrics"].contains(&path.as_str()) {
                assert!(!answer.contains("cuont"), "probes have parameters of their own: {path}: {answer}");
                continue;
            }
            assert!(answer.starts_with("HTTP/1.1 400 "), "{method} {path}: {answer}");
            assert!(answer.contains(r#"this path has no parameter \"cuont\""#), "{method} {path}: {answer}");
            refusing += 1;
        }
    }
    assert_eq!(refusing, 26, "every handler of /v1");
}
