//! `[forward.postgres]` in the configuration.

use std::path::PathBuf;

use afferent_host::secret::Secret;
use serde::Deserialize;

/// Rows in a table of PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The database as `postgres://user@host:port/database`, instead of the next four keys.
    pub url: Option<String>,
    /// The server: a name, an address, or the directory of its socket; several with commas, of which the one is taken
    /// that can be written.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The database; by default the one with the user's name.
    pub database: Option<String>,
    /// The role that logs in.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// What TLS has to prove; `verify-full` by default, and `disable` for a server on this machine.
    pub sslmode: Option<SslMode>,
    /// The CA of the server's certificate; the system's without it.
    pub ca: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The schema of the tables.
    #[serde(default = "schema")]
    pub schema: String,
    /// The table of the events.
    #[serde(default = "table")]
    pub table: String,
    /// Whether somebody else writes events into the table as well.
    #[serde(default)]
    pub shared: bool,
    /// Seconds that a transaction may take.
    pub timeout_s: Option<f64>,
}

/// What TLS has to prove, as in PostgreSQL's own clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it; nothing is checked.
    Prefer,
    /// TLS; the certificate is checked only if `ca` is set, as with `verify-ca`.
    Require,
    /// TLS with a certificate of the CA, whatever its name.
    VerifyCa,
    /// TLS with a certificate of the CA for this host.
    VerifyFull,
}

fn schema() -> String {
    "afferent".to_owned()
}

fn table() -> String {
    "events".to_owned()
}
