//! Asking a node's admin address, as a browser or Prometheus does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::waiting;

/// What the admin address answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, as they came, one a line.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// What `path` answers; nothing if nobody does.
#[must_use]
pub fn try_get(admin: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(admin).ok()?;
    stream.set_read_timeout(Some(waiting::LIMIT)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (headers, body) = text.split_once("\r\n\r\n")?;
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, headers: headers.to_owned(), body: body.to_owned() })
}

/// What `path` answers.
#[must_use]
pub fn get(admin: SocketAddr, path: &str) -> Answer {
    try_get(admin, path).unwrap_or_else(|| panic!("{admin} does not answer {path}"))
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.lines().filter_map(|line| line.split_once(": "));
        named.find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("an answer in JSON")
    }
}
