//! A session with the server.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::config::{SslMode as TlsMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, Error};

use super::config::SslMode;
use super::error::Failure;
use super::settings::Settings;
use crate::limits::{POSTGRES_CONNECT_MAX, POSTGRES_GOODBYE_MAX, POSTGRES_KEEPALIVE};

/// A session, which ends with its owner.
pub(super) struct Connection {
    pub client: Client,
    /// The one task that moves its bytes. It ends with the session, which the client's next request reports.
    task: JoinSet<Result<(), Error>>,
}

impl Connection {
    /// Logs in, and sets what the sink relies on.
    pub async fn open(settings: &Settings) -> Result<Self, Failure> {
        let config = config(settings)?;
        let (client, connection) = config.connect(settings.tls.clone()).await?;
        let mut task = JoinSet::new();
        task.spawn(connection);
        let connection = Self { client, task };
        let timeout_ms = settings.timeout.as_millis();
        // What is committed must be durable, and a session whose client is gone must not keep its locks.
        let set = format!(
            "SET statement_timeout = {timeout_ms}; SET lock_timeout = {timeout_ms}; \
             SET idle_in_transaction_session_timeout = {timeout_ms}; SET default_transaction_isolation = \
             'read committed'; SET TIME ZONE 'UTC'; SET client_min_messages = warning; SELECT \
             set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        );
        connection.client.batch_execute(&set).await?;
        Ok(connection)
    }

    /// The cause of a failure: where the session has ended, the server's last words.
    pub async fn cause(&mut self, failure: Failure) -> Failure {
        let Failure::Sql(error) = &failure else { return failure };
        if !error.is_closed() {
            return failure;
        }
        match tokio::time::timeout(POSTGRES_GOODBYE_MAX, self.task.join_next()).await {
            Ok(Some(Ok(Err(cause)))) => cause.into(),
            _ => failure,
        }
    }
}

fn config(settings: &Settings) -> Result<Config, Failure> {
    let mut config = Config::new();
    for host in &settings.hosts {
        config.host(host);
    }
    if let Some(password) = &settings.password {
        let password = password.read().map_err(|error| {
            Failure::wrong(format!("the password cannot be read: {error}"), "correct `password`, or restore the file")
        })?;
        config.password(password.reveal());
    }
    let mode = match settings.sslmode {
        SslMode::Disable => TlsMode::Disable,
        SslMode::Prefer => TlsMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => TlsMode::Require,
    };
    config
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .ssl_mode(mode)
        .application_name(format!("afferent {}", settings.name))
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(POSTGRES_CONNECT_MAX.min(settings.timeout))
        .tcp_user_timeout(settings.timeout + Duration::from_secs(1))
        .keepalives_idle(POSTGRES_KEEPALIVE);
    Ok(config)
}
