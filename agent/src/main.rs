//! `afferent-agent`: the command line.
fn main() {}
