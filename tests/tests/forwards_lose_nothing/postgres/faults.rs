//! Every fault is an error with the sink, the place and the remedy; delivery goes on once it is gone.

use afferent_tests::process::{Authority, GUARDED, Load, Postgres, Rig, SmallDisk, USER, copy_files, wait_for};
use serde_json::json;

use super::super::plant::{Arrived, Promise, check, doubles, order, report, wait_delivered, wait_error};
use super::{NAME, README, arrived, configured, rig, wait_written};

/// Waits for an error with all of these texts, and for one of another fault before.
fn wait_says(rig: &Rig, texts: &[&str]) {
    let error = wait_error(rig, NAME, texts[0]);
    let error = error["last_error"].as_str().expect("it has an error");
    for text in texts {
        assert!(error.contains(text), "{text:?} is not in: {error}");
    }
    assert!(!error.contains("hush"), "{error}");
}

/// Has the forward try again at once, until it has delivered everything.
fn wait_mended(rig: &Rig, server: &Postgres, generation: u64) {
    order(rig, NAME, "resume", None);
    wait_written(rig, server, generation);
}

#[test]
fn a_server_that_is_down_or_lacks_the_database_or_refuses_the_login_is_waited_for() {
    let (mut rig, server) = rig("pg-login");
    let secret = rig.folder.join("password");
    std::fs::write(&secret, "hush-wrong").expect("the folder can be written");
    let url = server.url(GUARDED).replace("/plant", "/other");
    rig.collector_extra = configured(&url, &format!("password = {{ file = {secret:?} }}"));
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    let address = server.address.to_string();
    wait_says(&rig, &["Connection refused", &address, "afferent.events", "check that the server runs"]);
    let _postgres = server.start();
    server.sql(&format!("CREATE ROLE {GUARDED} LOGIN PASSWORD 'hush'"));
    order(&rig, NAME, "resume", None);
    wait_says(&rig, &["28P01", &address, "check `password` and `user`"]);
    // The password is read at each try.
    std::fs::write(&secret, "hush").expect("the folder can be written");
    order(&rig, NAME, "resume", None);
    wait_says(&rig, &["3D000", "\"other\" does not exist", "CREATE DATABASE"]);
    server.sql("CREATE DATABASE other");
    order(&rig, NAME, "resume", None);
    wait_says(&rig, &["42501", "permission denied for database other", "grant what it names"]);
    server.sql(&format!("GRANT CREATE ON DATABASE other TO {GUARDED}"));
    order(&rig, NAME, "resume", None);
    wait_delivered(&rig, NAME);
    let count = server.try_sql("other", "SELECT count(*) FROM afferent.events").expect("the table is there");
    assert_eq!(count, rig.events().len().to_string());
}

#[test]
fn tables_that_somebody_has_changed_are_reported_with_the_column_and_what_mends_it() {
    let (rig, server) = rig("pg-changed");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_written(&rig, &server, 0);
    for (at, (change, says, mend)) in [
        (
            "ALTER TABLE afferent.events RENAME COLUMN unit TO einheit",
            &["the column unit is missing", "afferent.events", "ADD COLUMN \"unit\" text"][..],
            "ALTER TABLE afferent.events RENAME COLUMN einheit TO unit",
        ),
        (
            "ALTER TABLE afferent.events ALTER COLUMN value TYPE bigint",
            &["the column value has the type bigint", "ALTER COLUMN \"value\" TYPE double precision"],
            "ALTER TABLE afferent.events ALTER COLUMN value TYPE double precision",
        ),
        (
            "ALTER TABLE afferent.events ADD COLUMN plant text NOT NULL DEFAULT 'a'; ALTER TABLE afferent.events ALTER \
             COLUMN plant DROP DEFAULT",
            &["the column plant must have a value", "DROP NOT NULL"],
            "ALTER TABLE afferent.events ALTER COLUMN plant SET DEFAULT 'b'",
        ),
        (
            "UPDATE afferent.afferent_schema SET version = 9",
            &["version 9 of a newer collector", "update this collector"],
            "UPDATE afferent.afferent_schema SET version = 1",
        ),
        (
            "UPDATE afferent.afferent_forwards SET checkpoint = 'nonsense'",
            &["is not a checkpoint", "the row of history", "forward rewind"],
            "DELETE FROM afferent.afferent_forwards",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        server.sql(change);
        // It looks at tables and checkpoint when it connects.
        order(&rig, NAME, "resume", None);
        rig.break_down(&format!("C{at}"));
        wait_for(&format!("{says:?}: {:?}", report(&rig, NAME)), || {
            let report = report(&rig, NAME)?;
            let is_said = report["last_error"].as_str().is_some_and(|error| error.contains(says[0]));
            // An order interrupts what it does: only its waits are cut short.
            if !is_said && report["state"] == "retrying" {
                order(&rig, NAME, "resume", None);
            }
            is_said.then_some(())
        });
        wait_says(&rig, says);
        server.sql(mend);
        let generation = u64::from(mend.starts_with("DELETE"));
        if generation > 0 {
            order(&rig, NAME, "resume", None);
            wait_says(&rig, &["has no checkpoint of the forward", "forward rewind history --to"]);
            order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
        }
        wait_mended(&rig, &server, generation);
    }
    check(&rig.events(), &arrived(&server), Promise::Once);
}

#[test]
fn removed_partitions_and_tables_are_made_again_and_a_second_owner_is_noticed() {
    let (rig, server) = rig("pg-removed");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_written(&rig, &server, 0);
    let early = server.sql("SELECT checkpoint FROM afferent.afferent_forwards");
    let partitions = "SELECT string_agg(format('DROP TABLE afferent.%I', relname), ';') FROM pg_class JOIN pg_inherits \
                      ON oid = inhrelid WHERE inhparent = 'afferent.events'::regclass AND relkind = 'r'";
    server.sql(&server.sql(partitions));
    rig.break_down("E2");
    wait_for("it is there", || {
        (server.sql("SELECT data->>'code' FROM afferent.events WHERE type LIKE '%breakdown%'") == "E2").then_some(())
    });
    wait_delivered(&rig, NAME);
    server.sql(&format!("UPDATE afferent.afferent_forwards SET checkpoint = '{early}'"));
    rig.break_down("E3");
    wait_says(&rig, &["somebody else delivers the forward history", "stop the other collector"]);
    wait_mended(&rig, &server, 0);
    let codes = "SELECT data->>'code' FROM afferent.events WHERE type LIKE '%breakdown%' ORDER BY \"offset\"";
    assert_eq!(server.sql(codes), "E2\nE3", "it went on at the other's checkpoint, and doubled nothing");
}

#[test]
fn a_rewind_into_a_table_without_a_key_needs_one() {
    let (rig, server) = rig("pg-key");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    super::remove_key(&server);
    rig.break_down("E1");
    wait_written(&rig, &server, 0);
    order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
    wait_says(&rig, &["has no unique key", "ADD PRIMARY KEY (log, partition, \"offset\", ingesttime)"]);
    server.sql("ALTER TABLE afferent.events ADD PRIMARY KEY (log, partition, \"offset\", ingesttime)");
    wait_mended(&rig, &server, 1);
    check(&rig.events(), &arrived(&server), Promise::Once);
}

#[test]
fn a_certificate_is_believed_as_far_as_sslmode_says() {
    let mut rig = Rig::new("pg-tls");
    let server = Postgres::new(&rig.folder);
    let (own, other) = (Authority::new(&rig.folder, "own-ca"), Authority::new(&rig.folder, "other-ca"));
    server.with_tls(&own.issue("127.0.0.1"));
    let _postgres = server.start();
    let named = server.url(USER).replace("127.0.0.1", "localhost");
    for (url, sslmode, ca, says) in [
        (server.url(USER), "verify-full", Some(&own.ca), None),
        (server.url(USER), "verify-full", Some(&other.ca), Some("certificate")),
        (named.clone(), "verify-full", Some(&own.ca), Some("certificate")),
        (named.clone(), "verify-ca", Some(&own.ca), None),
        (named.clone(), "verify-ca", Some(&other.ca), Some("certificate")),
        (named, "require", None, None),
        (server.url(USER), "require", Some(&other.ca), Some("certificate")),
        (server.url(USER), "disable", None, None),
    ] {
        let ca = ca.map_or(String::new(), |ca| format!("ca = {ca:?}"));
        rig.collector_extra = configured(&url, &format!("sslmode = {sslmode:?}\n{ca}"));
        let _collector = rig.start_collector();
        match says {
            None => wait_delivered(&rig, NAME),
            Some(says) => wait_says(&rig, &[says, "sslmode"]),
        }
    }
}

#[test]
fn an_expired_certificate_of_the_server_is_named_as_that() {
    let mut rig = Rig::new("pg-expired");
    let server = Postgres::new(&rig.folder);
    let own = Authority::new(&rig.folder, "own-ca");
    let ca = own.ca.clone();
    rig.collector_extra = configured(&server.url(USER), &format!("sslmode = \"verify-full\"\nca = {ca:?}"));
    server.with_tls(&own.issue_for("127.0.0.1", 1975..2020));
    let postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_says(&rig, &["certificate expired", &server.address.to_string(), "sslmode"]);
    postgres.kill();
    server.with_tls(&own.issue("127.0.0.1"));
    let _postgres = server.start();
    wait_mended(&rig, &server, 0);
    check(&rig.events(), &arrived(&server), Promise::Once);
}

#[test]
fn a_full_disk_of_the_server_is_waited_for() {
    let (rig, server) = rig("pg-full");
    let small = SmallDisk::new(&rig.folder, 16 << 20);
    let tables = small.path().join("tables");
    std::fs::create_dir(&tables).expect("there is room");
    let _postgres = server.start();
    server.keep_tables_in(&tables);
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_written(&rig, &server, 0);
    small.fill();
    let load = Load::start(&rig);
    wait_says(&rig, &["53100", "No space left on device", "afferent.events", "free space on the server's disk"]);
    let ledger = load.stop();
    small.clear();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_mended(&rig, &server, 0);
    check(&rig.events(), &arrived(&server), Promise::Once);
}

#[test]
fn after_the_collectors_disk_was_put_back_the_readmes_statement_leaves_what_is_in_the_log() {
    let (rig, server) = rig("pg-put-back");
    let _postgres = server.start();
    let (collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    rig.wait_logged("E1");
    wait_written(&rig, &server, 0);
    // More orders than the copy will know of.
    assert!(collector.terminate().success());
    let (data, copy) = (rig.collector_data(), rig.folder.join("copy"));
    copy_files(&data, &copy);
    let collector = rig.start_collector();
    for generation in 1..=3 {
        order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
        wait_written(&rig, &server, generation);
    }
    rig.break_down("E2");
    rig.wait_logged("E2");
    wait_written(&rig, &server, 3);
    collector.kill();
    std::fs::remove_dir_all(&data).expect("it can be removed");
    std::fs::rename(&copy, &data).expect("it can be moved");
    let _collector = rig.start_collector();
    wait_says(&rig, &["its place no longer exists", "forward rewind history --to first"]);
    rig.wait_logged("E2");
    order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
    wait_written(&rig, &server, 4);
    let of_agent = |event: &Arrived| event.source == rig.agent_name;
    let logged: Vec<_> = rig.events().into_iter().filter(|event| of_agent(&Arrived::of(event))).collect();
    let there = || arrived(&server).into_iter().filter(of_agent).collect::<Vec<_>>();
    assert!(doubles(&there()) > 0, "the control: E2 has two addresses");
    let statement = README.split("```sql\n").find(|block| block.starts_with("DELETE")).expect("the README has it");
    server.sql(statement.split("```").next().expect("split gives at least one"));
    check(&logged, &there(), Promise::Once);
}
