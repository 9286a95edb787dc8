//! The integration tests, one binary: behaviour through public doors, real sockets and real toolchains.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod agents;
mod attacks;
mod models;
mod repair;
