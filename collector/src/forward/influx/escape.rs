//! Texts in line protocol.
//!
//! Its readers agree on commas, blanks and equals signs behind a backslash in tags, and on quotes and backslashes in
//! quoted texts. On a backslash in a tag they do not agree; none takes a line end there, and some nowhere. These come
//! as characters that look like them, so that no text ends its line or its tag.

/// What looks like a backslash, U+29F5.
const BACKSLASH: char = '⧵';
/// Where the pictures of control characters begin: U+240A for a line end.
const PICTURES: u32 = 0x2400;

/// Appends the name of a measurement.
pub(super) fn put_measurement(out: &mut Vec<u8>, prefix: &str, name: &str) {
    // A line that begins with a number sign is a comment.
    let comment = prefix.is_empty() && name.starts_with('#');
    out.extend_from_slice(if comment { "＃".as_bytes() } else { prefix.as_bytes() });
    put_key(out, name.get(usize::from(comment)..).unwrap_or_default(), false);
}

/// Appends a tag with the comma before it, unless it is empty: line protocol has no empty tags.
#[inline]
pub(super) fn put_tag(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        out.push(b',');
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        put_key(out, value, true);
    }
}

#[inline]
fn put_key(out: &mut Vec<u8>, text: &str, is_tag: bool) {
    // One pass without branches, which suffices for nearly all texts.
    let is_plain = |byte: u8| byte > b' ' && byte != b',' && byte != b'=' && byte != b'\\';
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|character| put_escaped(out, character, is_tag));
    }
}

fn put_escaped(out: &mut Vec<u8>, character: char, is_tag: bool) {
    match character {
        ',' | ' ' => out.push(b'\\'),
        '=' if is_tag => out.push(b'\\'),
        _ => {}
    }
    put_char(out, if character == '\\' { BACKSLASH } else { picture(character) });
}

/// Appends a text with its quotes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                out.push(b'\\');
            }
            put_char(out, if character == '\t' { character } else { picture(character) });
        }
    }
    out.push(b'"');
}

/// A control character as its picture; all others as they are.
fn picture(character: char) -> char {
    let number = u32::from(character);
    if number < 0x20 { char::from_u32(PICTURES + number).expect("all of them have a picture") } else { character }
}

fn put_char(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_tag_holds_every_character_or_what_looks_like_it() {
        let tag = |value: &str| put(|out| put_tag(out, "t", value));
        assert_eq!(tag(""), "");
        assert_eq!(tag("88-C/spindle\"Ä"), ",t=88-C/spindle\"Ä");
        assert_eq!(tag("a b,c=d"), ",t=a\\ b\\,c\\=d");
        assert_eq!(tag("a\\"), ",t=a⧵", "it would escape what follows");
        assert_eq!(tag("a\\,b"), ",t=a⧵\\,b");
        assert_eq!(tag("a\n b\r\0\t"), ",t=a␊\\ b␍␀␉");
    }

    #[test]
    fn a_quoted_text_holds_everything_but_the_ends_of_lines() {
        let text = |value: &str| put(|out| put_text(out, value));
        assert_eq!(text(""), "\"\"");
        assert_eq!(text("a, b = ⧵"), "\"a, b = ⧵\"");
        assert_eq!(text("a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(text("x\nfake value=1\t\u{2028}"), "\"x␊fake value=1\t\u{2028}\"");
    }

    #[test]
    fn a_measurement_is_no_comment_and_ends_where_its_name_does() {
        let measurement = |prefix: &str, name: &str| put(|out| put_measurement(out, prefix, name));
        assert_eq!(measurement("", "sample"), "sample");
        assert_eq!(measurement("afferent_", "com.example.a b,c=d"), "afferent_com.example.a\\ b\\,c=d");
        assert_eq!(measurement("", "#x"), "＃x");
        assert_eq!(measurement("p_", "#x"), "p_#x");
    }
}
