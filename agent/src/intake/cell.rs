//! The value in a cell of a file or in an argument of the command line, where no quotes mark a text.
//!
//! One rule: a number is written as in JSON, or as +5, 5. or .5, and blanks around it do not count. A whole number is
//! exact, or refused beyond 64 bits; any other one is the nearest double, or refused where that is infinite. `true` and
//! `false` are switches, also with their first or all letters capital. A text stays as it stands, with its outer
//! blanks.

/// What a cell can hold by the look of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing but blanks.
    Empty,
    /// A number.
    Number,
    /// A whole number with an exponent, as 1E5: a number, or a name that happens to look like one.
    Exponent,
    /// A number with a decimal comma, where it should be a point.
    Comma,
    /// What programs write for a number that is none: NaN, inf.
    NotFinite,
    /// `true` or `false`.
    Switch,
    /// Anything else: 00123 too.
    Text,
}

/// The look of a cell where numbers have this decimal sign.
pub fn look(cell: &str, decimal: u8) -> Look {
    let cell = cell.trim();
    if cell.is_empty() {
        return Look::Empty;
    }
    if switch(cell).is_some() {
        return Look::Switch;
    }
    let lower = cell.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if matches!(lower.as_str(), "nan" | "inf" | "infinity") {
        return Look::NotFinite;
    }
    match scan(cell.as_bytes(), decimal) {
        Some(Parts { fraction: false, exponent: true }) => Look::Exponent,
        Some(_) => Look::Number,
        None if decimal == b'.' && scan(cell.as_bytes(), b',').is_some() => Look::Comma,
        None => Look::Text,
    }
}

/// `true` or `false`, as it is also written by other programs.
pub fn switch(cell: &str) -> Option<&'static str> {
    match cell.trim() {
        "true" | "True" | "TRUE" => Some("true"),
        "false" | "False" | "FALSE" => Some("false"),
        _ => None,
    }
}

/// A number as JSON writes it; the error states why it is none that can be taken.
pub fn number(cell: &str, decimal: u8) -> Result<String, String> {
    let cell = cell.trim();
    let Some(parts) = scan(cell.as_bytes(), decimal) else {
        return Err(match look(cell, decimal) {
            Look::NotFinite => format!("{cell:?} is not a finite number"),
            Look::Comma => format!("{cell:?} is not a number; is its comma the decimal separator?"),
            _ => format!("{cell:?} is not a number"),
        });
    };
    let point = if decimal == b'.' { cell.to_owned() } else { cell.replace(char::from(decimal), ".") };
    let text = point.trim_start_matches('+');
    let negative_zero = text.starts_with('-') && text.bytes().all(|byte| matches!(byte, b'-' | b'0'));
    if !parts.fraction && !parts.exponent && !negative_zero {
        let whole = text.parse::<i64>();
        return whole.map(|whole| whole.to_string()).map_err(|_| {
            format!(
                "{cell} is outside the whole numbers of 64 bits, from {} to {}; send it as a text",
                i64::MIN,
                i64::MAX
            )
        });
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(format!("{value:?}")),
        _ => Err(format!("{cell:?} is too large for a number")),
    }
}

/// How a number is written.
struct Parts {
    fraction: bool,
    exponent: bool,
}

/// Sign, digits without a leading zero, fraction, exponent.
fn scan(text: &[u8], decimal: u8) -> Option<Parts> {
    let unsigned = |text: &[u8]| -> usize { usize::from(matches!(text.first(), Some(b'+' | b'-'))) };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = &text[unsigned(text)..];
    let whole = digits(text);
    if whole > 1 && text[0] == b'0' {
        return None;
    }
    let (mut rest, mut parts) = (&text[whole..], Parts { fraction: false, exponent: false });
    if let Some(behind) = rest.strip_prefix(&[decimal]) {
        let count = digits(behind);
        (whole + count > 0).then_some(())?;
        (rest, parts.fraction) = (&behind[count..], true);
    }
    (whole > 0 || parts.fraction).then_some(())?;
    if let [b'e' | b'E', behind @ ..] = rest {
        let behind = &behind[unsigned(behind)..];
        let count = digits(behind);
        (count > 0).then_some(())?;
        (rest, parts.exponent) = (&behind[count..], true);
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cell_is_told_by_its_look() {
        for (cell, expected) in [
            ("", Look::Empty),
            ("  ", Look::Empty),
            ("5", Look::Number),
            (" +5 ", Look::Number),
            ("-0.5e-3", Look::Number),
            ("0", Look::Number),
            ("1E5", Look::Exponent),
            ("81,4", Look::Comma),
            ("NaN", Look::NotFinite),
            ("-Infinity", Look::NotFinite),
            ("True", Look::Switch),
            ("00123", Look::Text),
            ("5.", Look::Number),
            ("-.5", Look::Number),
            (".", Look::Text),
            ("00.5", Look::Text),
            ("1.2.3", Look::Text),
            ("0x10", Look::Text),
            ("\u{ff11}", Look::Text),
        ] {
            assert_eq!(look(cell, b'.'), expected, "{cell:?}");
        }
        assert_eq!(
            (look("81,4", b','), look("81.4", b','), look("1.081,4", b',')),
            (Look::Number, Look::Text, Look::Text)
        );
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        for (cell, json) in [
            (" 5 ", "5"),
            ("+7", "7"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "9007199254740992.0"),
            ("-0", "-0.0"),
            ("1E5", "100000.0"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("59.375844799999996", "59.375844799999996"),
        ] {
            assert_eq!(number(cell, b'.').as_deref(), Ok(json), "{cell}");
        }
        assert_eq!(number("81,4", b',').as_deref(), Ok("81.4"));
        for (cell, why) in [
            ("9223372036854775808", "64 bits"),
            ("18446744073709551616", "64 bits"),
            ("123456789012345678901234567890", "64 bits"),
            ("1e999", "too large"),
            ("NaN", "finite"),
            ("81,4", "comma"),
            ("00123", "not a number"),
            ("", "not a number"),
        ] {
            assert!(number(cell, b'.').unwrap_err().contains(why), "{cell}");
        }
    }

    proptest! {
        #[test]
        fn a_double_is_itself_however_it_is_written(bits: u64, digits in 17..25_usize) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value:?}"), format!("{value:e}"), format!("{value:.digits$e}")] {
                let json = number(&text, b'.').unwrap();
                let read: f64 = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(read.to_bits(), value.to_bits(), "{} {}", text, json);
                prop_assert_eq!(number(&text.replace('.', ","), b','), Ok(json));
            }
        }
    }
}
