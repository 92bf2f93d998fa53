//! What is wrong with a configuration file, in words for the person who wrote it.

/// How much alike (Jaro-Winkler, 0 to 1) two names must be for one to be meant by the other.
const ALIKE_MIN: f64 = 0.7;

/// The line of a mistake, counted from 1, and what is wrong there. An unknown name comes with the nearest known one.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> (usize, String) {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
    let message = error.message();
    (line, nearest(message).map_or_else(|| message.to_owned(), |near| format!("{message}; did you mean `{near}`?")))
}

/// serde says: unknown field `x`, expected one of `a`, `b`.
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = quoted.next()?;
    let known = quoted.map(|known| (known, strsim::jaro_winkler(given, known)));
    let (near, alike) = known.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (alike >= ALIKE_MIN).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(nearest("unknown field `brokr`, expected one of `data`, `broker`"), Some("broker"));
        assert_eq!(nearest("unknown variant `jsn`, expected `text` or `json`"), Some("json"));
        assert_eq!(nearest("unknown field `zzz`, expected `data`"), None);
        assert_eq!(nearest("invalid type: `data`, `dat`"), None);
    }
}
