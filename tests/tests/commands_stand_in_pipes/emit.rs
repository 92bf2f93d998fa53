//! `emit`: lines of a pipe stand in the log once forever, and one that is wrong is named.

use afferent_tests::process::{Piped, Rig, run_in_pipe};

use super::*;

fn emit(rig: &Rig, rest: &str, input: &str) -> String {
    run_in_pipe(&mut asking(rig, &format!("emit --stdin {rest}")), input.as_bytes()).well()
}

#[test]
fn what_is_emitted_again_stands_in_the_log_once_for_ever() {
    let rig = Rig::new("emit-again");
    let collector = rig.start_collector();
    post(&rig, 0..1);
    // More than go into one request, with empty lines between.
    let input = lines(1..1200).replace("\n", "\n\n");
    let offsets = emit(&rig, "", &input);
    let log = in_the_log(&rig);
    assert_eq!(log.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..1200).collect::<Vec<_>>());
    let told: Vec<u64> = offsets.lines().map(|line| line.parse().expect("an offset alone")).collect();
    assert!(told.iter().eq(log[1..].iter().map(|(_, offset)| offset)), "the offsets are those of the log");

    let again = emit(&rig, "", &input);
    assert!(again.lines().eq(offsets.lines().map(|offset| format!("{offset}  (already in the log)"))), "{again}");
    collector.kill();
    let _collector = rig.start_collector();
    post(&rig, 0..1);
    for line in emit(&rig, "--output json", &input).lines().zip(&log[1..]) {
        let (line, (number, offset)) = (serde_json::from_str::<Value>(line.0).expect("JSON"), line.1);
        assert_eq!((decimal(&line["id"]), decimal(&line["offset"])), (*number, *offset));
        assert_eq!(line["duplicate"], true);
    }
    assert!(in_the_log(&rig) == log, "nothing was appended a second time");
    // The control: by another name it is another event.
    let other = emit(&rig, "", &lines(5..6).replace("\"id\":\"5\"", "\"id\":\"five\""));
    assert!(!other.contains("it was there"), "{other}");
    assert_eq!(in_the_log(&rig).len(), log.len() + 1);
}

#[test]
fn a_line_that_is_wrong_is_named_and_all_before_its_request_is_in_the_log() {
    let rig = Rig::new("emit-wrong");
    let _collector = rig.start_collector();
    post(&rig, 0..1);
    let right = lines(1..700);
    // The event of number n stands on line 2n.
    let with = |number: u64, wrong: &str| {
        let event = event(number).to_string();
        assert!(right.contains(&event));
        right.replace(&event, &wrong.replace("EVENT", &event)).lines().map(|line| format!("\n{line}\n")).collect()
    };
    let mut told = 1;
    for (number, wrong, named) in [
        (640, "{}", "`specversion` is missing"),
        (641, "EVENT,", "is not JSON"),
        (642, "[EVENT]", "not a JSON object"),
        (3, "{\"number\":", "is not JSON"),
    ] {
        let input: String = with(number, wrong);
        let said = run_in_pipe(&mut asking(&rig, "emit --stdin"), input.as_bytes());
        assert!(!said.status.success(), "{wrong} was taken");
        let line = format!("line {} of standard input", 2 * number);
        assert!(said.err.contains(&line) && said.err.contains(named), "{line}, {named}: {}", said.err);
        let placed = said.out.lines().count() as u64;
        assert!(placed < number && (placed > 0 || number == 3), "{placed} events before line {}", 2 * number);
        told = told.max(placed + 1);
        assert_eq!(in_the_log(&rig).len() as u64, told, "the log has what was told and no more");
    }
    let not_text = [right.as_bytes(), b"\xff\n"].concat();
    let said = run_in_pipe(&mut asking(&rig, "emit --stdin"), &not_text);
    assert!(!said.status.success() && said.err.contains("line 700 of standard input"), "{}", said.err);

    emit(&rig, "", &right);
    let log = in_the_log(&rig).into_iter().map(|(number, _)| number);
    assert!(log.eq(0..700), "mended and sent again, each is there once");
}

#[test]
fn an_event_from_the_command_line_is_one_that_the_api_gives_back() {
    let rig = Rig::new("emit-one");
    let _collector = rig.start_collector();
    post(&rig, 0..1);
    let words = "emit --type com.example.wear.v1 --subject 88-C/belt --source /wear --id wear-17 --severitynumber 13 \
                 --time 2021-09-13T23:54:31Z --data {\"left_h\":120}";
    let offset = said(&rig, words);
    let event = rig.wait_event("wear-17", |event| event["id"] == "wear-17");
    assert_eq!(event["offset"], offset.trim());
    assert_eq!((&event["source"], &event["subject"]), (&json!("/wear"), &json!("88-C/belt")));
    assert_eq!((&event["data"], &event["severitynumber"]), (&json!({"left_h": 120}), &json!(13)));
    assert!(event["time"].as_str().is_some_and(|time| time.starts_with("2021-09-13T23:54:31")), "{event}");
    for (words, told) in [
        ("emit --type a.v1 --subject 88-C --data text", "--data is not JSON"),
        ("emit --type afferent.breakdown.v1 --subject 88-C", "`type`"),
        ("emit --type a.v1", "--subject"),
        ("emit --stdin --subject 88-C", "cannot be used with"),
    ] {
        let said = run_in_pipe(&mut asking(&rig, words), b"");
        assert!(!said.status.success() && said.err.contains(told), "{words}: {}", said.err);
    }
}

#[test]
fn a_line_of_an_open_pipe_does_not_wait_for_more() {
    let rig = Rig::new("emit-open");
    let _collector = rig.start_collector();
    post(&rig, 0..1);
    let mut emit = Piped::start("emit", &mut asking(&rig, "emit --stdin"), &rig.folder.join("emit.log"));
    for number in 1..4 {
        emit.send(&lines(number..number + 1));
        let offset = emit.read_lines(1)[0].parse().expect("an offset");
        assert_eq!(in_the_log(&rig).last(), Some(&(number, offset)));
    }
    assert!(emit.process.is_running(), "it waits for more");
    let status = emit.hang_up().wait();
    assert!(status.success(), "{status}");
}
