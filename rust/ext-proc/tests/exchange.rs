//! The exchange without a network: every mode of sending a body, limits, messages that do not belong, and arbitrary ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use turnout_ext_proc::{
    ByteBudget, Decide, Exchange, Limit, ProtocolError, Reason, Request, Settings, Verdict,
    messages::{
        Answered, CommonResponse, HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, Mutation, Part,
        ProcessingMode, ProcessingRequest, ProcessingResponse, ProtocolConfiguration, mode,
    },
};

const BUDGET: usize = 10_000;
const MODEL_HEADER: &str = "x-model";

/// Decides at once: `model` for bodies that begin with `{`, no answer for those that begin with `!`, a reason for all others.
#[derive(Default)]
struct Judge {
    asked: Mutex<Vec<(usize, Bytes)>>,
    counted: Mutex<Vec<Reason>>,
}

impl Decide for Judge {
    fn decide(&self, request: Request) {
        self.asked.lock().unwrap().push((request.path, request.body.clone()));
        let changed = request.body.strip_prefix(b"{").map(|rest| [b"{changed}", rest].concat().into());
        match request.body.first() {
            Some(b'!') => drop(request),
            Some(b'{') => drop(request.answer(Verdict::Decided { model: "big".into(), body: changed })),
            _ => drop(request.answer(Verdict::Unchanged("invalid_json".into()))),
        }
    }

    fn unchanged(&self, reason: Reason) {
        self.counted.lock().unwrap().push(reason);
    }
}

struct Talk {
    exchange: Exchange,
    judge: Arc<Judge>,
    budget: Arc<ByteBudget>,
}

fn settings() -> Settings {
    Settings {
        paths: vec!["/v1/messages/count_tokens".into(), "/v1/messages".into(), "/v1/chat/completions".into()],
        model_header: MODEL_HEADER.into(),
        rewrites_body: true,
        max_exchanges: 10,
        max_message_bytes: 1 << 20,
        max_body_bytes: Limit::new(5_000),
        body_timeout: Duration::from_secs(30),
        patience: Duration::from_secs(30),
    }
}

impl Talk {
    fn new(settings: Settings) -> Self {
        let (judge, budget) = (Arc::new(Judge::default()), Arc::new(ByteBudget::new(BUDGET)));
        let exchange = Exchange::new(Arc::new(settings), Arc::clone(&budget), Arc::clone(&judge) as Arc<dyn Decide>);
        Self { exchange, judge, budget }
    }

    fn say(&mut self, message: ProcessingRequest) -> Result<Vec<ProcessingResponse>, ProtocolError> {
        wait(self.exchange.answer(message))
    }

    fn counted(&self) -> Vec<Reason> {
        self.judge.counted.lock().unwrap().clone()
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn head_of(path: &str, mode: Option<i32>, more: &[(&str, &str)]) -> ProcessingRequest {
    let sent = [(":method", "POST"), (":path", path), ("content-length", "1")];
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    };
    let headers = sent.iter().chain(more).map(header).collect();
    ProcessingRequest {
        part: Some(Part::RequestHeaders(HttpHeaders { headers: Some(HeaderMap { headers }), end_of_stream: false })),
        observability_mode: false,
        protocol_config: mode.map(|mode| ProtocolConfiguration { request_body_mode: mode, response_body_mode: 0 }),
    }
}

fn head(mode: i32) -> ProcessingRequest {
    head_of("/v1/chat/completions", Some(mode), &[])
}

fn about(part: Part) -> ProcessingRequest {
    ProcessingRequest { part: Some(part), ..ProcessingRequest::default() }
}

fn body(content: &'static str, end_of_stream: bool) -> ProcessingRequest {
    about(Part::RequestBody(HttpBody { body: content.into(), end_of_stream }))
}

fn common(answer: &ProcessingResponse) -> CommonResponse {
    let (Some(Answered::RequestHeaders(part)) | Some(Answered::RequestBody(part))) = &answer.part else {
        panic!("{answer:?}")
    };
    part.response.clone().unwrap_or_default()
}

/// Headers that an answer sets.
fn set(answer: &ProcessingResponse) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = common(answer).header_mutation.unwrap_or_default().set_headers;
    let of = |header: &HeaderValue| (text(&header.key), text(&header.raw_value));
    headers.iter().map(|one| of(one.header.as_ref().unwrap())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(name, value)| (name.into(), value.into())).collect()
}

fn mutation(answer: &ProcessingResponse) -> Option<Mutation> {
    common(answer).body_mutation.and_then(|found| found.mutation)
}

/// The body in the streamed pieces of answers, and whether the last one ends it.
fn joined(answers: &[ProcessingResponse]) -> (Vec<u8>, bool) {
    let (mut whole, mut is_end) = (Vec::new(), false);
    for one in answers {
        let Some(Mutation::StreamedResponse(piece)) = mutation(one) else { panic!("{one:?}") };
        assert!(!is_end && piece.body.len() < 64 * 1024);
        whole.extend_from_slice(&piece.body);
        is_end = piece.end_of_stream;
    }
    (whole, is_end)
}

#[test]
fn a_buffered_body_is_decided_and_changed() {
    let mut talk = Talk::new(settings());
    let first = talk.say(head(mode::BUFFERED)).unwrap();
    assert_eq!(set(&first[0]), pairs(&[]));
    let skipped = ProcessingMode { response_header_mode: 2, request_body_mode: mode::BUFFERED, response_body_mode: 0 };
    assert_eq!(first[0].mode_override, Some(skipped));
    let second = talk.say(body("{}", false)).unwrap();
    assert_eq!(set(&second[0]), pairs(&[(MODEL_HEADER, "big"), ("content-length", "10")]));
    assert_eq!(mutation(&second[0]), Some(Mutation::Body("{changed}}".into())));
    assert!(common(&second[0]).clear_route_cache && talk.exchange.is_passing());
    assert_eq!((talk.budget.used(), talk.judge.asked.lock().unwrap()[0].0), (0, 2));
}

#[test]
fn the_first_path_that_fits_counts() {
    for (path, expected) in [
        ("/a/v1/messages/count_tokens?x=/v1/messages", Some(0)),
        ("/v1/messages//", Some(1)),
        ("v1/messages", None),
        ("/v1/messages/x", None),
        ("", None),
        ("?/v1/messages", None),
        ("///", None),
    ] {
        let mut talk = Talk::new(settings());
        talk.say(head_of(path, Some(mode::BUFFERED), &[])).unwrap();
        talk.say(body("{}", true)).unwrap();
        assert_eq!(talk.judge.asked.lock().unwrap().first().map(|asked| asked.0), expected, "{path}");
        assert_eq!(talk.counted().is_empty(), expected.is_some(), "{path}");
    }
}

#[test]
fn pieces_in_full_duplex_are_held_until_the_body_ends() {
    let end_with_trailers = about(Part::RequestTrailers(HttpTrailers::default()));
    for (last, is_end) in [(body("b}", true), true), (end_with_trailers, false)] {
        let mut talk = Talk::new(settings());
        assert!(talk.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap().is_empty());
        assert!(talk.say(body("{a", false)).unwrap().is_empty());
        assert!(talk.exchange.is_holding());
        assert_eq!(talk.budget.used(), 2);
        let mut answers = talk.say(last).unwrap();
        if !is_end {
            assert!(matches!(answers.pop().unwrap().part, Some(Answered::RequestTrailers(_))));
        }
        assert_eq!(set(&answers[0])[0].1, "big");
        let whole = if is_end { "{changed}ab}" } else { "{changed}a" };
        assert_eq!(joined(&answers[1..]), (whole.into(), is_end));
        assert_eq!((talk.budget.used(), talk.exchange.is_holding()), (0, false));
    }
}

#[test]
fn a_long_body_in_full_duplex_comes_back_in_pieces_that_envoy_accepts() {
    let long = Settings { max_body_bytes: Limit::new(0), ..settings() };
    let mut talk = Talk::new(long);
    let content: Bytes = vec![b'x'; 200_000].into();
    talk.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap();
    let sent = about(Part::RequestBody(HttpBody { body: content.clone(), end_of_stream: true }));
    let answers = talk.say(sent).unwrap();
    assert_eq!(set(&answers[0]), pairs(&[("x-turnout-undecided", "body_too_large")]));
    assert_eq!(joined(&answers[1..]), (content.to_vec(), true));
    assert_eq!(talk.counted(), [Reason::BodyTooLarge]);
}

#[test]
fn what_is_held_is_bounded_and_released() {
    let mut talk = Talk::new(settings());
    assert!(talk.budget.take(BUDGET - 3));
    talk.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap();
    talk.say(body("abc", false)).unwrap();
    let answers = talk.say(body("d", false)).unwrap();
    assert_eq!(set(&answers[0]), pairs(&[("x-turnout-undecided", "overloaded")]));
    assert_eq!(joined(&answers[1..]), ("abcd".into(), false));
    assert_eq!(talk.budget.used(), BUDGET - 3);
    let mut left = Talk::new(settings());
    left.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap();
    left.say(body("abc", false)).unwrap();
    drop(left.exchange);
    assert_eq!(left.budget.used(), 0);
}

#[test]
fn a_body_that_takes_too_long_goes_on_as_far_as_it_came() {
    let mut talk = Talk::new(settings());
    talk.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap();
    talk.say(body("{a", false)).unwrap();
    let answers = talk.exchange.give_up();
    assert_eq!(set(&answers[0]), pairs(&[("x-turnout-undecided", "body_timeout")]));
    assert_eq!(joined(&answers[1..]), ("{a".into(), false));
    assert_eq!(joined(&talk.say(body("b}", true)).unwrap()), ("b}".into(), true));
    assert_eq!((talk.budget.used(), talk.counted()), (0, vec![Reason::BodyTimeout]));
}

#[test]
fn a_request_that_is_dropped_or_not_answered_in_time_goes_on() {
    let mut talk = Talk::new(settings());
    talk.say(head(mode::BUFFERED)).unwrap();
    assert_eq!(set(&talk.say(body("!", true)).unwrap()[0]), pairs(&[("x-turnout-undecided", "internal_error")]));

    struct Never(Mutex<Vec<Request>>);
    impl Decide for Never {
        fn decide(&self, request: Request) {
            self.0.lock().unwrap().push(request);
        }
        fn unchanged(&self, reason: Reason) {
            assert_eq!(reason, Reason::InternalError);
        }
    }
    let (never, budget) = (Arc::new(Never(Mutex::default())), Arc::new(ByteBudget::new(100)));
    let hasty = Arc::new(Settings { patience: Duration::from_millis(1), ..settings() });
    let mut exchange = Exchange::new(hasty, Arc::clone(&budget), Arc::clone(&never) as Arc<dyn Decide>);
    wait(exchange.answer(head(mode::BUFFERED))).unwrap();
    let answers = wait(exchange.answer(body("{}", true))).unwrap();
    assert_eq!(set(&answers[0]), pairs(&[("x-turnout-undecided", "internal_error")]));
    // What still lies there is counted until it is taken.
    let request = never.0.lock().unwrap().pop().unwrap();
    assert!(request.is_abandoned() && budget.used() == 2);
    assert!(!request.answer(Verdict::Unchanged(Bytes::new())));
    assert_eq!(budget.used(), 0);
}

#[test]
fn forged_headers_are_removed() {
    let forged = [("X-Model", "small"), ("x-turnout-undecided", "x")];
    let mut talk = Talk::new(settings());
    let first = talk.say(head_of("/v1/files", Some(mode::BUFFERED), &forged)).unwrap();
    let removed = common(&first[0]).header_mutation.unwrap().remove_headers;
    assert_eq!(removed, [Bytes::from(MODEL_HEADER), Bytes::from("x-turnout-undecided")]);
    let mut talk = Talk::new(settings());
    talk.say(head_of("/v1/messages", Some(mode::BUFFERED), &forged)).unwrap();
    let second = common(&talk.say(body("{}", true)).unwrap()[0]).header_mutation.unwrap();
    assert_eq!(second.remove_headers, [Bytes::from("x-turnout-undecided")]);
}

#[test]
fn messages_that_do_not_belong_are_errors() {
    let empty = ProcessingRequest::default;
    for first in [empty(), body("{}", true), about(Part::ResponseHeaders(HttpHeaders::default()))] {
        assert_eq!(Talk::new(settings()).say(first), Err(ProtocolError));
    }
    for second in [empty(), head(mode::BUFFERED)] {
        let mut talk = Talk::new(settings());
        talk.say(head(mode::BUFFERED)).unwrap();
        assert_eq!(talk.say(second), Err(ProtocolError));
    }
}

#[test]
fn what_is_shown_of_messages_has_no_header_and_no_body_of_the_client() {
    let mut talk = Talk::new(settings());
    let first = head_of("/v1/messages", Some(mode::FULL_DUPLEX_STREAMED), &[("authorization", "secret")]);
    let second = body("{secret}", true);
    let shown = format!("{first:?} {second:?}");
    talk.say(first).unwrap();
    let shown = format!("{shown} {:?} {:?}", talk.say(second).unwrap(), Mutation::Body("secret".into()));
    assert!(shown.contains("authorization") && shown.contains("length: 8") && !shown.contains("secret"), "{shown}");
    let verdict = Verdict::Decided { model: "big".into(), body: Some("secret".into()) };
    assert_eq!(format!("{verdict:?}"), r#"Decided { model: b"big", length: Some(6) }"#);
}

#[test]
fn a_limit_can_change_while_a_body_comes() {
    let limits = settings();
    let limit = limits.max_body_bytes.clone();
    let mut talk = Talk::new(limits);
    talk.say(head(mode::FULL_DUPLEX_STREAMED)).unwrap();
    talk.say(body("{a", false)).unwrap();
    limit.set(2);
    assert_eq!(set(&talk.say(body("b", false)).unwrap()[0]), pairs(&[("x-turnout-undecided", "body_too_large")]));
}

fn any_part() -> impl Strategy<Value = Option<Part>> {
    let headers = proptest::collection::vec(
        (
            prop_oneof![
                Just(":method"),
                Just(":path"),
                Just("content-encoding"),
                Just("content-length"),
                Just(MODEL_HEADER),
                Just("X-Turnout-Undecided"),
            ],
            prop_oneof![Just("POST"), Just("/v1/messages"), Just("/v1/chat/completions?a"), Just("gzip"), Just("")],
        ),
        0..6,
    );
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
    let http = (headers, any::<bool>()).prop_map(|(headers, end_of_stream)| {
        let header = |(key, value): (&str, &str)| HeaderValue {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            raw_value: Bytes::new(),
        };
        HttpHeaders { headers: Some(HeaderMap { headers: headers.into_iter().map(header).collect() }), end_of_stream }
    });
    let body = (bytes(), any::<bool>()).prop_map(|(body, end_of_stream)| HttpBody { body, end_of_stream });
    prop_oneof![
        1 => Just(None),
        3 => http.clone().prop_map(|one| Some(Part::RequestHeaders(one))),
        1 => http.prop_map(|one| Some(Part::ResponseHeaders(one))),
        6 => body.clone().prop_map(|one| Some(Part::RequestBody(one))),
        1 => body.prop_map(|one| Some(Part::ResponseBody(one))),
        1 => Just(Some(Part::RequestTrailers(HttpTrailers::default()))),
        1 => Just(Some(Part::ResponseTrailers(HttpTrailers::default()))),
    ]
}

proptest! {
    /// In every mode: no panic, nothing stays held, a body in full duplex goes on byte for byte or changed as decided, and each request
    /// has exactly one outcome.
    #[test]
    fn any_messages_are_answered(
        request_mode in proptest::option::of(-1..7),
        response_body_mode in -1..6,
        first in any_part(),
        parts in proptest::collection::vec(any_part(), 0..12),
        limit in 0_usize..200,
    ) {
        let mut talk = Talk::new(Settings { max_body_bytes: Limit::new(limit), ..settings() });
        let first = ProcessingRequest {
            part: first,
            observability_mode: false,
            protocol_config: request_mode.map(|request_body_mode| ProtocolConfiguration { request_body_mode, response_body_mode }),
        };
        let begins = matches!(first.part, Some(Part::RequestHeaders(_)));
        prop_assert_eq!(talk.say(first).is_ok(), begins);
        let (mut sent, mut passed) = (Vec::new(), Vec::new());
        for part in parts.into_iter().take_while(|_| begins) {
            let piece = match &part {
                Some(Part::RequestBody(body)) => body.body.clone(),
                _ => Bytes::new(),
            };
            let Ok(answers) = talk.say(ProcessingRequest { part, ..ProcessingRequest::default() }) else { break };
            sent.extend_from_slice(&piece);
            for one in answers {
                let Some(Answered::RequestBody(part)) = one.part else { continue };
                if let Some(Mutation::StreamedResponse(piece)) =
                    part.response.and_then(|one| one.body_mutation).and_then(|one| one.mutation)
                {
                    passed.extend_from_slice(&piece.body);
                }
            }
        }
        let asked = talk.judge.asked.lock().unwrap().len();
        let counted = talk.counted().iter().filter(|&&reason| reason != Reason::InternalError).count();
        prop_assert!(asked + counted <= 1);
        if request_mode == Some(mode::FULL_DUPLEX_STREAMED) && talk.exchange.is_passing() && begins {
            let is_changed = asked == 1 && passed.starts_with(b"{changed}");
            prop_assert!(is_changed || passed == sent);
        }
        let Talk { exchange, budget, .. } = talk;
        drop(exchange);
        prop_assert_eq!(budget.used(), 0);
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = ProcessingRequest::decode(&bytes[..]) {
            let again = ProcessingRequest::decode(&message.encode_to_vec()[..]);
            prop_assert_eq!(again.unwrap(), message.clone());
            let _ = Talk::new(settings()).say(message);
        }
    }
}
