//! All sections: their keys, types, defaults and meanings, in the order in which they are printed. Those of the inputs
//! come from the table of their kinds, [`kinds`].
//!
//! A test holds this table against the types of the sections, in both directions.

use crate::intake::kinds;
use crate::limits::{CONFIRM_S_MIN, HEARTBEAT_S_MAX};
use crate::section::{Key, Section, Value, key, optional};

const fn section(path: &'static str, help: &'static str, keys: &'static [Key]) -> Section {
    Section { path, repeats: false, help, keys }
}

#[rustfmt::skip]
const BEFORE_INTAKE: [Section; 4] = [
    section("agent", "Who the agent is, and where it keeps what it must not lose.", &[
        optional("name", Value::Text, "\"press-88\"", "Its name: letters, digits, '.', '_', '-'. Default: the machine's name."),
        key("data_dir", Value::Text, "\"afferent-data/agent\"", "The data directory: ring log, key, socket."),
        key("heartbeat_s", Value::Whole(1, HEARTBEAT_S_MAX as u64), "60", "Seconds between two events that say how far everything is: what is older is certain, also while nothing happens."),
    ]),
    section("ring", "The ring log: events on this machine's disk until the collector has them on its own.", &[
        key("pool_bytes", Value::Size, "\"256MiB\"", "Its size on disk, taken as it is needed."),
        optional("segment_bytes", Value::Size, "\"8MiB\"", "The size of one of its files. Default: by the pool's size."),
        optional("critical_reserve_segments", Value::Whole(0, 4_294_967_295), "4", "Files that only critical events may take. Default: an eighth."),
    ]),
    section("commit", "How long events wait for company before they are written. Critical events never wait for it.", &[
        key("wait_max_ms", Value::Whole(0, 1_000), "20", "Samples that a producer waits for."),
        key("samples_wait_max_ms", Value::Whole(0, 60_000), "1000", "Samples that nobody waits for; longer spares flash disks."),
    ]),
    section("ship", "The way to the collector, or to a broker in between.", &[
        key("url", Value::Text, "\"mqtt://127.0.0.1:1883\"", "mqtt://HOST:PORT, or mqtts://HOST:PORT with TLS."),
        optional("ca_file", Value::Text, "\"/etc/afferent/ca.pem\"", "Certificates that are trusted (PEM). Default: the system's."),
        optional("cert_file", Value::Text, "\"/etc/afferent/agent.pem\"", "The agent's certificate (PEM)."),
        optional("key_file", Value::Text, "\"/etc/afferent/agent.key\"", "The certificate's private key (PEM)."),
        key("collector_keys", Value::Texts, "[]", "Keys of the collectors that are believed, 64 hexadecimal digits each. Named here, no other is."),
        key("trust_first", Value::Switch, "false", "Without keys: believe the first collector that answers, from then on. On this machine (127.0.0.1, localhost) that is so anyway."),
        optional("username", Value::Text, "\"press-88\"", "Login name."),
        optional("password", Value::Secret, "{ credential = \"mqtt\" }", "Login password: { file = … }, { env = … } or { credential = … }."),
        key("window_bytes", Value::Size, "\"256KiB\"", "Bytes of each stream under way at once. More for a line with a long round trip; a breakdown waits behind them. All agents' windows must fit a broker's queue."),
        key("timeout_ms", Value::Whole(100, 600_000), "2000", "The longest wait without progress before the session begins again; grows up to 16 times."),
        key("confirm_s", Value::Whole(CONFIRM_S_MIN as u64, 3600), "60", "How long a new way has, after a reload, before the one before is taken again."),
    ]),
];

#[rustfmt::skip]
const AFTER_INTAKE: [Section; 2] = [
    section("http", "GET /metrics and /healthz.", &[
        optional("address", Value::Text, "\"127.0.0.1:9188\"", "Where it listens. Default: nowhere."),
    ]),
    section("log", "The agent's own log, on standard error.", &[
        key("level", Value::Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"", "From which level."),
        key("format", Value::Choice(&["text", "json"]), "\"text\"", "text for people, json for programs."),
    ]),
];

/// All sections.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    BEFORE_INTAKE.iter().chain(kinds::SECTIONS).chain(&AFTER_INTAKE)
}
