//! All keys: their names, types, defaults and meanings, in the order in which they are printed.
//!
//! A test holds this table against the types of the sections, in both directions.

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from, to.
    Whole(u64, u64),
    /// A size in bytes.
    Size,
    /// `true` or `false`.
    Switch,
    /// Where a secret is.
    Secret,
    /// Texts.
    Texts,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The section's path; a section in brackets may stand there several times.
    pub section: &'static str,
    /// The key's name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The default as TOML; none where there is none, and then an example.
    pub default: Option<&'static str>,
    /// An example as TOML for a key without a default.
    pub example: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// A section, and what it is for.
pub const SECTIONS: [(&str, &str); 11] = [
    ("agent", "Who the agent is, and where it keeps what it must not lose."),
    ("ring", "The ring log: events on this machine's disk until the collector has them on its own."),
    ("commit", "How long events wait for company before they are written. Critical events never wait for it."),
    ("ship", "The way to the collector, or to a broker in between."),
    ("intake.socket", "Producers on this machine: one JSON object a line."),
    ("intake.host", "This machine itself: processor, memory, disks, network, temperatures, failed units."),
    ("[intake.exec]", "A program whose output is lines as the socket takes them. May stand there several times."),
    (
        "[intake.file]",
        "A recorded file that is replayed once; the next start goes on where it was. May stand there several times.",
    ),
    ("[intake.serial]", "A microcontroller with Afferent's firmware on a serial line. May stand there several times."),
    ("http", "GET /metrics and /healthz."),
    ("log", "The agent's own log, on standard error."),
];

impl Key {
    /// Whether its section may stand there several times.
    pub fn repeats(&self) -> bool {
        self.section.starts_with('[')
    }

    /// Section and name with dots.
    pub fn path(&self) -> String {
        format!("{}.{}", plain_section(self.section), self.name)
    }
}

/// A section's path without brackets.
pub fn plain_section(section: &str) -> &str {
    section.trim_matches(['[', ']'])
}

const fn key(section: &'static str, name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { section, name, kind, default: Some(default), example: "", help }
}

const fn optional(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    example: &'static str,
    help: &'static str,
) -> Key {
    Key { section, name, kind, default: None, example, help }
}

/// See the module.
#[rustfmt::skip]
pub const KEYS: [Key; 49] = [
    optional("agent", "name", Kind::Text, "\"press-88\"", "Its name: letters, digits, '.', '_', '-'. Default: the machine's name."),
    key("agent", "data_dir", Kind::Text, "\"afferent-data/agent\"", "The data directory: ring log, key, socket."),
    key("agent", "heartbeat_s", Kind::Whole(1, 3600), "60", "Seconds between two events that say how far everything is: what is older is certain, also while nothing happens."),
    key("ring", "pool_bytes", Kind::Size, "\"256MiB\"", "Its size on disk, taken as it is needed."),
    optional("ring", "segment_bytes", Kind::Size, "\"8MiB\"", "The size of one of its files. Default: by the pool's size."),
    optional("ring", "critical_reserve_segments", Kind::Whole(0, 4_294_967_295), "4", "Files that only critical events may take. Default: an eighth."),
    key("commit", "wait_max_ms", Kind::Whole(0, 1_000), "20", "Samples that a producer waits for."),
    key("commit", "samples_wait_max_ms", Kind::Whole(0, 60_000), "1000", "Samples that nobody waits for; longer spares flash disks."),
    key("ship", "url", Kind::Text, "\"mqtt://127.0.0.1:1883\"", "mqtt://HOST:PORT, or mqtts://HOST:PORT with TLS."),
    optional("ship", "ca_file", Kind::Text, "\"/etc/afferent/ca.pem\"", "Certificates that are trusted (PEM). Default: the system's."),
    optional("ship", "cert_file", Kind::Text, "\"/etc/afferent/agent.pem\"", "The agent's certificate (PEM)."),
    optional("ship", "key_file", Kind::Text, "\"/etc/afferent/agent.key\"", "The certificate's private key (PEM)."),
    key("ship", "collector_keys", Kind::Texts, "[]", "Keys of the collectors that are believed, 64 hexadecimal digits each. Named here, no other is."),
    key("ship", "trust_first", Kind::Switch, "false", "Without keys: believe the first collector that answers, from then on. On this machine (127.0.0.1, localhost) that is so anyway."),
    optional("ship", "username", Kind::Text, "\"press-88\"", "Login name."),
    optional("ship", "password", Kind::Secret, "{ credential = \"mqtt\" }", "Login password: { file = … }, { env = … } or { credential = … }."),
    key("ship", "window_bytes", Kind::Size, "\"256KiB\"", "Bytes of each stream under way at once. More for a line with a long round trip; a breakdown waits behind them. All agents' windows must fit a broker's queue."),
    key("ship", "timeout_ms", Kind::Whole(100, 600_000), "2000", "The longest wait without progress before the session begins again; grows up to 16 times."),
    key("ship", "confirm_s", Kind::Whole(5, 3600), "60", "How long a new way has, after a reload, before the one before is taken again."),
    key("intake.socket", "enabled", Kind::Switch, "true", "Whether there is a socket."),
    optional("intake.socket", "path", Kind::Text, "\"/run/afferent/agent.sock\"", "The Unix socket. Default: agent.sock in the data directory."),
    key("intake.socket", "mode", Kind::Text, "\"0660\"", "The socket's permission bits, in octal."),
    optional("intake.socket", "tcp", Kind::Text, "\"127.0.0.1:8800\"", "A TCP address too. Default: none."),
    key("intake.socket", "tcp_beyond_loopback", Kind::Switch, "false", "Whether that may be reached from other machines, without encryption."),
    key("intake.socket", "connections_max", Kind::Whole(1, 65_536), "256", "Producers at once."),
    key("intake.host", "enabled", Kind::Switch, "true", "Whether this machine is watched."),
    key("intake.host", "interval_ms", Kind::Whole(100, 86_400_000), "5000", "From look to look."),
    optional("[intake.exec]", "name", Kind::Text, "\"plc\"", "Stands in logs and metrics. Needed."),
    optional("[intake.exec]", "command", Kind::Texts, "[\"/usr/local/bin/read-plc\", \"--json\"]", "The program and its arguments, without a shell. Needed."),
    optional("[intake.file]", "path", Kind::Text, "\"recorded.csv\"", "The file: .csv with a head, .jsonl, .ndjson. Needed."),
    optional("[intake.file]", "subject", Kind::Text, "\"88-C/temperature\"", "What its values are about."),
    optional("[intake.file]", "subject_column", Kind::Text, "\"sensor\"", "A column that goes on the subject."),
    optional("[intake.file]", "time_column", Kind::Text, "\"timestamp\"", "The column with the time. Default: the time of the replay."),
    optional("[intake.file]", "time_format", Kind::Text, "\"%Y%m%d%H%M%S\"", "rfc3339, unix, unix_ms, unix_us, unix_ns, excel, or a pattern of %Y %m %d %H %M %S %f %z. Default: rfc3339."),
    optional("[intake.file]", "time_zone", Kind::Text, "\"UTC\"", "The zone of times that say none: UTC, or as +02:00. Default: such times are refused."),
    optional("[intake.file]", "value_columns", Kind::Texts, "[\"value\", \"lot\"]", "The columns with values. JSON lines without it are the socket's."),
    optional("[intake.file]", "text_columns", Kind::Texts, "[\"lot\"]", "Those of them that hold text. Default: as the first rows show."),
    optional("[intake.file]", "number_columns", Kind::Texts, "[\"value\"]", "Those of them that hold numbers. Default: as the first rows show."),
    optional("[intake.file]", "missing", Kind::Texts, "[\"NaN\"]", "Cells that mean no value, as empty ones do."),
    optional("[intake.file]", "decimal", Kind::Text, "\",\"", "The decimal sign. Default: a point."),
    optional("[intake.file]", "delimiter", Kind::Text, "\";\"", "What stands between the columns. Default: a comma."),
    optional("[intake.file]", "unit", Kind::Text, "\"Cel\"", "The values' unit, a UCUM code."),
    optional("[intake.file]", "speed", Kind::Text, "\"max\"", "original, max, or how many times faster. Default: original."),
    optional("[intake.serial]", "port", Kind::Text, "\"/dev/ttyUSB0\"", "The serial port, or tcp://HOST:PORT, or unix:/PATH. Needed."),
    optional("[intake.serial]", "baud", Kind::Whole(50, 4_000_000), "115200", "Bits a second. Default: 115200."),
    optional("[intake.serial]", "device", Kind::Text, "\"spindle-1\"", "The name that the device must have. Needed."),
    optional("http", "address", Kind::Text, "\"127.0.0.1:9188\"", "Where it listens. Default: nowhere."),
    key("log", "level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"", "From which level."),
    key("log", "format", Kind::Choice(&["text", "json"]), "\"text\"", "text for people, json for programs."),
];
