//! What a node costs, against what its transport alone costs: the benchmark behind `scripts/bench.sh`.
//!
//! A rate says little by itself: it is the machine's as much as the program's, and machines are
//! shared. So each round measures two pairs of processes, one after the other, at the same number of
//! operations in flight, and what is told is their ratio:
//!
//! ```text
//!            client process            server process
//! echo       quinn-echo client ──────▶ quinn-echo server     100 B ask, 1 KiB back; nothing else
//! solo       dht-client bench  ──────▶ dht-bootstrap --solo  the real ones, on a real disk
//! network    dht-client bench  ──────▶ three dht-bootstrap   that replicate each put
//! ```
//!
//! Echo and node use the same QUIC library, TLS provider, kind of key, flow control and single
//! network thread. Rounds take turns, and medians over them are told, so that a neighbour who wakes
//! up disturbs all alike. Processor time is the kernel's count for whole processes, threads and
//! kernel work included, on both sides.
//!
//! - [`echo`]: the bare pair.
//! - [`processes`]: starting and ending processes, reading their lines and their processor time.
//! - [`nodes`]: real nodes in temporary directories.
//! - [`rounds`]: which phases run, in which order, within which time.
//! - [`figures`]: medians, ratios, the table and the JSON lines.
//! - [`join`]: how soon a node that starts is ready and has three peers.

pub mod echo;
pub mod figures;
pub mod join;
pub mod nodes;
pub mod processes;
pub mod rounds;
