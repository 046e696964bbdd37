//! The encrypted form: the lines of secrets under a key that follows from a password.
//!
//! Argon2id ([RFC 9106]) over the password with 64 MiB of memory, 3 passes and one lane, which is that
//! document's second recommendation, but for its four lanes: they would have to be filled one after the other
//! here, and help only who has the cores. It takes some tenths of a second, and as much of whoever guesses. A file
//! may say otherwise within bounds, so that none can use up the memory of who opens it.
//!
//! [RFC 9106]: https://www.rfc-editor.org/rfc/rfc9106

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Fault;
use super::text::Text;
use crate::entropy::Entropy;
use crate::secret_box;

/// Memory, in KiB: what files are written with.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;
/// Lanes.
const LANES: u32 = 1;
/// What a file may ask for at most: four times the memory, some seconds of time.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 4;
/// Bytes of the salt.
const SALT_LEN: usize = 16;

/// A password that is not empty; overwritten in memory when dropped, and never printed by `Debug`.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Nothing if `text` is empty.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Password(text))
    }

    /// The password itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// How a key follows from a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

const COST: Cost = Cost { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES };

/// Secrets that were read and not opened.
#[derive(Debug)]
pub(super) struct Encrypted {
    cost: Cost,
    salt: [u8; SALT_LEN],
    /// All lines before the sealed one.
    bound: String,
    sealed: Vec<u8>,
}

/// Adds to `text` the lines that keep `secrets` under `password`.
pub(super) fn seal(
    text: &mut Vec<u8>,
    secrets: &[u8],
    password: &Password,
    entropy: &Entropy,
) -> Result<(), Fault> {
    let mut salt = [0; SALT_LEN];
    entropy.fill(&mut salt).map_err(Fault::NoEntropy)?;
    let Cost { memory_kib, passes, lanes } = COST;
    let salted = hex::encode(salt);
    let line = format!("argon2id m={memory_kib} t={passes} p={lanes} salt={salted}\n");
    text.extend_from_slice(line.as_bytes());
    let key = COST.key(password, &salt)?;
    let sealed = secret_box::seal(&key, text, secrets, entropy).map_err(Fault::NoEntropy)?;
    text.extend_from_slice(format!("sealed {}\n", hex::encode(sealed)).as_bytes());
    Ok(())
}

impl Encrypted {
    /// The sealed secrets of a file, if it has such.
    pub(super) fn of(text: &Text<'_>) -> Result<Option<Self>, Fault> {
        let Some(rest) = text.rest.strip_prefix("argon2id ") else { return Ok(None) };
        let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        let (cost, salt) =
            parameters(line).ok_or(Fault::Damaged("the line of its password is not whole"))?;
        cost.check()?;
        let sealed = rest.strip_prefix("sealed ").and_then(|line| line.strip_suffix('\n'));
        let sealed = sealed.and_then(|digits| hex::decode(digits).ok());
        let sealed = sealed.ok_or(Fault::Damaged("its sealed secrets are not whole"))?;
        let bound = format!("{}argon2id {line}\n", text.head);
        Ok(Some(Encrypted { cost, salt, bound, sealed }))
    }

    /// The lines of secrets.
    pub(super) fn open(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let key = self.cost.key(password, &self.salt)?;
        secret_box::open(&key, self.bound.as_bytes(), &self.sealed).ok_or(Fault::WrongPassword)
    }
}

impl Cost {
    fn check(self) -> Result<(), Fault> {
        let Cost { memory_kib, passes, lanes } = self;
        match memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            true => Err(Fault::TooCostly),
            false => Ok(()),
        }
    }

    fn key(self, password: &Password, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let unfit = |_| Fault::Damaged("the line of its password makes no sense");
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(unfit)?);
        let mut key = Zeroizing::new([0; 32]);
        let password = password.as_str().as_bytes();
        argon2.hash_password_into(password, salt, key.as_mut()).map_err(unfit)?;
        Ok(key)
    }
}

/// Reads `m=… t=… p=… salt=…`.
fn parameters(line: &str) -> Option<(Cost, [u8; SALT_LEN])> {
    let mut fields = line.split(' ');
    let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
    let memory_kib = field("m")?.parse().ok()?;
    let (passes, lanes) = (field("t")?.parse().ok()?, field("p")?.parse().ok()?);
    let mut salt = [0; SALT_LEN];
    hex::decode_to_slice(field("salt")?, &mut salt).ok()?;
    fields.next().is_none().then_some((Cost { memory_kib, passes, lanes }, salt))
}
