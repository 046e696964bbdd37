//! `identity passwd`.

use clap::Args;
use dht_client::identity::{IdentityFile, file};

use super::{NewPassword, report};
use crate::cli::failure::Failure;
use crate::cli::session::{Session, password_for};

/// Arguments of `identity passwd`.
#[derive(Args)]
pub(crate) struct PasswdArgs {
    #[command(flatten)]
    password: NewPassword,
}

impl PasswdArgs {
    pub(super) fn run(&self, session: &Session) -> Result<(), Failure> {
        let path = session.identity_path()?;
        let kept = IdentityFile::read(&path)?;
        let old = password_for(&path, &kept, session.password_file())?;
        // A wrong password is told before a new one is asked for.
        kept.open(old.as_ref())?;
        let new = self.password.get()?;
        file::change_password(&path, old.as_ref(), new.as_ref())?;
        report(session, &path)
    }
}
