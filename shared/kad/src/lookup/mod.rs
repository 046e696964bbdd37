//! Lookups: the walk to the servers closest to a key, as state machines that send nothing.
//!
//! A walk keeps the candidates it has heard of by their distance from the key, asks the closest
//! ones that it has not asked, α at a time, and learns closer ones from their answers. It ends when
//! the k closest that are alive have all answered (Maymounkov and Mazières, *Kademlia*, 2002,
//! section 2.3). Two machines share it:
//!
//! ```text
//!                      ┌▶ ClosestLookup   who are the k closest servers?       (puts, refreshing)
//! seeds ─▶ the walk ───┤
//!                      └▶ ValueLookup     which of them hold something there?  (gets)
//!
//! the caller:  next() ─▶ Ask ─▶ (sends a request) ─▶ on_answer │ on_failure │ on_slow ─▶ next() …
//! ```
//!
//! # T, the set that puts and gets agree on
//! T is the min(k, found) closest servers that are alive. A put is acknowledged by a majority of T
//! ([`put`](crate::put)); whoever has heard a majority of the same T, and not just many servers, has
//! heard at least one server that acknowledged it.
//!
//! Nodes come and go between a put and a get. With a acknowledgements and r servers heard, the two have at least a + r − |T|
//! servers in common, which is two of twenty at the least. So a get that asks for a quorum sees the put
//! as long as fewer of those that acknowledged it have been lost: died, lost their disks, or given their places in T
//! to servers that call themselves whole and have not got the record. That can be: T is a matter of each key, and
//! `whole` of each node, which says so when a quorum of those that share each part with it has shown all that it
//! holds; what only the others of these hold it has not got yet. Replication brings a record to all of T
//! within minutes, so only losses of the minutes before count together.
//!
//! # When a majority of T has answered, before all of T has
//! The walk's own end determines T, at the price of asking all of it. This determines enough of it
//! earlier. Say a server r answers with the k servers closest to the key that it knows, and perhaps
//! with others that are farther than these, and fewer than k of all are closer to the key than r itself. **Then r has named every server that is
//! closer to the key than r.** For let c be closer than r, and unknown to r. They differ first in
//! some bit, in which c agrees with the key and r does not. The bucket of r that c belongs in
//! holds only servers like that, all of them closer to the key than r. That bucket lacks c, so it is full: it
//! holds k servers that are closer than r, and r would have named k such servers. (If r knows c
//! and left it out, it named k closer ones instead: the same contradiction.)
//!
//! Such an answer *vouches* for its surroundings. From then on, the servers up to r are known to
//! the last one, none can come in between, and if r is among the k closest known then it and all
//! those closer are in T for good: others may turn out dead, which only draws T's end outwards. So
//! once those that answered up to the farthest such r are a majority of min(k, known), dead ones
//! included in the count, they are a majority of T, whatever the others would say. (T is not larger
//! than that: if fewer than k are known, no bucket of r is full, so r has named everyone there is.)
//!
//! The others that r may name are whole ones beyond the k-th (below). They change nothing: if one of
//! them is closer than r, then so are the k before it, and r vouches for nothing. So where k newcomers or more are closer to a
//! key than those that are whole nobody vouches, and the walk goes on to its own end.
//!
//! What it rests on is what the walk itself rests on: that a bucket which lacks somebody alive is
//! full. A server says so of its table with `settled`; answers of others do not vouch. The limits
//! per prefix leave such gaps in networks that few prefixes make up. An asker is not named to
//! itself, so it counts itself as named wherever it could have been. k has to be the same all over
//! a network.
//!
//! A server that gets a value reads its own store besides. Its walk leaves it out of T, while
//! others count it in; that shifts T by one server, and its own store makes up for that one.
//!
//! # Servers that are not whole yet
//! A server that has just joined among the k closest holds nothing of what was put there before,
//! until it has fetched it from its neighbours; it says so (`whole`). Its empty hands say nothing,
//! so it is passed over as if it were dead, and T is the k closest of those that are whole. A put
//! needs a majority of that T, and goes to those passed over as well: what they hold counts when a
//! get finds it, but not towards a quorum, since it may be what another version has superseded. When
//! such a server becomes whole it has fetched what a quorum of its neighbours holds, and so
//! everything that a majority of the T before it acknowledged.
//!
//! Where k such newcomers are closer to a key than all who are whole, the k closest that anybody knows are newcomers,
//! and a walk that heard of nobody else would pass over them all and find no T. So an answer names,
//! besides the k closest, the closest of those known to be whole, up to k whole ones in all
//! ([`RoutingTable::to_name`](crate::routing::RoutingTable::to_name)). Of newcomers it still names no
//! more than k: however many of them there are, a walk asks few more than the k closest.
//!
//! # What a lying server can do
//! It can name servers that do not exist, which costs requests, bounded by
//! [`LookupConfig::new_per_answer`] and [`LookupConfig::max_requests`]. It can name real servers
//! under false addresses: addresses of several answers are kept side by side, each answer's best
//! one first. It can claim to hold something: the caller verifies what it is sent. It cannot pass
//! for another server: the caller's handshake proves who answers.

mod closest;
mod value;
mod walk;

pub use closest::{AnsweredNode, ClosestLookup, ClosestResult, Condition, Step};
pub use value::{
    Consistency, DEFAULT_HOLDERS, ParseConsistencyError, ValueLookup, ValueOutcome, ValueStep, Want,
};

use crate::message::NODES_MAX;
use crate::routing::K;

/// Requests in flight at once: three hide the latency of one slow peer and cost little where all
/// are quick (Kademlia, section 2.3).
pub const ALPHA: usize = 3;

/// Requests of one lookup. An honest one takes about 2k, and k more where as many newcomers are closer
/// than all who are whole; the rest is for the dead and the made up: it outlasts three answers that
/// name [`NODES_MAX`] servers which do not exist.
pub const MAX_REQUESTS: usize = 9 * K;

/// Candidates that one lookup remembers, at about 200 bytes each. When one is forgotten, as many are
/// closer as there can be requests, and as many more: it would never have been asked.
pub const CANDIDATES_MAX: usize = 2 * MAX_REQUESTS;

/// The bounds of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupConfig {
    /// How many servers to find; the network's k. 0 counts as 1.
    pub k: usize,
    /// Requests in flight at once, slow ones not counted. 0 counts as 1.
    pub alpha: usize,
    /// Requests in all.
    pub max_requests: usize,
    /// Servers that one answer may introduce: as many as an honest one names.
    pub new_per_answer: usize,
    /// Candidates that are remembered; those asked are, in any case.
    pub candidates_max: usize,
}

impl Default for LookupConfig {
    fn default() -> Self {
        LookupConfig {
            k: K,
            alpha: ALPHA,
            max_requests: MAX_REQUESTS,
            new_per_answer: NODES_MAX,
            candidates_max: CANDIDATES_MAX,
        }
    }
}
