//! The bare QUIC echo that `dht-bench` compares nodes with: `quinn-echo server`, `quinn-echo client`.

use std::net::SocketAddr;

use clap::Parser;
use dht_tests::bench::echo;

/// A bare QUIC echo: what a node's transport alone costs
#[derive(Parser)]
enum Role {
    /// Serve on a port of loopback, told on stdout, until killed
    Server,
    /// Ask a server, and print one JSON object
    Client {
        /// Where the server is
        server: SocketAddr,
        /// How many requests
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// How many at once
        #[arg(long, default_value_t = 1)]
        concurrency: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Role::parse() {
        Role::Server => echo::serve().await,
        Role::Client { server, count, concurrency } => echo::ask(server, count, concurrency).await,
    }
}
