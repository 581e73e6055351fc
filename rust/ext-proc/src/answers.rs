//! The answers of an exchange as an HTTP body that also runs it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use crate::{codec::framed, messages::ProcessingResponse, status::Status};

/// Where an exchange puts its answers.
pub(crate) type Sender = mpsc::UnboundedSender<ProcessingResponse>;

/// Runs an exchange as its answers are asked for. When the gateway gives up, both are dropped together: no task is left behind. What an
/// exchange sends without waiting is bounded by the message that it answers.
pub(crate) struct Answers {
    work: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
    sent: mpsc::UnboundedReceiver<ProcessingResponse>,
    status: Option<Status>,
}

impl Answers {
    /// The answers that `work` sends, and the status that it ends with.
    pub(crate) fn new<F: Future<Output = Status> + Send + 'static>(work: impl FnOnce(Sender) -> F) -> Self {
        let (sender, sent) = mpsc::unbounded_channel();
        Self { work: Some(Box::pin(work(sender))), sent, status: None }
    }

    /// No answers, where the head of the HTTP answer has the status.
    pub(crate) fn none() -> Self {
        Self { work: None, sent: mpsc::unbounded_channel().1, status: None }
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Ok(answer) = this.sent.try_recv() {
            return Poll::Ready(Some(Ok(Frame::data(framed(&answer)))));
        }
        if let Some(work) = &mut this.work
            && let Poll::Ready(status) = work.as_mut().poll(context)
        {
            (this.work, this.status) = (None, Some(status));
        }
        match (this.sent.try_recv(), &this.work) {
            (Ok(answer), _) => Poll::Ready(Some(Ok(Frame::data(framed(&answer))))),
            (Err(_), Some(_)) => Poll::Pending,
            (Err(_), None) => Poll::Ready(this.status.take().map(|status| Ok(Frame::trailers(status.into_headers())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.work.is_none() && self.status.is_none() && self.sent.is_empty()
    }
}
