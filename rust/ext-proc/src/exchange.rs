//! The conversation with a gateway about one HTTP request.

use std::{sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    budget::{ByteBudget, Held},
    decide::{Decide, Header, Reason, Request, Verdict},
    messages::{
        Answered, BodyMutation, CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HttpHeaders, Mutation,
        OVERWRITE, Part, PartResponse, ProcessingMode, ProcessingRequest, ProcessingResponse, SKIP,
        StreamedBodyResponse, TrailersResponse, mode,
    },
    settings::{Settings, UNDECIDED},
};

/// Bytes of one piece of a streamed body; Envoy accepts less than 64 KiB.
const PIECE: usize = 60 * 1024;

/// The gateway sent what the protocol does not have at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolError;

/// Changes of a request.
#[derive(Debug, Default)]
struct Changes {
    headers: Vec<Header>,
    /// `None` for the body that came.
    body: Option<Bytes>,
}

/// A wait for the decision, which ends early where the gateway gives up: the request is counted then, unless it was answered just before.
struct Waiting<'a> {
    answered: oneshot::Receiver<Verdict>,
    decide: &'a dyn Decide,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // From here on nobody answers.
        self.answered.close();
        if !self.is_over && self.answered.try_recv().is_err() {
            self.decide.unchanged(Reason::GatewayGone);
        }
    }
}

/// Answers the messages about one request.
///
/// In the mode `BUFFERED` the body comes in one message. In `FULL_DUPLEX_STREAMED` it comes in pieces, all of which are held with the
/// headers until the decision. In `STREAMED` and `BUFFERED_PARTIAL` only a body that comes in one piece is read: pieces that were passed
/// on cannot be changed any more, and pieces that were held back would be lost with trailers.
///
/// The HTTP answer passes unchanged. The first answer asks the gateway not to send it, nor a body that is not read: a gateway that allows
/// its mode to be overridden then has no more messages for the exchange, and ends it before the model has answered. The gateway ends the
/// exchange: not every gateway goes on with a request whose exchange was closed.
pub struct Exchange {
    settings: Arc<Settings>,
    decide: Arc<dyn Decide>,
    mode: Option<i32>,
    is_duplex: bool,
    is_answer_duplex: bool,
    has_begun: bool,
    is_passing: bool,
    /// Which of the paths it has.
    path: usize,
    headers: Vec<Header>,
    has_length: bool,
    /// Headers of the answers that the client sent.
    forged: Vec<Bytes>,
    /// What came of the body. Pieces are put together as they come: each of them apart would cost many times the bytes that are counted.
    body: BytesMut,
    held: Held,
}

impl Exchange {
    /// The exchange before its first message.
    pub fn new(settings: Arc<Settings>, budget: Arc<ByteBudget>, decide: Arc<dyn Decide>) -> Self {
        Self {
            settings,
            decide,
            mode: None,
            is_duplex: false,
            is_answer_duplex: false,
            has_begun: false,
            is_passing: false,
            path: 0,
            headers: Vec::new(),
            has_length: false,
            forged: Vec::new(),
            body: BytesMut::new(),
            held: Held::new(budget),
        }
    }

    /// Whether what comes of the request goes on as it comes: after the decision, or without one.
    pub fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// Whether a request waits for the rest of its body, which comes in pieces.
    pub fn is_holding(&self) -> bool {
        self.has_begun && self.is_duplex && !self.is_passing
    }

    /// The answers to one message, after those to earlier ones that waited for it.
    pub async fn answer(&mut self, message: ProcessingRequest) -> Result<Vec<ProcessingResponse>, ProtocolError> {
        let part = message.part.ok_or(ProtocolError)?;
        if matches!(part, Part::RequestHeaders(_)) == self.has_begun {
            return Err(ProtocolError);
        }
        Ok(match part {
            Part::RequestHeaders(headers) => {
                if let Some(protocol) = message.protocol_config {
                    self.mode = Some(protocol.request_body_mode);
                    self.is_duplex = protocol.request_body_mode == mode::FULL_DUPLEX_STREAMED;
                    self.is_answer_duplex = protocol.response_body_mode == mode::FULL_DUPLEX_STREAMED;
                }
                self.begin(headers)
            }
            Part::RequestBody(body) => self.body(body.body, body.end_of_stream, false).await,
            Part::RequestTrailers(_) => {
                let mut answers =
                    if self.is_holding() { self.body(Bytes::new(), false, true).await } else { Vec::new() };
                answers.push(answer(Answered::RequestTrailers(TrailersResponse {})));
                answers
            }
            Part::ResponseBody(body) if self.is_answer_duplex => {
                streamed(Answered::ResponseBody, body.body, body.end_of_stream)
            }
            Part::ResponseHeaders(_) => vec![answer(Answered::ResponseHeaders(PartResponse::default()))],
            Part::ResponseBody(_) => vec![answer(Answered::ResponseBody(PartResponse::default()))],
            Part::ResponseTrailers(_) => vec![answer(Answered::ResponseTrailers(TrailersResponse {}))],
        })
    }

    /// The answers for a request whose body takes too long: it goes on without a decision, as far as it came.
    pub fn give_up(&mut self) -> Vec<ProcessingResponse> {
        self.pass();
        let body = self.release();
        let changes = self.unchanged(Reason::BodyTimeout);
        let mut answers = vec![self.with_headers(changes)];
        if !body.is_empty() {
            answers.extend(streamed(Answered::RequestBody, body, false));
        }
        answers
    }

    fn begin(&mut self, message: HttpHeaders) -> Vec<ProcessingResponse> {
        self.has_begun = true;
        let sent = message.headers.unwrap_or_default().headers;
        self.headers = sent.into_iter().map(|one| (lower(one.key), value_of(one.raw_value, one.value))).collect();
        self.has_length = self.header("content-length").is_some();
        let names = [self.settings.model_header.clone(), Bytes::from_static(UNDECIDED.as_bytes())];
        self.forged = names.into_iter().filter(|name| self.headers.iter().any(|(key, _)| key == name)).collect();
        let changes = match self.undecidable(message.end_of_stream) {
            Some(reason) => {
                self.pass();
                self.unchanged(reason)
            }
            None if self.is_duplex => return Vec::new(),
            None => Changes::default(),
        };
        let mut first = self.with_headers(changes);
        // Without the mode of the gateway, an override might turn on what it does not send; one of full duplex needs trailers too.
        if let (Some(mode), false, false) = (self.mode, self.is_duplex, self.is_answer_duplex) {
            let request_body_mode = if self.is_passing { mode::NONE } else { mode };
            let skipped = ProcessingMode { response_header_mode: SKIP, request_body_mode, response_body_mode: 0 };
            first.mode_override = Some(skipped);
        }
        vec![first]
    }

    /// Why nothing is decided for a request, by its headers. Otherwise its path is known then.
    fn undecidable(&mut self, is_empty: bool) -> Option<Reason> {
        let Some(path) = self.decided_path() else { return Some(Reason::OtherPath) };
        self.path = path;
        if is_empty || self.mode == Some(mode::NONE) {
            return Some(Reason::NoBody);
        }
        let encoding = self.header("content-encoding").unwrap_or(b"identity");
        if !encoding.trim_ascii().eq_ignore_ascii_case(b"identity") {
            return Some(Reason::InvalidContentEncoding);
        }
        // Headers go on before the body comes.
        (self.mode == Some(mode::STREAMED) && !self.settings.rewrites_body).then_some(Reason::Streamed)
    }

    /// What the body is written in, by the end of the path: gateways put prefixes before it.
    fn decided_path(&self) -> Option<usize> {
        if self.header(":method") != Some(b"POST") {
            return None;
        }
        let path = self.header(":path")?.split(|&byte| byte == b'?').next()?;
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        self.settings.paths.iter().position(|one| path[..end].ends_with(one.as_bytes()))
    }

    /// The first header under a name.
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| &value[..])
    }

    /// Answers a piece of the body. The body ends with the request, or before its trailers (`is_last`).
    async fn body(&mut self, piece: Bytes, is_end: bool, is_last: bool) -> Vec<ProcessingResponse> {
        if self.is_passing {
            return if self.is_duplex {
                streamed(Answered::RequestBody, piece, is_end)
            } else {
                vec![answer(Answered::RequestBody(PartResponse::default()))]
            };
        }
        let refused = self.hold(piece.len());
        self.append(piece);
        let is_whole = is_end || is_last || self.mode == Some(mode::BUFFERED);
        let (changes, body) = match refused {
            Some(reason) => (self.unchanged(reason), self.release()),
            None if is_whole => self.decided().await,
            None if self.is_duplex => return Vec::new(),
            None => (self.unchanged(Reason::Streamed), self.release()),
        };
        self.pass();
        let changed = changes.body.clone();
        if self.is_duplex {
            let mut answers = vec![self.with_headers(changes)];
            answers.extend(streamed(Answered::RequestBody, changed.unwrap_or(body), is_end));
            return answers;
        }
        let mut response = self.changes(changes);
        response.body_mutation = changed.map(|body| BodyMutation { mutation: Some(Mutation::Body(body)) });
        vec![answer(Answered::RequestBody(PartResponse { response: Some(response) }))]
    }

    /// Counts bytes that are held; why they may not be.
    fn hold(&mut self, size: usize) -> Option<Reason> {
        if self.held.size().saturating_add(size) > self.settings.max_body_bytes.get() {
            return Some(Reason::BodyTooLarge);
        }
        (!self.held.add(size)).then_some(Reason::Overloaded)
    }

    /// Waits for the decision about the whole body, which is returned too.
    async fn decided(&mut self) -> (Changes, Bytes) {
        let held = self.held.hand_over();
        let body = self.release();
        let (answer, answered) = oneshot::channel();
        let headers = std::mem::take(&mut self.headers);
        let came = Instant::now();
        let mut waiting = Waiting { answered, decide: &*self.decide, is_over: false };
        self.decide.decide(Request { path: self.path, headers, body: body.clone(), came, held, answer });
        let answered = timeout(self.settings.patience, &mut waiting.answered).await;
        waiting.is_over = true;
        drop(waiting);
        let changes = match answered {
            Ok(Ok(Verdict::Decided { model, body })) => {
                Changes { headers: vec![(self.settings.model_header.clone(), model)], body }
            }
            Ok(Ok(Verdict::Unchanged(reason))) => because(reason),
            Ok(Err(_)) | Err(_) => self.unchanged(Reason::InternalError),
        };
        (changes, body)
    }

    /// Counts a request that goes on as it came.
    fn unchanged(&self, reason: Reason) -> Changes {
        self.decide.unchanged(reason);
        if reason == Reason::OtherPath {
            return Changes::default(); // Nothing to report.
        }
        because(Bytes::from_static(reason.name().as_bytes()))
    }

    /// From here on all goes on as it comes. An exchange may wait for the HTTP answer for minutes: it keeps nothing meanwhile.
    fn pass(&mut self) {
        self.is_passing = true;
        self.headers = Vec::new();
    }

    fn append(&mut self, piece: Bytes) {
        if self.body.is_empty() {
            // Most bodies come in one piece, which nobody else has: it is not copied.
            self.body = piece.into();
        } else {
            self.body.extend_from_slice(&piece);
        }
    }

    /// Releases what is held; all that came of the body.
    fn release(&mut self) -> Bytes {
        drop(self.held.hand_over());
        std::mem::take(&mut self.body).freeze()
    }

    fn with_headers(&self, changes: Changes) -> ProcessingResponse {
        answer(Answered::RequestHeaders(PartResponse { response: Some(self.changes(changes)) }))
    }

    /// The changes of headers. Those that the client sent under the same names are removed, and no route is kept that they led to.
    fn changes(&self, changes: Changes) -> CommonResponse {
        let Changes { mut headers, body } = changes;
        if let (Some(body), true) = (body, self.has_length) {
            headers.push((Bytes::from_static(b"content-length"), body.len().to_string().into()));
        }
        let is_set = |name: &Bytes| headers.iter().any(|(set, _)| set == name);
        let remove_headers: Vec<Bytes> = self.forged.iter().filter(|name| !is_set(name)).cloned().collect();
        if headers.is_empty() && remove_headers.is_empty() {
            return CommonResponse::default();
        }
        let set = |(key, raw_value)| HeaderValueOption {
            header: Some(HeaderValue { key, value: Bytes::new(), raw_value }),
            append_action: OVERWRITE,
        };
        let set_headers = headers.into_iter().map(set).collect();
        CommonResponse {
            header_mutation: Some(HeaderMutation { set_headers, remove_headers }),
            body_mutation: None,
            clear_route_cache: true,
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, into: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without headers and body, which are the client's.
        into.debug_struct("Exchange").field("mode", &self.mode).field("is_passing", &self.is_passing).finish()
    }
}

fn because(reason: Bytes) -> Changes {
    Changes { headers: vec![(Bytes::from_static(UNDECIDED.as_bytes()), reason)], body: None }
}

fn answer(part: Answered) -> ProcessingResponse {
    ProcessingResponse { part: Some(part), mode_override: None }
}

fn lower(name: Bytes) -> Bytes {
    if name.iter().any(u8::is_ascii_uppercase) { name.to_ascii_lowercase().into() } else { name }
}

fn value_of(raw: Bytes, text: Bytes) -> Bytes {
    if raw.is_empty() { text } else { raw }
}

/// A body in pieces, the last one with the end of the request or answer.
fn streamed(part: fn(PartResponse) -> Answered, mut body: Bytes, is_end: bool) -> Vec<ProcessingResponse> {
    let mut answers = Vec::with_capacity(body.len() / PIECE + 1);
    loop {
        let piece = body.split_to(body.len().min(PIECE));
        let streamed = StreamedBodyResponse { body: piece, end_of_stream: is_end && body.is_empty() };
        let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) });
        let response = Some(CommonResponse { body_mutation, ..CommonResponse::default() });
        answers.push(answer(part(PartResponse { response })));
        if body.is_empty() {
            return answers;
        }
    }
}
