//! Bytes that exchanges really hold, counted by the allocator: those that the budget counts, and nothing after the decision.

#![expect(clippy::unwrap_used, unsafe_code, reason = "a test fails by panicking; an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use prost::Message;
use tokio::net::TcpStream;
use turnout_ext_proc::{
    ByteBudget, Decide, Exchange, Limit, METHOD, Reason, Request, Server, Settings, Verdict,
    messages::{HeaderMap, HeaderValue, HttpBody, HttpHeaders, Part, ProcessingRequest, ProtocolConfiguration, mode},
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system's; the number is counted beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decides at once, and sends the body on as another one.
struct Judge;

impl Decide for Judge {
    fn decide(&self, request: Request) {
        let body = Some(Bytes::copy_from_slice(&request.body));
        request.answer(Verdict::Decided { model: "big".into(), body });
    }

    fn unchanged(&self, _: Reason) {}
}

const MEGABYTE: usize = 1 << 20;

fn settings() -> Settings {
    Settings {
        paths: vec!["/v1/chat/completions".into()],
        model_header: "x-model".into(),
        rewrites_body: true,
        max_exchanges: 100,
        max_message_bytes: 10 * MEGABYTE,
        max_body_bytes: Limit::new(10 * MEGABYTE),
        body_timeout: Duration::from_secs(60),
        patience: Duration::from_secs(60),
    }
}

fn head(request_body_mode: i32) -> ProcessingRequest {
    let header = |(key, value): (&'static str, &'static str)| HeaderValue {
        key: key.into(),
        value: Bytes::new(),
        raw_value: value.into(),
    };
    let headers = [(":method", "POST"), (":path", "/v1/chat/completions")].map(header).to_vec();
    let headers = Some(HeaderMap { headers });
    ProcessingRequest {
        part: Some(Part::RequestHeaders(HttpHeaders { headers, end_of_stream: false })),
        observability_mode: false,
        protocol_config: Some(ProtocolConfiguration { request_body_mode, response_body_mode: 0 }),
    }
}

fn body(content: Bytes, end_of_stream: bool) -> ProcessingRequest {
    let part = Part::RequestBody(HttpBody { body: content, end_of_stream });
    ProcessingRequest { part: Some(part), ..ProcessingRequest::default() }
}

fn framed(messages: &[ProcessingRequest]) -> Bytes {
    let mut frames = BytesMut::new();
    for message in messages {
        frames.put_u8(0);
        frames.put_u32(message.encoded_len() as u32);
        message.encode(&mut frames).unwrap();
    }
    frames.freeze()
}

/// An exchange whose request was decided and which the gateway keeps open.
async fn decided(gateway: &SendRequest<Bytes>, sent: Bytes, at_least: usize) -> impl Sized {
    let request = http::Request::post(format!("http://gateway{METHOD}")).body(()).unwrap();
    let mut ready = gateway.clone().ready().await.unwrap();
    let (answers, mut send) = ready.send_request(request, false).unwrap();
    send.send_data(sent, false).unwrap();
    let mut answers = answers.await.unwrap().into_body();
    let mut came = 0;
    while came < at_least {
        let data = answers.data().await.unwrap().unwrap();
        answers.flow_control().release_capacity(data.len()).unwrap();
        came += data.len();
    }
    (send, answers)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// One test: its parts count the same bytes.
#[test]
fn exchanges_hold_what_is_counted() {
    a_body_in_many_pieces_costs_what_is_counted();
    an_exchange_that_waits_for_the_http_answer_keeps_nothing_of_its_body();
}

fn an_exchange_that_waits_for_the_http_answer_keeps_nothing_of_its_body() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let budget = Arc::new(ByteBudget::new(100 * MEGABYTE));
    let _server = Server::start(listener, settings(), Arc::clone(&budget), Arc::new(Judge)).unwrap();
    run(async {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (gateway, connection) = client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for mode in [mode::BUFFERED, mode::FULL_DUPLEX_STREAMED] {
            let content: Bytes = vec![b'x'; 4 * MEGABYTE].into();
            let sent = framed(&[head(mode), body(content, true)]);
            let first = decided(&gateway, sent.clone(), 4 * MEGABYTE).await;
            let before = LIVE.load(Ordering::Relaxed);
            let mut open = vec![first];
            for _ in 0..10 {
                open.push(decided(&gateway, sent.clone(), 4 * MEGABYTE).await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let grown = LIVE.load(Ordering::Relaxed).saturating_sub(before);
            assert!(grown < MEGABYTE, "{grown} bytes for 10 exchanges");
            assert_eq!(budget.used(), 0);
        }
    });
}

fn a_body_in_many_pieces_costs_what_is_counted() {
    let budget = Arc::new(ByteBudget::new(10 * MEGABYTE));
    let mut exchange = Exchange::new(Arc::new(settings()), Arc::clone(&budget), Arc::new(Judge));
    run(async {
        assert!(exchange.answer(head(mode::FULL_DUPLEX_STREAMED)).await.unwrap().is_empty());
        let before = LIVE.load(Ordering::Relaxed);
        for number in 0..200_000 {
            let piece = if number % 2 == 0 { Bytes::new() } else { Bytes::from(vec![b'x']) };
            assert!(exchange.answer(body(piece, false)).await.unwrap().is_empty());
        }
        assert_eq!(budget.used(), 100_000);
        let grown = LIVE.load(Ordering::Relaxed).saturating_sub(before);
        assert!(grown < 3 * budget.used(), "{grown} bytes");
    });
}
