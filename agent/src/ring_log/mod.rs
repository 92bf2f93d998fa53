//! The ring log.
