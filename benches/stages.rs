//! The stages of one decision, each alone.

use turnout_benches::{artifact, prompts, report};
use turnout_core::{Artifact, onnx::Graph, tokenize::PromptTokenizer};

fn main() {
    let artifact = Artifact::open(&artifact()).expect("the shipped router opens");
    let spec = artifact.manifest().tokenizer.clone().expect("the shipped router has a tokenizer");
    let json = artifact.file(&spec.file).expect("it is listed");
    let path = artifact.path().join(&spec.file);
    let tokenizer = PromptTokenizer::new(&path, json.clone(), spec.max_tokens, None).expect("it parses");
    let graph = artifact.file(artifact.graph().expect("it has a graph")).expect("it is listed");
    let (mut ids, mut truth) = (Vec::new(), Vec::new());
    for (name, prompt) in prompts() {
        tokenizer.encode(&prompt, &mut ids).expect("it tokenizes");
        tokenizer.encode_slowly(&prompt, &mut truth).expect("it tokenizes");
        assert_eq!(ids, truth, "{name}");
        report(&format!("tokenize/fast/{name}"), 16, || tokenizer.encode(&prompt, &mut ids));
        report(&format!("tokenize/crate/{name}"), 1, || tokenizer.encode_slowly(&prompt, &mut truth));
    }
    report("open/graph", 1, || Graph::parse(&graph).map(|graph| graph.nodes.len()));
    report("open/tokenizer", 1, || PromptTokenizer::new(&path, json.clone(), spec.max_tokens, None).is_ok());
    report("open/artifact", 1, || Artifact::open(artifact.path()).is_ok());
}
