//! The unified log.
