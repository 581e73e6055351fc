//! What one caller pays above the bare run of the same session: `network.py` names the artifact and the prompt.
//!
//! ```text
//! TURNOUT_NETWORK=folder ORT_DYLIB_PATH=libonnxruntime.so cargo bench -p turnout-benches --bench network
//! ```

use std::{env, path::PathBuf};

use ort::{session::Session, value::TensorRef};
use turnout_benches::{prompts, report};
use turnout_core::{Router, RouterConfig, tokenize::PromptTokenizer};

fn main() {
    let (Some(folder), Some(library)) = (env::var_os("TURNOUT_NETWORK"), env::var_os("ORT_DYLIB_PATH")) else {
        println!("TURNOUT_NETWORK and ORT_DYLIB_PATH are not set: nothing to measure");
        return;
    };
    let config =
        RouterConfig { threads: 1, onnxruntime_library: Some(PathBuf::from(library)), ..RouterConfig::default() };
    let router = Router::open(folder.as_ref(), &config).expect("the artifact opens");
    let prompt = &prompts()["ascii-20"];
    let ids = router.explain(prompt, None).expect("it routes").ids;
    let artifact = turnout_core::Artifact::open(folder.as_ref()).expect("it opened before");
    let manifest = artifact.manifest();
    let spec = manifest.tokenizer.as_ref().expect("a network has a tokenizer");
    let json = artifact.file(&spec.file).expect("it is listed");
    let tokenizer = PromptTokenizer::new(spec.file.as_ref(), &json, spec.max_tokens, None).expect("it opened before");

    let environment = ort::init().build().expect("ONNX Runtime is loaded");
    let graph = artifact.file(&manifest.graph).expect("it is listed");
    let mut session = Session::builder(&environment)
        .and_then(|builder| Ok(builder.with_intra_threads(1)?))
        .and_then(|mut builder| builder.commit_from_memory(&graph))
        .expect("the graph opened before");
    let input: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let mask = vec![1i64; input.len()];
    let mut bare = || {
        let shape = [1, input.len()];
        let ids = TensorRef::from_array_view((shape, input.as_slice())).expect("the shape fits");
        let mask = TensorRef::from_array_view((shape, mask.as_slice())).expect("the shape fits");
        let outputs = session.run(ort::inputs!["input_ids" => ids, "attention_mask" => mask]).expect("it runs");
        outputs[0].try_extract_tensor::<f32>().expect("float32").1[0]
    };
    let mut tokens = Vec::new();
    // In turns: a slow moment of the machine hits all of them.
    for turn in 0..5 {
        report(&format!("network/bare/{turn}"), 4, &mut bare);
        report(&format!("network/route/{turn}"), 4, || router.win_rate(prompt));
        report(&format!("network/tokenize/{turn}"), 64, || tokenizer.encode(prompt, &mut tokens));
    }
}
