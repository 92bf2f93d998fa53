//! The HTTP server: where it listens, and what is allowed of it and of passwords beyond this machine.

use std::net::SocketAddr;

use afferent_host::url::is_this_machine;
use serde::Deserialize;

use super::{Config, ConfigError};
use crate::api::AllowedHosts;
use crate::forward::config::ForwardConfig;

/// The HTTP server.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Names by which it is asked, beside those of loopback and the address that it listens on.
    pub names: Vec<String>,
    /// It may listen beyond loopback, although nobody has to log in.
    pub insecure: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), names: Vec::new(), insecure: false }
    }
}

impl Config {
    /// Whoever reaches the HTTP server can do everything: that is this machine, or somebody has said so.
    pub(super) fn check_http(&self) -> Result<(), ConfigError> {
        let Http { listen, names, insecure } = &self.http;
        if !listen.ip().to_canonical().is_loopback() && !insecure {
            let message = format!(
                "other machines can reach {listen} without a login, and so read everything, post events and reset \
                 subscriptions; listen on 127.0.0.1 behind a proxy that requires a login, or set `insecure = true` \
                 under [http]"
            );
            return Err(ConfigError::Together { key: "http.listen", message });
        }
        let is_name = |name: &&String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte))
        };
        if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
            let message =
                format!("{wrong:?} is not a host name; write it without a port, as \"collector.plant.example\"");
            return Err(ConfigError::Together { key: "http.names", message });
        }
        Ok(())
    }

    /// The names by which the HTTP server is asked.
    pub fn http_names(&self) -> AllowedHosts {
        let names = self.http.names.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        AllowedHosts { listen: Some(self.http.listen.ip().to_canonical()), names }
    }

    /// What is allowed and should not be.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_beyond = !self.mqtt.listen.ip().to_canonical().is_loopback();
        if self.broker.is_none() && is_beyond && self.mqtt.tls.is_none() && !self.mqtt.user.is_empty() {
            let listen = self.mqtt.listen;
            warnings.push(format!("mqtt.user: clients send their passwords to {listen} unencrypted; set mqtt.tls"));
        }
        if let Some(broker) = &self.broker
            && !broker.tls
            && self.broker_client.password.is_some()
            && !is_this_machine(&broker.host)
        {
            let message = "is sent to the broker unencrypted; use an mqtts:// URL in `broker`";
            warnings.push(format!("broker_client.password: it {message}"));
        }
        warnings.extend(self.forward.iter().filter_map(ForwardConfig::warning));
        warnings
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        let config = Config::parse(text, Path::new("collector.toml"))?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn who_insists_may_listen_beyond_loopback_and_passwords_in_the_clear_are_warned_of() {
        assert!(parse("[http]\nlisten = \"0.0.0.0:8080\"\ninsecure = true").is_ok());
        assert!(parse("[http]\nlisten = \"[::1]:8080\"").is_ok());
        let warned = |text: &str| parse(text).unwrap().warnings().len();
        let user = "[[mqtt.user]]\nname = \"a\"\npassword = { env = \"A\" }\n";
        let tls = "tls = { cert = \"c\", key = \"k\" }\n";
        let beyond = "[mqtt]\nlisten = \"0.0.0.0:1883\"\n";
        assert_eq!(warned(&format!("{beyond}{user}")), 1);
        assert_eq!(warned(&format!("{beyond}{tls}{user}")), 0);
        assert_eq!(warned(user), 0, "loopback");
        let client = "[broker_client]\nuser = \"c\"\npassword = { env = \"A\" }";
        for (url, count) in [("mqtt://b.example", 1), ("mqtts://b.example", 0), ("mqtt://127.0.0.1", 0)] {
            assert_eq!(warned(&format!("broker = \"{url}\"\n{client}")), count, "{url}");
        }
        let forward = |sink: &str, keys: &str| warned(&format!("[[forward]]\nname = \"a\"\n[forward.{sink}]\n{keys}"));
        let login = "user = \"c\"\npassword = { env = \"A\" }";
        for (host, is_here) in [("b.example", false), ("192.0.2.1", false), ("localhost", true), ("[::1]", true)] {
            let open = usize::from(!is_here);
            for (sink, key, rest) in [
                ("mqtt", "mqtt", &*format!("topic = \"t\"\n{login}")),
                ("webhook", "http", "bearer = { env = \"A\" }"),
                ("webhook", "http", "headers = { Authorization = \"Basic YTpi\" }"),
                ("influx", "http", "database = \"d\"\ntoken = { env = \"A\" }"),
                ("influx", "http", &*format!("database = \"d\"\n{login}")),
            ] {
                assert_eq!(forward(sink, &format!("url = \"{key}://{host}/\"\n{rest}")), open, "{sink} {host} {rest}");
                assert_eq!(forward(sink, &format!("url = \"{key}s://{host}/\"\n{rest}")), 0, "{sink} {host} {rest}");
            }
            let sasl = "sasl = { mechanism = \"PLAIN\", user = \"c\", password = { env = \"A\" } }";
            let kafka = format!("brokers = [\"{host}:9092\"]\ntopic = \"t\"\n{sasl}");
            assert_eq!(forward("kafka", &kafka), open, "{host}");
            assert_eq!(forward("kafka", &format!("{kafka}\ntls = {{}}")), 0, "{host}");
            assert_eq!(forward("kafka", &kafka.replace("PLAIN", "SCRAM-SHA-256")), 0, "the password is not sent");
        }
    }
}
