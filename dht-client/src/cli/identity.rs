//! `identity new` and `identity show`.

use clap::Subcommand;
use dht_client::Identity;
use serde_json::json;

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Make or show the identity that signs.
#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make an identity in a new file; prints its public key, which names the publisher.
    New,
    /// Print the identity's public key, which names the publisher.
    Show,
}

impl IdentityCommand {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.identity_path()?;
        let identity = match self {
            IdentityCommand::New => {
                let identity = Identity::generate()?;
                identity.create(&path)?;
                identity
            }
            IdentityCommand::Show => Identity::load(&path)?,
        };
        let public = hex::encode(identity.public_key());
        match session.json() {
            true => print::object(&json!({ "identity": public, "file": path.to_string_lossy() })),
            false => print::line(&public),
        }
    }
}
