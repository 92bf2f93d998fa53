//! No stranger takes it down: whatever clients of the HTTP server do, what agents ship goes on, health and metrics answer,
//! memory stays bounded, and when they stop all is as before.

mod bodies;
mod computations;
mod drive_by;
mod siege;
mod streams;
