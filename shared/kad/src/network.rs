//! The name of a network: what keeps the records and connections of two networks apart.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The longest network name, in bytes.
pub const NETWORK_NAME_MAX: usize = 64;

/// A network's name: 1 to 64 characters of `a-z`, `0-9` and `-`.
///
/// It is part of the input of every key, signature and receipt and of the TLS protocol name, so
/// that nothing of one network is valid in another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NetworkName(Arc<str>);

/// A text cannot be a network's name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("«{0}» is not a network name; use 1 to 64 characters of a-z, 0-9 and -")]
pub struct ParseNetworkNameError(String);

impl NetworkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ALPN protocol name of version 1 in this network: `dht/1/<network>`.
    #[must_use]
    pub fn alpn(&self) -> Vec<u8> {
        format!("dht/1/{}", self.0).into_bytes()
    }
}

impl FromStr for NetworkName {
    type Err = ParseNetworkNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=NETWORK_NAME_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(NetworkName(text.into()))
        } else {
            Err(ParseNetworkNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_or_length_are_refused() {
        for good in ["a", "main-2", &"x".repeat(64)] {
            assert_eq!(good.parse::<NetworkName>().unwrap().as_str(), good);
        }
        for bad in ["", "Main", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad}");
        }
    }
}
