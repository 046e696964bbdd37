//! `identity`: to make one, to see it, to take it elsewhere and back, and to change its password.
//!
//! ```text
//! new     words ─▶ identity ─▶ file          import   words, root or file ─▶ identity ─▶ file
//! show    file ─▶ public key                 export   file ─▶ identity ─▶ words, root or file
//! passwd  file ─▶ identity ─▶ file
//! ```

mod export;
mod import;
mod new;
mod passwd;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dht_client::identity::{IdentityFile, Password};
use serde_json::json;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::session::Session;
use super::{print, secret_input};

/// Make, show, export or import the identity that signs.
#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make an identity in a new file; prints its public key, which names the publisher.
    ///
    /// At a terminal it asks for a password to protect the file; elsewhere --password-file gives it.
    New(new::NewArgs),
    /// Print the identity's public key, which names the publisher.
    Show,
    /// Print the words or the root of the identity, or copy it to another file.
    Export(export::ExportArgs),
    /// Keep an identity in a new file that comes from words, a root or another file.
    ///
    /// Words are read from stdin, or asked for at a terminal.
    Import(import::ImportArgs),
    /// Set, change or take away the password of the identity's file.
    Passwd(passwd::PasswdArgs),
}

/// The passphrase that belongs to words.
#[derive(Args)]
struct Passphrase {
    /// Ask for a passphrase at the terminal; another one over the same words is another identity.
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
    /// Read the passphrase from the first line of a file, or from stdin for -.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The password of a file that is written anew.
#[derive(Args)]
struct NewPassword {
    /// Read the new password from the first line of a file, or from stdin for -.
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    new_password_file: Option<PathBuf>,
    /// Do not protect what is written by a password.
    #[arg(long)]
    no_password: bool,
}

impl IdentityCommand {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            IdentityCommand::New(args) => args.run(session),
            IdentityCommand::Show => {
                let path = session.identity_path()?;
                report(session, &path)
            }
            IdentityCommand::Export(args) => args.run(session),
            IdentityCommand::Import(args) => args.run(session),
            IdentityCommand::Passwd(args) => args.run(session),
        }
    }
}

impl Passphrase {
    /// The passphrase; empty if none was asked for.
    fn get(&self) -> Result<Zeroizing<String>, Failure> {
        match (&self.passphrase_file, self.passphrase) {
            (Some(path), _) => secret_input::line_of(path, "the passphrase"),
            (None, false) => Ok(Zeroizing::default()),
            (None, true) if !secret_input::at_terminal() => Err(Failure::usage(
                "nobody can be asked for a passphrase here; give it with --passphrase-file",
            )),
            (None, true) => {
                let typed = secret_input::asked_twice("Passphrase of the words")?;
                match typed.is_empty() {
                    true => Err(Failure::usage("no passphrase was typed; leave --passphrase out")),
                    false => Ok(typed),
                }
            }
        }
    }
}

impl NewPassword {
    /// The password to write with; nothing if none is wanted.
    fn get(&self) -> Result<Option<Password>, Failure> {
        match (&self.new_password_file, self.no_password) {
            (Some(path), _) => secret_input::password_of(path),
            (None, true) => Ok(None),
            (None, false) if secret_input::at_terminal() => asked_for_new_password(),
            (None, false) => Err(Failure::usage(
                "nobody can be asked for the new password here; give it with --new-password-file, or say --no-password",
            )),
        }
    }
}

/// The password of the identity's own file, which is new: given, asked for at a terminal, or none.
fn password_of_new_file(session: &Session) -> Result<Option<Password>, Failure> {
    match session.password_file() {
        Some(path) => secret_input::password_of(path),
        None if secret_input::at_terminal() => asked_for_new_password(),
        None => Ok(None),
    }
}

fn asked_for_new_password() -> Result<Option<Password>, Failure> {
    let typed = secret_input::asked_twice("New password (empty for none)")?;
    let password = Password::new(typed);
    if password.is_none() {
        print::note("there is no password: whoever can read the file is this identity");
    }
    Ok(password)
}

/// Says whose identity the file keeps.
fn report(session: &Session, path: &Path) -> Result<(), Failure> {
    let file = IdentityFile::read(path)?;
    let public = hex::encode(file.public_key());
    match session.json() {
        true => print::object(&json!({
            "identity": public,
            "file": path.to_string_lossy(),
            "encrypted": file.is_encrypted(),
        })),
        false => print::line(&public),
    }
}
