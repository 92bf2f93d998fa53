//! Bodies made from a template (Jinja), for systems that do not take CloudEvents.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use crate::limits::WEBHOOK_BODY_BYTES_MAX;

const NAME: &str = "body";

/// A template of a request's body.
pub(super) struct BodyTemplate {
    environment: Environment<'static>,
    is_json: bool,
}

impl BodyTemplate {
    /// Reads a template; of `is_json` every result must be JSON.
    ///
    /// # Errors
    /// When it cannot be read, with the line.
    pub fn new(text: &str, is_json: bool) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let mistake = |error: minijinja::Error| format!("body: {error}");
        environment.add_template_owned(NAME, text.to_owned()).map_err(mistake)?;
        Ok(Self { environment, is_json })
    }

    /// Fills it in: `event` is the CloudEvent.
    ///
    /// # Errors
    /// When the event lacks what the template names, or the result is not what it must be.
    pub fn fill(&self, event: &Value) -> Result<String, String> {
        let template = self.environment.get_template(NAME).expect("it was added");
        let context = minijinja::Value::from(Serde(serde_json::json!({ "event": event })));
        let text = template.render(context).map_err(|error| format!("the template cannot be filled in: {error}"))?;
        if text.len() > WEBHOOK_BODY_BYTES_MAX {
            return Err(format!("the body has {} bytes; the limit is {WEBHOOK_BODY_BYTES_MAX}", text.len()));
        }
        if self.is_json {
            serde_json::from_str::<serde::de::IgnoredAny>(&text)
                .map_err(|error| format!("the template's result is not JSON: {error}; write {{{{ … | tojson }}}}"))?;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_has_the_event_and_quotes_texts_as_json() {
        let text =
            r#"{"title": {{ (event.subject ~ ": " ~ event.data.message) | tojson }}, "n": {{ event.severitynumber }}}"#;
        let filled = BodyTemplate::new(text, true).unwrap().fill(&json!({
            "subject": "88-C", "severitynumber": 17, "data": {"message": "a \"quote\" & <b>\n"},
        }));
        let read: Value = serde_json::from_str(&filled.unwrap()).unwrap();
        assert_eq!(read, json!({"title": "88-C: a \"quote\" & <b>\n", "n": 17}));
    }

    #[test]
    fn mistakes_are_named_at_the_start_or_for_the_event() {
        assert!(BodyTemplate::new("{{ event.", true).err().unwrap().starts_with("body: "));
        let fill = |text: &str, is_json| BodyTemplate::new(text, is_json).unwrap().fill(&json!({"a": "x"}));
        assert!(fill("{{ event.data.code }}", false).unwrap_err().contains("cannot be filled in"));
        assert!(fill("{{ event.a }}", true).unwrap_err().contains("tojson"));
        assert_eq!(fill("{{ event.a }}", false).as_deref(), Ok("x"));
    }
}
