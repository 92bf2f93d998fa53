//! Which media type an answer has, by the header `Accept` (RFC 9110, section 12.5.1).
//!
//! Of the media ranges that match a type the most specific one decides how much it is wanted: `a/b` before `a/*` before
//! `*/*`. The type that is wanted most is chosen. Among those that are wanted alike, one that is named goes before one
//! that a `*` takes in, then the one that is named first, then the one that is offered first. A weight of 0 refuses.
//! Parameters other than `q` are ignored: no type here has any. An element that is no media range is passed over.
//!
//! Every answer that is chosen so says it by [`vary`]: a cache must not give lines to someone who asks for an array.

use std::cmp::Reverse;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::problem::Problem;

/// A media type in which there is an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<T> {
    /// The media type, in lower case.
    pub media: &'static str,
    /// A more general name, under which the type is taken as by a `*`.
    pub alias: Option<&'static str>,
    /// What makes the answer.
    pub answer: T,
}

/// A weight, in thousandths.
type Weight = u16;

/// The largest weight, and the one of a range that has none.
const WHOLE: Weight = 1000;

/// How closely a range names a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    /// `*/*`.
    Any,
    /// `application/*`.
    Subtypes,
    /// By its more general name.
    Alias,
    /// By its own.
    Named,
}

/// A media range with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    media: String,
    weight: Weight,
}

/// Chooses among what is offered, the preferred type first; refuses with 406 where nothing of it is wanted.
pub(super) fn choose<T: Copy>(headers: &HeaderMap, offers: &[Offer<T>]) -> Result<T, Problem> {
    assert!(!offers.is_empty(), "every answer has a type");
    let values: Vec<String> =
        headers.get_all(header::ACCEPT).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
    let accept = values.join(",");
    if accept.split(',').all(|element| element.trim().is_empty()) {
        return Ok(offers[0].answer);
    }
    let ranges: Vec<Range> = elements(&accept, ',').filter_map(range).collect();
    let wanted = offers.iter().enumerate().filter_map(|(at, offer)| {
        let (weight, closeness, place) = wanted(offer, &ranges)?;
        let named = (closeness == Closeness::Named).then_some(Reverse(place));
        (weight > 0).then_some(((weight, named, Reverse(at)), offer.answer))
    });
    let chosen = wanted.max_by(|(one, _), (other, _)| one.cmp(other));
    chosen.map(|(_, answer)| answer).ok_or_else(|| {
        let offered: Vec<&str> = offers.iter().map(|offer| offer.media).collect();
        let detail = "`Accept` lists no media type of this answer";
        Problem::new(StatusCode::NOT_ACCEPTABLE, detail, format!("accept {}", offered.join(" or ")))
    })
}

/// Marks an answer, or a refusal in its place, as one that depends on `Accept` (RFC 9110, section 12.5.5).
pub(super) async fn vary(mut answer: Response) -> Response {
    // Appended: the answer may depend on other headers as well.
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    answer
}

/// How much a type is wanted, and by which range: the closest one decides, and of several the first.
fn wanted<T>(offer: &Offer<T>, ranges: &[Range]) -> Option<(Weight, Closeness, usize)> {
    let (kind, _) = offer.media.split_once('/').expect("a media type has a subtype");
    let closeness = |range: &Range| match range.media.as_str() {
        "*/*" => Some(Closeness::Any),
        media if media == offer.media => Some(Closeness::Named),
        media if Some(media) == offer.alias => Some(Closeness::Alias),
        media => (media.strip_suffix("/*") == Some(kind)).then_some(Closeness::Subtypes),
    };
    let matching = ranges.iter().enumerate();
    let matching = matching.filter_map(|(place, range)| Some((range.weight, closeness(range)?, place)));
    matching.max_by_key(|(_, closeness, place)| (*closeness, Reverse(*place)))
}

/// A media range, unless this is none.
fn range(element: &str) -> Option<Range> {
    let mut parts = elements(element, ';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let (kind, subtype) = media.split_once('/')?;
    let is_range = is_token(kind) && is_token(subtype) && (kind != "*" || subtype == "*");
    let mut weight = WHOLE;
    for parameter in parts {
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim_end().eq_ignore_ascii_case("q")
        {
            weight = self::weight(value.trim_start())?;
        }
    }
    is_range.then_some(Range { media, weight })
}

/// A weight from 0 to 1. Clients write `.2` too, and more decimals than three: what is not zero does not become zero.
fn weight(text: &str) -> Option<Weight> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = matches!(whole, "0" | "1") || (whole.is_empty() && !decimals.is_empty());
    if !is_number || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_some = decimals.bytes().any(|digit| digit != b'0');
    let thousandths: Weight = format!("{decimals:0<3.3}").parse().ok()?;
    match whole {
        "1" => (!is_some).then_some(WHOLE),
        _ => Some(thousandths.max(u16::from(is_some))),
    }
}

/// A token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_sign = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

/// The parts of a list, whose separators do not count within a quoted text.
fn elements(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let is_separator = character == separator && !is_quoted;
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_separator
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFERS: [Offer<&str>; 2] = [
        Offer { media: "application/x-ndjson", alias: None, answer: "lines" },
        Offer { media: "application/batch+json", alias: Some("application/json"), answer: "batch" },
    ];

    fn chosen(accept: &[&str]) -> Result<&'static str, Problem> {
        let headers = accept.iter().map(|accept| (header::ACCEPT, accept.parse().unwrap())).collect();
        choose(&headers, &OFFERS)
    }

    #[test]
    fn the_most_wanted_media_type_is_chosen() {
        for (accept, expected) in [
            ("", "lines"),
            (" , ", "lines"),
            ("*/*", "lines"),
            ("application/*", "lines"),
            ("application/x-ndjson", "lines"),
            ("application/batch+json", "batch"),
            ("application/json", "batch"),
            ("APPLICATION/Batch+JSON ; Q=0.5", "batch"),
            ("application/batch+json;charset=UTF-8", "batch"),
            // Weights.
            ("application/x-ndjson;q=0.2, application/batch+json;q=0.3", "batch"),
            ("application/x-ndjson;q=0.3, application/batch+json;q=0.2", "lines"),
            ("application/x-ndjson;q=0.001, application/batch+json;q=0", "lines"),
            ("application/x-ndjson;q=0.999, application/batch+json;q=1.000", "batch"),
            ("*/*;q=0.9, application/x-ndjson;q=0.1", "batch"),
            ("application/*;q=0.1, */*, application/batch+json;q=0.2", "batch"),
            ("application/json, */*;q=0.1", "batch"),
            // The closest range decides, wherever it stands.
            ("application/x-ndjson;q=0, */*", "batch"),
            ("*/*, application/x-ndjson;q=0", "batch"),
            ("application/*;q=0, */*, application/x-ndjson;q=0.1", "lines"),
            // Alike: what is named, then what is named first.
            ("*/*, application/batch+json", "batch"),
            ("application/json, text/plain, */*", "lines"),
            ("application/batch+json, application/x-ndjson", "batch"),
            ("application/x-ndjson, application/batch+json", "lines"),
            // Passed over: no ranges, and weights that are none.
            ("text/html;q=1, lines, */json, application/x-ndjson;q=2, application/batch+json;q=0.1", "batch"),
            ("application/x-ndjson;q=x, application/x-ndjson;q=, */*;q=0.5", "lines"),
            // As clients write them.
            ("application/x-ndjson;q=.2, application/batch+json;q=.3", "batch"),
            ("application/x-ndjson;q=0.00001, application/batch+json;q=0", "lines"),
            ("application/x-ndjson;q=0.123456, application/batch+json;q=0.124", "batch"),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "lines"),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "lines"),
            ("text/html;a=\"b, application/x-ndjson;q=1\\\", c\", application/batch+json", "batch"),
        ] {
            assert_eq!(chosen(&[accept]).unwrap(), expected, "{accept}");
        }
        assert_eq!(chosen(&[]).unwrap(), "lines");
        assert_eq!(chosen(&["application/x-ndjson;q=0.5", "application/batch+json"]).unwrap(), "batch", "two headers");
    }

    #[test]
    fn a_refusal_lists_the_media_types_that_are_offered() {
        for accept in [
            "text/html",
            "text/*",
            "*/*;q=0",
            "application/x-ndjson;q=0",
            "application/x-ndjson;q=0.000, application/batch+json;q=0, */*",
            "application/*;q=0, */*",
            "lines",
            "application/x-ndjson;q=1.001",
            "application/x-ndjson;q=.",
            "\"",
        ] {
            let problem = chosen(&[accept]).expect_err(accept);
            assert_eq!(problem.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
            assert_eq!(problem.remedy, "accept application/x-ndjson or application/batch+json", "{accept}");
        }
    }

    /// The ranges that can match, and one that cannot.
    const RANGES: [&str; 5] = ["application/x-ndjson", "application/batch+json", "application/*", "*/*", "text/html"];

    proptest! {
        #[test]
        fn the_chosen_media_type_has_the_largest_weight_and_is_not_refused(
            weights in prop::collection::vec(prop::option::of(0..=1000_u16), RANGES.len()),
            order in Just([0, 1, 2, 3, 4]).prop_shuffle(),
            blanks in "[ \t]{0,2}",
        ) {
            let weighed = |range: &str, weight: u16| format!("{range}{blanks};{blanks}q={}", f64::from(weight) / 1e3);
            let element = |at: usize| Some(weighed(RANGES[at], weights[at]?));
            let given: Vec<String> = order.into_iter().filter_map(element).collect();
            prop_assume!(!given.is_empty());
            let of = |named: usize| weights[named].or(weights[2]).or(weights[3]).unwrap_or(0);
            let (lines, batch) = (of(0), of(1));
            match chosen(&[&given.join(&format!("{blanks},"))]) {
                Ok("lines") => prop_assert!(lines > 0 && lines >= batch),
                Ok(_) => prop_assert!(batch > 0 && batch >= lines),
                Err(_) => prop_assert_eq!((lines, batch), (0, 0)),
            }
        }

        #[test]
        fn no_header_is_too_strange(accept in "[ -~]{0,60}") {
            let _ = chosen(&[&accept]);
        }
    }
}
