//! The server on loopback, asked by a plain HTTP/2 client: statuses, limits, gateways that go away, arbitrary bytes, and the end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::HeaderMap;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use turnout_ext_proc::{
    ByteBudget, Decide, Limit, METHOD, Reason, Request, Server, Settings, Verdict,
    messages::{
        self, Answered, HeaderValue, HttpBody, HttpHeaders, Part, ProcessingRequest, ProcessingResponse,
        ProtocolConfiguration, mode,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Decides at once, unless it is told to keep requests. Says when it is dropped.
struct Judge {
    keeps: bool,
    kept: Mutex<Vec<Request>>,
    counted: Mutex<Vec<Reason>>,
    dropped: mpsc::Sender<()>,
}

impl Decide for Judge {
    fn decide(&self, request: Request) {
        if self.keeps {
            self.kept.lock().unwrap().push(request);
            return;
        }
        request.answer(Verdict::Decided { model: "big".into(), body: None });
    }

    fn unchanged(&self, reason: Reason) {
        self.counted.lock().unwrap().push(reason);
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.dropped.send(());
    }
}

fn settings() -> Settings {
    Settings {
        paths: vec!["/v1/chat/completions".into()],
        model_header: "x-model".into(),
        rewrites_body: true,
        max_exchanges: 100,
        max_message_bytes: 100_000,
        max_body_bytes: Limit::new(100_000),
        body_timeout: PATIENCE,
        patience: PATIENCE,
    }
}

struct Served {
    server: Server,
    judge: std::sync::Weak<Judge>,
    budget: Arc<ByteBudget>,
    address: SocketAddr,
    ended: mpsc::Receiver<()>,
}

impl Served {
    fn new(keeps: bool, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (dropped, ended) = mpsc::channel();
        let judge = Arc::new(Judge { keeps, kept: Mutex::default(), counted: Mutex::default(), dropped });
        let budget = Arc::new(ByteBudget::new(1_000_000));
        let weak = Arc::downgrade(&judge);
        let server = Server::start(listener, settings, Arc::clone(&budget), judge).unwrap();
        Self { server, judge: weak, budget, address, ended }
    }

    fn counted(&self) -> Vec<Reason> {
        self.judge.upgrade().unwrap().counted.lock().unwrap().clone()
    }

    fn kept(&self) -> usize {
        self.judge.upgrade().unwrap().kept.lock().unwrap().len()
    }

    fn has_ended(&self, within: Duration) -> bool {
        self.ended.recv_timeout(within).is_ok()
    }
}

/// An exchange: what was sent is framed, unless it is bytes already.
struct Exchange {
    send: h2::SendStream<Bytes>,
    answers: client::ResponseFuture,
}

async fn connected(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn open(gateway: &SendRequest<Bytes>, path: &str) -> Exchange {
    let request = http::Request::post(format!("http://gateway{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut ready = gateway.clone().ready().await.unwrap();
    let (answers, send) = ready.send_request(request, false).unwrap();
    Exchange { send, answers }
}

fn framed(content: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(content.len() as u32);
    frame.put_slice(content);
    frame.freeze()
}

impl Exchange {
    fn say(&mut self, message: &ProcessingRequest) {
        self.send.send_data(framed(&message.encode_to_vec()), false).unwrap();
    }

    /// The answers until the end, and gRPC's status.
    async fn end(mut self) -> (Vec<ProcessingResponse>, String) {
        let _ = self.send.send_data(Bytes::new(), true);
        self.rest().await
    }

    async fn rest(self) -> (Vec<ProcessingResponse>, String) {
        let Self { send: _kept_open, answers } = self;
        let response = timeout(PATIENCE, answers).await.unwrap().unwrap();
        let (head, mut body) = response.into_parts();
        let mut data = BytesMut::new();
        while let Some(chunk) = timeout(PATIENCE, body.data()).await.unwrap() {
            let chunk = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            data.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await.unwrap();
        (messages_of(data.freeze()), status_of(trailers.as_ref().unwrap_or(&head.headers)))
    }
}

fn messages_of(mut data: Bytes) -> Vec<ProcessingResponse> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let frame = data.split_to(5);
        assert_eq!(frame[0], 0);
        let length = u32::from_be_bytes(frame[1..].try_into().unwrap());
        found.push(ProcessingResponse::decode(data.split_to(length as usize)).unwrap());
    }
    found
}

fn status_of(headers: &HeaderMap) -> String {
    headers["grpc-status"].to_str().unwrap().into()
}

fn head(request_body_mode: i32) -> ProcessingRequest {
    let header = |(key, value): (&'static str, &'static str)| HeaderValue {
        key: key.into(),
        value: Bytes::new(),
        raw_value: value.into(),
    };
    let headers = [(":method", "POST"), (":path", "/v1/chat/completions")].map(header).to_vec();
    ProcessingRequest {
        part: Some(Part::RequestHeaders(HttpHeaders {
            headers: Some(messages::HeaderMap { headers }),
            end_of_stream: false,
        })),
        observability_mode: false,
        protocol_config: Some(ProtocolConfiguration { request_body_mode, response_body_mode: 0 }),
    }
}

fn body(content: impl Into<Bytes>, end_of_stream: bool) -> ProcessingRequest {
    let part = Part::RequestBody(HttpBody { body: content.into(), end_of_stream });
    ProcessingRequest { part: Some(part), ..ProcessingRequest::default() }
}

/// The header that an answer sets.
fn told(answer: &ProcessingResponse) -> Option<Bytes> {
    let (Some(Answered::RequestHeaders(part)) | Some(Answered::RequestBody(part))) = &answer.part else { return None };
    let headers = part.response.clone()?.header_mutation?.set_headers;
    Some(headers[0].header.clone()?.raw_value)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_request_is_decided_and_its_exchange_ends_without_an_error() {
    let served = Served::new(false, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        for _ in 0..3 {
            let mut exchange = open(&gateway, METHOD).await;
            exchange.say(&head(mode::BUFFERED));
            exchange.say(&body("{}", true));
            let (answers, status) = exchange.end().await;
            assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), [None, Some("big".into())]);
            assert_eq!(status, "0");
        }
    });
    assert_eq!((served.budget.used(), served.counted()), (0, vec![]));
}

#[test]
fn a_body_longer_than_the_windows_arrives() {
    let content = Bytes::from(vec![b'x'; 3_000_000]);
    let served = Served::new(false, |settings| settings.max_message_bytes = 10_000_000);
    run(async {
        let gateway = connected(served.address).await;
        let mut exchange = open(&gateway, METHOD).await;
        exchange.say(&head(mode::FULL_DUPLEX_STREAMED));
        exchange.say(&body(content.clone(), true));
        let (answers, status) = exchange.end().await;
        assert_eq!((told(&answers[0]), status), (Some("body_too_large".into()), "0".into()));
        assert_eq!(answers.len(), 1 + content.len().div_ceil(60 * 1024));
    });
}

#[test]
fn other_methods_and_too_many_exchanges_are_refused() {
    let served = Served::new(false, |settings| settings.max_exchanges = 1);
    run(async {
        let gateway = connected(served.address).await;
        assert_eq!(open(&gateway, "/other.Service/Method").await.end().await.1, "12");
        let mut first = open(&gateway, METHOD).await;
        first.say(&head(mode::BUFFERED));
        // The answer's head is there: the exchange is open.
        let answers = (&mut first.answers).await.unwrap();
        assert_eq!(open(&gateway, METHOD).await.end().await.1, "8");
        drop((first, answers));
        loop {
            let mut second = open(&gateway, METHOD).await;
            second.say(&head(mode::BUFFERED));
            match second.end().await {
                (_, status) if status == "8" => tokio::time::sleep(Duration::from_millis(1)).await,
                (answers, status) => break assert_eq!((answers.len(), status), (1, "0".into())),
            }
        }
    });
}

/// The server keeps every answer that is not read.
#[test]
fn streams_of_a_connection_are_bounded() {
    let served = Served::new(false, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        assert_eq!(open(&gateway, METHOD).await.end().await.1, "0");
        assert_eq!(gateway.current_max_send_streams(), 1200);
        let many = Settings { max_exchanges: usize::MAX, ..settings() };
        assert_eq!(many.max_streams(), u32::MAX);
    });
}

#[test]
fn a_message_that_is_too_long_is_refused_and_one_that_is_no_message_ends_its_exchange() {
    let served = Served::new(false, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        let mut long = open(&gateway, METHOD).await;
        long.say(&head(mode::BUFFERED));
        long.say(&body(vec![b'x'; 200_000], true));
        assert_eq!(long.end().await.1, "8");
        for bad in [&b"\xff\xff\xff"[..], b""] {
            let mut exchange = open(&gateway, METHOD).await;
            exchange.send.send_data(framed(bad), false).unwrap();
            // Although the gateway does not end it.
            assert_eq!(exchange.rest().await, (vec![], "0".into()));
        }
        let observer = ProcessingRequest { observability_mode: true, ..head(mode::BUFFERED) };
        let mut exchange = open(&gateway, METHOD).await;
        exchange.say(&observer);
        assert_eq!(exchange.rest().await, (vec![], "0".into()));
    });
    assert_eq!(served.counted(), [Reason::Protocol, Reason::Protocol]);
}

#[test]
fn what_a_gateway_leaves_behind_is_released() {
    let served = Served::new(true, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        let mut held = open(&gateway, METHOD).await;
        held.say(&head(mode::FULL_DUPLEX_STREAMED));
        held.say(&body("1234", false));
        let mut asked = open(&gateway, METHOD).await;
        asked.say(&head(mode::BUFFERED));
        asked.say(&body("123", true));
        until(|| served.budget.used() == 7 && served.kept() == 1).await;
        let judge = served.judge.upgrade().unwrap();
        assert!(!judge.kept.lock().unwrap()[0].is_abandoned());
        held.send.send_reset(h2::Reason::CANCEL);
        until(|| served.budget.used() == 3).await;
        drop((gateway, held, asked));
        until(|| judge.kept.lock().unwrap()[0].is_abandoned()).await;
        assert_eq!(served.counted(), [Reason::GatewayGone]);
        judge.kept.lock().unwrap().clear();
        assert_eq!(served.budget.used(), 0);
    });
}

#[test]
fn a_body_that_does_not_end_goes_on() {
    let served = Served::new(false, |settings| settings.body_timeout = Duration::from_millis(50));
    run(async {
        let gateway = connected(served.address).await;
        let mut exchange = open(&gateway, METHOD).await;
        exchange.say(&head(mode::FULL_DUPLEX_STREAMED));
        exchange.say(&body("ab", false));
        until(|| served.counted() == [Reason::BodyTimeout]).await;
        exchange.say(&body("c", true));
        let (answers, _) = exchange.end().await;
        assert_eq!((answers.len(), told(&answers[0])), (3, Some("body_timeout".into())));
    });
}

/// A gateway that always has a next piece does not hold its body for ever.
#[test]
fn the_time_of_a_body_ends_although_pieces_keep_coming() {
    let served = Served::new(false, |settings| settings.body_timeout = Duration::ZERO);
    run(async {
        let gateway = connected(served.address).await;
        let mut exchange = open(&gateway, METHOD).await;
        let together = [head(mode::FULL_DUPLEX_STREAMED), body("a", false), body("b", true)];
        let together = together.map(|message| framed(&message.encode_to_vec())).concat();
        exchange.send.send_data(together.into(), false).unwrap();
        let (answers, _) = exchange.end().await;
        assert_eq!((answers.len(), told(&answers[0])), (3, Some("body_timeout".into())));
    });
}

#[test]
fn messages_arrive_however_they_are_cut_and_compressed_or_incomplete_ones_are_refused() {
    let served = Served::new(false, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        let whole = [head(mode::BUFFERED), body("{}", true)].map(|message| framed(&message.encode_to_vec())).concat();
        for size in [1, 3, 7] {
            let mut exchange = open(&gateway, METHOD).await;
            for cut in whole.chunks(size) {
                exchange.send.send_data(Bytes::copy_from_slice(cut), false).unwrap();
                tokio::task::yield_now().await;
            }
            let (answers, status) = exchange.end().await;
            assert_eq!((told(&answers[1]), status), (Some("big".into()), "0".into()));
        }
        for bad in [&b"\x01\0\0\0\0"[..], b"\0\0\0\0\x05a", b"\0\0"] {
            let mut exchange = open(&gateway, METHOD).await;
            exchange.send.send_data(Bytes::from_static(bad), false).unwrap();
            assert_eq!(exchange.end().await, (vec![], "13".into()));
        }
        let request = http::Request::post(format!("http://gateway{METHOD}")).header("grpc-encoding", "gzip");
        let mut ready = gateway.clone().ready().await.unwrap();
        let (answers, send) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        assert_eq!(Exchange { send, answers }.end().await.1, "12");
    });
}

#[test]
fn headers_and_what_else_is_no_body_are_bounded() {
    let served = Served::new(false, |settings| settings.max_message_bytes = 10_000_000);
    run(async {
        let gateway = connected(served.address).await;
        let mut many = head(mode::BUFFERED).encode_to_vec();
        // Headers without a name or a value, then other fields, a few at a time.
        let empty = [&[0x12, 4, 0x0a, 2, 0x0a, 0][..], &[0x40, 1]].concat();
        many.extend(empty.iter().cycle().take(empty.len() * 200_000));
        let mut exchange = open(&gateway, METHOD).await;
        exchange.send.send_data(framed(&many), false).unwrap();
        assert_eq!(exchange.rest().await, (vec![], "0".into()));
        assert_eq!(served.counted(), [Reason::Protocol]);
        let mut exchange = open(&gateway, METHOD).await;
        exchange.say(&head(mode::BUFFERED));
        exchange.say(&body(vec![b'x'; 2_000_000], true));
        assert_eq!(told(&exchange.end().await.0[1]), Some("body_too_large".into()));
    });
}

#[test]
fn stopping_ends_those_that_wait_and_lets_the_others_decide() {
    let served = Served::new(false, |_| ());
    run(async {
        let gateway = connected(served.address).await;
        let mut waits = open(&gateway, METHOD).await;
        waits.say(&head(mode::BUFFERED));
        waits.say(&body("{}", true));
        let mut decides = open(&gateway, METHOD).await;
        decides.say(&head(mode::FULL_DUPLEX_STREAMED));
        decides.say(&body("{", false));
        until(|| served.budget.used() == 1).await;
        served.server.stop(PATIENCE);
        let (answers, status) = waits.rest().await;
        assert_eq!((answers.len(), status.as_str()), (2, "0"));
        // The exchange may end a moment before the socket is closed.
        until(|| std::net::TcpStream::connect(served.address).is_err()).await;
        decides.say(&body("}", true));
        let (answers, status) = decides.rest().await;
        assert_eq!((told(&answers[0]), status), (Some("big".into()), "0".into()));
    });
    assert!(served.has_ended(PATIENCE));
}

#[test]
fn connections_without_an_exchange_do_not_hold_up_the_end() {
    let served = Served::new(false, |_| ());
    run(async {
        let silent = TcpStream::connect(served.address).await.unwrap();
        let mut slow = TcpStream::connect(served.address).await.unwrap();
        slow.write_all(b"PRI * HTTP/2.0").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let idle = connected(served.address).await;
        assert_eq!(open(&idle, "/other.Service/Method").await.end().await.1, "12");
        served.server.stop(Duration::from_secs(3600));
        until(|| served.ended.try_recv().is_ok()).await;
        drop((silent, slow, idle));
    });
}

#[test]
fn a_connection_that_is_not_http_2_is_closed_at_once() {
    let served = Served::new(false, |_| ());
    run(async {
        let mut other = TcpStream::connect(served.address).await.unwrap();
        other.write_all(b"GET").await.unwrap();
        let mut left = Vec::new();
        let _ = timeout(PATIENCE, other.read_to_end(&mut left)).await.unwrap();
        assert_eq!(left, b"");
        let _ = timeout(PATIENCE, connected(served.address)).await.unwrap();
    });
}

#[test]
fn a_second_stop_shortens_the_time_and_a_drop_ends_it() {
    for is_dropped in [false, true] {
        let served = Served::new(true, |_| ());
        run(async {
            let gateway = connected(served.address).await;
            let mut exchange = open(&gateway, METHOD).await;
            exchange.say(&head(mode::FULL_DUPLEX_STREAMED));
            exchange.say(&body("{", false));
            until(|| served.budget.used() == 1).await;
            let Served { server, ended, .. } = served;
            server.stop(Duration::from_secs(3600));
            assert!(ended.recv_timeout(Duration::from_millis(100)).is_err());
            if is_dropped {
                drop(server);
            } else {
                server.stop(Duration::ZERO);
            }
            assert!(ended.recv_timeout(PATIENCE).is_ok());
            let answer = timeout(PATIENCE, exchange.rest_or_error()).await.unwrap();
            assert!(answer.is_err());
        });
    }
}

impl Exchange {
    async fn rest_or_error(self) -> Result<(), h2::Error> {
        let Self { send: _kept_open, answers } = self;
        let mut body = answers.await?.into_body();
        while let Some(chunk) = body.data().await {
            chunk?;
        }
        body.trailers().await.map(drop)
    }
}

/// Bytes on a stream, and bytes in place of HTTP/2: the next exchange is served.
#[test]
fn no_bytes_end_the_server() {
    let served = Served::new(false, |_| ());
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let mut runner = TestRunner::new(Config::with_cases(50));
    let tried = runner.run(&(bytes, any::<bool>()), |(bytes, is_framed)| {
        run(async {
            let gateway = connected(served.address).await;
            let mut exchange = open(&gateway, METHOD).await;
            exchange.send.send_data(if is_framed { framed(&bytes) } else { bytes.clone().into() }, true).unwrap();
            let _ = timeout(PATIENCE, exchange.rest_or_error()).await.unwrap();
            let mut raw = TcpStream::connect(served.address).await.unwrap();
            let _ = raw.write_all(&bytes).await;
            let mut exchange = open(&gateway, METHOD).await;
            exchange.say(&head(mode::BUFFERED));
            exchange.say(&body("{}", true));
            prop_assert_eq!(exchange.end().await.1, "0");
            Ok(())
        })
    });
    tried.unwrap();
}
