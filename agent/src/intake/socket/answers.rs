//! What a connection owes: lines that wait for their commits, and bytes that wait to be written.

use std::collections::VecDeque;
use std::io::Write;

use crate::intake::sink::{Commits, Ticket};
use crate::limits::{ANSWER_BYTES_MAX, ANSWER_GROUPS_MAX, REFUSAL_BYTES_MAX};

/// Lines up to `line` are durable when both streams have made these commits.
struct Group {
    line: u64,
    commits: Commits,
}

/// See the module.
#[derive(Default)]
pub struct Answers {
    /// Lines that have come, refused ones and empty ones too.
    lines: u64,
    groups: VecDeque<Group>,
    accepted: u64,
    out: Vec<u8>,
    written: usize,
}

impl Answers {
    /// The next line was taken.
    pub fn taken(&mut self, ticket: Ticket) {
        self.lines += 1;
        let at = usize::from(ticket.stream.number());
        let many = self.groups.len() >= ANSWER_GROUPS_MAX;
        match self.groups.back_mut() {
            // Joining other commits only makes earlier lines of the group wait longer, which bounds the memory.
            Some(last) if many || last.commits[at] == ticket.commit => {
                last.line = self.lines;
                last.commits[at] = last.commits[at].max(ticket.commit);
            }
            _ => {
                let mut commits = [0; 2];
                commits[at] = ticket.commit;
                self.groups.push_back(Group { line: self.lines, commits });
            }
        }
    }

    /// The next line was empty: it is as durable as the line before.
    pub fn empty(&mut self) {
        self.lines += 1;
        match self.groups.back_mut() {
            Some(last) => last.line = self.lines,
            None => self.groups.push_back(Group { line: self.lines, commits: [0; 2] }),
        }
    }

    /// Appends an answer that the next line asked for.
    pub fn push(&mut self, answer: &str) {
        self.empty();
        self.out.extend_from_slice(answer.as_bytes());
    }

    /// Appends why the connection ends.
    pub fn ends(&mut self, why: &str) {
        let why = serde_json::to_string(why).expect("a text is always JSON");
        writeln!(self.out, "{{\"line\":0,\"error\":{why}}}").expect("memory takes all bytes");
    }

    /// The next line was refused.
    pub fn refused(&mut self, error: &str) {
        self.lines += 1;
        let error = serde_json::to_string(error).expect("a text is always JSON");
        writeln!(self.out, "{{\"line\":{},\"error\":{error}}}", self.lines).expect("memory takes all bytes");
    }

    /// Appends the answer about everything that is durable now, if that is more than the last answer covered.
    pub fn durable(&mut self, commits: &Commits) {
        let before = self.accepted;
        while let Some(group) = self.groups.front()
            && group.commits.iter().zip(commits).all(|(needed, durable)| durable >= needed)
        {
            assert!(group.line >= self.accepted && group.line <= self.lines, "lines are answered in their order");
            self.accepted = group.line;
            self.groups.pop_front();
        }
        if self.accepted > before {
            writeln!(self.out, "{{\"accepted\":{}}}", self.accepted).expect("memory takes all bytes");
        }
    }

    /// Whether lines wait for their commits.
    pub fn waiting(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether so much waits to be written that nothing more must be read.
    pub fn crowded(&self) -> bool {
        self.unwritten().len() > ANSWER_BYTES_MAX - 2 * REFUSAL_BYTES_MAX
    }

    /// The bytes to write.
    pub fn unwritten(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// `count` of [`Answers::unwritten`] were written.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        assert!(self.written <= self.out.len(), "wrote more than there was");
        if self.written == self.out.len() {
            self.written = 0;
            self.out.clear();
            self.out.shrink_to(4 * REFUSAL_BYTES_MAX);
        } else if self.written > ANSWER_BYTES_MAX / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Stream;

    use super::*;

    fn ticket(stream: Stream, commit: u64) -> Ticket {
        Ticket { stream, commit }
    }

    fn said(answers: &mut Answers) -> String {
        let text = String::from_utf8(answers.unwritten().to_vec()).unwrap();
        answers.wrote(text.len());
        text
    }

    #[test]
    fn accepted_is_cumulative_and_said_once_per_commit() {
        let mut answers = Answers::default();
        for commit in [1, 1, 1, 2] {
            answers.taken(ticket(Stream::Samples, commit));
        }
        answers.durable(&[9, 0]);
        assert_eq!(said(&mut answers), "");
        answers.durable(&[9, 1]);
        answers.durable(&[9, 1]);
        assert_eq!(said(&mut answers), "{\"accepted\":3}\n");
        answers.durable(&[9, 5]);
        assert_eq!(said(&mut answers), "{\"accepted\":4}\n");
        assert!(!answers.waiting());
    }

    #[test]
    fn a_line_of_one_stream_never_overtakes_an_earlier_line_of_the_other() {
        let mut answers = Answers::default();
        answers.taken(ticket(Stream::Samples, 1));
        answers.taken(ticket(Stream::Critical, 1));
        answers.durable(&[1, 0]);
        assert_eq!(said(&mut answers), "");
        answers.durable(&[1, 1]);
        assert_eq!(said(&mut answers), "{\"accepted\":2}\n");
    }

    #[test]
    fn a_refused_line_is_answered_and_never_accepted() {
        let mut answers = Answers::default();
        answers.taken(ticket(Stream::Samples, 1));
        answers.refused("no \"x\"");
        answers.durable(&[0, 1]);
        assert_eq!(said(&mut answers), "{\"line\":2,\"error\":\"no \\\"x\\\"\"}\n{\"accepted\":1}\n");
        answers.taken(ticket(Stream::Samples, 2));
        answers.durable(&[0, 2]);
        assert_eq!(said(&mut answers), "{\"accepted\":3}\n");
    }

    #[test]
    fn streams_that_alternate_do_not_grow_it_without_bound_and_nothing_is_said_too_early() {
        let mut answers = Answers::default();
        for commit in 1..=10 * ANSWER_GROUPS_MAX as u64 {
            answers.taken(ticket(Stream::Samples, commit));
            answers.taken(ticket(Stream::Critical, commit));
        }
        assert!(answers.groups.len() <= ANSWER_GROUPS_MAX);
        let all = 10 * ANSWER_GROUPS_MAX as u64;
        answers.durable(&[all, all - 1]);
        assert!(answers.waiting());
        answers.durable(&[all, all]);
        assert!(said(&mut answers).ends_with(&format!("{{\"accepted\":{}}}\n", 2 * all)));
    }

    #[test]
    fn empty_lines_count() {
        let mut answers = Answers::default();
        answers.empty();
        answers.durable(&[0, 0]);
        assert_eq!(said(&mut answers), "{\"accepted\":1}\n");
    }
}
