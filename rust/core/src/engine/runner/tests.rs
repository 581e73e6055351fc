//! Kept tensors on the CPU provider: in the host's memory, as on a GPU without CUDA graphs, and with a counterpart whose memory is the
//! host's here, as with them.

use std::path::Path;

use proptest::prelude::*;

use super::*;

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

/// A session without kept tensors, one with tensors of the host, one with counterparts.
fn three() -> Option<[OnnxRunner; 3]> {
    let (_, plain) = session()?;
    let (artifact, mut host) = session()?;
    host.bind(&artifact, 64, None).unwrap();
    let (artifact, mut twins) = session()?;
    twins.bind(&artifact, 64, Some(Allocator::default())).unwrap();
    Some([plain, host, twins])
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
fn embeddings_come_out_of_kept_tensors_too() {
    let Some([mut plain, mut host, mut twins]) = three() else { return };
    let batch = [Request::Embedding(vec![3, 1, 2]), Request::Embedding(vec![5]), Request::Embedding(vec![])];
    let expected = rows(&mut plain, &batch);
    assert!(expected.iter().all(|row| row.len() == plain.dim));
    for runner in [&mut host, &mut twins] {
        assert_eq!(rows(runner, &batch), expected);
        // The same shape with another output has tensors of its own.
        assert_eq!(rows(runner, &scores(&[vec![3, 1, 2], vec![5], vec![]])).len(), 3);
        assert_eq!(rows(runner, &batch), expected);
    }
}

#[test]
fn a_failed_run_leaves_a_session_that_works() {
    let Some(runners) = three() else { return };
    let good = scores(&[vec![1, 2, 3], vec![4]]);
    let bad = scores(&[vec![1, u32::MAX, 3], vec![4]]);
    let mut expected = None;
    for mut runner in runners {
        let first = rows(&mut runner, &good);
        for _ in 0..3 {
            let told = runner.run(&bad.iter().collect::<Vec<_>>());
            assert!(matches!(told, Err(RunError::Failed(Error::Inference(_)))), "{told:?}");
            assert_eq!(rows(&mut runner, &good), first);
        }
        assert!(!runner.is_lost());
        assert_eq!(*expected.get_or_insert(first.clone()), first);
    }
}

#[test]
fn a_session_is_lost_where_the_run_that_captures_fails() {
    let Some([_, mut host, mut twins]) = three() else { return };
    let bad = scores(&[vec![1, u32::MAX]]);
    for (runner, lost) in [(&mut host, false), (&mut twins, true)] {
        runner.run(&[&bad[0]]).unwrap_err();
        assert_eq!(runner.is_lost(), lost);
    }
}

#[test]
fn padding_changes_no_score() {
    let Some([mut plain, mut host, mut twins]) = three() else { return };
    plain.fixed_shapes = false;
    let batch = scores(&[(1..38).collect(), vec![2], vec![3; 9]]);
    let expected = rows(&mut plain, &batch);
    for runner in [&mut host, &mut twins] {
        for (row, exact) in rows(runner, &batch).iter().flatten().zip(expected.iter().flatten()) {
            assert!((row - exact).abs() < 1e-5, "{row} is not {exact}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One session for all batches of a case: whatever came before, larger or smaller, in the same shape or another, is not seen.
    #[test]
    fn kept_tensors_give_what_fresh_ones_give(
        batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(0u32..40, 0..40), 1..10), 2..10),
    ) {
        let Some([mut plain, mut host, mut twins]) = three() else { return Ok(()) };
        for batch in batches {
            let batch = scores(&batch);
            let expected = rows(&mut plain, &batch);
            prop_assert_eq!(&rows(&mut host, &batch), &expected);
            prop_assert_eq!(&rows(&mut twins, &batch), &expected);
        }
    }

    /// Room for two sets only: others come and go, or run without kept tensors where none may go.
    #[test]
    fn sets_that_come_and_go_change_no_answer(
        lengths in prop::collection::vec(prop::collection::vec(1usize..60, 1..5), 5..15),
    ) {
        let Some(runners) = three() else { return Ok(()) };
        let [mut plain, mut host, mut twins] = runners;
        for runner in [&mut host, &mut twins] {
            runner.bound.as_mut().unwrap().keep(2);
        }
        for batch in lengths {
            let batch: Vec<Request> = batch.iter().map(|&length| Request::scores((0..length as u32 % 40).collect())).collect();
            let expected = rows(&mut plain, &batch);
            prop_assert_eq!(&rows(&mut host, &batch), &expected);
            prop_assert_eq!(&rows(&mut twins, &batch), &expected);
        }
    }
}
