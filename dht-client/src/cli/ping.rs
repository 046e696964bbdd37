//! `ping`.

use clap::Args;
use dht_client::PeerAddress;
use dht_kad::message::Mode;
use serde_json::json;

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Arguments of `ping`.
#[derive(Args)]
pub(crate) struct PingArgs {
    /// Whom: host:port, or NODEID@host:port to pin who answers.
    peer: PeerAddress,
}

impl PingArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.reader_beside(&self.peer)?;
        let report = client.ping(&self.peer).await?;
        let (node, pong) = (&report.node, &report.pong);
        let address = node.addrs.first().map(ToString::to_string);
        let rtt_us = report.rtt.map(|rtt| rtt.as_micros());
        if session.json() {
            return print::object(&json!({
                "node": node.id.to_string(),
                "address": address,
                "version": pong.version,
                "mode": mode_name(pong.mode),
                "settled": pong.settled,
                "rtt_us": rtt_us,
                "clock_ms": pong.clock.0,
                "clock_difference_ms": report.clock_difference_ms,
                "observed": pong.observed.to_string(),
            }));
        }
        print::line(&format!(
            "{}@{} {} {}{} rtt {} us, clock {:+} ms, sees us at {}",
            node.id,
            address.unwrap_or_default(),
            pong.version,
            mode_name(pong.mode),
            if pong.settled { ", settled," } else { ", not settled," },
            rtt_us.unwrap_or_default(),
            report.clock_difference_ms,
            pong.observed,
        ))
    }
}

/// A mode's name.
pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Server => "server",
        Mode::Client => "client",
    }
}
