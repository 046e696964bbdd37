//! Where secrets come from: a file's first line, a line of stdin, or somebody at a terminal.
//!
//! Never from an argument or the environment, which other processes may see. At a terminal nothing is
//! echoed. Of stdin each secret takes one line, in the order in which they are asked for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use dht_client::ErrorNumber;
use dht_client::identity::Password;
use zeroize::Zeroizing;

use super::failure::Failure;

/// More than any password, passphrase, root or list of words has, in bytes.
const SECRET_MAX: usize = 4096;

/// Whether somebody can be asked.
pub(super) fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

/// The first line of a file, or for `-` the next one of stdin, without its end; not empty.
pub(super) fn line_of(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let read = match path == Path::new("-") {
        true => line(io::stdin().lock()),
        false => File::open(path).and_then(|file| line(BufReader::new(file))),
    };
    let text = read.map_err(|error| {
        let sentence =
            format!("{what} cannot be read from {} ({error}); check the path", path.display());
        Failure::new(ErrorNumber::FileAccess, sentence)
    })?;
    match text.is_empty() {
        true => Err(Failure::usage(&format!(
            "{what} is empty in {}; write it on the first line",
            path.display()
        ))),
        false => Ok(text),
    }
}

/// All that is left of stdin.
pub(super) fn rest_of_stdin(what: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_MAX + 1));
    let read = io::stdin().lock().take(SECRET_MAX as u64 + 1).read_to_string(&mut text);
    match read {
        Ok(read) if read <= SECRET_MAX => Ok(text),
        Ok(_) => {
            Err(Failure::usage(&format!("{what} on stdin is longer than any; check what is sent")))
        }
        Err(error) => {
            let sentence =
                format!("{what} cannot be read from stdin ({error}); check what is sent");
            Err(Failure::new(ErrorNumber::FileAccess, sentence))
        }
    }
}

/// What somebody types at the terminal, unseen; may be empty.
pub(super) fn asked(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(format!("{prompt}: ")).map(Zeroizing::new).map_err(|error| {
        let sentence = format!("the terminal cannot be read ({error}); use a file instead");
        Failure::new(ErrorNumber::FileAccess, sentence)
    })
}

/// The same, typed twice, unless it is empty.
pub(super) fn asked_twice(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let first = asked(prompt)?;
    match first.is_empty() || *asked("The same again")? == *first {
        true => Ok(first),
        false => Err(Failure::usage("the two differ; nothing was done, so start again")),
    }
}

/// A password from a file, or from stdin for `-`.
pub(super) fn password_of(path: &Path) -> Result<Option<Password>, Failure> {
    Ok(Password::new(line_of(path, "the password")?))
}

fn line(from: impl BufRead) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_MAX + 1));
    from.take(SECRET_MAX as u64 + 1).read_line(&mut text)?;
    if text.len() > SECRET_MAX {
        return Err(io::Error::other("its first line is too long"));
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        for (bytes, read) in [
            ("one\ntwo\n", "one"),
            ("one\r\n", "one"),
            ("one", "one"),
            (" one \n", " one "),
            ("\n", ""),
        ] {
            assert_eq!(line(bytes.as_bytes()).unwrap().as_str(), read);
        }
        assert!(line([b'x'; SECRET_MAX + 1].as_slice()).is_err());
        assert!(line([b'x'; SECRET_MAX].as_slice()).is_ok());
        assert!(line([0xff, b'\n'].as_slice()).is_err(), "it is text");
    }
}
