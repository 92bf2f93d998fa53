//! Readers that come in crowds, and readers that do not read.

use std::net::TcpStream;

use afferent_tests::process::{Sse, get, wait_for};

use crate::siege::{STREAMS_OF_ONE, Siege};

fn opened(siege: &Siege) -> u64 {
    siege.held("streams").unwrap_or(0)
}

#[test]
fn a_thousand_followers_of_one_address_are_served_and_two_thousand_leave_room_for_others() {
    let siege = Siege::start("streams");
    let request = format!("GET /v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", siege.rig.http);
    let mut streams: Vec<TcpStream> = (0..1000).map(|_| siege.sent(request.as_bytes())).collect();
    wait_for("a thousand are open", || (opened(&siege) == 1000).then_some(()));
    assert_eq!(siege.refused("http-streams"), 0, "the control: this many are in use every day");
    streams.extend((0..1060).map(|_| siege.sent(request.as_bytes())));
    wait_for("those beyond the share are refused", || (siege.refused("http-streams") > 0).then_some(()));
    assert!(opened(&siege) <= STREAMS_OF_ONE as u64);
    siege.holds("while one client wants 2060 streams");
    assert!(Sse::open(siege.rig.http, "/v1/stream").is_err(), "it has no share left");
    let (_, health) = siege.rig.collector_health().expect("it answers");
    assert!(health.contains("http-streams: your address has 1240 event streams open"), "{health}");
    drop(streams);
    siege.is_as_before();
}

#[test]
fn readers_that_stall_hold_little_and_others_read_on() {
    let siege = Siege::start("stalled");
    siege.fill(6, 3_800_000);
    let paths = ["/v1/stream?from=first", "/v1/stream?from=first&subject=88-C", "/v1/events?limit=all"];
    let stalled: Vec<TcpStream> = (0..400)
        .map(|number| {
            let path = paths[number % paths.len()];
            siege.sent(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", siege.rig.http).as_bytes())
        })
        .collect();
    wait_for("they are open", || (opened(&siege) >= 260).then_some(()));
    siege.holds("while 400 readers do not read");
    let (status, body) = get(siege.rig.http, "/v1/events?limit=10").expect("it is answered");
    assert_eq!((status, body.iter().filter(|byte| **byte == b'\n').count()), (200, 10));
    let mut reader = Sse::open(siege.rig.http, "/v1/stream?from=first").expect("it is served");
    for _ in 0..2000 {
        reader.next_data().expect("others read on");
    }
    // The control: a large page for each of them would be more than what all may have.
    let (held, most) = (siege.held("page_bytes").expect("it is told"), 32 << 20);
    let naive = stalled.len() as u64 * (512 << 10);
    assert!(held < most + most / 2 && naive > 2 * most, "{held} bytes; {naive} with a large page each");
    drop((stalled, reader));
    siege.is_as_before();
}
