//! Figures as a text in Prometheus' format, version 0.0.4.
//!
//! Label values and help may hold anything: what the format takes for its own is escaped here, and nowhere else.

use std::fmt::{Display, Write};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The labels of one sample: names, each with its value.
pub type Labels<'a> = [(&'a str, &'a str)];

/// A text of samples, which grows.
#[derive(Clone, Debug, Default)]
pub struct Text(String);

impl Text {
    /// An empty text.
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Begins the family of samples that follow: its name, `counter`, `gauge` or `histogram`, and a sentence about it.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        assert!(is_plain(name), "{name} is no name of a metric");
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample.
    pub fn sample(&mut self, name: &str, labels: &Labels<'_>, value: impl Display) {
        self.labelled(name, &labels_text(labels), value);
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.labelled(name, "", value);
    }

    /// A sample whose labels are a text already, by [`labels_text`].
    pub fn labelled(&mut self, name: &str, labels: &str, value: impl Display) {
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        let _ = writeln!(self.0, "{name}{open}{labels}{close} {value}");
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Labels, as text between the braces.
pub fn labels_text(labels: &Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        assert!(is_plain(name), "{name} is no name of a label");
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

/// Whether it is a name of the format, of which the first is no digit.
fn is_plain(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && !name.is_empty() && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_format_takes_for_its_own_is_escaped() {
        let mut text = Text::new();
        text.head("lines_total", "counter", "Lines\nof a \\ kind");
        text.sample("lines_total", &[("intake", "a\"b\\\nc"), ("kind", "x")], 3);
        text.single("ring_bytes", "gauge", "Bytes.", 1.5);
        assert_eq!(
            text.finish(),
            "# HELP lines_total Lines\\nof a \\\\ kind\n# TYPE lines_total counter\n\
             lines_total{intake=\"a\\\"b\\\\\\nc\",kind=\"x\"} 3\n\
             # HELP ring_bytes Bytes.\n# TYPE ring_bytes gauge\nring_bytes 1.5\n"
        );
    }

    #[test]
    #[should_panic(expected = "is no name of a label")]
    fn a_name_that_would_break_the_text_is_a_fault() {
        labels_text(&[("a b", "c")]);
    }
}
