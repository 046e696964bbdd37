//! `identity import`.

use std::path::{Path, PathBuf};

use clap::Args;
use dht_client::Identity;
use dht_client::identity::{IdentityError, Words, file};

use super::{Passphrase, password_of_new_file, report};
use crate::cli::failure::Failure;
use crate::cli::secret_input;
use crate::cli::session::{Session, opened};

/// Arguments of `identity import`.
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// Take it from another file of an identity.
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    file: Option<PathBuf>,
    /// Take it from its root, 64 hex digits on stdin.
    #[arg(long)]
    raw: bool,
    /// Read the password of that other file from the first line of a file, or from stdin for -.
    #[arg(long, value_name = "FILE", requires = "file")]
    from_password_file: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl ImportArgs {
    pub(super) fn run(&self, session: &Session) -> Result<(), Failure> {
        let path = session.identity_path()?;
        // Before anybody is asked for anything.
        file::check_free(&path)?;
        let password = password_of_new_file(session)?;
        let identity = match &self.file {
            Some(from) => self.in_file(from)?,
            None if self.raw => self.of_root()?,
            None => self.of_words()?,
        };
        file::create(&path, &identity, password.as_ref())?;
        report(session, &path)
    }

    fn in_file(&self, from: &Path) -> Result<Identity, Failure> {
        self.no_passphrase()?;
        opened(from, self.from_password_file.as_deref())
    }

    fn of_root(&self) -> Result<Identity, Failure> {
        self.no_passphrase()?;
        let digits = match secret_input::at_terminal() {
            true => secret_input::asked("Root, 64 hex digits")?,
            false => secret_input::rest_of_stdin("the root")?,
        };
        Ok(Identity::from_root_digits(digits.trim())?)
    }

    fn of_words(&self) -> Result<Identity, Failure> {
        let passphrase = self.passphrase.get()?;
        let typed = match secret_input::at_terminal() {
            true => secret_input::asked("The 12 or 24 words")?,
            false => secret_input::rest_of_stdin("the words")?,
        };
        let words = Words::parse(&typed).map_err(IdentityError::from)?;
        Ok(Identity::from_words(&words, &passphrase))
    }

    fn no_passphrase(&self) -> Result<(), Failure> {
        match self.passphrase.passphrase || self.passphrase.passphrase_file.is_some() {
            true => Err(Failure::usage("a passphrase belongs to words; leave it out here")),
            false => Ok(()),
        }
    }
}
