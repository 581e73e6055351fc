//! The gRPC side of `turnout ext-proc`: Envoy's external processing protocol, which asks about each HTTP request of a gateway.
//!
//! - [`Server`]: listens in a thread of its own, which never waits for a decision's thread;
//! - [`Settings`]: what it may do, and which requests are decided;
//! - [`Decide`]: who decides. It gets each whole [`Request`] once, and answers with a [`Verdict`] whenever it likes;
//! - [`ByteBudget`]: the bytes that may be held at a time;
//! - [`Exchange`]: the conversation about one request, in every mode of sending its body, without any network;
//! - [`messages`]: the part of the protocol's messages that is used.
//!
//! Whatever fails, the request goes on as it came: an exchange whose messages do not belong is closed without an error status.

#![deny(missing_docs)]

mod answers;
mod budget;
mod codec;
mod decide;
mod exchange;
pub mod messages;
mod server;
mod settings;
mod status;

pub use budget::{ByteBudget, Held};
pub use decide::{Decide, Header, Reason, Request, Verdict};
pub use exchange::{Exchange, ProtocolError};
pub use server::{METHOD, Server};
pub use settings::{Limit, Settings, UNDECIDED};
