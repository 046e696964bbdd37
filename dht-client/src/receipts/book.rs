//! [`ReceiptBook`]: receipts in a file, a [line](super::line) each.
//!
//! Lines are only ever appended, all of one put in one write, and synced before that counts as kept. A
//! write that fails half way is taken back; what a crash left half written stays a line of its own,
//! which readers tell. Writers and readers lock the file, so that several processes may share it.
//!
//! Dropping what has expired writes the rest beside the file, with the same mode, and renames it into
//! place. Lines that cannot be read are never dropped.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dht_kad::ErrorNumber;
use thiserror::Error;

use super::KeptReceipt;
use super::line::{self, BEGINNING, LINE_MAX, LineFault};

/// Only the owner reads and writes a new file: it holds the values.
const MODE: u32 = 0o600;

/// A file of receipts.
#[derive(Clone, Debug)]
pub struct ReceiptBook {
    path: PathBuf,
}

/// One line of a book.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The line's number, from 1.
    pub line: usize,
    /// What it holds, not proven yet.
    pub receipt: Result<KeptReceipt, LineFault>,
}

/// A book cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptBookError {
    /// The file has something else in it.
    #[error("{} is not a file of receipts, and is left as it is; choose another file", .0.display())]
    NotReceipts(PathBuf),
    /// The operating system refuses.
    #[error("the receipts {} cannot be {action} ({reason}); check the path, its permissions and the disk's room", path.display())]
    Access {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        reason: String,
    },
}

impl ReceiptBookError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        ErrorNumber::FileAccess
    }
}

impl ReceiptBook {
    /// The book in this file, made anew for its owner alone if there is none: so that whoever is
    /// about to put knows beforehand that receipts can be kept.
    ///
    /// # Errors
    /// [`ReceiptBookError`]; a file with anything else in it is left alone.
    pub fn create(path: &Path) -> Result<Self, ReceiptBookError> {
        let book = ReceiptBook { path: path.to_owned() };
        book.check(&book.open_to_add().map_err(book.refused("written"))?)?;
        Ok(book)
    }

    /// The book in this file, which has to be there.
    ///
    /// # Errors
    /// [`ReceiptBookError`].
    pub fn open(path: &Path) -> Result<Self, ReceiptBookError> {
        let book = ReceiptBook { path: path.to_owned() };
        book.check(&File::open(path).map_err(book.refused("read"))?)?;
        Ok(book)
    }

    /// Keeps receipts: all of them, on stable storage, or none.
    ///
    /// # Errors
    /// [`ReceiptBookError`].
    pub fn add(&self, receipts: &[KeptReceipt]) -> Result<(), ReceiptBookError> {
        let mut text: String = receipts.iter().map(line::encode).collect();
        self.append(&mut text).map_err(self.refused("written"))
    }

    /// Shows every line, in order. Records that follow each other in several receipts are in memory
    /// once.
    ///
    /// # Errors
    /// [`ReceiptBookError`].
    pub fn read(&self, mut each: impl FnMut(Entry)) -> Result<(), ReceiptBookError> {
        let refused = self.refused("read");
        let file = File::open(&self.path).map_err(&refused)?;
        file.lock_shared().map_err(&refused)?;
        let mut last = Bytes::new();
        each_line(&file, |line, text| {
            let mut receipt = match text {
                Some(text) => line::decode(text),
                None => Err(LineFault::TooLong),
            };
            if let Ok(kept) = &mut receipt {
                if kept.record == last {
                    kept.record = last.clone();
                }
                last = kept.record.clone();
            }
            each(Entry { line, receipt });
            Ok(())
        })
        .map_err(refused)
    }

    /// Drops the receipts that `keep` refuses, and nothing else. Says how many.
    ///
    /// # Errors
    /// [`ReceiptBookError`]; the file is then as it was.
    pub fn retain(
        &self,
        mut keep: impl FnMut(&KeptReceipt) -> bool,
    ) -> Result<usize, ReceiptBookError> {
        let mut dropped = 0;
        let mut keeps = |text: &[u8]| {
            let kept = line::decode(text).map_or(true, |receipt| keep(&receipt));
            dropped += usize::from(!kept);
            kept
        };
        self.rewrite(&mut keeps).map_err(self.refused("written"))?;
        Ok(dropped)
    }

    fn append(&self, text: &mut String) -> io::Result<()> {
        let file = self.lock_to_write()?;
        let before = file.metadata()?.len();
        let mut last = [b'\n'];
        if before > 0 {
            file.read_exact_at(&mut last, before - 1)?;
        }
        if last != [b'\n'] {
            text.insert(0, '\n');
        }
        let written = (&file).write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if written.is_err() {
            // Whatever that comes to, the first error is the one to tell.
            let _ = file.set_len(before);
        }
        written?;
        if before == 0 { sync_folder(&self.path) } else { Ok(()) }
    }

    fn rewrite(&self, keeps: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
        let file = self.lock_to_write()?;
        // A link stays, and what it leads to is replaced.
        let path = std::fs::canonicalize(&self.path)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let beside = path.with_file_name(name);
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let written = copy_lines(&file, &beside, mode, keeps)
            .and_then(|()| std::fs::rename(&beside, &path))
            .and_then(|()| sync_folder(&path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    /// The file that the path leads to, locked: another process may have replaced it meanwhile.
    fn lock_to_write(&self) -> io::Result<File> {
        loop {
            let file = self.open_to_add()?;
            file.lock()?;
            let (ours, theirs) = (file.metadata()?, std::fs::metadata(&self.path));
            if theirs.is_ok_and(|theirs| (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino())) {
                return Ok(file);
            }
        }
    }

    fn open_to_add(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(&self.path)
    }

    /// Refuses to take anything else for a book.
    fn check(&self, file: &File) -> Result<(), ReceiptBookError> {
        let refused = self.refused("read");
        let metadata = file.metadata().map_err(&refused)?;
        let mut beginning = Vec::new();
        if metadata.is_file() {
            let first = io::Read::take(file, BEGINNING.len() as u64);
            BufReader::new(first).read_until(b'\n', &mut beginning).map_err(&refused)?;
        }
        // A crash may have left less than a line's beginning.
        let begun = beginning.strip_suffix(b"\n").filter(|begun| !begun.is_empty());
        if metadata.is_file() && BEGINNING.starts_with(begun.unwrap_or(&beginning)) {
            Ok(())
        } else {
            Err(ReceiptBookError::NotReceipts(self.path.clone()))
        }
    }

    fn refused(&self, action: &'static str) -> impl Fn(io::Error) -> ReceiptBookError {
        let path = self.path.clone();
        move |error| ReceiptBookError::Access {
            path: path.clone(),
            action,
            reason: error.to_string(),
        }
    }
}

/// Copies the lines that are kept to a new file, and syncs it.
fn copy_lines(
    from: &File,
    to: &Path,
    mode: u32,
    keeps: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let new = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    new.set_permissions(Permissions::from_mode(mode))?;
    let mut writer = BufWriter::new(&new);
    each_line(from, |_, text| match text {
        Some(text) if keeps(text) => {
            writer.write_all(text)?;
            writer.write_all(b"\n")
        }
        Some(_) => Ok(()),
        None => Err(io::Error::other("a line is longer than any receipt")),
    })?;
    writer.flush()?;
    drop(writer);
    new.sync_all()
}

/// Shows each line, without its end, and its number from 1; nothing in place of one that is longer
/// than any receipt.
fn each_line(
    file: &File,
    mut each: impl FnMut(usize, Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let read = io::Read::take(&mut reader, LINE_MAX as u64).read_until(b'\n', &mut text)?;
        if read == 0 {
            break;
        }
        let whole = text.last() == Some(&b'\n');
        if whole {
            text.pop();
        }
        if !whole && read == LINE_MAX {
            reader.skip_until(b'\n')?;
            each(number, None)?;
        } else {
            each(number, Some(&text))?;
        }
    }
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::samples::kept;
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts");
        (folder, path)
    }

    fn entries(path: &Path) -> Vec<Entry> {
        let mut entries = Vec::new();
        ReceiptBook::open(path).unwrap().read(|entry| entries.push(entry)).unwrap();
        entries
    }

    fn receipts(path: &Path) -> Vec<KeptReceipt> {
        entries(path).into_iter().map(|entry| entry.receipt.unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_added_is_read_back_in_order_from_a_file_of_its_owners_alone() {
        let (_folder, path) = place();
        let book = ReceiptBook::create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let first = [kept(1, b"one"), kept(2, b"one")];
        book.add(&first).unwrap();
        ReceiptBook::create(&path).unwrap().add(&[kept(3, b"two")]).unwrap();
        assert_eq!(receipts(&path), [&first[..], &[kept(3, b"two")]].concat());
        let lines: Vec<_> = entries(&path).iter().map(|entry| entry.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn a_file_with_something_else_in_it_is_left_as_it_is() {
        let (folder, path) = place();
        for other in [&b"dear diary\n"[..], b"{}\n", &[0; 100], b"{\"receipts\":1}"] {
            std::fs::write(&path, other).unwrap();
            let told = ReceiptBook::create(&path).unwrap_err();
            assert_eq!(told, ReceiptBookError::NotReceipts(path.clone()));
            assert_eq!(std::fs::read(&path).unwrap(), other);
        }
        assert!(ReceiptBook::create(folder.path()).is_err(), "a folder");
        assert!(ReceiptBook::create(&folder.path().join("none/receipts")).is_err());
        let missing = ReceiptBook::open(&folder.path().join("none")).unwrap_err();
        assert!(matches!(missing, ReceiptBookError::Access { action: "read", .. }), "{missing}");
    }

    #[test]
    fn what_a_crash_left_half_written_spoils_no_other_line() {
        let (_folder, path) = place();
        let book = ReceiptBook::create(&path).unwrap();
        book.add(&[kept(1, b"one")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [3, BEGINNING.len(), whole.len() - 1] {
            std::fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
            ReceiptBook::create(&path).unwrap().add(&[kept(2, b"two")]).unwrap();
            let found = entries(&path);
            assert_eq!(found.len(), 3);
            assert_eq!(found[0].receipt, Ok(kept(1, b"one")));
            assert_eq!(found[1].receipt.is_ok(), cut == whole.len() - 1);
            assert_eq!(found[2].receipt, Ok(kept(2, b"two")));
        }
        for cut in 0..BEGINNING.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            ReceiptBook::create(&path).unwrap().add(&[kept(2, b"two")]).unwrap();
            assert_eq!(entries(&path).last().unwrap().receipt, Ok(kept(2, b"two")), "{cut}");
        }
    }

    #[test]
    fn only_what_is_refused_is_dropped_and_the_mode_stays() {
        let (folder, path) = place();
        let book = ReceiptBook::create(&path).unwrap();
        book.add(&[kept(1, b"one"), kept(2, b"two"), kept(3, b"three")]).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"not a receipt\n");
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let second = kept(2, b"two");
        assert_eq!(book.retain(|receipt| *receipt != second), Ok(1));
        let left = entries(&path);
        assert_eq!(left.len(), 3);
        assert_eq!(left[0].receipt, Ok(kept(1, b"one")));
        assert_eq!(left[1].receipt, Ok(kept(3, b"three")));
        assert_eq!(left[2].receipt, Err(LineFault::Malformed), "what cannot be read stays");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn several_writers_and_a_dropper_lose_nothing() {
        let (_folder, path) = place();
        ReceiptBook::create(&path).unwrap();
        std::thread::scope(|scope| {
            for writer in 1..=4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..20_u8 {
                        let book = ReceiptBook::create(path).unwrap();
                        book.add(&[kept(writer, &[number]), kept(writer, b"ended")]).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                let ended = kept(1, b"ended").record;
                for _ in 0..20 {
                    ReceiptBook::create(&path)
                        .unwrap()
                        .retain(|kept| kept.record != ended)
                        .unwrap();
                }
            });
        });
        let ended = kept(1, b"ended").record;
        ReceiptBook::create(&path).unwrap().retain(|kept| kept.record != ended).unwrap();
        let left = receipts(&path);
        assert_eq!(left.len(), 80);
        for writer in 1..=4 {
            for number in 0..20 {
                assert!(left.contains(&kept(writer, &[number])));
            }
        }
    }

    #[test]
    fn a_line_longer_than_any_receipt_is_told_and_kept() {
        let (_folder, path) = place();
        let book = ReceiptBook::create(&path).unwrap();
        book.add(&[kept(1, b"one")]).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.resize(text.len() + 2 * LINE_MAX, b'x');
        text.push(b'\n');
        std::fs::write(&path, &text).unwrap();
        book.add(&[kept(2, b"two")]).unwrap();
        let found = entries(&path);
        let told: Vec<_> = found.iter().map(|entry| entry.receipt.is_ok()).collect();
        assert_eq!(told, [true, false, true]);
        let before = std::fs::read(&path).unwrap();
        assert!(book.retain(|_| false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is lost");
    }
}
