//! How a stream ends.

use http::{HeaderMap, HeaderValue};

/// gRPC's status of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    code: &'static str,
    message: String,
}

impl Status {
    pub(crate) fn ok() -> Self {
        Self { code: "0", message: String::new() }
    }

    pub(crate) fn resource_exhausted(message: String) -> Self {
        Self { code: "8", message }
    }

    pub(crate) fn unimplemented(message: &str) -> Self {
        Self { code: "12", message: message.into() }
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self { code: "13", message: message.into() }
    }

    /// The headers that say it.
    pub(crate) fn into_headers(self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert("grpc-status", HeaderValue::from_static(self.code));
        if let (false, Ok(message)) = (self.message.is_empty(), HeaderValue::try_from(self.message)) {
            headers.insert("grpc-message", message);
        }
        headers
    }
}
