//! Units: codes of the Unified Code for Units of Measure (UCUM, <https://ucum.org/ucum>), case-sensitive.
//!
//! The grammar is the one of UCUM's section "Full and limited conformance": terms of components joined by `.` and `/`,
//! in parentheses where needed; a component is a number or an atom with an optional prefix and exponent, and may carry
//! an `{annotation}`. A factory has few units and sends them often, so [`Units`] remembers those that it has checked.

mod atoms;

use std::str::FromStr;

use afferent_protocol::limits::UNIT_BYTES_MAX;
use serde::Deserialize;

use crate::limits::{UNIT_DEPTH_MAX, UNITS_REMEMBERED_MAX};
use atoms::{HABITS, METRIC, OTHER, PREFIXES};

/// Why a text is no unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Over the limit of the protocol.
    #[error("the unit has {0} bytes; at most {UNIT_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A UCUM code with a meaning that is not intended.
    #[error("the unit {unit:?} is the {} in UCUM; write {:?} for {}", .meant.0, .meant.1, .meant.2)]
    Mistaken {
        /// The given unit.
        unit: String,
        /// What that is, and how to write what was meant.
        meant: Meant,
    },
    /// Not a code of UCUM.
    #[error("the unit {unit:?} is not a UCUM code{}; see https://ucum.org", suggested(.nearest.as_deref()))]
    Unknown {
        /// The given unit.
        unit: String,
        /// The code that was probably meant.
        nearest: Option<String>,
    },
}

/// What a code is in UCUM, the code of what was meant, and what that is.
type Meant = (&'static str, &'static str, &'static str);

/// Codes that are a prefix and a rare unit in UCUM, but are written for a common unit.
const MISTAKEN: [(&str, Meant); 6] = [
    ("pH", ("picohenry", "[pH]", "acidity")),
    ("ph", ("phot", "[pH]", "acidity")),
    ("mph", ("milliphot", "[mi_i]/h", "miles an hour")),
    ("kph", ("kilophot", "km/h", "kilometres an hour")),
    ("ft", ("femtotonne", "[ft_i]", "feet")),
    ("pt", ("picotonne", "[pt_us]", "pints")),
];

fn suggested(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default()
}

/// A unit that was checked; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Unit(String);

impl Unit {
    /// The UCUM code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Unit {
    type Error = UnitError;

    fn try_from(code: String) -> Result<Self, UnitError> {
        Units::default().check(&code)?;
        Ok(Self(code))
    }
}

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(code: &str) -> Result<Self, UnitError> {
        code.to_owned().try_into()
    }
}

/// Checks units, and remembers the last ones that were right.
#[derive(Debug, Default)]
pub struct Units {
    known: Vec<Box<str>>,
    next: usize,
}

impl Units {
    /// Whether `unit` is a UCUM code; the empty text stands for none and is taken.
    pub fn check(&mut self, unit: &str) -> Result<(), UnitError> {
        if unit.is_empty() || self.known.iter().any(|known| **known == *unit) {
            return Ok(());
        }
        check(unit)?;
        if self.known.len() < UNITS_REMEMBERED_MAX {
            self.known.push(unit.into());
        } else {
            self.known[self.next] = unit.into();
            self.next = (self.next + 1) % UNITS_REMEMBERED_MAX;
        }
        Ok(())
    }
}

/// Whether `unit` is a UCUM code.
pub fn check(unit: &str) -> Result<(), UnitError> {
    if unit.len() > UNIT_BYTES_MAX {
        return Err(UnitError::TooLong(unit.len()));
    }
    if let Some((_, meant)) = MISTAKEN.iter().find(|(code, _)| *code == unit) {
        return Err(UnitError::Mistaken { unit: unit.to_owned(), meant: *meant });
    }
    let mut rest = Rest { bytes: unit.as_bytes(), depth: 0 };
    match rest.main_term() {
        Some(()) if rest.bytes.is_empty() => Ok(()),
        _ => Err(UnitError::Unknown { unit: unit.to_owned(), nearest: nearest(unit) }),
    }
}

/// What is not read yet.
struct Rest<'a> {
    bytes: &'a [u8],
    depth: u32,
}

impl<'a> Rest<'a> {
    fn take(&mut self, wanted: u8) -> bool {
        let found = self.bytes.first() == Some(&wanted);
        if found {
            self.bytes = &self.bytes[1..];
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.bytes.iter().position(|byte| !wanted(*byte)).unwrap_or(self.bytes.len());
        let (taken, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        taken
    }

    fn main_term(&mut self) -> Option<()> {
        self.take(b'/');
        self.term()
    }

    fn term(&mut self) -> Option<()> {
        self.component()?;
        while self.take(b'.') || self.take(b'/') {
            self.component()?;
        }
        Some(())
    }

    fn component(&mut self) -> Option<()> {
        match *self.bytes.first()? {
            b'(' => {
                self.bytes = &self.bytes[1..];
                self.depth += 1;
                if self.depth > UNIT_DEPTH_MAX {
                    return None;
                }
                self.main_term()?;
                self.depth -= 1;
                self.take(b')').then_some(())
            }
            b'{' => self.annotation(),
            b'0'..=b'9' if !self.bytes.starts_with(b"10*") && !self.bytes.starts_with(b"10^") => {
                self.take_while(|byte| byte.is_ascii_digit());
                self.annotation_if_any()
            }
            _ => {
                self.symbol()?;
                self.exponent()?;
                self.annotation_if_any()
            }
        }
    }

    fn annotation_if_any(&mut self) -> Option<()> {
        if self.bytes.first() == Some(&b'{') { self.annotation() } else { Some(()) }
    }

    fn annotation(&mut self) -> Option<()> {
        self.take(b'{');
        self.take_while(|byte| byte.is_ascii_graphic() && byte != b'{' && byte != b'}');
        self.take(b'}').then_some(())
    }

    fn exponent(&mut self) -> Option<()> {
        let signed = self.take(b'+') || self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        (!signed || !digits.is_empty()).then_some(())
    }

    /// An atom, alone or behind a prefix. Digits and operators stand only in its square brackets, save for `10*`,
    /// `10^`.
    fn symbol(&mut self) -> Option<()> {
        if self.bytes.starts_with(b"10*") || self.bytes.starts_with(b"10^") {
            self.bytes = &self.bytes[3..];
            return Some(());
        }
        let mut len = 0;
        let mut in_brackets = false;
        for byte in self.bytes {
            match byte {
                b'[' => in_brackets = true,
                b']' => in_brackets = false,
                _ if in_brackets => {}
                b'.' | b'/' | b'(' | b')' | b'{' | b'}' | b'+' | b'-' | b'0'..=b'9' => break,
                _ => {}
            }
            len += 1;
        }
        let (symbol, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        is_symbol(std::str::from_utf8(symbol).ok()?).then_some(())
    }
}

fn is_symbol(symbol: &str) -> bool {
    let listed = |table: &[&str], atom: &str| table.binary_search(&atom).is_ok();
    listed(&METRIC, symbol)
        || listed(&OTHER, symbol)
        || PREFIXES.iter().any(|prefix| symbol.strip_prefix(prefix).is_some_and(|atom| listed(&METRIC, atom)))
}

/// The code that was probably meant: a habit, a different case, superscripts, or an atom one letter away.
fn nearest(unit: &str) -> Option<String> {
    let small = unit.trim().to_lowercase();
    if let Some((_, code)) = HABITS.iter().find(|(habit, _)| *habit == small) {
        return Some((*code).to_owned());
    }
    let plain = unit.trim().replace('²', "2").replace('³', "3").replace(['µ', 'μ'], "u");
    let plain = plain.replace("**", "").replace(['·', '*', ' '], ".").replace('^', "");
    if plain != unit && check(&plain).is_ok() {
        return Some(plain);
    }
    let atoms = || METRIC.iter().chain(OTHER.iter());
    let prefixed = PREFIXES.iter().flat_map(|prefix| METRIC.iter().map(move |atom| format!("{prefix}{atom}")));
    let bracketed = format!("[{small}]");
    atoms()
        .map(|atom| (*atom).to_owned())
        .chain(prefixed)
        .find(|code| code.to_lowercase() == small || code.to_lowercase() == bracketed)
        .or_else(|| {
            let near = |atom: &&&str| unit.len() > 2 && strsim::damerau_levenshtein(atom, unit) == 1;
            atoms().find(near).map(|atom| (*atom).to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_factory_are_taken() {
        for unit in [
            "Cel",
            "%",
            "mm/s",
            "m/s2",
            "kPa",
            "bar",
            "mbar",
            "N.m",
            "kW.h",
            "/min",
            "{rev}/min",
            "l/min",
            "m3/h",
            "[degF]",
            "1",
            "Ohm",
            "mV",
            "uA",
            "Hz",
            "kHz",
            "By",
            "MiBy",
            "By/s",
            "dB",
            "B[SPL]",
            "[ppm]",
            "[pH]",
            "10*3/ul",
            "kg.m/s2",
            "deg",
            "mm[Hg]",
            "g/(m2.h)",
            "s-1",
            "m+2",
            "{pieces}",
            "W/(m2.K)",
            "10*-6",
            "1/s",
            "um",
            "rad/s",
            "[in_i'H2O]",
            "dag",
            "[m/s2/Hz^(1/2)]",
            "l{fuel}/h",
            "100.m",
        ] {
            assert_eq!(check(unit), Ok(()), "{unit}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for unit in [
            "degC",
            "°C",
            "rpm",
            "celsius",
            "m/",
            "m//s",
            ".m",
            "m.",
            "(m",
            "m)",
            "{a",
            "a}",
            "m^2",
            "Cell",
            "x",
            "m-",
            " m",
            "m s",
            "k",
            "kk",
            "[x]",
            "k[degF]",
            "((((((((((m))))))))))",
            "mm²",
            "[",
            "]",
            "",
            "/",
        ] {
            assert!(check(unit).is_err(), "{unit:?} was taken");
        }
        assert_eq!(check(&"m".repeat(33)), Err(UnitError::TooLong(33)));
    }

    #[test]
    fn a_refusal_suggests_what_was_meant() {
        for (given, meant) in [
            ("degC", "Cel"),
            ("°C", "Cel"),
            ("RPM", "/min"),
            ("m/s²", "m/s2"),
            ("m/s^2", "m/s2"),
            ("µm", "um"),
            ("kpa", "kPa"),
            ("psi", "[psi]"),
            ("Ω", "Ohm"),
            ("Cell", "Cel"),
            ("KW", "kW"),
        ] {
            let Err(UnitError::Unknown { nearest, .. }) = check(given) else { panic!("{given} was taken") };
            assert_eq!(nearest.as_deref(), Some(meant), "{given}");
        }
        let message = check("degC").unwrap_err().to_string();
        assert_eq!(message, "the unit \"degC\" is not a UCUM code; did you mean \"Cel\"?; see https://ucum.org");
    }

    #[test]
    fn a_code_that_a_prefix_makes_of_what_everybody_means_otherwise_is_refused_with_the_right_one() {
        let refusal = check("pH").unwrap_err().to_string();
        assert_eq!(refusal, "the unit \"pH\" is the picohenry in UCUM; write \"[pH]\" for acidity");
        for (code, (_, right, _)) in MISTAKEN {
            assert!(check(code).is_err() && check(right).is_ok(), "{code}");
        }
        assert!(check("uH").is_ok() && check("kt").is_ok());
        // No other habit is a code of something else, but for the nanometre; one is a code of the same.
        let codes: Vec<_> = HABITS.iter().filter(|(habit, _)| check(habit).is_ok()).map(|(habit, _)| *habit).collect();
        assert_eq!(codes, ["1/min", "nm"]);
    }

    #[test]
    fn the_tables_are_sorted() {
        assert!(METRIC.is_sorted() && OTHER.is_sorted());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut units = Units::default();
        for factor in 0..10 * UNITS_REMEMBERED_MAX {
            units.check(&format!("{factor}.m")).unwrap();
        }
        assert_eq!(units.known.len(), UNITS_REMEMBERED_MAX);
        assert!(units.check("degC").is_err());
        assert_eq!(units.check(""), Ok(()));
    }
}
