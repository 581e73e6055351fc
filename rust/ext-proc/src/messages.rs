//! The messages of Envoy's external processing protocol, as far as they are used.
//!
//! Names, numbers and types of fields are those of `envoy/service/ext_proc/v3/external_processor.proto` and of what it imports (Envoy's
//! API, Apache-2.0; compared with Envoy 1.40). Fields that are not listed are skipped when read. Version 3 of that API only adds fields.
//! Enumerations look like numbers on the wire, and text like bytes: it is not checked for UTF-8, because headers need not be.

#![expect(missing_docs, reason = "the names are the protocol's")]

use std::fmt;

use bytes::Bytes;
use prost::{Message, Oneof};

/// Modes of [`ProtocolConfiguration`].
pub mod mode {
    pub const NONE: i32 = 0;
    pub const STREAMED: i32 = 1;
    pub const BUFFERED: i32 = 2;
    pub const BUFFERED_PARTIAL: i32 = 3;
    pub const FULL_DUPLEX_STREAMED: i32 = 4;
}

/// [`ProcessingMode::response_header_mode`]: the answer is not sent.
pub const SKIP: i32 = 2;
/// [`HeaderValueOption::append_action`]: the header gets this value alone.
pub const OVERWRITE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct HeaderValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct HeaderMap {
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HttpHeaders {
    #[prost(message, optional, tag = "1")]
    pub headers: Option<HeaderMap>,
    #[prost(bool, tag = "3")]
    pub end_of_stream: bool,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct HttpBody {
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct HttpTrailers {
    #[prost(message, optional, tag = "1")]
    pub trailers: Option<HeaderMap>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ProtocolConfiguration {
    #[prost(int32, tag = "1")]
    pub request_body_mode: i32,
    #[prost(int32, tag = "2")]
    pub response_body_mode: i32,
}

/// The part of the HTTP request or answer that a message is about.
#[derive(Clone, PartialEq, Oneof)]
pub enum Part {
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    #[prost(message, tag = "4")]
    RequestBody(HttpBody),
    #[prost(message, tag = "5")]
    ResponseBody(HttpBody),
    #[prost(message, tag = "6")]
    RequestTrailers(HttpTrailers),
    #[prost(message, tag = "7")]
    ResponseTrailers(HttpTrailers),
}

/// What the gateway sends.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessingRequest {
    #[prost(oneof = "Part", tags = "2, 3, 4, 5, 6, 7")]
    pub part: Option<Part>,
    #[prost(bool, tag = "10")]
    pub observability_mode: bool,
    #[prost(message, optional, tag = "11")]
    pub protocol_config: Option<ProtocolConfiguration>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HeaderValueOption {
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    #[prost(int32, tag = "3")]
    pub append_action: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct HeaderMutation {
    #[prost(message, repeated, tag = "1")]
    pub set_headers: Vec<HeaderValueOption>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub remove_headers: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct StreamedBodyResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

/// What a body becomes.
#[derive(Clone, PartialEq, Oneof)]
#[prost(skip_debug)]
pub enum Mutation {
    #[prost(bytes = "bytes", tag = "1")]
    Body(Bytes),
    #[prost(message, tag = "3")]
    StreamedResponse(StreamedBodyResponse),
}

#[derive(Clone, PartialEq, Message)]
pub struct BodyMutation {
    #[prost(oneof = "Mutation", tags = "1, 3")]
    pub mutation: Option<Mutation>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CommonResponse {
    #[prost(message, optional, tag = "2")]
    pub header_mutation: Option<HeaderMutation>,
    #[prost(message, optional, tag = "3")]
    pub body_mutation: Option<BodyMutation>,
    #[prost(bool, tag = "5")]
    pub clear_route_cache: bool,
}

/// The answer about headers, and about a body: the same on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct PartResponse {
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrailersResponse {}

#[derive(Clone, PartialEq, Message)]
pub struct ProcessingMode {
    #[prost(int32, tag = "2")]
    pub response_header_mode: i32,
    #[prost(int32, tag = "3")]
    pub request_body_mode: i32,
    #[prost(int32, tag = "4")]
    pub response_body_mode: i32,
}

/// The part that an answer is about.
#[derive(Clone, PartialEq, Oneof)]
pub enum Answered {
    #[prost(message, tag = "1")]
    RequestHeaders(PartResponse),
    #[prost(message, tag = "2")]
    ResponseHeaders(PartResponse),
    #[prost(message, tag = "3")]
    RequestBody(PartResponse),
    #[prost(message, tag = "4")]
    ResponseBody(PartResponse),
    #[prost(message, tag = "5")]
    RequestTrailers(TrailersResponse),
    #[prost(message, tag = "6")]
    ResponseTrailers(TrailersResponse),
}

/// What the gateway is answered.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessingResponse {
    #[prost(oneof = "Answered", tags = "1, 2, 3, 4, 5, 6")]
    pub part: Option<Answered>,
    #[prost(message, optional, tag = "9")]
    pub mode_override: Option<ProcessingMode>,
}

// Values of headers and bodies are the client's: only their lengths are shown.

impl fmt::Debug for HeaderValue {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.value.len() + self.raw_value.len();
        into.debug_struct("HeaderValue").field("key", &self.key).field("length", &length).finish()
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = into.debug_struct("HttpBody");
        shown.field("length", &self.body.len()).field("end_of_stream", &self.end_of_stream).finish()
    }
}

impl fmt::Debug for StreamedBodyResponse {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = into.debug_struct("StreamedBodyResponse");
        shown.field("length", &self.body.len()).field("end_of_stream", &self.end_of_stream).finish()
    }
}

impl fmt::Debug for Mutation {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(body) => into.debug_struct("Body").field("length", &body.len()).finish(),
            Self::StreamedResponse(piece) => piece.fmt(into),
        }
    }
}
