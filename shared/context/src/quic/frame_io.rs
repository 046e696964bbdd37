//! Whole frames from streams.
//!
//! The header is looked at as soon as it is there, so a frame that is too long is refused before
//! it is held, and memory grows with what came, not with what was announced. A frame that came as
//! one piece is handed on as it is, without a copy; it shares its memory with the packets that came
//! with it, so whoever keeps a part of it for long should copy that.
//!
//! A stream carries one frame each way, and at most one of these ways carries several ([`FrameReader`]).

use bytes::{Bytes, BytesMut};
use dht_kad::codec::{CodecError, FrameHeader};
use dht_kad::message::FRAME_HEADER;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use super::parameters::STREAM_ABANDONED;

/// Pieces taken from a stream at once. A small frame is one piece, and a second place lets the same
/// look see that the stream has ended.
const PIECES_AT_ONCE: usize = 8;

/// Why no frame came.
#[derive(Debug)]
pub(super) enum ReadFault {
    /// It would be too long, or not a frame.
    NotAFrame(CodecError),
    /// There is no room for its bytes at present.
    NoRoom,
    /// The other side gave the stream up.
    Abandoned,
    /// The connection ended.
    Lost(ConnectionError),
}

/// Reads one frame up to the stream's end. `admit` is told of bytes before they are kept.
pub(super) async fn read_frame(
    stream: &mut RecvStream,
    mut admit: impl FnMut(usize) -> bool,
) -> Result<Bytes, ReadFault> {
    let mut assembly = Assembly::default();
    let mut pieces: [Bytes; PIECES_AT_ONCE] = Default::default();
    while let Some(count) = stream.read_chunks(&mut pieces).await? {
        for piece in pieces.iter_mut().take(count) {
            let piece = std::mem::take(piece);
            if !admit(piece.len()) {
                return Err(ReadFault::NoRoom);
            }
            assembly.push(piece)?;
        }
    }
    Ok(assembly.finish()?)
}

/// Reads frames that follow each other on one stream.
pub(super) struct FrameReader(RecvStream);

impl FrameReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        FrameReader(stream)
    }

    /// The next frame; `None` at the stream's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadFault> {
        let mut frame = BytesMut::new();
        let mut wanted = FRAME_HEADER;
        while frame.len() < wanted {
            let missing = wanted.saturating_sub(frame.len());
            let Some(chunk) = self.0.read_chunk(missing, true).await? else {
                return if frame.is_empty() { Ok(None) } else { Err(CodecError::Truncated.into()) };
            };
            frame.extend_from_slice(&chunk.bytes);
            if frame.len() == FRAME_HEADER
                && let Some(header) = frame.first_chunk::<FRAME_HEADER>()
            {
                wanted = FRAME_HEADER + FrameHeader::read(*header)?.payload_len;
            }
        }
        Ok(Some(frame.freeze()))
    }
}

impl From<CodecError> for ReadFault {
    fn from(error: CodecError) -> Self {
        ReadFault::NotAFrame(error)
    }
}

impl From<ReadError> for ReadFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => ReadFault::Lost(error),
            _ => ReadFault::Abandoned,
        }
    }
}

/// A frame that is being put together.
#[derive(Default)]
struct Assembly {
    /// The first piece, while it is the only one.
    first: Bytes,
    /// All pieces, once there are two.
    joined: BytesMut,
    header: Option<FrameHeader>,
}

impl Assembly {
    fn push(&mut self, piece: Bytes) -> Result<(), CodecError> {
        if self.whole().is_empty() {
            self.first = piece;
        } else {
            if self.joined.is_empty() {
                self.joined.extend_from_slice(&self.first);
            }
            self.joined.extend_from_slice(&piece);
        }
        if self.header.is_none()
            && let Some(bytes) = self.whole().first_chunk::<FRAME_HEADER>()
        {
            self.header = Some(FrameHeader::read(*bytes)?);
        }
        match self.header {
            Some(header) if self.whole().len() > FRAME_HEADER + header.payload_len => {
                Err(CodecError::Malformed(header.frame_type))
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Bytes, CodecError> {
        match self.header {
            Some(header) if self.whole().len() == FRAME_HEADER + header.payload_len => {
                Ok(if self.joined.is_empty() { self.first } else { self.joined.freeze() })
            }
            _ => Err(CodecError::Truncated),
        }
    }

    fn whole(&self) -> &[u8] {
        if self.joined.is_empty() { &self.first } else { &self.joined }
    }
}

/// A stream that is reset when dropped, unless told to [`keep`](Self::keep) what was written: so the
/// other side never takes a part for the whole, and what nobody waits for any more is not sent.
pub(super) struct FrameWriter {
    stream: SendStream,
    kept: bool,
}

impl FrameWriter {
    pub(super) fn new(stream: SendStream) -> Self {
        FrameWriter { stream, kept: false }
    }

    /// Hands one frame over to the connection, and ends the stream.
    pub(super) async fn write(&mut self, frame: Bytes) -> Result<(), WriteError> {
        self.write_one(frame).await?;
        self.finish()
    }

    /// Hands one frame over to the connection; others may follow.
    pub(super) async fn write_one(&mut self, frame: Bytes) -> Result<(), WriteError> {
        self.stream.write_chunk(frame).await
    }

    /// Ends the stream.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.stream.finish().map_err(|_| WriteError::ClosedStream)
    }

    /// Waits until the other side wants no more, or has everything, or is gone.
    pub(super) async fn ended(&self) {
        let _ = self.stream.stopped().await;
    }

    /// Waits until the other side has everything; false if it wants no more of it.
    pub(super) async fn delivered(&self) -> bool {
        matches!(self.stream.stopped().await, Ok(None))
    }

    /// Has the connection deliver what was written, though this is dropped.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.kept {
            // It fails only if the stream has ended already.
            let _ = self.stream.reset(STREAM_ABANDONED);
        }
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::message::FRAME_MAX;

    use super::*;

    fn frame(payload: usize) -> Bytes {
        let announced = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![0, 1];
        frame.extend_from_slice(&announced);
        frame.resize(FRAME_HEADER + payload, 7);
        frame.into()
    }

    fn assemble(frame: &Bytes, piece: usize) -> Result<Bytes, CodecError> {
        let mut assembly = Assembly::default();
        for start in (0..frame.len()).step_by(piece) {
            assembly.push(frame.slice(start..frame.len().min(start + piece)))?;
        }
        assembly.finish()
    }

    #[test]
    fn a_frame_is_the_same_however_it_was_cut() {
        let whole = frame(100);
        for piece in 1..=whole.len() {
            assert_eq!(assemble(&whole, piece), Ok(whole.clone()));
        }
        assert_eq!(assemble(&frame(0), 1), Ok(frame(0)));
    }

    #[test]
    fn a_frame_in_one_piece_is_not_copied() {
        let whole = frame(100);
        assert_eq!(assemble(&whole, whole.len()).unwrap().as_ptr(), whole.as_ptr());
    }

    #[test]
    fn a_short_a_long_and_an_overlong_frame_are_refused() {
        let whole = frame(10);
        assert_eq!(assemble(&whole.slice(..15), 4), Err(CodecError::Truncated));
        assert_eq!(assemble(&whole.slice(..5), 4), Err(CodecError::Truncated));
        let mut longer = whole.to_vec();
        longer.push(0);
        assert_eq!(assemble(&longer.into(), 4), Err(CodecError::Malformed(1)));
        let announced = (FRAME_MAX + 1) as u64;
        let overlong = frame(FRAME_MAX + 1).slice(..FRAME_HEADER);
        assert_eq!(assemble(&overlong, 6), Err(CodecError::TooLong(announced)));
    }
}
