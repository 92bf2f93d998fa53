//! Questions that take longer to answer than anybody should wait.

use std::fmt::Write;
use std::net::TcpStream;

use afferent_tests::process::{get, wait_for};
use serde_json::Value;

use crate::siege::Siege;

/// As many rules as hold for every event and cost much.
fn plan() -> String {
    let condition = (10..55).map(|number| format!("subject != '{number}'")).collect::<Vec<_>>().join(" && ");
    let mut plan = String::new();
    for alternative in 0..8 {
        let _ = writeln!(plan, "[[alternative]]\nname = \"a{alternative}\"");
        for _ in 0..6 {
            let rule = "[[alternative.rule]]\naction = \"relabel\"\nset = { message = \"x\" }";
            let _ = writeln!(plan, "{rule}\nwhen = \"{condition}\"");
        }
    }
    plan
}

#[test]
fn plans_that_take_minutes_hold_nobody_up_and_end_with_their_clients() {
    let siege = Siege::start("plans");
    siege.fill(20, 200_000);
    let plan = plan();
    let request = format!(
        "POST /v1/what-if HTTP/1.1\r\nHost: {}\r\nContent-Type: application/toml\r\nContent-Length: {}\r\n\r\n{plan}",
        siege.rig.http,
        plan.len()
    );
    let asked: Vec<TcpStream> = (0..20).map(|_| siege.sent(request.as_bytes())).collect();
    wait_for("one is computed", || (siege.held("connections")? >= 20).then_some(()));
    siege.holds("while 20 plans are asked for");
    // The control: by one queue for all, this would wait behind them, or be refused.
    let (status, state) = get(siege.rig.http, "/v1/models/kpi?as_of=10").expect("it is answered");
    let state: Value = serde_json::from_slice(&state).expect("JSON");
    assert_eq!((status, &state["offset"]), (200, &"10".into()), "{state}");
    // Another control: they do take that long.
    let unanswered = asked.iter().filter(|stream| {
        stream.set_nonblocking(true).expect("it is open");
        stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(unanswered.count() >= 19);
    drop(asked);
    siege.is_as_before();
}
