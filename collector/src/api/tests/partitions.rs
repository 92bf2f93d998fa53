//! Addresses: a question names a partition, and an answer the one that its offsets are of.

use serde_json::Value;

use super::*;

/// Two events from offset 10 on, in this partition.
fn log_of(partition: u32) -> MemoryLog {
    let mut log = MemoryLog::beginning_at(10);
    log.terms = crate::terms::Terms::of([3; 16], Partition::new(partition));
    log.terms.add_term(1, Offset::new(10));
    log.append("press-88", &[sample("88-C/a", 1), sample("88-C/b", 2)], 1_000_000);
    log
}

#[tokio::test]
async fn an_address_names_its_partition_and_another_one_is_refused_as_that() {
    let log = log_of(7);
    let served = Served::new(log.clone()).await;
    for query in ["from=first", "from=10&partition=7", &format!("from={}", PlaceText(log.terms.place(Offset::new(11))))]
    {
        let (status, headers, lines) = served.get(&format!("/v1/events?{query}&limit=1")).await;
        assert_eq!((status, &headers[&events::PARTITION]), (200, &"7".parse().unwrap()), "{query}");
        assert!(lines.contains("\"partition\":7,\"offset\":\"1"), "{query}: {lines}");
        // Its cursor is of that partition, although it does not name it apart.
        let cursor = headers[&events::NEXT_CURSOR].to_str().unwrap();
        assert_eq!(served.get(&format!("/v1/events?{query}&limit=1&cursor={cursor}")).await.0, 200, "{query}");
    }
    let of_3 = PlaceText(Place { partition: 3, ..log.terms.place(Offset::new(11)) });
    for (query, status, word) in [
        ("partition=0".to_owned(), 404, "the partitions are: 7"),
        (format!("from={of_3}"), 404, "there is no partition 3"),
        (format!("from={of_3}&partition=7"), 409, "it is from partition 3, but this is partition 7"),
        ("partition=-1".to_owned(), 400, "the number of a partition"),
        ("partition=%2B7".to_owned(), 400, "the number of a partition"),
    ] {
        for path in ["/v1/events", "/v1/stream"] {
            let (answered, _, problem) = served.get(&format!("{path}?{query}")).await;
            assert_eq!(answered, status, "{path}?{query}: {problem}");
            assert!(problem.contains(word), "{path}?{query}: {problem}");
        }
    }
    let (status, made) = served.put("/v1/subscriptions/erp", r#"{"partition":7,"from":"11"}"#).await;
    assert!(status == 201 && made.contains(r#""partition":7,"cursors":["11","#), "{made}");
    let (status, refused) = served.put("/v1/subscriptions/mes", r#"{"partition":6}"#).await;
    assert!(status == 404 && refused.contains("there is no partition 6"), "{refused}");
}

#[tokio::test]
async fn an_answer_of_a_model_names_the_partition_of_its_offsets() {
    let log = log_of(7);
    let served = Served::new(log.clone()).await;
    let place = PlaceText(log.terms.place(Offset::new(11)));
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for query in
        ["".to_owned(), "as_of=11&".to_owned(), "partition=7&".to_owned(), format!("as_of={place}&partition=7&")]
    {
        for path in [format!("/v1/models/kpi?{query}"), format!("/v1/models/diff?{query}left=kpi@1&right=kpi@1")] {
            let (status, _, answer) = served.get(path.trim_end_matches('&')).await;
            assert_eq!((status, &parsed(&answer)["partition"]), (200, &Value::from(7)), "{path}: {answer}");
        }
    }
    for query in ["", "?partition=7"] {
        let (status, _, list) = served.get(&format!("/v1/models{query}")).await;
        let list = parsed(&list);
        let list = list.as_array().unwrap();
        assert!(status == 200 && !list.is_empty() && list.iter().all(|model| model["partition"] == 7), "{list:?}");
    }
    let from = PlaceText(log.terms.place(Offset::new(11)));
    let (status, report) = served.post(&format!("/v1/what-if?from={from}"), "[[alternative]]\nname = \"none\"\n").await;
    let report = parsed(&report);
    assert_eq!((status, &report["from"], &report["partition"]), (200, &Value::from("11"), &Value::from(7)));
    let (status, report) = served.post("/v1/models/kpi@1/recompute?partition=7", "").await;
    assert_eq!((status, &parsed(&report)["partition"]), (202, &Value::from(7)));
}

#[tokio::test]
async fn models_of_a_partition_that_is_not_held_or_not_folded_are_refused() {
    let served = Served::beside(log_of(9), log_of(7)).await;
    let elsewhere = PlaceText(Place { partition: 3, ..served.log.terms.place(Offset::new(11)) });
    let plan = "[[alternative]]\nname = \"none\"\n";
    for (query, status, word) in [
        ("partition=8".to_owned(), 404, "there is no partition 8 here; the partitions are: 7, 9"),
        ("partition=9".to_owned(), 404, "those that there are fold 7"),
        ("partition=x".to_owned(), 400, "the number of a partition"),
        (format!("as_of={elsewhere}"), 404, "there is no partition 3"),
        (format!("as_of={elsewhere}&partition=7"), 409, "it is from partition 3, but this is partition 7"),
    ] {
        for path in [format!("/v1/models/kpi?{query}"), format!("/v1/models/diff?left=kpi@1&right=kpi@1&{query}")] {
            let (answered, _, problem) = served.get(&path).await;
            assert!(answered == status && problem.contains(word), "{path}: {problem}");
        }
        let query = query.replace("as_of", "from");
        for (path, body) in [("/v1/models/kpi@1/recompute", ""), ("/v1/what-if", plan)] {
            let (answered, problem) = served.post(&format!("{path}?{query}"), body).await;
            assert!(answered == status && problem.contains(word), "{path}?{query}: {problem}");
        }
        if !query.contains("from") {
            let (answered, _, problem) = served.get(&format!("/v1/models?{query}")).await;
            assert!(answered == status && problem.contains(word), "{query}: {problem}");
        }
    }
    // The other partition is held: its events are there.
    assert_eq!(served.get("/v1/events?partition=9").await.0, 200);
}
