//! `afferent-collector`: the command line.
fn main() {}
