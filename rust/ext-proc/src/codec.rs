//! Messages in gRPC's frames.

use bytes::Buf;
use prost::{DecodeError, Message};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::messages::{ProcessingRequest, ProcessingResponse};

/// Most exchanges have two short messages; buffers of long ones grow at once to what their length needs.
const BUFFER_BYTES: usize = 2048;
/// Answers that are sent together.
const YIELD_BYTES: usize = 32 * 1024;

/// A message that cannot be read is an item: as an error it would end the exchange with an error status.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages;

impl Codec for Messages {
    type Encode = ProcessingResponse;
    type Decode = Result<ProcessingRequest, DecodeError>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Messages {
    type Item = ProcessingResponse;
    type Error = Status;

    fn encode(&mut self, item: ProcessingResponse, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(into).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl Decoder for Messages {
    type Item = Result<ProcessingRequest, DecodeError>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // All of it, also where it cannot be read.
        let whole = from.copy_to_bytes(from.remaining());
        Ok(Some(ProcessingRequest::decode(whole)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
