//! Where a reader of pages goes on: a text that it gives back as it is, with the same query.

use afferent_protocol::checksum::crc32c;
use afferent_protocol::session::signed::Place;
use axum::http::StatusCode;

use super::problem::Problem;
use crate::terms::PlaceText;

/// A place between two pages of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageCursor {
    pub(super) place: Place,
    /// The checksum of the query that it belongs to.
    query: u32,
}

impl PageCursor {
    /// Behind the offsets that were looked at for this query.
    pub(super) fn new(place: Place, query: &[(String, String)]) -> Self {
        Self { place, query: checksum(query) }
    }

    pub(super) fn text(self) -> String {
        format!("2.{:08x}.{}", self.query, PlaceText(self.place))
    }

    /// Reads a cursor that was given for this query.
    pub(super) fn read(text: &str, query: &[(String, String)]) -> Result<Self, Problem> {
        let remedy = "send the header afferent-next-cursor unchanged, or start again with `from`";
        let refused = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, detail, remedy);
        let cursor = || {
            let (query, place) = text.strip_prefix("2.")?.split_once('.')?;
            let is_checksum = query.len() == 8 && query.bytes().all(|byte| byte.is_ascii_hexdigit());
            let query = u32::from_str_radix(query, 16).ok().filter(|_| is_checksum)?;
            Some(Self { place: place.parse::<PlaceText>().ok()?.0, query })
        };
        let cursor = cursor().ok_or_else(|| refused("`cursor` is not a cursor of this collector"))?;
        if cursor.query != checksum(query) {
            return Err(refused("`cursor` belongs to a query with other parameters"));
        }
        Ok(cursor)
    }
}

/// Of everything that decides which events come: all parameters but where to go on and how many at a time.
fn checksum(query: &[(String, String)]) -> u32 {
    let mut pairs: Vec<_> = query.iter().filter(|(name, _)| name != "cursor" && name != "limit").collect();
    pairs.sort();
    crc32c(format!("{pairs:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use afferent_protocol::ids::Offset;

    use super::*;

    fn query(text: &str) -> Vec<(String, String)> {
        serde_urlencoded::from_str(text).unwrap()
    }

    #[test]
    fn a_cursor_is_taken_back_by_the_query_that_it_was_given_for() {
        let place = Place { log_id: [7; 16], partition: 0, term: 9, offset: Offset::new(1042) };
        let text = PageCursor::new(place, &query("from=1&type=alarm&limit=5")).text();
        let again = query(&format!("limit=9&cursor={text}&type=alarm&from=1"));
        assert_eq!(PageCursor::read(&text, &again).unwrap().place, place);
        assert!(PageCursor::read(&text, &query("from=1&type=state")).is_err());
        for wrong in ["", "1", "1042", "1.412.0", "2.1.0", "2.00000000.", "2.+0000000.1@", "\0"] {
            assert!(PageCursor::read(wrong, &query("from=1")).is_err(), "{wrong:?}");
        }
    }
}
