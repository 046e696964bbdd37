use std::error::Error;
use std::path::Path;

use dht_client::identity::{IdentityFile, Password, Words, file};
use dht_client::{Identity, IdentityError};

/// Makes an identity, and carries it elsewhere in each of the ways that there are.
pub fn keep_and_carry(folder: &Path) -> Result<(), Box<dyn Error>> {
    // In a file, under a password. `Identity::create` and `Identity::load` do without one.
    let (identity, place) = (Identity::generate()?, folder.join("alice.identity"));
    let password = Password::new("correct horse battery staple".to_owned().into());
    file::create(&place, &identity, password.as_ref())?;
    let kept = IdentityFile::read(&place)?;
    assert!(matches!(kept.open(None), Err(IdentityError::PasswordNeeded(_))));
    let opened = kept.open(password.as_ref())?;

    // On paper. Whoever has the 24 words is this identity, so show them to its owner alone.
    let known = opened.words().ok_or("it was made of words")?;
    let paper = known.words.to_text();
    let from_paper = Identity::from_words(&Words::parse(&paper)?, "");

    // As its root, 32 bytes, for whoever has a place for secrets of his own. It has no words then.
    let raw = Identity::from_root(identity.root());

    for carried in [opened, from_paper, raw] {
        assert_eq!(carried.public_key(), identity.public_key());
    }
    Ok(())
}
