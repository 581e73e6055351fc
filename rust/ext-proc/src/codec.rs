//! Messages in gRPC's frames.
//!
//! Not tonic's: its buffers keep what the longest message of a stream needed until the stream ends, which is minutes after the decision.

use std::{future::poll_fn, pin::Pin};

use bytes::{Buf, BufMut, Bytes};
use http_body::Body;
use prost::{Message, decode_length_delimiter};

use crate::{
    exchange::ProtocolError,
    messages::{Part, ProcessingRequest, ProcessingResponse},
    status::Status,
};

/// Whether the message is compressed, and its length.
const PREFIX: usize = 5;
/// Bytes of a message that are not a body's. Headers need many times as much when they are read.
const MAX_BESIDES_BODY: usize = 1 << 20;
/// Bytes of a message that may be held beside the body.
const MAX_WASTE: usize = 1024;
/// The numbers of the fields that are bodies.
const BODIES: [usize; 2] = [4, 5];

/// The messages of one stream, each in an allocation of its own.
pub(crate) struct Messages<B> {
    body: B,
    max_bytes: usize,
    /// What came and was not read yet. It shares an allocation with other streams, so it goes when it is read.
    chunk: Bytes,
    prefix: [u8; PREFIX],
    prefix_length: usize,
    message: Vec<u8>,
}

impl<B: Body<Data = Bytes> + Unpin> Messages<B> {
    /// Reads a request's body.
    pub(crate) fn new(body: B, max_bytes: usize) -> Self {
        let (chunk, message) = (Bytes::new(), Vec::new());
        Self { body, max_bytes, chunk, prefix: [0; PREFIX], prefix_length: 0, message }
    }

    /// The next message; `None` when the gateway has ended the stream, or given it up. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// A message that is too long, compressed or not complete.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        loop {
            if let Some(message) = self.read()? {
                return Ok(Some(message));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                // All others are trailers.
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(_)) => return Ok(None),
                None if self.prefix_length == 0 => return Ok(None),
                None => return Err(Status::internal("the last message is not complete")),
            }
        }
    }

    /// Reads from what came, as far as one message.
    fn read(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let more = self.chunk.len().min(PREFIX - self.prefix_length);
        self.chunk.copy_to_slice(&mut self.prefix[self.prefix_length..self.prefix_length + more]);
        self.prefix_length += more;
        if self.prefix_length < PREFIX {
            return Ok(None);
        }
        let [compressed, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 {
            return Err(Status::internal("compressed messages are not read"));
        }
        if length > self.max_bytes {
            let limit = self.max_bytes;
            return Err(Status::resource_exhausted(format!("a message has {length} bytes, at most {limit} are read")));
        }
        let left = length - self.message.len();
        let more = left.min(self.chunk.len());
        if self.message.capacity() - self.message.len() < more {
            // Not at once what the prefix says, which nobody has sent yet, and in the end no more than that.
            self.message.reserve_exact(left.min(more.max(self.message.len())));
        }
        self.message.extend_from_slice(&self.chunk[..more]);
        self.chunk.advance(more);
        if self.chunk.is_empty() {
            self.chunk = Bytes::new();
        }
        if more < left {
            return Ok(None);
        }
        self.prefix_length = 0;
        Ok(Some(std::mem::take(&mut self.message)))
    }
}

/// Reads a message. A body that is kept costs little more than its length.
pub(crate) fn parsed(message: Vec<u8>) -> Result<ProcessingRequest, ProtocolError> {
    let length = message.len();
    if length > MAX_BESIDES_BODY && besides_bodies(&message).is_none_or(|found| found > MAX_BESIDES_BODY) {
        return Err(ProtocolError);
    }
    let mut message = ProcessingRequest::decode(Bytes::from(message)).map_err(|_| ProtocolError)?;
    if let Some(Part::RequestBody(body)) = &mut message.part
        && length - body.body.len() > MAX_WASTE
    {
        body.body = Bytes::copy_from_slice(&body.body);
    }
    Ok(message)
}

/// Bytes of the fields of a message that are no bodies; `None` for no message.
fn besides_bodies(mut left: &[u8]) -> Option<usize> {
    let mut found = 0;
    while !left.is_empty() {
        let before = left.len();
        let key = decode_length_delimiter(&mut left).ok()?;
        let skipped = match key & 7 {
            0 => decode_length_delimiter(&mut left).ok().map(|_| 0)?,
            1 => 8,
            2 => decode_length_delimiter(&mut left).ok()?,
            5 => 4,
            _ => return None,
        };
        left = left.get(skipped..)?;
        if !BODIES.contains(&(key >> 3)) {
            found += before - left.len();
        }
    }
    Some(found)
}

/// An answer with its prefix.
pub(crate) fn framed(answer: &ProcessingResponse) -> Bytes {
    let length = answer.encoded_len();
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.put_u8(0);
    // A body of 4 GiB is longer than a message of a gateway may be.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    answer.encode_raw(&mut frame);
    frame.into()
}
