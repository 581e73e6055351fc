//! Rounded shapes, as on a GPU, on the CPU provider.

use std::path::Path;

use super::*;
use crate::config::Device;

/// The tiny artifact in ONNX Runtime, with shapes rounded up as on a GPU. Nothing where no ONNX Runtime is named.
fn session() -> Option<(Artifact, OnnxRunner)> {
    let Some(library) = std::env::var_os("ORT_DYLIB_PATH") else {
        eprintln!("skipped: ORT_DYLIB_PATH names no ONNX Runtime");
        return None;
    };
    let artifact = Artifact::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny")).unwrap();
    let opening = Opening {
        config: RouterConfig { onnxruntime_library: Some(library.into()), threads: 1, ..RouterConfig::default() },
        output: "model_scores",
        width: artifact.manifest().models.len(),
        pair: (0, 1),
        not_native_because: "a test asks for it".into(),
    };
    let mut runner = OnnxRunner::open(&artifact, &opening, Place { device: Device::Cpu, threads: 1 }).unwrap();
    runner.fixed_shapes = true;
    Some((artifact, runner))
}

fn rows(runner: &mut OnnxRunner, batch: &[Request]) -> Vec<Row> {
    runner.run(&batch.iter().collect::<Vec<_>>()).unwrap()
}

fn scores(prompts: &[Vec<u32>]) -> Vec<Request> {
    prompts.iter().cloned().map(Request::scores).collect()
}

#[test]
fn shapes_are_fixed_only_where_asked() {
    let Some((_, mut runner)) = session() else { return };
    let prompts = [vec![1; 37], vec![], vec![2], vec![3; 4], vec![4]];
    let batch: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    assert_eq!(runner.shape(Content::Tokens(&batch)), [8, 48]);
    assert_eq!(runner.shape(Content::Tokens(&batch[1..2])), [1, 16]);
    assert_eq!(runner.shape(Content::Embeddings(&[&[0.0], &[0.0], &[0.0]])), [4, runner.dim]);
    runner.max_tokens = 40;
    assert_eq!(runner.shape(Content::Tokens(&batch)), [8, 40], "padding within the network's positions");
    runner.fixed_shapes = false;
    assert_eq!(runner.shape(Content::Tokens(&batch)), [5, 37]);
    assert_eq!(runner.shape(Content::Tokens(&batch[1..2])), [1, 1]);
}

#[test]
fn a_failed_run_leaves_a_session_that_works() {
    let Some((_, mut runner)) = session() else { return };
    let good = scores(&[vec![1, 2, 3], vec![4]]);
    let bad = scores(&[vec![1, u32::MAX, 3], vec![4]]);
    let first = rows(&mut runner, &good);
    for _ in 0..3 {
        let told = runner.run(&bad.iter().collect::<Vec<_>>());
        assert!(matches!(told, Err(RunError::Failed(Error::Inference { .. }))), "{told:?}");
        assert_eq!(rows(&mut runner, &good), first);
    }
}

#[test]
fn padding_changes_no_score() {
    let Some((_, mut rounded)) = session() else { return };
    let Some((_, mut exact)) = session() else { return };
    exact.fixed_shapes = false;
    let batch = scores(&[(1..38).collect(), vec![2], vec![3; 9]]);
    for (row, expected) in rows(&mut rounded, &batch).iter().flatten().zip(rows(&mut exact, &batch).iter().flatten()) {
        assert!((row - expected).abs() < 1e-5, "{row} is not {expected}");
    }
}
