//! A replay from start to start.

use std::path::Path;

use afferent_host::stop::StopSender;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::SystemClock;
use crate::intake::sink::Refusal;
use crate::intake::sink::fake::FakeSink;
use crate::intake::time::Reading;
use crate::metrics::Registry;

const ROWS: &str = "when,reading\n2013-12-02 21:15:00,1\n2013-12-02 21:20:00,2\n2013-12-02 21:25:00,3\n";

fn settings(directory: &Path, values: &[&str], speed: Speed) -> FileSettings {
    let mapping = Mapping {
        subject: "88-C/temp".to_owned(),
        time_column: Some("when".to_owned()),
        time: Reading { zone: "UTC".parse().ok(), ..Reading::default() },
        value_columns: values.iter().map(|name| (*name).to_owned()).collect(),
        unit: "Cel".parse().unwrap(),
        ..Mapping::default()
    };
    FileSettings { path: directory.join("recorded.csv"), mapping, speed, checkpoints: directory.join("replay") }
}

fn directory(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("recorded.csv"), text).unwrap();
    directory
}

fn start(settings: &FileSettings, sink: &FakeSink) -> (JoinHandle<Result<(), ReplayError>>, StopSender) {
    let metrics = LineMetrics::new(&Registry::default(), "recorded.csv");
    let (sender, stop) = afferent_host::stop::channel();
    (tokio::spawn(run(settings.clone(), sink.clone(), Arc::new(SystemClock::new()), metrics, stop)), sender)
}

/// Runs a replay to the end of its file; returns the values that it took.
async fn replayed(settings: &FileSettings) -> Vec<String> {
    let sink = FakeSink::committing();
    let (running, _stop) = start(settings, &sink);
    running.await.unwrap().unwrap();
    values(&sink)
}

fn values(sink: &FakeSink) -> Vec<String> {
    let value =
        |(event, _): &(String, _)| event.split_once("Integer(").unwrap().1.split_once(')').unwrap().0.to_owned();
    sink.events().iter().map(value).collect()
}

#[tokio::test(start_paused = true)]
async fn a_file_is_replayed_at_its_own_speed() {
    let directory = directory("when,reading\n2013-12-02 21:15:00,73.9\n2013-12-02 21:20:00,74\n");
    let (sink, started) = (FakeSink::committing(), Instant::now());
    let (running, _stop) = start(&settings(directory.path(), &["reading"], Speed::Original), &sink);
    running.await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_secs(300));
    let events: Vec<_> = sink.events().into_iter().map(|(event, _)| event).collect();
    assert_eq!(events.len(), 2);
    assert!(events[0].starts_with("1386018900000000 88-C/temp Sample(Sample { value: Float(73.9), unit: \"Cel\""));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_wrong_is_counted_and_the_rest_go_on() {
    let directory = directory("when,reading\n2013-12-02 21:15:00,1\nnever,2\n2013-12-02 21:25:00,3\n");
    let settings = settings(directory.path(), &["reading"], Speed::Original);
    let registry = Registry::default();
    let (sink, metrics) = (FakeSink::committing(), LineMetrics::new(&registry, "recorded.csv"));
    let (_sender, stop) = afferent_host::stop::channel();
    let refused = metrics.refused.clone();
    run(settings.clone(), sink.clone(), Arc::new(SystemClock::new()), metrics, stop).await.unwrap();
    assert_eq!((values(&sink), refused.get()), (vec!["1".to_owned(), "3".to_owned()], 1));
    assert!(replayed(&settings).await.is_empty(), "the wrong one is done as well");
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_exactly_where_the_stop_was() {
    let directory = directory(ROWS);
    let settings = settings(directory.path(), &["reading"], Speed::Original);
    let sink = FakeSink::committing();
    let (running, stop) = start(&settings, &sink);
    sink.taken(1).await;
    stop.stop();
    running.await.unwrap().unwrap();
    assert_eq!(values(&sink), ["1"]);
    assert_eq!(replayed(&settings).await, ["2", "3"]);
    assert!(replayed(&settings).await.is_empty(), "it is replayed once");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_accepted_comes_again() {
    let directory = directory(ROWS);
    let settings = settings(directory.path(), &["reading"], Speed::Max);
    let sink = FakeSink::holding();
    let (running, stop) = start(&settings, &sink);
    sink.taken(3).await;
    stop.stop();
    running.await.unwrap().unwrap();
    assert_eq!(replayed(&settings).await, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_row_goes_on_with_its_next_value() {
    let directory = directory("when,a,b\n2013-12-02 21:15:00,1,2\n2013-12-02 21:20:00,3,4\n");
    let settings = settings(directory.path(), &["a", "b"], Speed::Max);
    let sink = FakeSink::committing();
    sink.set_room(3);
    let (running, stop) = start(&settings, &sink);
    sink.taken(3).await;
    stop.stop();
    running.await.unwrap().unwrap();
    assert_eq!(replayed(&settings).await, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_repeats_only_what_was_not_recorded() {
    let directory = directory(&format!("{ROWS}2013-12-02 21:30:00,4\n"));
    let settings = settings(directory.path(), &["reading"], Speed::Original);
    let sink = FakeSink::committing();
    let (running, _stop) = start(&settings, &sink);
    // Five minutes after the second: that one is recorded, and the third is not yet.
    sink.taken(3).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(replayed(&settings).await, ["3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_grew_goes_on_and_another_one_begins_anew() {
    let directory = directory(ROWS);
    let settings = settings(directory.path(), &["reading"], Speed::Max);
    assert_eq!(replayed(&settings).await, ["1", "2", "3"]);
    std::fs::write(&settings.path, format!("{ROWS}2013-12-02 21:30:00,4\n")).unwrap();
    assert_eq!(replayed(&settings).await, ["4"]);
    std::fs::write(&settings.path, ROWS.replace("2013", "2014")).unwrap();
    assert_eq!(replayed(&settings).await, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_is_waited_for() {
    let directory = directory(ROWS);
    let settings = settings(directory.path(), &["reading"], Speed::Max);
    let sink = FakeSink::committing();
    sink.refuse(Some(Refusal::Unwritable("full".into())));
    let (running, _stop) = start(&settings, &sink);
    sink.refused(60).await;
    sink.refuse(None);
    running.await.unwrap().unwrap();
    assert_eq!(values(&sink), ["1", "2", "3"]);
}

#[tokio::test]
#[should_panic(expected = "the reader has failed")]
async fn a_reader_that_has_died_is_not_the_end_of_the_file() {
    let (_, rows) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking(|| panic!("the reader has failed"));
    let _ = Ahead { rows, reader }.next().await;
}

#[tokio::test]
async fn a_place_that_is_damaged_is_an_error_and_not_the_beginning() {
    let directory = directory(ROWS);
    let settings = settings(directory.path(), &["reading"], Speed::Max);
    assert_eq!(replayed(&settings).await, ["1", "2", "3"]);
    let record = std::fs::read_dir(&settings.checkpoints).unwrap().next().unwrap().unwrap().path();
    let right = std::fs::read(&record).unwrap();
    // The control: as it was written, it says that nothing is left.
    assert_eq!(replayed(&settings).await, [] as [&str; 0]);
    for damaged in [&right[..right.len() / 2], b"", b"{}"] {
        std::fs::write(&record, damaged).unwrap();
        let (sink, metrics) = (FakeSink::committing(), LineMetrics::new(&Registry::default(), "recorded.csv"));
        let (_sender, stop) = afferent_host::stop::channel();
        let ended = run(settings.clone(), sink.clone(), Arc::new(SystemClock::new()), metrics, stop).await;
        assert!(ended.unwrap_err().to_string().contains("Remove that file"), "{damaged:?}");
        assert!(sink.events().is_empty());
    }
}
