//! From the settings to the sink.

use super::super::sink::Destination;
use super::config::WebhookConfig;
use super::sink::WebhookSink;

impl WebhookConfig {
    /// The destination, secrets and files read.
    ///
    /// # Errors
    /// When a setting cannot be used, with its key and what to do.
    pub fn destination(&self) -> Result<Destination, String> {
        let settings = self.settings().map_err(|message| format!("webhook: {message}"))?;
        let mut shown = settings.url.clone();
        // A login in the address, and a query, may be secret.
        let _ = (shown.set_username(""), shown.set_password(None));
        shown.set_query(None);
        let target = shown.to_string();
        Ok(Destination {
            kind: "webhook",
            target: target.clone(),
            is_kept_there: false,
            sink: Box::new(WebhookSink::new(settings, target)),
        })
    }
}
