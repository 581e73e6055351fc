//! Messages of a gateway, each behind a byte with its length: answered or refused, and no byte of a body stays counted.

#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use turnout_ext_proc::{
    ByteBudget, Decide, Exchange, Limit, Reason, Request, Settings, Verdict, messages::ProcessingRequest,
};

/// Lets a body stay, or be another one, by its length.
struct Judge;

impl Decide for Judge {
    fn decide(&self, request: Request) {
        let verdict = match request.body.len() % 3 {
            0 => Verdict::Unchanged("invalid_json".into()),
            1 => Verdict::Decided { model: "big".into(), body: None },
            _ => Verdict::Decided { model: "big".into(), body: Some("{}".into()) },
        };
        request.answer(verdict);
    }

    fn unchanged(&self, _: Reason) {}
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let settings = Settings {
        paths: vec!["/v1/messages".into(), "".into()],
        model_header: "x-model".into(),
        rewrites_body: true,
        max_exchanges: 1,
        max_message_bytes: 1000,
        max_body_bytes: Limit::new(100),
        body_timeout: Duration::from_secs(1),
        patience: Duration::from_secs(1),
    };
    let budget = Arc::new(ByteBudget::new(90));
    let mut exchange = Exchange::new(Arc::new(settings), Arc::clone(&budget), Arc::new(Judge));
    let mut rest = bytes;
    while let Some((&length, more)) = rest.split_first() {
        let (content, left) = more.split_at(more.len().min(length.into()));
        rest = left;
        let Ok(message) = ProcessingRequest::decode(content) else { break };
        if RUNTIME.block_on(exchange.answer(message)).is_err() {
            break;
        }
        assert!(exchange.is_holding() || budget.used() == 0);
    }
    if exchange.is_holding() {
        assert!(!exchange.give_up().is_empty());
    }
    drop(exchange);
    assert_eq!(budget.used(), 0);
});
