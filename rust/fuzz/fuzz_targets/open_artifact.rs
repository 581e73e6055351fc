//! A folder with one hostile file opens, or is refused with an error that a caller can act on.
//!
//! The first byte chooses the file, the rest is its content. Size and hash are corrected, so that the parser behind is reached.

#![no_main]

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use turnout_core::{Error, Router, RouterConfig};

const NAMES: [&str; 3] = ["router.json", "model.onnx", "tokenizer.json"];

struct Tiny {
    folder: PathBuf,
    files: Vec<Vec<u8>>,
    manifest: Value,
}

static TINY: LazyLock<Tiny> = LazyLock::new(|| {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny");
    let files: Vec<Vec<u8>> = NAMES.iter().map(|name| std::fs::read(source.join(name)).unwrap()).collect();
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let folder = place.join(format!("turnout-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    Tiny { folder, manifest: serde_json::from_slice(&files[0]).unwrap(), files }
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, content)) = input.split_first() else { return };
    let chosen = usize::from(choice) % NAMES.len();
    let tiny = &*TINY;
    for (row, name) in NAMES.iter().enumerate() {
        let bytes = if row == chosen { content } else { &tiny.files[row] };
        std::fs::write(tiny.folder.join(name), bytes).unwrap();
    }
    if chosen > 0 {
        let mut manifest = tiny.manifest.clone();
        manifest["files"][NAMES[chosen]] = json!({"bytes": content.len(), "sha256": hex::encode(Sha256::digest(content))});
        std::fs::write(tiny.folder.join("router.json"), manifest.to_string()).unwrap();
    }
    match Router::open(&tiny.folder, &RouterConfig::default()) {
        Ok(router) => {
            for prompt in ["", "what is the sum of [SEP] 中文?", "e\u{301}\u{10ffff} \u{200b}"] {
                match router.explain(prompt, None) {
                    Ok(explanation) => assert!((0.0..=1.0).contains(&explanation.decision.win_rate)),
                    Err(error) => assert!(matches!(error, Error::Inference { .. }), "{error}"),
                }
            }
        }
        Err(error) => assert!(matches!(error, Error::Artifact { .. } | Error::Engine { .. }), "{error}"),
    }
});
