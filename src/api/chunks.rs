//! A JSON response in chunks: it grows without being copied into a larger buffer, is sent chunk by
//! chunk, and is shared with the cache instead of copied.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use super::{admission::Permit, error::ApiError};

/// The size of a full chunk: the most memory that is allocated and not used.
const CHUNK_BYTES: usize = 64 * 1024;

/// Text that grows in chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    full: Vec<Bytes>,
    open: Vec<u8>,
    length: usize,
}

impl Chunks {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends `text` as it is.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends `value` as JSON.
    ///
    /// # Errors
    ///
    /// When the value cannot be written as JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), ApiError> {
        serde_json::to_writer(self, value).map_err(|error| ApiError::Internal(error.to_string()))
    }

    /// Appends `other`, whose full chunks are moved and not copied.
    pub fn append(&mut self, other: Self) {
        if !other.full.is_empty() {
            self.seal();
            self.length += other.full.iter().map(Bytes::len).sum::<usize>();
            self.full.extend(other.full);
        }
        self.bytes(&other.open);
    }

    /// The chunks, in order.
    pub fn into_bytes(mut self) -> Vec<Bytes> {
        self.seal();
        self.full
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = later;
            if self.open.len() == CHUNK_BYTES {
                self.seal();
            }
        }
    }

    /// Closes the open chunk without the capacity that it does not use.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let chunk = std::mem::take(&mut self.open).into_boxed_slice();
            self.full.push(Bytes::from(chunk));
        }
    }
}

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body whose chunks are all in memory. It holds its permit until the last chunk was sent.
struct ChunkedBody {
    chunks: VecDeque<Bytes>,
    left: u64,
    permit: Option<Permit>,
}

/// The body of a response in `chunks`. `permit` is dropped when the body was sent or is dropped.
pub fn body(chunks: Vec<Bytes>, permit: Option<Permit>) -> Body {
    let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    Body::new(ChunkedBody { chunks: chunks.into(), left, permit })
}

impl http_body::Body for ChunkedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.chunks.pop_front();
        match &next {
            Some(chunk) => self.left -= chunk.len() as u64,
            None => drop(self.permit.take()),
        }
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(chunks: Chunks) -> Vec<u8> {
        chunks.into_bytes().concat()
    }

    #[test]
    fn text_is_as_it_was_appended_whatever_its_length() {
        for lengths in [
            vec![0],
            vec![1, 2, 3],
            vec![CHUNK_BYTES - 1, 1, 1],
            vec![CHUNK_BYTES, CHUNK_BYTES],
            vec![3 * CHUNK_BYTES + 5, 7],
        ] {
            let (mut chunks, mut expected) = (Chunks::default(), String::new());
            for (index, length) in lengths.iter().enumerate() {
                let text = char::from(b'a' + u8::try_from(index).unwrap()).to_string();
                chunks.text(&text.repeat(*length));
                expected.push_str(&text.repeat(*length));
            }
            assert_eq!(chunks.len(), expected.len(), "{lengths:?}");
            assert_eq!(whole(chunks), expected.as_bytes(), "{lengths:?}");
        }
    }

    #[test]
    fn appending_keeps_the_order_and_the_length() {
        for (first, second) in [(3, 4), (3, CHUNK_BYTES + 4), (CHUNK_BYTES + 3, 0), (0, 9)] {
            let (mut one, mut other) = (Chunks::default(), Chunks::default());
            one.text(&"a".repeat(first));
            other.text(&"b".repeat(second));
            one.append(other);
            one.text("c");
            let expected = format!("{}{}c", "a".repeat(first), "b".repeat(second));
            assert_eq!(one.len(), expected.len());
            assert_eq!(whole(one), expected.as_bytes());
        }
    }
}
