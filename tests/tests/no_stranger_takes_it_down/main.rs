//! No stranger takes it down: whatever clients of the HTTP server and other programs of the machine do, what agents ship
//! goes on, health and metrics answer, memory stays bounded, and when they stop all is as before.

mod bodies;
mod cardinality;
mod computations;
mod drive_by;
mod machine;
mod memory;
mod names;
mod siege;
mod streams;
