//! [`Sent`]: what a host has sent, by what it was for.
//!
//! It is read off the frames themselves: a frame begins with its type, and the payload of one that
//! compares or copies begins with what of that it is.

use dht_kad::message::{
    FRAME_HEADER, TYPE_AUDIT, TYPE_FIND, TYPE_FIND_NODE, TYPE_PING, TYPE_RECONCILE, TYPE_STORE,
    TYPE_VITALS, TYPE_WATCH,
};

use super::letter::{Cargo, Message};

/// What something was sent for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Making and ending connections.
    Connections,
    /// Finding nodes, whether they live, and how they are.
    Routing,
    /// Reading, and being told of what is new.
    Gets,
    /// Writing.
    Puts,
    /// Comparing what two holders have.
    Compare,
    /// Copying records from one holder to another.
    Copy,
    /// Offering records to other holders.
    Offer,
    /// Asking for proofs of what was promised.
    Audit,
    /// Refusals, and what is not known here.
    Other,
}

/// How many purposes there are.
const PURPOSES: usize = 9;

/// What a host has sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    bytes: [u64; PURPOSES],
    requests: [u64; PURPOSES],
}

/// The numbers of the messages of reconciliation that copy records, and offer them.
const ASK_RECORDS: u8 = 4;
const ASK_OFFER: u8 = 5;
const ANSWER_RECORDS: u8 = 6;
const ANSWER_HOLDINGS: u8 = 7;

impl Purpose {
    /// All of them, in the order of their numbers.
    pub const ALL: [Purpose; PURPOSES] = [
        Purpose::Connections,
        Purpose::Routing,
        Purpose::Gets,
        Purpose::Puts,
        Purpose::Compare,
        Purpose::Copy,
        Purpose::Offer,
        Purpose::Audit,
        Purpose::Other,
    ];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Connections => "connections",
            Purpose::Routing => "routing",
            Purpose::Gets => "gets",
            Purpose::Puts => "puts",
            Purpose::Compare => "compare",
            Purpose::Copy => "copy",
            Purpose::Offer => "offer",
            Purpose::Audit => "audit",
            Purpose::Other => "other",
        }
    }

    fn of(frame: &[u8], records: u8, offers: u8) -> Self {
        let (Some(high), Some(low)) = (frame.first(), frame.get(1)) else { return Purpose::Other };
        match u16::from_be_bytes([*high, *low]) {
            TYPE_PING | TYPE_FIND_NODE | TYPE_VITALS => Purpose::Routing,
            TYPE_FIND | TYPE_WATCH => Purpose::Gets,
            TYPE_STORE => Purpose::Puts,
            TYPE_AUDIT => Purpose::Audit,
            TYPE_RECONCILE => match frame.get(FRAME_HEADER) {
                Some(number) if *number == records => Purpose::Copy,
                Some(number) if *number == offers => Purpose::Offer,
                _ => Purpose::Compare,
            },
            _ => Purpose::Other,
        }
    }
}

impl Sent {
    /// How many bytes for one purpose.
    #[must_use]
    pub fn bytes(&self, purpose: Purpose) -> u64 {
        self.bytes.get(purpose as usize).copied().unwrap_or(0)
    }

    /// How many requests for one purpose.
    #[must_use]
    pub fn requests(&self, purpose: Purpose) -> u64 {
        self.requests.get(purpose as usize).copied().unwrap_or(0)
    }

    /// How many bytes in all.
    #[must_use]
    pub fn all_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// How many requests in all.
    #[must_use]
    pub fn all_requests(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Sent) -> Sent {
        let add = |(all, one): (&mut u64, &u64)| *all += one;
        self.bytes.iter_mut().zip(&other.bytes).for_each(add);
        self.requests.iter_mut().zip(&other.requests).for_each(add);
        self
    }

    pub(super) fn note(&mut self, cargo: &Cargo) {
        let purpose = match cargo {
            Cargo::Message { message: Message::Request { frame, .. }, .. } => {
                let purpose = Purpose::of(frame, ASK_RECORDS, ASK_OFFER);
                if let Some(requests) = self.requests.get_mut(purpose as usize) {
                    *requests += 1;
                }
                purpose
            }
            Cargo::Message {
                message: Message::Answer { frame, .. } | Message::Part { frame: Some(frame), .. },
                ..
            } => Purpose::of(frame, ANSWER_RECORDS, ANSWER_HOLDINGS),
            _ => Purpose::Connections,
        };
        if let Some(bytes) = self.bytes.get_mut(purpose as usize) {
            *bytes += cargo.size() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::codec::{encode_request, encode_response};
    use dht_kad::message::{FindNode, Reconcile, Reconciled, Request, Response};
    use dht_kad::{Key, Refusal};

    use super::*;

    #[test]
    fn a_frame_shows_what_it_is_for() {
        let request =
            |request| Purpose::of(&encode_request(&request).unwrap(), ASK_RECORDS, ASK_OFFER);
        assert_eq!(request(Request::FindNode(FindNode { target: Key([1; 32]) })), Purpose::Routing);
        let reconcile = |ask| request(Request::Reconcile(ask));
        assert_eq!(reconcile(Reconcile::Parts(Vec::new())), Purpose::Compare);
        assert_eq!(reconcile(Reconcile::Records(Vec::new())), Purpose::Copy);
        assert_eq!(reconcile(Reconcile::Offer(Vec::new())), Purpose::Offer);
        let response = |response| {
            Purpose::of(&encode_response(&response).unwrap(), ANSWER_RECORDS, ANSWER_HOLDINGS)
        };
        let reconciled = |answer| response(Response::Reconciled(answer));
        assert_eq!(reconciled(Reconciled::Equal), Purpose::Compare);
        assert_eq!(reconciled(Reconciled::Records(Vec::new())), Purpose::Copy);
        assert_eq!(reconciled(Reconciled::Holdings(Vec::new())), Purpose::Offer);
        assert_eq!(response(Response::Refused(Refusal::Busy)), Purpose::Other);
    }

    #[test]
    fn purposes_are_in_the_order_of_their_numbers() {
        for (number, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, number);
        }
    }
}
