//! Looking at a log's files without opening it for writing: `log info|verify|dump`.
