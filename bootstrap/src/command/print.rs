//! Printing to stdout. Who reads it through a pipe may end when he has seen enough: what follows is then printed for
//! nobody, and the command goes on.

use std::fmt::Display;
use std::io::{self, Write};

use dht_kad::ErrorNumber;

use super::Failure;

/// Prints a text as it is, and lets a reader at the other end of a pipe have it at once.
pub(super) fn text(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| {
            let sentence = format!("stdout cannot be written ({error}); check where it leads");
            Failure::new(ErrorNumber::FileAccess, sentence)
        }),
    }
}

/// Prints a text and the end of its line.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    self::text(format_args!("{text}\n"))
}
