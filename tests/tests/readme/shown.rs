//! What README shows below a command, and whether that is what the command prints.
//!
//! In a `console` block a line that begins with `$ ` is a command, which goes on behind a `\`; the lines below it are what
//! it prints. `…` stands for any text, alone in a line for any lines. Blanks count as one: columns are as wide as what
//! stands in them. A number that a command prints alone stands for what is printed, in all that follows.

use std::collections::BTreeMap;

/// Any text, or any lines.
const ANY: char = '…';

/// A command of README, and what is shown below it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// As it is to be typed.
    pub command: String,
    /// The lines below it.
    pub output: Vec<String>,
}

/// All commands of a text, in their order.
pub fn shown(text: &str) -> Vec<Shown> {
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut all: Vec<Shown> = Vec::new();
    for block in blocks {
        let mut goes_on = false;
        for line in block.lines() {
            let (part, more) = line.strip_suffix('\\').map_or((line, false), |begin| (begin, true));
            match (all.last_mut(), line.strip_prefix("$ ")) {
                (Some(last), _) if goes_on => last.command.push_str(part.trim_start()),
                (_, Some(_)) => all.push(Shown { command: part[2..].to_owned(), output: Vec::new() }),
                (Some(last), None) => last.output.push(line.to_owned()),
                (None, None) => panic!("a block begins with a command, and not with {line:?}"),
            }
            goes_on = more;
        }
    }
    all.retain(|shown| !shown.command.starts_with('#'));
    all
}

impl Shown {
    /// Whether anything is shown that could be wrong.
    pub fn says_something(&self) -> bool {
        self.output.iter().any(|line| line.chars().filter(|letter| letter.is_alphanumeric()).count() > 1)
    }

    /// Whether this is what is shown.
    pub fn is(&self, printed: &str) -> bool {
        if self.number(printed).is_some() {
            return true;
        }
        let printed: Vec<String> = printed.lines().map(plain).filter(|line| !line.is_empty()).collect();
        let expected: Vec<String> =
            self.output.iter().map(|line| plain(line)).filter(|line| !line.is_empty()).collect();
        wildcard(&expected, &printed, &|line| line == "…", &|line, text| {
            let (line, text): (Vec<char>, Vec<char>) = (line.chars().collect(), text.chars().collect());
            wildcard(&line, &text, &|letter| *letter == ANY, &|one, other| one == other)
        })
    }

    /// The number that stands for one that is printed, if it is one.
    pub fn number(&self, printed: &str) -> Option<(String, String)> {
        let [line] = &self.output[..] else { return None };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        (is_number(line) && is_number(printed.trim())).then(|| (line.clone(), printed.trim().to_owned()))
    }

    /// The same with other words in place of some.
    pub fn with(&self, words: &BTreeMap<String, String>) -> Self {
        let replaced =
            |text: &String| words.iter().fold(text.clone(), |text, (word, other)| replace(&text, word, other));
        Self { command: replaced(&self.command), output: self.output.iter().map(replaced).collect() }
    }
}

/// Replaces a word where it does not stand within a longer one.
fn replace(text: &str, word: &str, other: &str) -> String {
    let is_inside = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric());
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, behind) = (&rest[..at], &rest[at + word.len()..]);
        let is_part = is_inside(before.chars().last()) || is_inside(behind.chars().next());
        replaced += before;
        replaced += if is_part { word } else { other };
        rest = behind;
    }
    replaced + rest
}

/// A line with one blank between its words.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a pattern fits, in which some elements stand for any number of others.
fn wildcard<P, T>(pattern: &[P], text: &[T], any: &dyn Fn(&P) -> bool, fits: &dyn Fn(&P, &T) -> bool) -> bool {
    // What the pattern so far can have taken of the text.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for element in pattern {
        let mut next = vec![false; text.len() + 1];
        if any(element) {
            let mut reached = false;
            for (at, end) in ends.iter().enumerate() {
                reached |= *end;
                next[at] = reached;
            }
        } else {
            for at in 0..text.len() {
                next[at + 1] = ends[at] && fits(element, &text[at]);
            }
        }
        ends = next;
    }
    ends[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Shown {
        shown(&format!("```console\n{text}\n```\n")).remove(0)
    }

    #[test]
    fn what_is_shown_fits_what_is_printed_and_nothing_else() {
        let table = one("$ list\nNAME  LAG\n…\nwear  … ms");
        assert!(table.is("NAME      LAG\nother     7 ms\nwear      12 ms\n") && table.is("NAME LAG\nwear 1 ms"));
        for other in ["", "NAME LAG\n", "NAME LAG\nwear 1 s", "LAG NAME\nwear 1 ms", "NAME LAG\nwear 1 ms\nmore"] {
            assert!(!table.is(other), "{other:?}");
        }
        assert!(table.says_something() && !one("$ true").says_something() && !one("$ true\n…").says_something());
    }

    #[test]
    fn commands_go_on_in_the_next_line_and_comments_are_none() {
        let all = shown("```console\n$ a \\\n    b\nc\n$ # what for\n$ d\n```\ntext\n```console\n$ e\n```\n");
        let commands: Vec<_> = all.iter().map(|shown| &*shown.command).collect();
        assert_eq!(commands, ["a b", "d", "e"]);
        assert_eq!(all[0].output, ["c"]);
    }

    #[test]
    fn a_number_stands_for_the_one_that_is_printed_and_for_no_part_of_another() {
        let posted = one("$ post\n57");
        let (shown, printed) = posted.number("118\n").unwrap();
        let later = one("$ show --as-of 57 --limit 157\nas of 57").with(&BTreeMap::from([(shown, printed)]));
        assert_eq!((&*later.command, &*later.output[0]), ("show --as-of 118 --limit 157", "as of 118"));
        assert!(posted.number("nothing").is_none() && one("$ post\n…").number("7").is_none());
    }
}
