//! `identity new`.

use clap::{Args, ValueEnum};
use dht_client::Identity;
use dht_client::entropy::Entropy;
use dht_client::identity::{IdentityError, WordCount, Words, file};

use super::{Passphrase, password_of_new_file, report};
use crate::cli::failure::Failure;
use crate::cli::session::Session;
use crate::cli::{print, secret_input};

/// Arguments of `identity new`.
#[derive(Args)]
pub(crate) struct NewArgs {
    /// How many words bring the identity back.
    #[arg(long, value_enum, default_value = "24")]
    words: WordCountName,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// A number of words.
#[derive(Clone, Copy, ValueEnum)]
enum WordCountName {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

impl NewArgs {
    pub(super) fn run(&self, session: &Session) -> Result<(), Failure> {
        let path = session.identity_path()?;
        // Before anybody is asked for anything.
        file::check_free(&path)?;
        let password = password_of_new_file(session)?;
        let passphrase = self.passphrase.get()?;
        let count = match self.words {
            WordCountName::Twelve => WordCount::Twelve,
            WordCountName::TwentyFour => WordCount::TwentyFour,
        };
        let words = Words::generate(count, &Entropy::system()).map_err(IdentityError::from)?;
        let identity = Identity::from_words(&words, &passphrase);
        file::create(&path, &identity, password.as_ref())?;
        if secret_input::at_terminal() {
            print::note(
                "write its words down, as nothing else brings it back: `dht-client identity export --words`",
            );
        }
        report(session, &path)
    }
}
