//! What is asked of who decides, and what is answered.

use std::{fmt, time::Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::budget::Held;

/// A name in lower case, and a value.
pub type Header = (Bytes, Bytes);

/// Decides. For the thread of the server, so nothing here may wait.
pub trait Decide: Send + Sync + 'static {
    /// Takes a request, to be answered later from any thread. One that is dropped goes on without a decision, for [`Reason::InternalError`].
    fn decide(&self, request: Request);

    /// Counts a request that goes on without having been asked for.
    fn unchanged(&self, reason: Reason);
}

/// Why the server itself lets a request go on as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is decided for its path.
    OtherPath,
    /// It has no body, or the gateway does not send it.
    NoBody,
    /// Its body is compressed.
    InvalidContentEncoding,
    /// Its body comes in pieces that cannot be held back.
    Streamed,
    /// Its body is longer than one may be.
    BodyTooLarge,
    /// All bodies together are.
    Overloaded,
    /// Its body took too long.
    BodyTimeout,
    /// The gateway sent what the protocol does not have at this point.
    Protocol,
    /// Who decides did not answer.
    InternalError,
    /// The gateway gave up before the decision.
    GatewayGone,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::OtherPath,
        Self::NoBody,
        Self::InvalidContentEncoding,
        Self::Streamed,
        Self::BodyTooLarge,
        Self::Overloaded,
        Self::BodyTimeout,
        Self::Protocol,
        Self::InternalError,
        Self::GatewayGone,
    ];

    /// What headers and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherPath => "other_path",
            Self::NoBody => "no_body",
            Self::InvalidContentEncoding => "invalid_content_encoding",
            Self::Streamed => "streamed",
            Self::BodyTooLarge => "body_too_large",
            Self::Overloaded => "overloaded",
            Self::BodyTimeout => "body_timeout",
            Self::Protocol => "protocol",
            Self::InternalError => "internal_error",
            Self::GatewayGone => "gateway_gone",
        }
    }
}

/// A request whose whole body is here.
pub struct Request {
    /// Which of [`Settings::paths`](crate::Settings::paths) its path ends with.
    pub path: usize,
    /// All headers, also those of HTTP/2 that begin with a colon.
    pub headers: Vec<Header>,
    /// The whole body.
    pub body: Bytes,
    /// When the end of its body came.
    pub came: Instant,
    pub(crate) held: Held,
    pub(crate) answer: oneshot::Sender<Verdict>,
}

impl Request {
    /// Answers. The bytes that the request holds are released before.
    ///
    /// Returns whether anybody still waited. Otherwise the request was counted already.
    pub fn answer(self, verdict: Verdict) -> bool {
        let Self { held, answer, .. } = self;
        drop(held);
        answer.send(verdict).is_ok()
    }

    /// Whether the gateway has given up, or the request went on without a decision.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

impl fmt::Debug for Request {
    /// Without headers and body, which are the client's.
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = into.debug_struct("Request");
        shown.field("path", &self.path).field("length", &self.body.len()).finish_non_exhaustive()
    }
}

/// What a request goes on with.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A model answers it.
    Decided {
        /// The model's name, for the header.
        model: Bytes,
        /// The body that goes on; `None` for the one that came.
        body: Option<Bytes>,
    },
    /// It goes on as it came, for a reason.
    Unchanged(Bytes),
}

impl fmt::Debug for Verdict {
    /// Without the body, which is the client's.
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided { model, body } => {
                let length = body.as_ref().map(Bytes::len);
                into.debug_struct("Decided").field("model", model).field("length", &length).finish()
            }
            Self::Unchanged(reason) => into.debug_tuple("Unchanged").field(reason).finish(),
        }
    }
}
