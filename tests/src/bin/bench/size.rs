//! The agent's binary.

use afferent_tests::process::binary;

use crate::table::{Must, Table};

pub fn measure(table: &mut Table) {
    let path = binary("afferent-agent");
    let bytes = std::fs::metadata(&path).expect("it was built").len() as f64;
    table.add("`afferent-agent`, stripped, TLS in", bytes / 1e6, "MB", Must::Most(6.0));
}
