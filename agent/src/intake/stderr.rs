//! What a child writes to its standard error: lines of the agent's own log, so many a minute, each cut to a length, and
//! without what a terminal would obey.

use std::borrow::Cow;
use std::fmt::Write;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Duration, Instant};

use crate::intake::line::cut;
use crate::intake::lines::{Line, LineBuffer};
use crate::limits::{REFUSAL_BYTES_MAX, STDERR_LINES_PER_MINUTE};

const MINUTE: Duration = Duration::from_secs(60);

/// How many lines of a minute are logged.
#[derive(Debug)]
struct Budget {
    began: Instant,
    logged: u64,
    left_out: u64,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    is_logged: bool,
    /// Lines of the minute before that were not.
    left_out: u64,
}

impl Budget {
    fn new() -> Self {
        Self { began: Instant::now(), logged: 0, left_out: 0 }
    }

    fn take(&mut self) -> Decision {
        let mut left_out = 0;
        if self.began.elapsed() >= MINUTE {
            left_out = std::mem::take(self).left_out;
        }
        let is_logged = self.logged < STDERR_LINES_PER_MINUTE;
        if is_logged {
            self.logged += 1
        } else {
            self.left_out += 1
        }
        Decision { is_logged, left_out }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Logs the lines of `stderr`, a child's that has this name, until its end.
pub(super) async fn log<R: AsyncRead + Unpin>(name: &str, mut stderr: R) {
    let (mut lines, mut budget) = (LineBuffer::default(), Budget::new());
    // A child whose standard error breaks off writes nothing more there.
    while let Ok(count) = stderr.read(lines.space()).await {
        lines.filled(count);
        while let Some(line) = lines.next_line() {
            log_line(name, &line, &mut budget);
        }
        if count == 0 {
            if let Some(line) = lines.last_line() {
                log_line(name, &line, &mut budget);
            }
            break;
        }
    }
    log_left_out(name, budget.left_out);
}

fn log_line(name: &str, line: &Line<'_>, budget: &mut Budget) {
    let line = match line {
        Line::Whole(line) => String::from_utf8_lossy(line),
        Line::TooLong => Cow::Borrowed("(a line that is too long)"),
    };
    if line.trim().is_empty() {
        return;
    }
    let decision = budget.take();
    log_left_out(name, decision.left_out);
    if decision.is_logged {
        tracing::info!("{name}: {}", plain(&line));
    }
}

fn log_left_out(name: &str, lines: u64) {
    if lines > 0 {
        tracing::warn!("{name}: {lines} more lines of its standard error were dropped");
    }
}

/// The text with its control characters written out, and no longer than a log wants it.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(REFUSAL_BYTES_MAX));
    for character in text.chars() {
        if out.len() > REFUSAL_BYTES_MAX {
            break;
        }
        // Beside those of Unicode's class: characters that turn the direction of writing disguise a line.
        let is_unseen =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character == '\t' {
            out.push(' ');
        } else if character.is_control() || is_unseen {
            write!(out, "{}", character.escape_unicode()).expect("memory takes all text");
        } else {
            out.push(character);
        }
    }
    cut(out, REFUSAL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_line_reaches_a_terminal_as_a_command() {
        let line = "\x1b[2J\x1b]0;title\x07red\u{9b}31m\r\u{202e}txt\tok";
        let plain = plain(line);
        assert!(!plain.contains(char::is_control), "{plain:?}");
        assert_eq!(plain, "\\u{1b}[2J\\u{1b}]0;title\\u{7}red\\u{9b}31m\\u{d}\\u{202e}txt ok");
        assert!(line.contains(char::is_control), "the control: as it came, it is full of them");
        assert!(super::plain(&"x".repeat(60_000)).len() <= REFUSAL_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_noisy_child_has_so_many_lines_a_minute_and_the_rest_is_counted() {
        let mut budget = Budget::new();
        let logged = (0..1_000).filter(|_| budget.take().is_logged).count() as u64;
        assert_eq!(logged, STDERR_LINES_PER_MINUTE);
        tokio::time::advance(MINUTE).await;
        let next = budget.take();
        assert_eq!(next, Decision { is_logged: true, left_out: 1_000 - STDERR_LINES_PER_MINUTE });
        assert_eq!(budget.take(), Decision { is_logged: true, left_out: 0 });
    }

    #[tokio::test]
    async fn an_endless_line_and_bytes_that_are_no_text_end_with_the_child() {
        let noise: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        log("probe", &noise[..]).await;
        log("probe", &vec![b'x'; 1 << 20][..]).await;
    }
}
