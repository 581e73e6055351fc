//! What one caller pays above the bare run of the same session.
//!
//! ```text
//! export TURNOUT_NETWORK=folder ORT_DYLIB_PATH=libonnxruntime.so
//! cargo bench -p turnout-benches --bench network              # tokenizer, and whole decisions
//! TURNOUT_BARE=1 cargo bench -p turnout-benches --bench network
//! ```
//!
//! A process can hold one ONNX Runtime environment, so the two are two processes: run them in turns and compare medians.

use std::{
    env,
    path::{Path, PathBuf},
};

use ort::{session::Session, value::TensorRef};
use turnout_benches::{prompts, report};
use turnout_core::{Artifact, Router, RouterConfig, tokenize::PromptTokenizer};

fn main() {
    let (Some(folder), Some(library)) = (env::var_os("TURNOUT_NETWORK"), env::var_os("ORT_DYLIB_PATH")) else {
        println!("TURNOUT_NETWORK and ORT_DYLIB_PATH are not set: nothing to measure");
        return;
    };
    let artifact = Artifact::open(folder.as_ref()).expect("the artifact opens");
    let manifest = artifact.manifest();
    let spec = manifest.tokenizer.as_ref().expect("a network has a tokenizer");
    let json = artifact.file(&spec.file).expect("it is listed");
    let tokenizer = PromptTokenizer::new(spec.file.as_ref(), json, spec.max_tokens, None).expect("it can be read");
    let prompt = &prompts()["ascii-20"];
    let mut ids = Vec::new();
    tokenizer.encode(prompt, &mut ids).expect("the prompt has tokens");
    if env::var_os("TURNOUT_BARE").is_some() {
        return bare(&artifact, &ids, library.as_ref());
    }
    let config =
        RouterConfig { threads: 1, onnxruntime_library: Some(PathBuf::from(library)), ..RouterConfig::default() };
    let router = Router::open(folder.as_ref(), &config).expect("the artifact opens");
    assert_eq!(router.explain(prompt, None).expect("it routes").ids, ids);
    report("network/tokenize", 64, || tokenizer.encode(prompt, &mut ids));
    report("network/route", 4, || router.win_rate(prompt));
}

/// The session alone, on tensors that are there.
fn bare(artifact: &Artifact, ids: &[u32], library: &Path) {
    let builder = ort::init_from(library).expect("ONNX Runtime opens");
    let environment = builder.with_telemetry(false).build().expect("ONNX Runtime starts");
    // By its path, so that ONNX Runtime finds weights that lie beside it.
    let graph = artifact.path().join(artifact.graph().expect("it has a graph"));
    let mut session = Session::builder(&environment)
        .and_then(|builder| Ok(builder.with_intra_threads(1)?))
        .and_then(|mut builder| builder.commit_from_file(&graph))
        .expect("ONNX Runtime takes the graph");
    let input: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let mask = vec![1i64; input.len()];
    let shape = [1, input.len()];
    report("network/bare", 4, || {
        let ids = TensorRef::from_array_view((shape, input.as_slice())).expect("the shape fits");
        let mask = TensorRef::from_array_view((shape, mask.as_slice())).expect("the shape fits");
        let outputs = session.run(ort::inputs!["input_ids" => ids, "attention_mask" => mask]).expect("it runs");
        outputs[0].try_extract_tensor::<f32>().expect("float32").1[0]
    });
}
