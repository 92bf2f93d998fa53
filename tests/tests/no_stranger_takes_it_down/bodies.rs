//! Requests that never come to their end.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use afferent_tests::process::{get, wait_for};

use crate::siege::{CONNECTIONS_OF_ONE, RSS_KIB_MAX, Siege, answer, connect, connect_as_other};

fn head(siege: &Siege, length: usize) -> String {
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n",
        siege.rig.http
    )
}

#[test]
fn posts_whose_body_never_comes_shut_nobody_out_and_end() {
    let siege = Siege::start("no-body");
    let head = head(&siege, 1000);
    let mut silent: Vec<TcpStream> = (0..CONNECTIONS_OF_ONE).map(|_| siege.sent(head.as_bytes())).collect();
    // The control: they have taken all that one client may have, and who asks for anything else is refused with the
    // reason. The first of them have some seconds only.
    let held = siege.held("connections").expect("it is told");
    assert!(held >= CONNECTIONS_OF_ONE as u64, "{held}");
    let (status, words) = get(siege.rig.http, "/v1/agents").expect("it is answered");
    assert_eq!(status, 429, "{}", String::from_utf8_lossy(&words));
    let (_, health) = siege.rig.collector_health().expect("it answers");
    assert!(health.starts_with("degraded\nhttp-connections: your address has"), "{health}");
    silent.extend((CONNECTIONS_OF_ONE..2060).map(|_| siege.sent(head.as_bytes())));
    siege.holds("while 2060 bodies do not come");
    let refusal = answer(&mut silent[0]);
    assert!(refusal.starts_with("HTTP/1.1 408 ") && refusal.contains("the body arrives too slowly"), "{refusal}");
    wait_for("all of them have ended", || (siege.refused("http-slow-body") >= CONNECTIONS_OF_ONE as u64).then_some(()));
    siege.is_as_before();
}

#[test]
fn unfinished_bodies_hold_no_more_than_their_budget_and_a_slow_honest_client_is_served() {
    let siege = Siege::start("unfinished");
    let (length, count) = (3_900_000, 300);
    let head_of_large = head(&siege, length);
    let slow = {
        let (address, body) = (siege.rig.http, " ".repeat(14 * 1024));
        let head = head(&siege, body.len()).replace("Host:", "Connection: close\r\nHost:");
        thread::spawn(move || {
            let mut stream = connect_as_other(address);
            stream.write_all(head.as_bytes()).expect("it is taken");
            for part in body.as_bytes().chunks(1024) {
                thread::sleep(Duration::from_secs(1));
                stream.write_all(part).expect("it is taken");
            }
            answer(&mut stream)
        })
    };
    let unfinished: Vec<_> = (0..count)
        .map(|_| {
            let (address, head) = (siege.rig.http, head_of_large.clone());
            thread::spawn(move || {
                let mut stream = connect(address);
                let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; length - 1]));
                (stream, sent.is_ok())
            })
        })
        .collect();
    wait_for("some are refused", || {
        siege.holds("while 300 bodies are not finished");
        (siege.refused("http-bodies") > 0).then_some(())
    });
    let unfinished: Vec<_> = unfinished.into_iter().map(|sending| sending.join().expect("it sends")).collect();
    siege.holds("when 300 bodies are not finished");
    // The control: what they have sent is more than may ever be resident.
    let sent = unfinished.iter().filter(|(_, is_sent)| *is_sent).count() * length;
    assert!(sent as u64 > 2 * RSS_KIB_MAX * 1024, "{sent} bytes");
    let answer = slow.join().expect("it sends");
    assert!(answer.contains("HTTP/1.1 200 ") && answer.contains("\"events\":[]"), "{answer}");
    drop(unfinished);
    siege.is_as_before();
}
