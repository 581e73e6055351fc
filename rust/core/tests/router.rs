//! The router through its public API: one prompt, many prompts, embeddings, threads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Barrier},
};

use turnout_core::{Decision, Error, Router, RouterConfig};

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny")
}

fn open(config: RouterConfig) -> Router {
    Router::open(&tiny(), &config).unwrap()
}

/// Prompts of many lengths; neighbors differ.
fn prompts(count: usize) -> Vec<String> {
    let words = [
        "what",
        "is",
        "the sum",
        "of two",
        "numbers?",
        "Prove!",
        "中文",
        "café",
        "[SEP]",
        "\u{301}",
        "code in python 7",
    ];
    let word = |row: usize, at: usize| words[(row * 31 + at).wrapping_mul(2_654_435_761) / 65_536 % words.len()];
    (0..count).map(|row| (0..row % 23).map(|at| word(row, at)).collect::<Vec<_>>().join(" ")).collect()
}

const fn is_shared_between_threads<T: Send + Sync + 'static>() {}
const _: () = {
    is_shared_between_threads::<Router>();
    is_shared_between_threads::<Error>();
    is_shared_between_threads::<Decision>();
};

#[test]
fn an_opened_router_tells_what_it_is() {
    let router = open(RouterConfig::default());
    assert_eq!((router.engine(), router.device().as_str(), router.not_native_because()), ("native", "cpu", None));
    assert_eq!((router.strong(), router.weak()), ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"));
    assert_eq!((router.threshold(), router.embedding_dim()), (0.5, 12));
    assert!(router.is_microseconds());
    assert_eq!(router.artifact().hash().len(), 64);
    assert_eq!(router.artifact().manifest().models.len(), 4);
}

#[test]
fn a_decision_compares_the_win_rate_with_the_threshold() {
    let router = open(RouterConfig::default());
    let win_rate = router.win_rate("what is the sum of two numbers").unwrap();
    assert!((0.0..=1.0).contains(&win_rate));
    for threshold in [0.0, f64::from(win_rate), f64::from(win_rate.next_up()), 1.0] {
        let decision = router.route("what is the sum of two numbers", Some(threshold)).unwrap();
        let strong = f64::from(win_rate) >= threshold;
        assert_eq!(decision, Decision { strong, win_rate, threshold });
        assert_eq!(router.model(decision), if strong { router.strong() } else { router.weak() });
    }
    let own = router.route("what is the sum of two numbers", None).unwrap();
    assert_eq!(own.threshold, 0.5);
}

#[test]
fn a_batch_equals_its_prompts_one_by_one_bit_for_bit() {
    let prompts = prompts(3000);
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let one = open(RouterConfig { threads: 1, ..RouterConfig::default() });
    let expected: Vec<u32> = texts.iter().map(|prompt| one.win_rate(prompt).unwrap().to_bits()).collect();
    assert!(expected.iter().collect::<HashSet<_>>().len() > 1000, "the prompts are too much alike to tell rows apart");
    for threads in [1, 2, 3, 16] {
        let router = open(RouterConfig { threads, ..RouterConfig::default() });
        // Lengths around the share of a thread and the smallest batch that starts one.
        for count in [0, 1, 2, 63, 64, 65, 127, 128, 255, 256, 257, 383, 384, 1000, 3000] {
            let found: Vec<u32> =
                router.win_rates(&texts[..count]).unwrap().iter().map(|rate| rate.to_bits()).collect();
            assert_eq!(found, expected[..count], "{count} prompts on {threads} threads");
        }
        let decisions = router.route_batch(&texts, Some(0.4)).unwrap();
        for (prompt, decision) in texts.iter().zip(decisions) {
            assert_eq!(decision, one.route(prompt, Some(0.4)).unwrap());
        }
    }
}

#[test]
fn threads_that_share_a_router_decide_as_one_does() {
    let router = Arc::new(open(RouterConfig::default()));
    let prompts = Arc::new(prompts(300));
    let expected: Vec<Decision> = prompts.iter().map(|prompt| router.route(prompt, None).unwrap()).collect();
    let barrier = Arc::new(Barrier::new(32));
    let threads: Vec<_> = (0..32)
        .map(|shift| {
            let (router, prompts, barrier) = (router.clone(), prompts.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let shifted = prompts.iter().cycle().skip(shift * 9).take(prompts.len());
                let mut found: Vec<_> = shifted.map(|prompt| router.route(prompt, None).unwrap()).collect();
                found.rotate_right(shift * 9 % prompts.len());
                found
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
}

#[test]
fn two_routers_on_one_thread_do_not_mix_their_buffers() {
    let (platt, swapped) = (
        open(RouterConfig::default()),
        open(RouterConfig {
            strong: Some("mixtral-8x7b-instruct-v0.1".into()),
            weak: Some("gpt-4-1106-preview".into()),
            ..RouterConfig::default()
        }),
    );
    let prompts = prompts(50);
    let alone: Vec<f32> = prompts.iter().map(|prompt| platt.win_rate(prompt).unwrap()).collect();
    for (prompt, expected) in prompts.iter().zip(alone) {
        swapped.win_rate(prompt).unwrap();
        assert_eq!(platt.win_rate(prompt).unwrap(), expected);
    }
}

#[test]
fn an_embedding_from_the_router_decides_as_its_prompt() {
    let router = open(RouterConfig::default());
    let mut matrix = Vec::new();
    let mut expected = Vec::new();
    for prompt in prompts(60) {
        let embedding = router.embed(&prompt).unwrap();
        assert_eq!(embedding.len(), router.embedding_dim());
        assert_eq!(router.route_embedding(&embedding, None).unwrap(), router.route(&prompt, None).unwrap());
        expected.push(router.win_rate(&prompt).unwrap());
        matrix.extend(embedding);
    }
    assert_eq!(router.win_rates_of_embeddings(&matrix, None).unwrap(), expected);
    assert_eq!(router.win_rates_of_embeddings(&[], None).unwrap(), Vec::<f32>::new());
}

#[test]
fn an_explanation_holds_the_decision_and_what_led_to_it() {
    let router = open(RouterConfig::default());
    for prompt in prompts(40) {
        let explanation = router.explain(&prompt, Some(0.3)).unwrap();
        assert_eq!(explanation.decision, router.route(&prompt, Some(0.3)).unwrap());
        assert_eq!(explanation.tokens.len(), explanation.ids.len());
        assert_eq!(explanation.model_scores, router.model_scores(&prompt).unwrap());
        let difference = explanation.model_scores[0] - explanation.model_scores[1];
        assert!((explanation.logit - difference).abs() < 1e-5, "{} and {difference}", explanation.logit);
        assert_eq!(
            explanation.stages.iter().map(|stage| stage.name).collect::<Vec<_>>(),
            ["tokenize", "score", "decide"]
        );
    }
}

#[test]
fn what_cannot_be_routed_is_invalid_input() {
    let router = open(RouterConfig::default());
    let invalid = |result: turnout_core::Result<Decision>, expected: &str| match result {
        Err(Error::InvalidInput { message, .. }) => assert!(message.contains(expected), "{message}"),
        other => unreachable!("{other:?}"),
    };
    for threshold in [-0.1, 1.0f64.next_up(), f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        invalid(router.route("", Some(threshold)), "expected a number in 0..=1");
        invalid(router.route_embedding(&[0.0; 12], Some(threshold)), "expected a number in 0..=1");
    }
    invalid(router.route_embedding(&[0.0; 11], None), "has 11 numbers, expected 12");
    invalid(router.route_embedding(&[], None), "has 0 numbers");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut embedding = [0.0; 24];
        embedding[17] = bad;
        invalid(router.route_embedding(&embedding[12..], None), "at position 5");
        let error = router.win_rates_of_embeddings(&embedding, None).unwrap_err().to_string();
        assert!(error.contains("row 1") && error.contains("position 5"), "{error}");
    }
    assert!(matches!(router.win_rates_of_embeddings(&[0.0; 13], None), Err(Error::InvalidInput { .. })));
    // Finite numbers whose sum is none: no decision comes of them.
    let huge = std::array::from_fn::<f32, 12, _>(|at| if at % 2 == 0 { f32::MAX } else { -f32::MAX });
    match router.route_embedding(&huge, None) {
        Ok(decision) => assert!((0.0..=1.0).contains(&decision.win_rate)),
        Err(error) => assert!(matches!(error, Error::Inference { .. }), "{error:?}"),
    }
}

#[test]
fn options_that_do_not_fit_are_refused_when_opening() {
    let refused = |config: RouterConfig| Router::open(&tiny(), &config).map(drop).unwrap_err();
    let named = |strong: Option<&str>, weak: Option<&str>| RouterConfig {
        strong: strong.map(Into::into),
        weak: weak.map(Into::into),
        ..RouterConfig::default()
    };
    assert!(matches!(refused(named(Some(""), None)), Error::Config { .. }));
    assert!(matches!(refused(named(None, Some(""))), Error::Config { .. }));
    for threshold in [-0.1, 1.1, f64::NAN] {
        let config = RouterConfig { threshold: Some(threshold), ..RouterConfig::default() };
        assert!(matches!(refused(config), Error::InvalidInput { .. }));
    }
    let threads = RouterConfig { threads: usize::MAX, ..RouterConfig::default() };
    assert!(matches!(refused(threads), Error::Config { .. }));
    let cuda =
        RouterConfig { device: "cuda".parse().unwrap(), engine: "native".parse().unwrap(), ..RouterConfig::default() };
    assert!(matches!(refused(cuda), Error::Device { .. }));
    // Neither silently the CPU nor silently native.
    for config in [
        RouterConfig { device: "cuda:0".parse().unwrap(), ..RouterConfig::default() },
        RouterConfig { engine: "onnxruntime".parse().unwrap(), ..RouterConfig::default() },
    ] {
        assert!(matches!(refused(config), Error::Engine { .. }));
    }
}

#[test]
fn names_the_artifact_never_saw_are_labels_on_the_trained_pair() {
    let trained = open(RouterConfig::default());
    let other = |strong: &str, weak: &str| {
        open(RouterConfig { strong: Some(strong.into()), weak: Some(weak.into()), ..RouterConfig::default() })
    };
    let (labels, half, known) = (other("x", "y"), other("strong-other", "y"), other("strong-other", trained.weak()));
    let mut differs = false;
    for prompt in prompts(40) {
        let expected = trained.win_rate(&prompt).unwrap();
        assert_eq!(labels.win_rate(&prompt).unwrap(), expected);
        assert_eq!(half.win_rate(&prompt).unwrap(), known.win_rate(&prompt).unwrap());
        differs |= known.win_rate(&prompt).unwrap() != expected;
    }
    assert!(differs, "a known pair scores as the trained one");
    assert_eq!(labels.model(labels.route("", Some(0.0)).unwrap()), "x");
    assert_eq!(labels.model(labels.route("", Some(1.0)).unwrap()), "y");
}
