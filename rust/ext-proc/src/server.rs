//! The gRPC server.

use std::{
    convert::Infallible,
    fmt, io,
    net::TcpListener,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::Builder,
    time::Duration,
};

use http::header::{CONTENT_TYPE, HeaderValue};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    runtime,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    answers::{Answers, Sender},
    budget::ByteBudget,
    codec::{Messages, parsed},
    decide::{Decide, Reason},
    exchange::{Exchange, ProtocolError},
    messages::ProcessingResponse,
    settings::Settings,
    status::Status,
};

/// The path of the gRPC method.
pub const METHOD: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// Bytes of a body that may be under way. A connection has room for several, so that one that waits for its decision holds up no other.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 16 * STREAM_WINDOW;
/// A gateway that is gone without a word holds its exchanges no longer than this and the time for the answer.
const PING_EVERY: Duration = Duration::from_secs(60);
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// What every connection of HTTP/2 begins with, and how long that may take.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_PATIENCE: Duration = Duration::from_secs(60);
/// Exchanges that a gateway may open and cancel before they are looked at, as when many of its clients go at once.
const MAX_RESETS: usize = 10_000;
/// The pause after a connection that could not be accepted: most often the process has no descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// `None` while the server runs, then when it ends at the latest.
type Until = Option<Instant>;

/// A server that runs in a thread of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    until: watch::Sender<Until>,
}

impl Server {
    /// Serves the connections of a socket that listens.
    ///
    /// When the thread has ended, `decide` is dropped.
    ///
    /// # Errors
    /// The system has no thread or no descriptor left.
    pub fn start(
        listener: TcpListener,
        settings: Settings,
        budget: Arc<ByteBudget>,
        decide: Arc<dyn Decide>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (until, stopping) = watch::channel(None);
        let service = Service { settings: Arc::new(settings), budget, decide, running: Arc::default(), stopping };
        Builder::new().name("turnout-ext-proc".into()).spawn(move || runtime.block_on(serve(listener, service)))?;
        Ok(Self { until })
    }

    /// Stops: no new connections. Exchanges that only wait for the HTTP answer end at once, the others may decide.
    ///
    /// Called again, it can only shorten the time.
    pub fn stop(&self, grace: Duration) {
        let until = Instant::now() + grace.min(Duration::from_secs(u32::MAX.into()));
        self.until.send_modify(|before| *before = Some(before.map_or(until, |before| before.min(until))));
    }
}

#[derive(Clone)]
struct Service {
    settings: Arc<Settings>,
    budget: Arc<ByteBudget>,
    decide: Arc<dyn Decide>,
    /// Exchanges.
    running: Arc<AtomicUsize>,
    stopping: watch::Receiver<Until>,
}

impl fmt::Debug for Service {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.debug_struct("Service").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Accepts connections until the end, and waits for the exchanges then.
async fn serve(listener: tokio::net::TcpListener, service: Service) {
    let mut stopping = service.stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve_connection(stream, service.clone()))),
                Err(_) => sleep(ACCEPT_AGAIN).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = begins(&mut stopping) => break,
        }
    }
    drop(listener);
    loop {
        // A server that was dropped ends at once.
        let until = stopping.borrow_and_update().unwrap_or_else(Instant::now);
        let has_ended = tokio::select! {
            ended = connections.join_next() => ended.is_none(),
            () = sleep_until(until) => true,
            changed = stopping.changed() => changed.is_err(),
        };
        if has_ended {
            return;
        }
    }
}

/// Waits for the end to begin.
async fn begins(stopping: &mut watch::Receiver<Until>) {
    // An error is the server's drop.
    drop(stopping.wait_for(Option::is_some).await);
}

async fn serve_connection(stream: TcpStream, service: Service) {
    // Answers are short and awaited.
    let _ = stream.set_nodelay(true);
    let (mut read, write) = stream.into_split();
    let mut stopping = service.stopping.clone();
    // A connection that is said to begin is waited for at the end.
    let has_begun = tokio::select! {
        begun = timeout(PREFACE_PATIENCE, begins_http2(&mut read)) => begun == Ok(true),
        () = begins(&mut stopping) => false,
    };
    if !has_begun {
        return;
    }
    let stream = tokio::io::join(PREFACE.chain(read), write);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(service.settings.max_streams())
        .max_pending_accept_reset_streams(MAX_RESETS)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service_fn(move |request| handle(service.clone(), request)));
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = begins(&mut stopping) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Reads the preface; whether it is one.
async fn begins_http2(stream: &mut OwnedReadHalf) -> bool {
    let (mut came, mut length) = ([0; PREFACE.len()], 0);
    while length < came.len() {
        match stream.read(&mut came[length..]).await {
            Ok(more @ 1..) => length += more,
            _ => return false,
        }
        if came[..length] != PREFACE[..length] {
            return false;
        }
    }
    true
}

async fn handle(service: Service, request: http::Request<Incoming>) -> Result<http::Response<Answers>, Infallible> {
    if request.uri().path() != METHOD {
        return Ok(refused(Status::unimplemented("no such method")));
    }
    let encoding = request.headers().get("grpc-encoding");
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Ok(refused(Status::unimplemented("compressed messages are not read")));
    }
    let Some(place) = service.place() else {
        let limit = service.settings.max_exchanges;
        return Ok(refused(Status::resource_exhausted(format!("{limit} exchanges are open"))));
    };
    let messages = Messages::new(request.into_body(), service.settings.max_message_bytes);
    let mut response = http::Response::new(Answers::new(|answers| async move {
        let _place = place;
        service.converse(messages, answers).await
    }));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    Ok(response)
}

/// An answer that is a status only.
fn refused(status: Status) -> http::Response<Answers> {
    let mut response = http::Response::new(Answers::none());
    *response.headers_mut() = status.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// One of the exchanges that may be open.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service {
    fn place(&self) -> Option<Place> {
        let place = Place(Arc::clone(&self.running));
        (self.running.fetch_add(1, Ordering::Relaxed) < self.settings.max_exchanges).then_some(place)
    }

    /// Runs an exchange until the gateway ends it, or sends what does not belong.
    async fn converse(self, mut messages: Messages<Incoming>, answers: Sender) -> Status {
        let send = |responses: Vec<ProcessingResponse>| {
            responses.into_iter().for_each(|response| drop(answers.send(response)));
        };
        let mut stopping = self.stopping;
        let mut exchange = Exchange::new(self.settings.clone(), self.budget, Arc::clone(&self.decide));
        let mut held_until = None;
        loop {
            let message = if exchange.is_passing() {
                tokio::select! {
                    biased;
                    message = messages.next() => message,
                    () = begins(&mut stopping) => return Status::ok(),
                }
            } else if exchange.is_holding() {
                let until = *held_until.get_or_insert_with(|| Instant::now() + self.settings.body_timeout);
                // A wait that has a message at once never looks at the time.
                let came = if Instant::now() < until { timeout_at(until, messages.next()).await.ok() } else { None };
                let Some(message) = came else {
                    send(exchange.give_up());
                    continue;
                };
                message
            } else {
                messages.next().await
            };
            let message = match message {
                Ok(Some(message)) => parsed(message),
                Ok(None) => return Status::ok(),
                Err(status) => return status,
            };
            let responses = match message {
                Ok(message) if message.observability_mode => return Status::ok(),
                Ok(message) => exchange.answer(message).await,
                Err(error) => Err(error),
            };
            match responses {
                Ok(responses) => send(responses),
                // As an error it would end the HTTP request, where the gateway's configuration does not allow failures.
                Err(ProtocolError) => {
                    self.decide.unchanged(Reason::Protocol);
                    return Status::ok();
                }
            }
        }
    }
}
