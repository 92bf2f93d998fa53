//! Names that people mistake for each other.
//!
//! Agents' names are ASCII. A posted source may not look like one:
//!
//! - letters of either case are the same, so are `0` and `O`, and so are `1`, `I`, `l` and `|`;
//! - blanks do not count, and neither do `.`, `_` and `-` at the ends;
//! - a word with letters outside ASCII, with neither `/` nor `:` in it as sources of programs have, is refused whatever
//!   it looks like: other scripts have letters that look the same, and some characters are invisible.

/// The look of a name; names with equal looks look the same.
pub fn look(name: &str) -> String {
    let seen: String = name.chars().filter(|character| !character.is_whitespace()).collect();
    let same = |character: char| match character.to_ascii_lowercase() {
        '0' => 'o',
        '1' | 'i' | '|' => 'l',
        other => other,
    };
    seen.trim_matches(['.', '_', '-']).chars().map(same).collect()
}

/// Whether a person cannot see whose name it is.
pub fn is_masked(source: &str) -> bool {
    !source.is_ascii() && !source.contains(['/', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_agents_name_is_found_and_other_names_are_not() {
        let is_like = |source: &str| is_masked(source) || look(source) == look("press-88");
        for source in ["press-88", " press-88", "press-88\u{a0}", "Press-88", "PRESS-88", "press-88.", "pre ss-88"] {
            assert!(is_like(source), "{source:?}");
        }
        // A letter of a foreign script, full width, an invisible character, a hyphen of a different kind.
        for source in ["pr\u{435}ss-88", "\u{ff50}ress-88", "press-88\u{200b}", "press\u{2011}88"] {
            assert!(is_like(source) && look(source) != look("press-88"), "{source:?}");
        }
        for source in ["press-89", "/press-88", "https://plant.example/press-88", "/fr\u{e4}se", "urn:x:\u{e4}", "wear"]
        {
            assert!(!is_like(source), "{source:?}");
        }
        assert_eq!((look("OIL-10"), look("0|l-lO")), ("oll-lo".into(), "oll-lo".into()));
    }
}
