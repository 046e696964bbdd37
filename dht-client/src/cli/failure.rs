//! [`Failure`]: how a command ends that did not do what it was asked for.
//!
//! One sentence on stderr, which says what to do next, and the error's number as exit status. A command whose
//! answer is its exit status has said the rest already.

use std::process::ExitCode;

use clap::error::ErrorKind;
use dht_client::receipts::ReceiptBookError;
use dht_client::{ClientError, ErrorNumber, IdentityError};

use super::print;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    /// Absent if all has been said.
    sentence: Option<String>,
}

impl Failure {
    pub(crate) fn new(number: ErrorNumber, sentence: String) -> Self {
        Failure { status: number as u8, sentence: Some(sentence) }
    }

    /// What was found has been printed, and is told by this exit status.
    pub(crate) fn told(status: u8) -> Self {
        Failure { status, sentence: None }
    }

    /// The arguments do not go together.
    pub(crate) fn usage(sentence: &str) -> Self {
        Failure::new(ErrorNumber::Usage, sentence.to_owned())
    }

    /// Says why, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(sentence) = &self.sentence {
            // Nothing can be done if stderr is closed.
            let _ = print::to_stderr(&format!("dht-client: {sentence} (error {})\n", self.status));
        }
        ExitCode::from(self.status)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::new(error.number(), error.to_string())
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Failure::new(error.number(), error.to_string())
    }
}

impl From<ReceiptBookError> for Failure {
    fn from(error: ReceiptBookError) -> Self {
        Failure::new(error.number(), error.to_string())
    }
}

/// What the parser of arguments says: help and version as they are, all else as one sentence.
pub(crate) fn of_parsing(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print::to_stdout(error.render().to_string().as_bytes())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::usage("a command is missing; see dht-client --help"))
        }
        _ => {
            let text = error.render().to_string();
            let sentence = first_sentence(&text);
            Err(Failure::usage(&format!("{sentence}; see dht-client --help")))
        }
    }
}

/// The first paragraph of what the parser says, in one line.
fn first_sentence(text: &str) -> String {
    let paragraph = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_says_becomes_one_line() {
        let text = "error: these are missing:\n  <A>\n  <B>\n\nUsage: x <A> <B>\n";
        assert_eq!(first_sentence(text), "these are missing: <A> <B>");
    }
}
