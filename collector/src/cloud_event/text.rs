//! Numbers and texts as JSON.

/// Appends a number.
pub(super) fn put_decimal(out: &mut Vec<u8>, value: u64) {
    serde_json::to_writer(out, &value).expect("a growing buffer takes any number");
}

/// Appends a number with leading zeros to twenty digits, as many as the largest one has.
pub(super) fn put_padded(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    for digit in digits.iter_mut().rev() {
        if value == 0 {
            break;
        }
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends a text with its quotes, escaped.
pub(super) fn put_json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a growing buffer takes any text");
}
