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
    section("agent", "The agent's name and its data.", &[
        optional("name", Value::Text, "\"press-88\"",
            "The agent's name: letters, digits, '.', '_', '-'. Default: the machine's name."),
        key("data_dir", Value::Text, "\"afferent-data/agent\"", "The data directory: ring log, key, socket."),
        key("heartbeat_s", Value::Whole(1, HEARTBEAT_S_MAX as u64), "60",
            "Seconds between two heartbeats. A heartbeat states which events exist, so that a machine's silence is \
             certain too."),
    ]),
    section("ring", "The ring log: it keeps events on this machine's disk until the collector has stored them.", &[
        key("pool_bytes", Value::Size, "\"256MiB\"", "Largest size on disk. Files are created as they are needed."),
        optional("segment_bytes", Value::Size, "\"8MiB\"",
            "The size of one file. Default: depends on the pool's size."),
        optional("critical_reserve_segments", Value::Whole(0, 4_294_967_295), "4",
            "Number of files that only critical events may use. Default: an eighth of the files."),
    ]),
    section("commit", "How long samples wait to be written together. Critical events are written at once.", &[
        key("wait_max_ms", Value::Whole(0, 1_000), "20",
            "Longest wait of samples that a producer waits for, in milliseconds."),
        key("samples_wait_max_ms", Value::Whole(0, 60_000), "1000",
            "Longest wait of other samples, in milliseconds. A longer wait spares flash disks."),
    ]),
    section("ship", "The connection to the collector, or to a broker in between.", &[
        key("url", Value::Text, "\"mqtt://127.0.0.1:1883\"", "mqtt://HOST:PORT, or mqtts://HOST:PORT with TLS."),
        optional("ca_file", Value::Text, "\"/etc/afferent/ca.pem\"",
            "Certificates of the trusted authorities (PEM). Default: the system's."),
        optional("cert_file", Value::Text, "\"/etc/afferent/agent.pem\"", "The agent's certificate (PEM)."),
        optional("key_file", Value::Text, "\"/etc/afferent/agent.key\"", "The certificate's private key (PEM)."),
        key("collector_keys", Value::Texts, "[]",
            "Keys of the trusted collectors, 64 hexadecimal digits each. If any is named, no other is trusted."),
        key("trust_first", Value::Switch, "false",
            "If no key is named: trust the first collector that answers, from then on. On this machine (127.0.0.1, \
             localhost) it is always so."),
        optional("username", Value::Text, "\"press-88\"", "Login name."),
        optional("password", Value::Secret, "{ credential = \"mqtt\" }",
            "Login password: { file = … }, { env = … } or { credential = … }."),
        key("window_bytes", Value::Size, "\"256KiB\"",
            "Bytes of each stream in flight. Raise it for a line with a long round trip; a breakdown waits behind \
             them. The windows of all agents must fit the queue of a broker."),
        key("timeout_ms", Value::Whole(100, 600_000), "2000",
            "Milliseconds without progress before the session starts again; grows up to 16 times."),
        key("confirm_s", Value::Whole(CONFIRM_S_MIN as u64, 3600), "60",
            "Seconds in which a connection changed by a reload must work, or the previous one is used again."),
    ]),
];

#[rustfmt::skip]
const AFTER_INTAKE: [Section; 2] = [
    section("http", "GET /metrics and /healthz.", &[
        optional("address", Value::Text, "\"127.0.0.1:9188\"", "The address to listen on. Default: none."),
    ]),
    section("log", "The agent's own log, on standard error.", &[
        key("level", Value::Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"",
            "The lowest level that is logged."),
        key("format", Value::Choice(&["text", "json"]), "\"text\"", "text for people, json for programs."),
    ]),
];

/// All sections.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    BEFORE_INTAKE.iter().chain(kinds::SECTIONS).chain(&AFTER_INTAKE)
}
