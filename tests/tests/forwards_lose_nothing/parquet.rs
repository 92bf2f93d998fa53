//! Parquet files: every event once, whoever is killed and wherever; read by DuckDB and pyarrow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use afferent_tests::process::{
    Load, PATIENCE, Process, Proxy, Rig, S3Server, SmallDisk, binary, copy_files, get, run_lake_script, run_to_end,
    wait_for,
};
use serde_json::{Value, json};

use super::plant::{
    Arrived, Promise, accepted_more, check, configuration, doubles, order, report, wait_delivered, wait_error,
};

/// Kills of each kind.
const KILLS: usize = 20;
/// Small parts, so that kills meet many of them.
const SMALL_PARTS: &str = "every_s = 0.1\nrows_max = 64";
/// A part of a bucket costs some answers of a server that is slow on a loaded machine: it must keep up with the load.
const PARTS_OF_BUCKET: &str = "every_s = 0.1\nrows_max = 2000";

/// Prints all rows, as DuckDB reads them, by their offsets.
const ROWS: &str = r#"
import duckdb, glob, json, struct, sys
files = glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True)
if not files: sys.exit()
duckdb.sql("set timezone = 'UTC'")
rows = duckdb.sql(f"""
    select "offset", id, source, subject, event_type, type, day::varchar as day,
        strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ') as time,
        strftime(ingesttime, '%Y-%m-%dT%H:%M:%S.%fZ') as ingesttime, stream, epoch, sequence, severitynumber,
        value, value_int, value_bool, value_text, unit, quality, data, extensions
    from read_parquet('{sys.argv[1]}/**/*.parquet', hive_partitioning = true) order by "offset"
""")
names = rows.columns
for row in rows.fetchall():
    row = dict(zip(names, row))
    if row["value"] is not None: row["value"] = struct.pack(">d", row["value"]).hex()
    print(json.dumps(row))
"#;

/// Reads every file by itself; prints its rows, and what its metadata says.
const FILES: &str = r#"
import glob, json, os, sys
import pyarrow.parquet as pq, pandas
for path in sorted(glob.glob(sys.argv[1] + "/**/*.parquet", recursive=True)):
    about = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items() if k.startswith(b"afferent.")}
    frame = pandas.read_parquet(path, partitioning=None)
    assert str(frame["time"].dtype) == "datetime64[us, UTC]", frame["time"].dtype
    assert str(frame["value"].dtype) == "float64", frame["value"].dtype
    print(json.dumps({"name": os.path.basename(path), "about": about, "offsets": frame["offset"].tolist()}))
"#;

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("the script prints JSON")).collect()
}

fn rows(lake: &Path) -> Vec<Value> {
    lines(&run_lake_script(ROWS, &[&lake.display().to_string()]))
}

fn arrived(rows: &[Value]) -> Vec<Arrived> {
    rows.iter().map(Arrived::of).collect()
}

/// Holds the columns of every row against the event of the log.
fn check_columns(logged: &[Value], rows: &[Value]) {
    assert_eq!(logged.len(), rows.len());
    for (event, row) in logged.iter().zip(rows) {
        let same = |column: &str, expected: &Value| assert_eq!(&row[column], expected, "{column} of {event}");
        assert_eq!(row["offset"].to_string(), event["offset"].as_str().expect("an offset is a text"), "{event}");
        same("event_type", &event["type"]);
        let of_type = event["type"].as_str().and_then(|name| name.strip_prefix("afferent.")?.strip_suffix(".v1"));
        same("type", &json!(of_type.filter(|name| *name != "deadletter").unwrap_or("derived")));
        for column in ["id", "source", "subject", "time", "ingesttime", "stream", "epoch", "severitynumber"] {
            same(column, &event[column]);
        }
        let sequence = event["sequence"].as_str().map(|text| text.parse::<i64>().expect("it is a number"));
        same("sequence", &json!(sequence));
        let best = event.get("correctedtime").unwrap_or(&event["time"]).as_str().expect("a time is a text");
        same("day", &json!(best[..10]));
        check_content(event, row);
    }
}

fn check_content(event: &Value, row: &Value) {
    let data = &event["data"];
    if event["type"] != "afferent.sample.v1" {
        let read: Value = serde_json::from_str(row["data"].as_str().unwrap_or("null")).expect("data is JSON");
        assert_eq!(&read, data, "{event}");
        return;
    }
    let bits = |value: f64| json!(format!("{:016x}", value.to_bits()));
    assert_eq!(row["value"], data["value"].as_f64().map_or(Value::Null, bits), "{event}");
    assert_eq!(row["value_int"], data["value"].as_i64().map_or(Value::Null, Value::from), "{event}");
    assert_eq!(row["value_bool"], data["value"].as_bool().map_or(Value::Null, Value::from), "{event}");
    assert_eq!(row["value_text"], data["value"].as_str().map_or(Value::Null, Value::from), "{event}");
    let unit = data["unit"].as_str().filter(|unit| !unit.is_empty());
    assert_eq!(row["unit"], unit.map_or(Value::Null, Value::from), "{event}");
    assert_eq!(row["quality"], data["quality"], "{event}");
}

/// Everything that the log holds is in the files, once, with the same bits; each file says what its name says.
fn check_lake(rig: &Rig, lake: impl FnOnce() -> PathBuf) {
    let logged = rig.events();
    wait_delivered(rig, "lake");
    let lake = lake();
    // The collector may have logged something meanwhile.
    let is_asked = |row: &Value| row["offset"].as_u64().is_some_and(|offset| offset < logged.len() as u64);
    let rows: Vec<Value> = rows(&lake).into_iter().filter(is_asked).collect();
    check(&logged, &arrived(&rows), Promise::Once);
    check_columns(&logged, &rows);
    for file in lines(&run_lake_script(FILES, &[&lake.display().to_string()])) {
        let (about, name) = (&file["about"], file["name"].as_str().expect("a name"));
        let number = |key: &str| about[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
        let (first, end) = (number("afferent.first_offset"), number("afferent.end_offset"));
        assert!(name.starts_with(&format!("lake-p0-{first:020}-{end:020}-")), "{file}");
        let offsets: Vec<u64> = serde_json::from_value(file["offsets"].clone()).expect("offsets are numbers");
        assert!(offsets.is_sorted() && offsets.iter().all(|offset| (first..end).contains(offset)), "{file}");
        assert!(!offsets.is_empty(), "{file}");
    }
}

fn files(lake: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(lake) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}

/// The files of samples in the order of the log: where they are, their first offsets, and their ends.
fn sample_files(lake: &Path) -> Vec<(PathBuf, u64, u64)> {
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let mut numbers = name.split('-').skip(2).map(str::parse);
        let (first, end) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        path.to_string_lossy().contains("type=sample").then_some((path, first, end))
    };
    let mut found: Vec<_> = files(lake).into_iter().filter_map(read).collect();
    found.sort_by_key(|(_, first, _)| *first);
    found
}

/// No file is visible before it is complete.
fn all_are_complete(lake: &Path) {
    for path in files(lake) {
        let bytes = std::fs::read(&path).expect("it can be read");
        assert!(bytes.len() > 12 && bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{}", path.display());
    }
}

/// A rig with a lake in its folder.
fn rig_with_lake(name: &str, more: &str) -> (Rig, PathBuf) {
    let mut rig = Rig::new(name);
    let lake = rig.folder.join("lake");
    std::fs::create_dir(&lake).expect("the folder can be made");
    rig.collector_extra = format!("[[forward]]\nname = \"lake\"\n[forward.parquet]\ndirectory = {lake:?}\n{more}\n");
    (rig, lake)
}

/// Waits until there is a file more than now.
fn one_more_file(lake: &Path) {
    let before = files(lake).len();
    wait_for("a file more", || (files(lake).len() > before).then_some(()));
}

#[test]
fn kills_of_collector_and_agent_lose_nothing_and_repeat_nothing_in_a_directory() {
    let (rig, lake) = rig_with_lake("lake-kills", SMALL_PARTS);
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for at in 0..KILLS {
        accepted_more(&load);
        // Every other kill comes right behind a file: before its checkpoint, as often as not.
        if at % 2 == 0 {
            one_more_file(&lake);
        }
        collector.kill();
        all_are_complete(&lake);
        collector = rig.start_collector();
        accepted_more(&load);
        agent.kill();
        agent = rig.start_agent();
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, "lake");
    collector.kill();
    let _collector = rig.start_collector();
    wait_delivered(&rig, "lake");
    ledger.check(&rig.events());
    check_lake(&rig, || lake);
}

/// Starts the collector without the object that makes files exactly once.
fn start_without_state(rig: &Rig) -> Process {
    let mut command = rig.collector_command();
    command.env("AFFERENT_PARQUET_WITHOUT_STATE", "1");
    let process = Process::start("collector", &mut command, &rig.folder.join("collector.log"));
    wait_for("the collector's API answers", || get(rig.http, "/healthz").ok());
    process
}

#[test]
fn without_the_state_object_kills_repeat_events_which_is_the_control() {
    // Parts end by time alone: after a kill the same events are in a part with another end, and another name.
    let (rig, lake) = rig_with_lake("lake-control", "every_s = 0.1");
    let (mut collector, _agent) = (start_without_state(&rig), rig.start_agent());
    let load = Load::start(&rig);
    for _ in 0..5 * KILLS {
        accepted_more(&load);
        // Between a file and its checkpoint there is little time: nothing sleeps here.
        let before = files(&lake).len();
        let begun = Instant::now();
        while files(&lake).len() == before {
            assert!(begun.elapsed() < PATIENCE, "no file more");
        }
        collector.kill();
        if doubles(&arrived(&rows(&lake))) > 0 {
            return drop(load);
        }
        collector = start_without_state(&rig);
    }
    panic!("no event is there twice, so the test of the kills shows nothing");
}

/// A rig with a bucket behind a proxy.
fn rig_with_bucket(name: &str, server: impl FnOnce(&Rig) -> S3Server) -> (Rig, S3Server, Proxy) {
    let mut rig = Rig::new(name);
    let server = server(&rig);
    let proxy = Proxy::start(server.address);
    let secret = rig.folder.join("secret");
    std::fs::write(&secret, "hush").expect("the folder can be written");
    rig.collector_extra = format!(
        "[[forward]]\nname = \"lake\"\n[forward.parquet]\n{PARTS_OF_BUCKET}\ntimeout_s = 5\n[forward.parquet.s3]\n\
         bucket = \"plant\"\nprefix = \"lake\"\nendpoint = \"http://{}\"\nkey_id = \"{}\"\n\
         secret = {{ file = {secret:?} }}\n",
        proxy.address,
        S3Server::KEY_ID,
    );
    (rig, server, proxy)
}

fn downloaded(rig: &Rig, server: &S3Server) -> PathBuf {
    let to = rig.folder.join("downloaded");
    let _ = std::fs::remove_dir_all(&to);
    server.download("plant", &to);
    to.join("lake")
}

#[test]
fn kills_and_cut_connections_lose_nothing_and_repeat_nothing_in_a_bucket() {
    let (rig, server, proxy) = rig_with_bucket("bucket-kills", |rig| S3Server::new(&rig.folder));
    let _server = server.start();
    server.bucket("plant", true);
    let (mut collector, _agent) = (rig.start_collector(), rig.start_agent());
    let load = Load::start(&rig);
    for at in 0..KILLS {
        // Every other cut comes in the midst of a part, the others behind one.
        if at % 2 == 0 {
            let passed = proxy.passed_on();
            wait_for("bytes go to the server", || (proxy.passed_on() > passed + 2000).then_some(()));
        } else {
            let offset = report(&rig, "lake").map(|report| report["offset"].clone());
            wait_for("a part more", || report(&rig, "lake").filter(|now| offset.as_ref() != Some(&now["offset"])));
        }
        proxy.cut();
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        order(&rig, "lake", "resume", None);
        accepted_more(&load);
        proxy.cut();
        order(&rig, "lake", "resume", None);
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, "lake");
    ledger.check(&rig.events());
    check_lake(&rig, || downloaded(&rig, &server));
}

#[test]
fn what_is_wrong_with_a_bucket_is_an_error_with_a_remedy_and_costs_no_event() {
    let (rig, server, _proxy) = rig_with_bucket("bucket-faults", |rig| S3Server::new(&rig.folder));
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    wait_error(&rig, "lake", "check that the service runs");
    let running = server.start();
    order(&rig, "lake", "resume", None);
    let missing = wait_error(&rig, "lake", "NoSuchBucket");
    assert!(
        missing["last_error"]
            .as_str()
            .is_some_and(|text| text.contains("s3://plant/lake") && text.contains("create the bucket"))
    );
    server.bucket("plant", true);
    order(&rig, "lake", "resume", None);
    wait_delivered(&rig, "lake");
    running.signal(rustix::process::Signal::STOP);
    rig.break_down("E2");
    wait_error(&rig, "lake", "timed out");
    running.signal(rustix::process::Signal::CONT);
    order(&rig, "lake", "resume", None);
    wait_delivered(&rig, "lake");
    // A server that has forgotten everything: nobody knows what the readers of the files have.
    running.kill();
    rig.break_down("E3");
    wait_error(&rig, "lake", "check that the service runs");
    let _running = server.start();
    server.bucket("plant", true);
    order(&rig, "lake", "resume", None);
    let stuck = wait_error(&rig, "lake", "restored or recreated");
    assert_eq!(stuck["state"], "stuck");
    order(&rig, "lake", "rewind", Some(json!({"to": "first"})));
    check_lake(&rig, || downloaded(&rig, &server));
    drop(collector);
}

#[test]
fn a_wrong_secret_is_an_error_that_does_not_show_it() {
    let (rig, server, _proxy) = rig_with_bucket("bucket-login", |rig| S3Server::new(&rig.folder));
    let guarded = server.start_guarded();
    server.bucket("plant", true);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let refused = wait_error(&rig, "lake", "check key_id and secret");
    let text = refused.to_string();
    assert!(text.contains("s3://plant/lake") && !text.contains("hush"), "{text}");
    guarded.kill();
    let _open = server.start();
    server.bucket("plant", true);
    order(&rig, "lake", "resume", None);
    check_lake(&rig, || downloaded(&rig, &server));
}

#[test]
fn a_rewind_writes_what_is_missing_and_nothing_twice() {
    let (rig, lake) = rig_with_lake("lake-rewind", SMALL_PARTS);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = Load::start(&rig);
    wait_for("there are some files", || (files(&lake).len() > 20).then_some(()));
    order(&rig, "lake", "rewind", Some(json!({"to": "first"})));
    accepted_more(&load);
    order(&rig, "lake", "rewind", Some(json!({"to": "100"})));
    drop(load);
    wait_delivered(&rig, "lake");
    let whole = rows(&lake).len();
    let (samples, middle) = (sample_files(&lake), sample_files(&lake).len() / 2);
    let [(removed, begins, ends), (next, ..)] = &samples[middle..middle + 2] else { panic!("there are many") };
    std::fs::remove_file(removed).expect("it can be removed");
    assert!(rows(&lake).len() < whole, "the control: events are missing");
    // From within it, so that its second half comes in a part with events of the next file.
    order(&rig, "lake", "rewind", Some(json!({"to": ((begins + ends) / 2).to_string()})));
    wait_delivered(&rig, "lake");
    std::fs::remove_file(next).expect("it can be removed");
    order(&rig, "lake", "rewind", Some(json!({"to": "first"})));
    wait_delivered(&rig, "lake");
    order(&rig, "lake", "replay-dead", None);
    wait_delivered(&rig, "lake");
    check_lake(&rig, || lake);
}

#[test]
fn a_full_disk_is_waited_for_and_leaves_no_half_file() {
    let mut rig = Rig::new("lake-full");
    let small = SmallDisk::new(&rig.folder, 16 << 20);
    let lake = small.path().join("lake");
    std::fs::create_dir(&lake).expect("there is room");
    rig.collector_extra =
        format!("[[forward]]\nname = \"lake\"\n[forward.parquet]\ndirectory = {lake:?}\n{SMALL_PARTS}\n");
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_delivered(&rig, "lake");
    small.fill();
    let load = Load::start(&rig);
    let full = wait_error(&rig, "lake", "No space left on device");
    let text = full["last_error"].as_str().expect("it has an error");
    assert!(text.contains(&*lake.to_string_lossy()) && text.contains("make room on its disk"), "{text}");
    all_are_complete(&lake);
    let ledger = load.stop();
    small.clear();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    order(&rig, "lake", "resume", None);
    check_lake(&rig, || lake);
}

#[test]
fn files_that_are_put_back_while_it_runs_are_completed_again() {
    let (rig, lake) = rig_with_lake("lake-put-back", SMALL_PARTS);
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    for (generation, to) in [None, Some("first"), Some("end")].into_iter().enumerate() {
        let copy = rig.folder.join("copy");
        rig.break_down(&format!("before-{}", to.unwrap_or("no")));
        rig.wait_logged(&format!("before-{}", to.unwrap_or("no")));
        wait_delivered(&rig, "lake");
        copy_files(&lake, &copy);
        let load = Load::start(&rig);
        accepted_more(&load);
        let ledger = load.stop();
        wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
        wait_delivered(&rig, "lake");
        if let Some(to) = to {
            order(&rig, "lake", "rewind", Some(json!({ "to": to })));
            wait_for("the files know of it", || {
                let state = std::fs::read_to_string(lake.join("_afferent/lake-p0.json")).ok()?;
                let state: Value = serde_json::from_str(&state).ok()?;
                let known = report(&rig, "lake").filter(|report| report["lag"] == "0")?;
                let checkpoint = &state["checkpoint"];
                (checkpoint["generation"] == generation && checkpoint["place"] == known["place"]).then_some(())
            });
        }
        std::fs::rename(&lake, rig.folder.join(&format!("lost-{to:?}"))).expect("it can be moved");
        std::fs::rename(&copy, &lake).expect("it can be moved");
        rig.break_down(&format!("behind-{}", to.unwrap_or("no")));
        rig.wait_logged(&format!("behind-{}", to.unwrap_or("no")));
        wait_delivered(&rig, "lake");
        check_lake(&rig, || lake.clone());
    }
    // The state object alone.
    std::fs::remove_file(lake.join("_afferent/lake-p0.json")).expect("it can be removed");
    rig.break_down("E3");
    wait_error(&rig, "lake", "is not as this forward has left it");
    order(&rig, "lake", "resume", None);
    wait_error(&rig, "lake", "restored or recreated");
    order(&rig, "lake", "rewind", Some(json!({"to": "first"})));
    check_lake(&rig, || lake);
}

#[test]
fn a_directory_that_is_not_mounted_yet_is_waited_for() {
    let (rig, lake) = rig_with_lake("lake-mount", SMALL_PARTS);
    std::fs::remove_dir(&lake).expect("it is empty");
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    let missing = wait_error(&rig, "lake", "create the directory, or mount");
    assert_eq!(missing["state"], "retrying");
    assert!(files(&lake).is_empty());
    std::fs::create_dir(&lake).expect("it can be made");
    order(&rig, "lake", "resume", None);
    rig.wait_logged("E1");
    wait_delivered(&rig, "lake");
    check_lake(&rig, || lake);
    assert!(report(&rig, "lake").is_some_and(|report| report["dead_letters"] == 0));
}

#[test]
fn a_log_is_exported_into_the_same_layout() {
    let (rig, lake) = rig_with_lake("lake-export", "every_s = 0.1");
    let collector = rig.start_collector();
    let _agent = rig.start_agent();
    let load = Load::start(&rig);
    wait_for("some lines are accepted", || (load.accepted() > 1000).then_some(()));
    drop(load);
    wait_delivered(&rig, "lake");
    let logged = rig.events();
    collector.terminate();
    let exported = rig.folder.join("exported");
    let export = |more: &[&str]| {
        let mut command = Command::new(binary("afferent-collector"));
        command.args(["log", "export", "--data"]).arg(rig.collector_data()).arg("--parquet").arg(&exported).args(more);
        run_to_end(&mut command)
    };
    let end = logged.len().to_string();
    let (status, printed) = export(&["--until", &end]);
    assert!(status.success(), "{printed}");
    let exported_rows = rows(&exported);
    check(&logged, &arrived(&exported_rows), Promise::Once);
    check_columns(&logged, &exported_rows);
    let (status, printed) = export(&[]);
    assert!(!status.success() && printed.contains("is not empty; choose a new directory"), "{printed}");
    assert!(!files(&lake).is_empty());
}

#[test]
fn the_configurations_of_the_readme_work() {
    let readme = include_str!("../../../collector/src/forward/parquet/README.md");
    let (mut rig, server, proxy) = rig_with_bucket("lake-readme", |rig| S3Server::new(&rig.folder));
    let lake = rig.folder.join("lake");
    std::fs::create_dir(&lake).expect("the folder can be made");
    let _server = server.start();
    server.bucket("plant", true);
    let here = lake.display().to_string();
    let (endpoint, secret) = (format!("http://{}", proxy.address), rig.folder.join("secret").display().to_string());
    let directory = configuration(readme, 0, &[("/srv/lake", &here), ("every_s = 60", "every_s = 0.1")]);
    let bucket = configuration(readme, 1, &[("https://minio.example:9000", &endpoint), ("/run/secrets/lake", &secret)]);
    rig.collector_extra =
        format!("{directory}\n{}", bucket.replace("[forward.parquet]", "[forward.parquet]\nevery_s = 0.1"));
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_delivered(&rig, "bucket");
    check_lake(&rig, || lake);
    let down = rig.folder.join("downloaded");
    server.download("plant", &down);
    let breakdowns = rows(&down.join("lake"));
    assert!(breakdowns.iter().any(|row| row["type"] == "breakdown"), "{breakdowns:?}");
}
