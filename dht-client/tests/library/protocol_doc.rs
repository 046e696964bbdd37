//! docs/PROTOCOL.md says of identities what the library does: derived here by the document alone
//! where that is possible, and compared.

use dht_client::identity::Words;
use dht_client::identity::blinding::blinded_public;
use dht_client::{Identity, NetworkName};
use dht_kad::record::RecordSigner;

const DOC: &str = include_str!("../../../docs/PROTOCOL.md");
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
const PASSPHRASE: &str = "TREZOR";
const NETWORK: &str = "vectors";

/// The rows, cell by cell, of a table of the section on identities: the one after this line.
fn table(after: &str) -> Vec<Vec<&'static str>> {
    let section = DOC.split_once("\n## Client: identities\n").expect("the section").1;
    let section = section.split("\n## ").next().unwrap();
    let rest = section.split_once(after).expect("what stands before the table").1;
    let rows = rest.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn vector(what: &str) -> Vec<u8> {
    let rows = table("**Vectors**");
    let row = rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row {what}"));
    hex::decode(row[1]).unwrap_or_else(|_| panic!("{what} is no hex"))
}

/// What the document derives under this name.
fn derived(name: &str, parts: &[&[u8]]) -> Vec<u8> {
    let rows = table("**Derivation.**");
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row {name}"));
    let network = if row[2] == "yes" { NETWORK } else { "" };
    let mut input = vec![1];
    for part in [&[network.as_bytes()], parts].concat() {
        input.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        input.extend_from_slice(part);
    }
    blake3::derive_key(row[1].trim_matches('`'), &input).to_vec()
}

fn check(what: &str, is: &[u8]) {
    assert_eq!(hex::encode(vector(what)), hex::encode(is), "{what}");
}

#[test]
fn the_vectors_of_identities_are_what_the_library_derives() {
    assert!(DOC.contains(&format!("`{WORDS}` with the passphrase `{PASSPHRASE}`")));
    let network: NetworkName = NETWORK.parse().unwrap();
    let identity = Identity::from_words(&Words::parse(WORDS).unwrap(), PASSPHRASE);
    let public = identity.public_key();
    check("root", identity.root());
    check("root", &derived("root", &[&vector("seed")]));
    check("public key", &public);
    let signing = derived("signing", &[identity.root()]);
    let signing = ed25519_dalek::SigningKey::from_bytes(&signing.try_into().unwrap());
    check("public key", &signing.verifying_key().to_bytes());
    let sealing = identity.sealing_key().public().to_bytes();
    check("BLAKE3 of the public sealing key", blake3::hash(&sealing).as_bytes());
    check("self", &derived("self", &[identity.root()]));
    let blinded = identity.blinded(&network, "bundle");
    check("blinded key for `bundle`", &blinded.publisher());
    check("blinded key for `bundle`", &blinded_public(&network, &public, "bundle").unwrap());
    check("its signature of the empty message", &blinded.sign_message(b""));
    check("bundle_label", &derived("bundle_label", &[&public]));
    check("bundle_seal", &derived("bundle_seal", &[&public]));
}

#[test]
fn an_identitys_file_ends_with_the_check_that_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    Identity::generate().unwrap().create(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, check) = text.split_once("check ").unwrap();
    assert_eq!(check.trim_end(), hex::encode(derived("file_check", &[before.as_bytes()])));
}
