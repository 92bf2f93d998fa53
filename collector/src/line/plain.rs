//! Texts from events and other programs, made safe for a terminal.

use std::borrow::Cow;

/// The text with control characters, and those that turn the direction of writing, as escapes: no event can move the
/// cursor, colour the screen or make a line look like a different one.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(character: char) -> bool {
    let turns =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(plain("Öl 81 °C"), "Öl 81 °C");
        assert_eq!(plain("a\nb\u{1b}[31m\u{9b}x"), "a\\nb\\u{1b}[31m\\u{9b}x");
        assert_eq!(plain("\u{202e}txt"), "\\u{202e}txt");
    }
}
