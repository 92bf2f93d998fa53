use std::path::Path;

use super::keys::sections;
use super::*;
use crate::intake::tail::lines::LineForm;

fn read(text: &str) -> Result<Config, ConfigError> {
    load_text(Path::new("agent.toml"), text)
}

fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    assert_eq!(read(&default_toml()).unwrap(), Config::default());
    assert_eq!(read("").unwrap(), Config::default());
}

#[test]
fn every_key_of_the_table_is_taken_and_checked() {
    let mut text = String::new();
    for section in sections() {
        text.push_str(&format!("{}\n", section.head()));
        for key in section.keys {
            text.push_str(&format!("{} = {}\n", key.name, key.default.unwrap_or(key.example)));
        }
    }
    let text = text.replace("mqtt://127.0.0.1:1883", "mqtts://127.0.0.1:8883");
    // `columns` is for CSV, `pattern` and `fields` are for plain lines: each is taken without the other.
    let columns = "\ncolumns = [\"time\", \"value\"]\n";
    let is_for_csv = |line: &&str| !line.starts_with("pattern = ") && !line.starts_with("fields = ");
    let csv = text.lines().filter(is_for_csv).collect::<Vec<_>>().join("\n");
    let csv = read(&csv.replace("\nformat = \"plain\"\n", "\nformat = \"csv\"\n")).unwrap();
    assert_eq!(csv.intake.tail[0].form, LineForm::Csv { columns: vec!["time".to_owned(), "value".to_owned()] });
    let config = read(&text.replace(columns, "\n")).unwrap();
    assert_eq!(config.ship.password, Some(afferent_host::secret::Secret::Credential("mqtt".to_owned())));
    assert_eq!(config.ring.segment_bytes, Some(Size(8 << 20)));
    assert_eq!(config.intake.exec[0].command, ["/usr/local/bin/read-plc", "--json"]);
    assert_eq!(config.intake.file[0].mapping.value_columns, ["value", "lot"]);
    assert_eq!(config.intake.socket.mode.0, 0o660);
    assert_eq!(config.home().agent.as_str(), "press-88");
}

/// The types' own list of keys, out of serde's refusal of one that does not exist.
#[test]
fn every_key_of_the_types_is_in_the_table() {
    for section in sections() {
        let error = toml::from_str::<Config>(&format!("{}\nno_such_key = 1\n", section.head())).unwrap_err();
        let (_, listed) = error.message().split_once("expected ").unwrap();
        let mut listed: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        let mut known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known, "{}", section.path);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one_and_their_line() {
    let unknown = "agent.toml, line 3: there is no key `ring.pool_byte`; did you mean `ring.pool_bytes`?";
    assert_eq!(refused("[ring]\n\npool_byte = 1\n"), unknown);
    assert_eq!(refused("[rnig]\n"), "agent.toml, line 1: there is no key `rnig`; did you mean `ring`?");
    assert_eq!(
        refused("pool_bytes = 5\n"),
        "agent.toml, line 1: there is no key `pool_bytes`; did you mean `ring.pool_bytes`?"
    );
    assert_eq!(refused("[intake.zzzzzz]\n"), "agent.toml, line 1: there is no key `intake.zzzzzz`");
    assert_eq!(
        refused("[[intake.exec]]\nname = \"a\"\ncomand = []\n"),
        "agent.toml, line 3: there is no key `intake.exec.comand`; did you mean `intake.exec.command`?"
    );
}

#[test]
fn values_are_refused_with_their_line_and_what_is_taken() {
    for (text, parts) in [
        ("[ring]\npool_bytes = \"much\"\n", &["line 2", "256MiB"][..]),
        ("[ring]\npool_bytes = \"100KiB\"\n", &["ring.pool_bytes", "at least"]),
        ("[ring]\nsegment_bytes = 5\n", &["ring.segment_bytes", "64KiB"]),
        ("[log]\n\nlevel = \"loud\"\n", &["line 3", "loud", "trace"]),
        ("[agent]\nname = \"a/b\"\n", &["line 2", "a/b", "'/'"]),
        ("[ship]\nurl = \"http://x\"\n", &["ship.url", "mqtts://HOST:PORT"]),
        ("[ship]\nurl = \"mqtts://x:1\"\ncert_file = \"a\"\n", &["ship.key_file"]),
        ("[ship]\nca_file = \"a\"\n", &["mqtts://"]),
        ("[agent]\nheartbeat_s = 0\n", &["line 2", "agent.heartbeat_s", "1 to 3600"]),
        ("[intake.host]\ninterval_ms = 0x1\n", &["line 2", "intake.host.interval_ms", "0x1", "100 to 86400000"]),
        ("[intake.socket]\nconnections_max = -1\n", &["intake.socket.connections_max", "-1", "1 to 65536"]),
        (
            "[[intake.serial]]\nport = \"/dev/x\"\ndevice = \"a\"\nbaud = 49\n",
            &["line 4", "intake.serial.baud", "50 to 4000000"],
        ),
        ("[[intake.serial]]\nport = \"x\"\ndevice = \"a\"\n", &["line 2", "intake.serial.port", "/dev/ttyUSB0"]),
        ("[ship]\ntimeout_ms = 99_9_9_9_99\n", &["line 2", "ship.timeout_ms", "100 to 600000"]),
        ("[ship]\ncollector_keys = [\"12ab\"]\n", &["ship.collector_keys", "12ab", "64 hexadecimal digits"]),
        ("[ship]\nwindow_bytes = \"1KiB\"\n", &["ship.window_bytes", "64KiB to 64MiB"]),
        ("[intake.socket]\ntcp = \"0.0.0.0:1\"\n", &["intake.socket.tcp", "tcp_beyond_loopback"]),
        ("[intake.socket]\nmode = \"999\"\n", &["intake.socket.mode", "octal"]),
        ("[[intake.exec]]\nname = \"a\"\ncommand = []\n", &["intake.exec.command"]),
        ("[[intake.file]]\npath = \"a.csv\"\nunit = \"degC\"\n", &["intake.file.unit", "Cel"]),
        ("[[intake.file]]\npath = \"a.csv\"\nsubject = \"88-C//x\"\n", &["line 3", "intake.file.subject", "88-C//x"]),
        ("[[intake.file]]\npath = \"a.csv\"\nspeed = \"fast\"\n", &["intake.file.speed", "original"]),
        ("[[intake.file]]\npath = \"a.csv\"\ntime_format = \"iso\"\n", &["intake.file.time_format", "unix_ms"]),
        ("[[intake.file]]\npath = \"a.csv\"\ntime_zone = \"CET\"\n", &["intake.file.time_zone", "+02:00"]),
        ("[[intake.file]]\npath = \"a.csv\"\ntime_format = \"excel\"\n", &["intake.file", "a.csv", "zone"]),
        ("[[intake.file]]\npath = \"a.csv\"\ndecimal = \"::\"\n", &["intake.file.decimal", "ASCII"]),
        (
            "[[intake.tail]]\nname = \"a\"\npaths = [\"/a\"]\ncolumns = [\"t\"]\n",
            &["intake.tail", "`columns`", "`format = \"csv\"`"],
        ),
        ("[ring\n", &["line 1"]),
        ("[ring]\na = 1\na = 2\n", &["line 3"]),
    ] {
        let message = refused(text);
        for part in parts {
            assert!(message.contains(part), "{text}\n  {message}\n  lacks {part}");
        }
    }
}

#[test]
fn a_secret_in_the_configuration_is_refused_and_not_repeated() {
    for text in ["[ship]\nusername = \"a\"\npassword = \"hush\"\n", "[ship]\nurl = \"mqtt://me:hush@host\"\n"] {
        let message = refused(text);
        assert!(!message.contains("hush"), "{message}");
    }
    assert!(refused("[ship]\npassword = { file = \"a\", env = \"b\" }\n").contains("one of"));
    assert!(refused("[ship]\npassword = { env = \"b\" }\n").contains("ship.username"));
}

#[test]
fn files_beside_are_merged_and_a_key_in_two_files_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    let beside = directory.path().join("conf.d");
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(&path, "[ring]\npool_bytes = \"64MiB\"\n[intake.host]\ninterval_ms = 1000\n").unwrap();
    std::fs::write(beside.join("20.toml"), "[intake.socket]\nenabled = false\n[ring]\nsegment_bytes = \"1MiB\"\n")
        .unwrap();
    std::fs::write(beside.join("notes.txt"), "not read").unwrap();
    let config = load(&path).unwrap();
    assert_eq!((config.ring.pool_bytes, config.ring.segment_bytes), (Size(64 << 20), Some(Size(1 << 20))));
    assert_eq!((config.intake.host.interval_ms, config.intake.socket.enabled), (1000, false));
    std::fs::write(beside.join("30.toml"), "\n[ring]\npool_bytes = \"64MiB\"\n").unwrap();
    let message = load(&path).unwrap_err().to_string();
    assert!(
        message.starts_with("`ring.pool_bytes` is set in ") && message.contains("agent.toml, line 2 and in "),
        "{message}"
    );
    assert!(message.contains("30.toml, line 3"), "{message}");
    std::fs::write(beside.join("30.toml"), "\n[rnig]\n").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("30.toml, line 2"));
}

#[test]
fn the_schema_has_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    for section in sections() {
        let at = section.path.split('.').fold(&schema, |at, level| &at["properties"][level]);
        let at = if section.repeats { &at["items"] } else { at };
        for key in section.keys {
            assert!(at["properties"][key.name]["description"].is_string(), "{}", section.path_of(key));
        }
    }
    assert_eq!(schema["properties"]["commit"]["properties"]["wait_max_ms"]["default"], 20);
}

#[test]
fn a_machines_name_becomes_an_agents_name() {
    for (host, name) in [
        ("press-88.plant.example", "press-88.plant.example"),
        ("Presse Süd", "Presse-S-d"),
        ("..", "agent"),
        ("", "agent"),
    ] {
        assert_eq!(name_of_host(host).as_str(), name);
    }
    assert_eq!(name_of_host(&"x".repeat(64)).as_str().len(), 63);
}
