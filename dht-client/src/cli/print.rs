//! Printing: to people in plain lines, to programs as one JSON object.

use std::io::{self, Write};

use dht_client::ErrorNumber;
use dht_kad::{UnixMs, ValidRecord};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::failure::Failure;

/// Writes bytes to stdout as they are.
pub(crate) fn to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        // Who reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| {
            let sentence = format!("stdout cannot be written ({error}); check where it leads");
            Failure::new(ErrorNumber::FileAccess, sentence)
        }),
    }
}

/// Writes a text to stderr.
pub(crate) fn to_stderr(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

/// Tells whoever watches something beside what was asked for, on stderr.
pub(crate) fn note(sentence: &str) {
    // Nothing can be done if stderr is closed.
    let _ = to_stderr(&format!("dht-client: {sentence}\n"));
}

/// Writes one line to stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    to_stdout(format!("{text}\n").as_bytes())
}

/// Writes one line to stdout that is overwritten in memory after.
pub(crate) fn secret_line(secret: &str) -> Result<(), Failure> {
    let mut text = Zeroizing::new(String::with_capacity(secret.len() + 1));
    text.push_str(secret);
    text.push('\n');
    to_stdout(text.as_bytes())
}

/// Writes one JSON object, on one line, to stdout.
pub(crate) fn object(object: &Value) -> Result<(), Failure> {
    line(&object.to_string())
}

/// What programs are told of a record: everything that others need to check it.
pub(crate) fn record(record: &ValidRecord) -> Map<String, Value> {
    let body = record.body().unwrap_or_default();
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("key", json!(record.id().key.to_string()));
    add("publisher", json!(hex::encode(record.publisher())));
    add("label", json!(hex::encode(record.label())));
    add("slot", json!(record.slot()));
    add("seq", json!(record.seq()));
    add("retention", json!(record.retention().name()));
    add("created_at_ms", json!(record.created_at().0));
    add("expires_at_ms", json!(record.expires_at().0));
    add("digest", json!(hex::encode(record.digest())));
    add("signature", json!(hex::encode(record.signature())));
    add("size", json!(body.len()));
    add("value_hex", json!(hex::encode(&body)));
    if let Ok(text) = std::str::from_utf8(&body) {
        add("value", json!(text));
    }
    add("record", json!(hex::encode(record.bytes())));
    fields
}

/// A value for a line of text: nothing in it can move a terminal's cursor.
pub(crate) fn one_line(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => format!("hex:{}", hex::encode(value)),
    }
}

/// A moment in UTC, as RFC 3339 writes it, in seconds.
pub(crate) fn utc(moment: UnixMs) -> String {
    let text = moment.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UnixMs(ms)), text);
        }
        assert!(utc(UnixMs(u64::MAX)).ends_with('Z'), "no moment is too late to be written");
    }

    #[test]
    fn a_value_cannot_move_the_cursor() {
        assert_eq!(one_line(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(one_line(&[0xff, 0]), "hex:ff00");
        assert_eq!(one_line("grün".as_bytes()), "grün");
    }
}
