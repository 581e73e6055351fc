//! Hostile artifacts must not make the core ask for much memory. One test in a process of its own: the peak is the process's.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, clippy::panic, reason = "the folder has more to it than this test needs")]

mod folder;

use folder::Folder;
use serde_json::{Value, json};
use turnout_core::Artifact;

/// Peak of the resident memory in KiB since the last reset.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Resident and peak memory are the same from here on.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[test]
fn no_hostile_folder_makes_a_large_allocation() {
    let many = |value: &str, count: usize| format!("[{value}{}]", format!(",{value}").repeat(count - 1));
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps}).to_string();
    let double = json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": "aa"});
    let byte_level = json!({"type": "ByteLevel"});
    let special = json!({"SpecialToken": {"id": "[S]", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let template = |single: String, ids: String| {
        format!(
            r#"{{"type": "TemplateProcessing", "single": {single}, "pair": [],
                "special_tokens": {{"[S]": {{"id": "[S]", "ids": {ids}, "tokens": ["[S]"]}}}}}}"#
        )
    };
    let fixed = json!({"strategy": {"Fixed": 1u64 << 40}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                       "pad_type_id": 0, "pad_token": "[PAD]"});
    let tokenizers = [
        // Each makes of one letter four million.
        ("normalizer", sequence(vec![double; 22])),
        ("normalizer", sequence(vec![byte_level; 22])),
        // The length field of a character map asks for 8 GB.
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}).to_string()),
        ("normalizer", format!(r#"{{"type": "Lowercase", "x": {}}}"#, many("[]", 2_000_000))),
        ("post_processor", template(many(&text.to_string(), 500_000), "[2]".into())),
        ("post_processor", template(many(&special.to_string(), 4000), many("2", 2_000_000))),
        ("decoder", many("0", 4_000_000)),
        ("padding", fixed.to_string()),
    ];
    let tokenizers = tokenizers.map(|(part, text)| {
        let copy = Folder::new();
        copy.edit_tokenizer(|tokenizer| tokenizer[part] = json!("here"));
        let edited = String::from_utf8(copy.read("tokenizer.json")).unwrap().replace("\"here\"", &text);
        copy.replace("tokenizer.json", edited.as_bytes());
        copy
    });
    let huge_shapes = ["token_table", "row_scale", "count_table", "projection", "model_heads"].map(|name| {
        let copy = Folder::new();
        copy.edit_graph(|graph| {
            graph.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().dims = vec![10_000_000, 16_384];
        });
        copy
    });
    let sparse = Folder::new();
    let file = std::fs::OpenOptions::new().write(true).open(sparse.path().join("model.onnx")).unwrap();
    file.set_len(1 << 40).unwrap();
    let many_files = Folder::new();
    std::fs::File::create(many_files.path().join("large")).unwrap().set_len(1 << 30).unwrap();
    let entry = json!({"bytes": 1u64 << 30, "sha256": "0".repeat(64)});
    many_files.edit(|manifest| manifest["files"]["large"] = entry);
    let members: String = (0..200_000).map(|row| format!("\"{row}\":0,")).collect();
    let provenances = [many("0", 2_000_000), many("[]", 1_000_000), format!("{{{members}\"\":0}}"), many("0", 500_000)];
    let manifests = provenances.map(|provenance| {
        let copy = Folder::new();
        copy.edit(|manifest| manifest["provenance"] = json!("here"));
        let edited = String::from_utf8(copy.read("router.json")).unwrap().replace("\"here\"", &provenance);
        copy.write("router.json", edited.as_bytes());
        copy
    });
    // As long as a manifest may be: bounded, too.
    Artifact::open(manifests[3].path()).unwrap();

    Folder::new().open().unwrap().route("a warm start", None).unwrap();
    reset_peak();
    let before = peak_kib();
    for copy in tokenizers.iter().chain(&huge_shapes).chain(&manifests).chain([&sparse, &many_files]) {
        let peak = peak_kib();
        if let Ok(router) = copy.open() {
            router.route("aé", None).unwrap();
        }
        let grown = peak_kib() - peak;
        assert!(grown < 48 * 1024, "{grown} KiB for {}", copy.path().display());
    }
    let grown = peak_kib() - before;
    assert!(grown < 64 * 1024, "{grown} KiB for all of them");
}
