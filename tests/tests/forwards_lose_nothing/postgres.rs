//! PostgreSQL: once, in order and to the bit, whoever is killed and whatever becomes of the server and its tables.

use std::process::Command;

use afferent_tests::process::{
    Authority, GUARDED, Load, Postgres, Process, Proxy, Rig, USER, get, run_to_end, wait_for,
};
use serde_json::{Value, json};

use super::plant::{Arrived, Promise, accepted_more, check, configuration, doubles, order, report, wait_delivered};

mod bits;
mod faults;

/// Kills of each kind.
const KILLS: usize = 20;
/// Kills after which the control must have shown a double.
const KILLS_OF_CONTROL: usize = 100;
const NAME: &str = "history";

fn configured(url: &str, more: &str) -> String {
    format!("[[forward]]\nname = \"{NAME}\"\n[forward.postgres]\nurl = \"{url}\"\n{more}\n")
}

fn rig(name: &str) -> (Rig, Postgres) {
    let mut rig = Rig::new(name);
    let server = Postgres::new(&rig.folder);
    rig.collector_extra = configured(&server.url(USER), "timeout_s = 10");
    (rig, server)
}

/// The rows, by their offsets.
fn arrived(server: &Postgres) -> Vec<Arrived> {
    arrived_by(server, "\"offset\"")
}

fn arrived_by(server: &Postgres, order: &str) -> Vec<Arrived> {
    let rows = server.sql(&format!("SELECT source, id, coalesce(subject, '') FROM afferent.events ORDER BY {order}"));
    let arrived = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        let mut field = || fields.next().expect("three columns were selected");
        Arrived { source: field(), id: field(), subject: field() }
    };
    rows.lines().map(arrived).collect()
}

/// Removes the key, so that nothing but the transaction keeps doubles away, and has the server number the rows as they
/// come.
fn remove_key(server: &Postgres) {
    let alter = "CREATE SEQUENCE public.arrivals; ALTER TABLE afferent.events DROP CONSTRAINT events_pkey, \
                 ADD COLUMN arrival bigint DEFAULT nextval('public.arrivals')";
    wait_for("the tables are made", || server.try_sql("plant", alter).ok());
}

/// Waits until the table has more rows.
fn written_more(server: &Postgres, rig: &Rig) {
    let count = || server.try_sql("plant", "SELECT count(*) FROM afferent.events").ok();
    let before = count();
    wait_for(&format!("more rows are written: {:?}", report(rig, NAME)), || (count() != before).then_some(()));
}

/// Waits until the checkpoint in the table is of this generation, and behind everything that the log holds.
fn wait_written(rig: &Rig, server: &Postgres, generation: u64) {
    wait_for(&format!("everything is in the table: {:?}", report(rig, NAME)), || {
        let text = server.try_sql("plant", "SELECT checkpoint FROM afferent.afferent_forwards").ok()?;
        let there: Value = serde_json::from_str(&text).ok()?;
        let next: u64 = there["place"].as_str()?.split('@').next()?.parse().ok()?;
        (there["generation"] == generation && Some(next) == rig.log_end()).then_some(())
    });
}

#[test]
fn kills_of_collector_agent_and_server_lose_nothing_double_nothing_and_change_no_order() {
    let (rig, server) = rig("pg-kills");
    let mut postgres = server.start();
    let (mut collector, mut agent) = (rig.start_collector(), rig.start_agent());
    remove_key(&server);
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        accepted_more(&load);
        collector.kill();
        collector = rig.start_collector();
        accepted_more(&load);
        agent.kill();
        agent = rig.start_agent();
        postgres.kill();
        accepted_more(&load);
        postgres = server.start();
        order(&rig, NAME, "resume", None);
        written_more(&server, &rig);
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, NAME);
    let logged = rig.events();
    ledger.check(&logged);
    check(&logged, &arrived_by(&server, "arrival"), Promise::Once);
}

#[test]
fn without_the_checkpoint_in_the_transaction_kills_make_doubles() {
    let (rig, server) = rig("pg-control");
    let _postgres = server.start();
    let start = || {
        let mut command = rig.collector_command();
        command.env("AFFERENT_POSTGRES_CHECKPOINT_APART", "1");
        let collector = Process::start("collector", &mut command, &rig.folder.join("collector.log"));
        wait_for("the collector's API answers", || get(rig.http, "/healthz").ok());
        collector
    };
    let (mut collector, _agent) = (start(), rig.start_agent());
    remove_key(&server);
    let load = Load::start(&rig);
    let has_doubles = (0..KILLS_OF_CONTROL).any(|_| {
        accepted_more(&load);
        written_more(&server, &rig);
        collector.signal(rustix::process::Signal::KILL);
        wait_for("it is gone", || collector.ended());
        collector = start();
        doubles(&arrived(&server)) > 0
    });
    let _ledger = load.stop();
    assert!(has_doubles, "the control shows what the transaction is for");
}

#[test]
fn answers_that_are_lost_lose_nothing_and_double_nothing() {
    let (mut rig, server) = rig("pg-answers");
    let _postgres = server.start();
    let proxy = Proxy::start(server.address);
    let url = format!("postgres://{USER}@{}/plant", proxy.address);
    rig.collector_extra = configured(&url, "timeout_s = 10");
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    remove_key(&server);
    let load = Load::start(&rig);
    for _ in 0..KILLS {
        written_more(&server, &rig);
        // What is on its way is cut in both directions: the outcome of the transaction is unknown.
        proxy.hang();
        proxy.cut();
        proxy.go_on();
        accepted_more(&load);
        order(&rig, NAME, "resume", None);
    }
    let ledger = load.stop();
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    wait_delivered(&rig, NAME);
    check(&rig.events(), &arrived_by(&server, "arrival"), Promise::Once);
}

#[test]
fn a_rewind_and_dead_letters_that_are_sent_again_double_nothing() {
    let (rig, server) = rig("pg-rewind");
    let _postgres = server.start();
    let (_collector, _agent) = (rig.start_collector(), rig.start_agent());
    rig.break_down("E1");
    wait_written(&rig, &server, 0);
    let refuse = "ALTER TABLE afferent.events ADD CONSTRAINT no_e13 CHECK (data->>'code' IS DISTINCT FROM 'E13')";
    server.sql(refuse);
    ["E12", "E13", "E14"].iter().for_each(|code| rig.break_down(code));
    let letter = rig.wait_event("a dead letter", |event| event["type"] == "afferent.deadletter.v1");
    let reason = letter["data"]["reason"].as_str().expect("it has a reason").to_owned();
    assert!(reason.contains("no_e13") && reason.contains(&server.address.to_string()), "{reason}");
    wait_written(&rig, &server, 0);
    let codes =
        || server.sql("SELECT data->>'code' FROM afferent.events WHERE type LIKE '%breakdown%' ORDER BY \"offset\"");
    assert_eq!(codes(), "E1\nE12\nE14");
    server.sql("ALTER TABLE afferent.events DROP CONSTRAINT no_e13");
    order(&rig, NAME, "replay-dead", None);
    wait_for("the event is there", || (codes() == "E1\nE12\nE13\nE14").then_some(()));
    let before = server.sql("SELECT count(*) FROM afferent.events");
    server.sql("DELETE FROM afferent.events WHERE data->>'code' = 'E12'");
    for generation in 1..3 {
        order(&rig, NAME, "rewind", Some(json!({ "to": "first" })));
        wait_written(&rig, &server, generation);
        rig.break_down("again");
        wait_written(&rig, &server, generation);
    }
    assert_eq!(codes(), "E1\nE12\nE13\nE14\nagain\nagain", "what was missing is there again, and the rest once");
    assert!(before.parse::<usize>().expect("a number") < arrived(&server).len());
    assert_eq!(doubles(&arrived(&server)), 0);
    assert_eq!(arrived(&server).len(), rig.events().len());
}

const README: &str = include_str!("../../../collector/src/forward/postgres/README.md");

#[test]
fn the_readmes_configuration_and_queries_work_as_they_are() {
    let mut rig = Rig::new("pg-readme");
    let server = Postgres::new(&rig.folder);
    let authority = Authority::new(&rig.folder, "plant-ca");
    server.with_tls(&authority.issue("127.0.0.1"));
    let _postgres = server.start();
    server
        .sql(&format!("CREATE ROLE {GUARDED} LOGIN PASSWORD 'a secret'; GRANT CREATE ON DATABASE plant TO {GUARDED}"));
    let secret = rig.folder.join("password");
    std::fs::write(&secret, "a secret\n").expect("the folder can be written");
    let address = server.address.to_string();
    let [secret, ca] = [&secret, &authority.ca].map(|path| path.to_str().expect("a text").to_owned());
    let replaced = [
        ("afferent@db.example:5432", format!("{GUARDED}@{address}")),
        ("/run/secrets/postgres", secret),
        ("/etc/ssl/plant-ca.pem", ca),
    ];
    let replaced = replaced.each_ref().map(|(named, here)| (*named, here.as_str()));
    rig.collector_extra = configuration(README, 0, &replaced);
    let _collector = rig.start_collector();
    let _agent = rig.start_agent();
    let run = rig.collector_command();
    let config = run.get_args().skip(1).collect::<Vec<_>>();
    let check = || run_to_end(Command::new(run.get_program()).args(["check", "--connect", "--reload"]).args(&config));
    rig.break_down("E42");
    // A zero character, which no `text` of PostgreSQL holds.
    rig.break_down("E\\u0000");
    rig.wait_logged("E\0");
    wait_delivered(&rig, NAME);
    let (status, said) = check();
    assert!(status.success() && said.contains("its tables are as they have to be"), "{said}");
    for query in README.split("```sql\n").skip(1) {
        let query = query.split("```").next().expect("split gives at least one");
        server.sql(query);
    }
    let tls =
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'aff%'";
    assert_eq!(server.sql(tls), "t");
}
