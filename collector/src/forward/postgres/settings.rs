//! The settings of the sink: the database, the tables, and how to log in.

use std::net::IpAddr;
use std::time::Duration;

use afferent_host::secret::Secret;
use afferent_protocol::ids::SourceId;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{PostgresConfig, SslMode};
use super::schema::Tables;
use super::tls;

/// Where the events go, and how.
pub(super) struct Settings {
    /// The forward.
    pub name: SourceId,
    pub hosts: Vec<String>,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// Read at each connection, so that it can change.
    pub password: Option<Secret>,
    pub sslmode: SslMode,
    pub tls: MakeRustlsConnect,
    pub tables: Tables,
    pub shared: bool,
    pub timeout: Duration,
    /// The database and the table for people.
    pub target: String,
}

const TIMEOUT_S: f64 = 30.0;
const PORT: u16 = 5432;

/// The server and the database, from `url` or from the keys for each.
struct Address {
    hosts: Vec<String>,
    port: u16,
    database: String,
    user: String,
    sslmode: Option<SslMode>,
}

impl Settings {
    pub fn new(config: &PostgresConfig, name: SourceId) -> Result<Self, String> {
        let Address { hosts, port, database, user, sslmode } = match &config.url {
            Some(url) => of_url(url, config)?,
            None => of_keys(config)?,
        };
        if let Some(password) = &config.password {
            password.read().map_err(|error| format!("password: {error}"))?;
        }
        let timeout_s = config.timeout_s.unwrap_or(TIMEOUT_S);
        if !(1.0..=3600.0).contains(&timeout_s) {
            return Err(format!("timeout_s is {timeout_s}; it must be from 1 to 3600"));
        }
        if config.sslmode.is_some() && sslmode.is_some() {
            return Err("sslmode is in `url` too; remove one of them".to_owned());
        }
        let has_files = config.ca.is_some() || config.cert.is_some();
        let is_here = hosts.iter().all(|host| is_this_machine(host)) && !has_files;
        let default = if is_here { SslMode::Disable } else { SslMode::VerifyFull };
        let sslmode = config.sslmode.or(sslmode).unwrap_or(default);
        let own = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err("cert and key go together; set both or neither".to_owned()),
        };
        if sslmode == SslMode::Disable && (config.ca.is_some() || own.is_some()) {
            return Err(
                "ca, cert and key would be ignored with sslmode disable; set `sslmode = \"verify-full\"`".into()
            );
        }
        let tables = Tables::new(&config.schema, &config.table)?;
        let target = format!("postgres://{}:{port}/{database}, table {}", hosts.join(","), tables.shown());
        Ok(Self {
            name,
            hosts,
            port,
            database,
            user,
            password: config.password.clone(),
            sslmode,
            tls: tls::connector(sslmode, config.ca.as_deref(), own)?,
            tables,
            shared: config.shared,
            timeout: Duration::from_secs_f64(timeout_s),
            target,
        })
    }
}

fn of_keys(config: &PostgresConfig) -> Result<Address, String> {
    let needed = |key: &str, value: &Option<String>| match value.as_deref() {
        None | Some("") => Err(format!("{key} is missing; set it, or `url`")),
        Some(value) => plain(key, value),
    };
    let (host, user) = (needed("host", &config.host)?, needed("user", &config.user)?);
    let hosts: Vec<String> = host.split(',').map(|host| host.trim().to_owned()).collect();
    if hosts.iter().any(String::is_empty) {
        return Err(format!("host {host:?} has an empty name; write one name, or several with commas"));
    }
    let database = config.database.as_deref().map_or(Ok(user.clone()), |database| plain("database", database))?;
    Ok(Address { hosts, port: config.port.unwrap_or(PORT), database, user, sslmode: None })
}

/// The text must not come back in a message: it perhaps holds a password.
fn of_url(url: &str, config: &PostgresConfig) -> Result<Address, String> {
    let wrong = |why: &str| format!("url {why}; write it as postgres://user@host:port/database");
    let others = [config.host.is_some(), config.port.is_some(), config.database.is_some(), config.user.is_some()];
    if others.contains(&true) {
        return Err("url comes instead of host, port, database and user; remove it or them".to_owned());
    }
    let url = Url::parse(url).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    if !["postgres", "postgresql"].contains(&url.scheme()) {
        return Err(wrong("is not one of PostgreSQL"));
    }
    if url.password().is_some() {
        return Err(
            "url has a password, which does not stand in the configuration; use `password = { file = … }`".into()
        );
    }
    let decoded = |key: &str, text: &str| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| wrong("is not UTF-8"))?;
        plain(key, &text)
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let user = decoded("the user in url", url.username())?;
    if user.is_empty() {
        return Err(wrong("has no user"));
    }
    let database = match url.path().trim_start_matches('/') {
        "" => user.clone(),
        database => decoded("the database in url", database)?,
    };
    let mut sslmode = None;
    for (name, value) in url.query_pairs() {
        if name != "sslmode" {
            return Err(format!("url has the parameter {name:?}, which is not supported; remove it"));
        }
        sslmode = Some(of_name(&value)?);
    }
    let hosts = vec![decoded("the host in url", host)?];
    Ok(Address { hosts, port: url.port().unwrap_or(PORT), database, user, sslmode })
}

fn of_name(name: &str) -> Result<SslMode, String> {
    let deserializer = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name);
    serde::Deserialize::deserialize(deserializer).map_err(|error| format!("sslmode in url: {error}"))
}

/// A text that the server can read.
fn plain(key: &str, text: &str) -> Result<String, String> {
    if text.contains('\0') { Err(format!("{key} has a zero character; remove it")) } else { Ok(text.to_owned()) }
}

fn is_this_machine(host: &str) -> bool {
    host.starts_with('/') || host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Result<Settings, String> {
        let config: PostgresConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        Settings::new(&config, SourceId::literal("history"))
    }

    #[test]
    fn the_database_is_given_as_a_url_or_by_keys() {
        let of_url = settings(r#"url = "postgres://plant%20writer@[::1]:5433/plant""#).unwrap();
        let of_keys = settings("host = '::1'\nport = 5433\ndatabase = 'plant'\nuser = 'plant writer'").unwrap();
        for settings in [of_url, of_keys] {
            assert_eq!((&*settings.hosts, settings.port), (&["::1".to_owned()][..], 5433));
            assert_eq!((&*settings.user, &*settings.database), ("plant writer", "plant"));
            assert_eq!(settings.target, "postgres://::1:5433/plant, table afferent.events");
        }
        let short = settings("url = 'postgresql://afferent@db.example'").unwrap();
        assert_eq!((&*short.database, short.port), ("afferent", 5432));
        let many = settings("host = 'db1, db2'\nuser = 'a'").unwrap();
        assert_eq!(many.hosts, ["db1", "db2"]);
    }

    #[test]
    fn tls_proves_the_server_unless_it_is_this_machine_or_somebody_says_otherwise() {
        let mode = |toml: &str| settings(toml).unwrap().sslmode;
        assert_eq!(mode("url = 'postgres://a@db.example/b'"), SslMode::VerifyFull);
        for here in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(mode(&format!("url = 'postgres://a@{here}/b'")), SslMode::Disable, "{here}");
        }
        assert_eq!(mode("host = '/run/postgresql'\nuser = 'a'"), SslMode::Disable);
        assert_eq!(mode("host = 'localhost, db2'\nuser = 'a'"), SslMode::VerifyFull);
        assert_eq!(mode("url = 'postgres://a@db/b?sslmode=require'"), SslMode::Require);
        assert_eq!(mode("url = 'postgres://a@db/b'\nsslmode = 'verify-ca'"), SslMode::VerifyCa);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_key_and_without_the_password() {
        for (toml, says) in [
            ("url = 'postgres://a:hush@db/b'", "password = { file"),
            ("url = 'mysql://a@db/b'", "not one of PostgreSQL"),
            ("url = 'postgres://db/b'", "has no user"),
            ("url = 'postgres:///b'", "has no"),
            ("url = 'postgres://a@db/b?password=hush'", "\"password\""),
            ("url = 'postgres://a@db/b?sslmode=allow'", "sslmode in url: unknown variant `allow`"),
            ("url = 'postgres://a@db/b'\nhost = 'db'", "url comes instead of"),
            ("url = 'postgres://a@db/b?sslmode=require'\nsslmode = 'require'", "remove one of them"),
            ("host = 'db'", "user is missing"),
            ("user = 'a'", "host is missing"),
            ("host = 'db,'\nuser = 'a'", "empty name"),
            ("url = 'postgres://a@db/b'\ntimeout_s = 0.5", "timeout_s is 0.5"),
            ("url = 'postgres://a@db/b'\ncert = 'c.pem'", "cert and key"),
            ("url = 'postgres://a@db/b'\nca = '/does/not/exist.pem'", "/does/not/exist.pem"),
            ("url = 'postgres://a@db/b'\nca = 'ca.pem'\nsslmode = 'disable'", "sslmode disable"),
            ("url = 'postgres://a@db/b'\ntable = ''", "table"),
            ("url = 'postgres://a@db/b'\npassword = { env = 'NO_SUCH_ENV' }", "NO_SUCH_ENV"),
        ] {
            let refused = settings(toml).map(|settings| settings.target).expect_err(toml);
            assert!(refused.contains(says), "{toml}: {refused}");
            assert!(!refused.contains("hush"), "{toml}: {refused}");
        }
    }
}
