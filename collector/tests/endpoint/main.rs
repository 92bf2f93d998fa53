//! The endpoint with real sockets and clients, in front of an admission whose commits the test holds back.

mod connections;
mod fake;
mod publishing;
mod raw;
mod refusing;
mod tls;
