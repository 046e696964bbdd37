//! `identity export`.

use std::path::PathBuf;

use clap::Args;
use dht_client::identity::{IdentityError, file};
use serde_json::json;
use zeroize::Zeroizing;

use super::{NewPassword, report};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::session::Session;

/// Arguments of `identity export`.
#[derive(Args)]
#[group(id = "form", required = true, multiple = false, args = ["words", "file", "raw"])]
pub(crate) struct ExportArgs {
    /// Print the words: whoever reads them is this identity.
    #[arg(long)]
    words: bool,
    /// Copy it to a new file, under a password of its own.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the root as 64 hex digits: whoever reads them is this identity.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    password: NewPassword,
}

impl ExportArgs {
    pub(super) fn run(&self, session: &Session) -> Result<(), Failure> {
        if let Some(path) = &self.file {
            file::check_free(path)?;
            let identity = session.identity()?;
            file::create(path, &identity, self.password.get()?.as_ref())?;
            return report(session, path);
        }
        if self.password.no_password || self.password.new_password_file.is_some() {
            return Err(Failure::usage("a new password belongs to --file; leave it out here"));
        }
        let identity = session.identity()?;
        if self.raw {
            let root = Zeroizing::new(hex::encode(identity.root()));
            return match session.json() {
                true => print::object(&json!({ "root": root.as_str() })),
                false => print::secret_line(&root),
            };
        }
        let known = identity.words().ok_or(IdentityError::NoWords)?;
        let words = known.words.to_text();
        if known.passphrase {
            print::note(
                "these words alone are another identity: keep their passphrase, which is written nowhere, as well",
            );
        }
        match session.json() {
            true => print::object(&json!({
                "words": words.as_str(),
                "passphrase": known.passphrase,
            })),
            false => print::secret_line(&words),
        }
    }
}
