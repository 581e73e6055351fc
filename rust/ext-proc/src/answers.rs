//! The answers of an exchange as a stream that also runs it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::messages::ProcessingResponse;

/// Where an exchange puts its answers.
pub(crate) type Sender = mpsc::UnboundedSender<Result<ProcessingResponse, Status>>;

/// Runs an exchange as its answers are asked for. When the gateway gives up, both are dropped together: no task is left behind. What an
/// exchange sends without waiting is bounded by the message that it answers.
pub(crate) struct Answers {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    sent: mpsc::UnboundedReceiver<Result<ProcessingResponse, Status>>,
}

impl Answers {
    /// The answers that `work` sends.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Sender) -> F) -> Self {
        let (sender, sent) = mpsc::unbounded_channel();
        Self { work: Some(Box::pin(work(sender))), sent }
    }
}

impl Stream for Answers {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Ok(answer) = this.sent.try_recv() {
            return Poll::Ready(Some(answer));
        }
        if this.work.as_mut().is_some_and(|work| work.as_mut().poll(context).is_ready()) {
            this.work = None;
        }
        match (this.sent.try_recv(), &this.work) {
            (Ok(answer), _) => Poll::Ready(Some(answer)),
            (Err(_), Some(_)) => Poll::Pending,
            (Err(_), None) => Poll::Ready(None),
        }
    }
}
