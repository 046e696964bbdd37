//! Tests through the real binaries, and the benchmark that compares them with a bare QUIC echo.

pub mod bench;
