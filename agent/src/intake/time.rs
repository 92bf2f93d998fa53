//! Times in text: RFC 3339 at every door, and the forms that recorded files have where one of them is stated.
//!
//! One rule holds for the socket, for children, `emit`, JSON lines and files: a time is RFC 3339 with its zone, or, as
//! a JSON number, whole microseconds since 1970. Another form ([`Form`]) and the zone of times that say none are stated
//! by who replays a file; nothing is told by the size of a number.

mod form;

pub use afferent_host::time::{Zone, ZoneError, parse, rfc3339};
pub use form::{Form, FormError, Reading};
