//! Times in text: RFC 3339 at every door, and the forms that recorded files have where one of them is stated.
//!
//! One rule holds for the socket, for children, `emit`, JSON lines and files: a time is RFC 3339 with its zone, or, as
//! a JSON number, whole microseconds since 1970. Who replays a file sets a different format ([`Form`]), and the zone of
//! times without one; the size of a number decides nothing.

mod form;

pub use afferent_host::time::{Zone, ZoneError, parse, rfc3339};
pub use form::{Form, FormError, Reading};
