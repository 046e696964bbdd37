//! docs/PROTOCOL.md says what the code does, where the two can be compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use dht_kad::ErrorNumber;
use dht_kad::codec::encode_response;
use dht_kad::domain::Purpose;
use dht_kad::message::Response;
use samples::refusals;

const DOC: &str = include_str!("../../../docs/PROTOCOL.md");

/// The rows of the first table after a heading, cell by cell.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOC.split_once(&format!("\n{heading}\n")).expect("the heading").1;
    let lines = section.lines().skip_while(|line| !line.starts_with("|--"));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_table_of_error_numbers_is_complete() {
    let documented: Vec<_> = table("## Error numbers")
        .into_iter()
        .map(|row| (row[0].parse::<u8>().unwrap(), row[1].trim_matches('`')))
        .collect();
    let numbers: Vec<_> =
        ErrorNumber::ALL.iter().map(|number| (*number as u8, number.name())).collect();
    assert_eq!(documented, numbers);
}

#[test]
fn the_table_of_refusals_gives_their_variants_and_error_numbers() {
    let documented: Vec<_> = table("## Refusals")
        .into_iter()
        .map(|row| {
            (row[0].parse::<u8>().unwrap(), row[1].trim_matches('`'), row[3].parse::<u8>().unwrap())
        })
        .collect();
    let mut refusals: Vec<_> = refusals()
        .into_iter()
        .map(|(_, refusal)| {
            let number = refusal.number();
            let frame = encode_response(&Response::Refused(refusal)).unwrap();
            (frame[6], number.name(), number as u8)
        })
        .collect();
    refusals.dedup();
    assert_eq!(documented, refusals);
}

#[test]
fn the_table_of_purposes_gives_their_numbers_and_contexts() {
    let documented: Vec<_> = table("### Purposes")
        .into_iter()
        .map(|row| (row[0].parse::<u8>().unwrap(), row[2].trim_matches('`').to_owned()))
        .collect();
    let purposes = [
        Purpose::OwnedKey,
        Purpose::TopicKey,
        Purpose::ContentKey,
        Purpose::Label,
        Purpose::RecordSignature,
        Purpose::RecordDigest,
        Purpose::RecordWork,
        Purpose::Receipt,
    ];
    let coded = purposes.map(|purpose| (purpose as u8, purpose.context().to_owned()));
    assert_eq!(documented, coded);
}

/// Every hex string of a vector that the document shows is one of the committed vectors; those of the
/// client's own formats, which come last, are checked where they are made.
#[test]
fn the_vectors_shown_are_the_committed_ones() {
    let committed = [
        include_str!("vectors/derived.txt"),
        include_str!("vectors/records.txt"),
        include_str!("vectors/messages.txt"),
    ]
    .concat();
    let protocol = DOC.split("\n## Client: ").next().unwrap();
    let shown: Vec<_> = protocol
        .lines()
        .filter(|line| line.contains(" = ") && line.len() > 20)
        .filter(|line| {
            line.split_once(" = ").is_some_and(|(_, hex)| {
                hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit())
            })
        })
        .collect();
    assert!(shown.len() >= 8, "the document shows some vectors");
    for line in shown {
        assert!(committed.lines().any(|vector| vector == line), "{line}");
    }
}
