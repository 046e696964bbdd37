//! Which of two states of one contact wins, field by field.
//!
//! Each field is merged by a rule of its own that does not mind the order: the same states give the
//! same contact on every device, whichever comes first and however often (a join-semilattice; Shapiro
//! et al., *Conflict-free replicated data types*, 2011).
//!
//! | field | rule |
//! |---|---|
//! | name, blocked, sealing key | the one that was set last; of two at one moment the greater |
//! | accepted | from the first moment on, for good |
//! | secrets | all of them. Ours: the first one made is current. Theirs: the last one made |
//! | when told and heard | the latest |

use std::cmp::Reverse;

use dht_kad::UnixMs;

use super::{Contact, DirectionSecret, SECRETS_MAX};

impl Contact {
    /// Takes in what another device, or the network, knows of the same contact; whether anything has
    /// changed.
    pub(crate) fn merge(&mut self, other: &Contact) -> bool {
        debug_assert_eq!(self.identity, other.identity, "merged with somebody else");
        let before = self.clone();
        if (other.named_at, &other.name) > (self.named_at, &self.name) {
            self.named_at = other.named_at;
            self.name.clone_from(&other.name);
        }
        (self.blocked_changed_at, self.blocked) =
            (self.blocked_changed_at, self.blocked).max((other.blocked_changed_at, other.blocked));
        if (other.sealing_at, &other.sealing) > (self.sealing_at, &self.sealing) {
            self.sealing_at = other.sealing_at;
            self.sealing.clone_from(&other.sealing);
        }
        self.since = self.since.min(other.since);
        self.accepted_at = first_of(self.accepted_at, other.accepted_at);
        for secret in &other.secrets_out {
            self.add_secret_out(secret.clone());
        }
        for secret in &other.secrets_in {
            self.add_secret_in(secret.clone());
        }
        (self.told_at, self.told) = (self.told_at.max(other.told_at), self.told.max(other.told));
        self.heard_at = self.heard_at.max(other.heard_at);
        *self != before
    }

    /// Adds a secret of ours. The first one made stays current: the contact may have been told it.
    pub(crate) fn add_secret_out(&mut self, secret: DirectionSecret) {
        add(&mut self.secrets_out, secret);
        self.secrets_out.sort_by_key(|secret| (secret.made_at, *secret.secret));
        self.secrets_out.truncate(SECRETS_MAX);
    }

    /// Adds a secret that the contact told. The last one made is current.
    pub(crate) fn add_secret_in(&mut self, secret: DirectionSecret) {
        add(&mut self.secrets_in, secret);
        self.secrets_in.sort_by_key(|secret| Reverse((secret.made_at, *secret.secret)));
        self.secrets_in.truncate(SECRETS_MAX);
    }
}

/// Adds a secret unless it is there; of two moments for one secret the earlier holds.
fn add(secrets: &mut Vec<DirectionSecret>, secret: DirectionSecret) {
    match secrets.iter_mut().find(|known| known.secret == secret.secret) {
        Some(known) => known.made_at = known.made_at.min(secret.made_at),
        None => secrets.push(secret),
    }
}

/// The earlier of two moments; zero is none.
fn first_of(one: UnixMs, other: UnixMs) -> UnixMs {
    match (one.0, other.0) {
        (0, _) => other,
        (_, 0) => one,
        _ => one.min(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contacts::ContactState;

    fn secret(byte: u8, made_at: u64) -> DirectionSecret {
        DirectionSecret { secret: [byte; 32].into(), made_at: UnixMs(made_at) }
    }

    fn states() -> Vec<Contact> {
        let base = || Contact::new([7; 32], "bob".to_owned(), UnixMs(100));
        let mut asked = base();
        asked.add_secret_out(secret(1, 100));
        let mut elsewhere = Contact::new([7; 32], "robert".to_owned(), UnixMs(100));
        elsewhere.add_secret_out(secret(2, 100));
        elsewhere.told_at = UnixMs(101);
        let mut accepted = asked.clone();
        accepted.add_secret_in(secret(3, 110));
        accepted.accepted_at = UnixMs(111);
        let mut accepted_later = asked.clone();
        accepted_later.add_secret_in(secret(4, 120));
        accepted_later.accepted_at = UnixMs(121);
        let mut blocked = base();
        (blocked.blocked, blocked.blocked_changed_at) = (true, UnixMs(130));
        let mut unblocked = base();
        unblocked.blocked_changed_at = UnixMs(130);
        let mut renamed = base();
        (renamed.name, renamed.named_at) = ("bobby".to_owned(), UnixMs(140));
        vec![asked, elsewhere, accepted, accepted_later, blocked, unblocked, renamed]
    }

    fn merged(one: &Contact, other: &Contact) -> Contact {
        let mut merged = one.clone();
        merged.merge(other);
        merged
    }

    #[test]
    fn no_order_of_merging_matters() {
        for one in &states() {
            assert_eq!(&merged(one, one), one);
            for other in &states() {
                assert_eq!(merged(one, other), merged(other, one));
                for third in &states() {
                    let left = merged(&merged(one, other), third);
                    assert_eq!(left, merged(one, &merged(other, third)));
                }
            }
        }
    }

    #[test]
    fn merging_drops_no_secret_and_blocks_for_all() {
        let mut all = states().remove(0);
        for state in &states() {
            all.merge(state);
        }
        assert_eq!(all.state(), ContactState::Blocked);
        assert_eq!((all.secrets_out.len(), all.secrets_in.len()), (2, 2));
        assert_eq!(all.secret_out(), Some(&[1; 32]), "the first one made");
        assert_eq!(all.secret_in(), Some(&[4; 32]), "the last one told");
        assert_eq!((all.name.as_str(), all.accepted_at), ("bobby", UnixMs(111)));
        let nothing_new = all.clone();
        assert!(!all.merge(&nothing_new));
    }
}
