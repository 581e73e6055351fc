//! Damaged and hostile artifact folders: an [`Error::Artifact`] that names the file and the field, never a panic.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod folder;

use std::{fs, os::unix::fs::symlink, process::Command};

use folder::{Folder, encode, field, integer};
use serde_json::{Value, json};
use turnout_core::{
    Artifact, Error, Router, RouterConfig,
    onnx::{DataType, Graph},
};

#[test]
fn the_copy_and_the_reencoded_graph_decide_as_the_original() {
    let original = Router::open(&folder::tiny(), &RouterConfig::default()).unwrap();
    let copy = Folder::new();
    copy.edit_graph(|_| {});
    let copied = copy.open().unwrap();
    assert_eq!(copied.engine(), "native");
    for prompt in ["", "what is the sum", "中文 é"] {
        assert_eq!(copied.route(prompt, None).unwrap(), original.route(prompt, None).unwrap());
    }
    assert_ne!(copied.artifact().hash(), original.artifact().hash());
}

// The manifest.

/// Places of all values below `value`, as JSON pointers; provenance may be anything.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    if at == "/provenance" {
        return;
    }
    if !at.is_empty() {
        into.push(at.to_owned());
    }
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), into)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(row, value)| pointers(value, &format!("{at}/{row}"), into))
        }
        _ => {}
    }
}

#[test]
fn every_field_of_the_manifest_is_required() {
    let original = Folder::new().manifest();
    let mut all = vec!["/provenance".to_owned()];
    pointers(&original, "", &mut all);
    assert!(all.len() > 30, "{all:?}");
    for pointer in all {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let copy = Folder::new();
        copy.edit(|manifest| match manifest.pointer_mut(parent).unwrap() {
            Value::Object(object) => drop(object.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().unwrap())),
            _ => unreachable!(),
        });
        let (file, name, message) = copy.refused();
        assert_eq!(file, "router.json", "{pointer}");
        let last = if key.parse::<usize>().is_ok() { "model" } else { key };
        assert!(name.contains(last) || message.contains(last), "{pointer}: {name}: {message}");
    }
}

#[test]
fn every_field_of_the_manifest_has_one_type() {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!("\u{0}"),
        json!([]),
        json!({}),
        json!([[]]),
    ];
    let mut all = Vec::new();
    pointers(&Folder::new().manifest(), "", &mut all);
    for pointer in all {
        for value in &wrong {
            let copy = Folder::new();
            copy.edit(|manifest| *manifest.pointer_mut(&pointer).unwrap() = value.clone());
            let allowed = match pointer.as_str() {
                "/name" | "/models/2" | "/models/3" => value.is_string(),
                "/thresholds/quantiles" => *value == json!([]),
                "/calibration/slope" => value.as_f64() == Some(1.5),
                "/calibration/intercept" => value.as_f64().is_some_and(|number| number < 1e38),
                _ => false,
            };
            if allowed {
                copy.open().unwrap();
            } else {
                let (file, ..) = copy.refused();
                assert!(file == "router.json" || pointer.starts_with("/files/"), "{pointer}: {file}");
            }
        }
    }
}

#[test]
fn fields_out_of_range_are_refused_by_name() {
    let many: Vec<String> = (0..5000).map(|row| format!("model-{row}")).collect();
    let cases = [
        ("/format_version", json!(0), "format_version"),
        ("/format_version", json!(3), "format_version"),
        ("/format_version", json!(u64::MAX), "format_version"),
        ("/kind", json!("elm"), "kind"),
        ("/models", json!(["a"]), "models"),
        ("/models", json!(["a", "a"]), "models"),
        ("/models", json!(["", "a"]), "models"),
        ("/models", json!(many), "models"),
        ("/pair/strong", json!("nobody"), "pair.strong"),
        ("/pair/weak", json!(""), "pair.weak"),
        ("/encoder/dim", json!(0), "encoder.dim"),
        ("/encoder/dim", json!(13), "encoder.dim"),
        ("/models", json!(["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "c", "d", "e"]), "models"),
        ("/models", json!(["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "c"]), "models"),
        ("/encoder/dim", json!(16_385), "encoder.dim"),
        ("/encoder/dim", json!(u64::MAX), "encoder.dim"),
        ("/encoder", json!({"kind": "external", "dim": 12}), "tokenizer"),
        ("/tokenizer", json!(null), "tokenizer"),
        ("/tokenizer/max_tokens", json!(0), "tokenizer.max_tokens"),
        ("/tokenizer/max_tokens", json!(8193), "tokenizer.max_tokens"),
        ("/tokenizer/max_tokens", json!(u64::MAX), "tokenizer.max_tokens"),
        ("/tokenizer/file", json!("other.json"), "tokenizer.file"),
        ("/graph", json!("other.onnx"), "graph"),
        ("/calibration/slope", json!(0), "calibration"),
        ("/calibration/slope", json!(-1.0), "calibration"),
        ("/calibration/slope", json!(1e39), "calibration"),
        ("/calibration/intercept", json!(1e39), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [0.1], "y": [0.1]}), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [0.1, 0.2], "y": [0.1]}), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [0.2, 0.2], "y": [0.1, 0.2]}), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [0.1, 0.2], "y": [0.2, 0.1]}), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [0.1, 1.2], "y": [0.1, 0.2]}), "calibration"),
        ("/calibration", json!({"kind": "isotonic", "x": [], "y": []}), "calibration"),
        ("/thresholds/default", json!(-0.1), "thresholds.default"),
        ("/thresholds/default", json!(1.1), "thresholds.default"),
        ("/thresholds/quantiles", json!([0.5]), "thresholds.quantiles"),
        ("/thresholds/quantiles", json!([0.5, 0.4]), "thresholds.quantiles"),
        ("/thresholds/quantiles", json!([0.5, 1.5]), "thresholds.quantiles"),
        ("/files/model.onnx/sha256", json!("abc"), "files"),
        ("/files/model.onnx/sha256", json!("A".repeat(64)), "files"),
        ("/files/model.onnx/sha256", json!("é".repeat(32)), "files"),
        ("/files/model.onnx/bytes", json!(u64::MAX), "files"),
        ("/files/model.onnx/bytes", json!((1u64 << 30) + 1), "files"),
    ];
    for (pointer, value, expected) in cases {
        let copy = Folder::new();
        copy.edit(|manifest| *manifest.pointer_mut(pointer).unwrap() = value.clone());
        let (file, name, message) = copy.refused();
        assert_eq!((file.as_str(), name.as_str()), ("router.json", expected), "{pointer} = {value}: {message}");
    }
}

#[test]
fn sections_belong_to_their_kinds() {
    let generation = || json!({"before": "a", "after": "b", "score_tokens": [1, 2, 3, 4, 5], "end_tokens": [6], "max_new_tokens": 6});
    let edited = |pointer: &str, value: Value| {
        let mut section = generation();
        *section.pointer_mut(pointer).unwrap() = value;
        section
    };
    let cases = [
        ("mf", "labels", json!(["strong", "weak"]), "labels"),
        ("mf", "generation", generation(), "generation"),
        ("bert", "generation", generation(), "generation"),
        ("bert", "graph_precision", json!("float8"), "json"),
        ("bert", "labels", json!([]), "labels"),
        ("bert", "labels", json!(["weak"]), "labels"),
        ("bert", "labels", json!(["strong", "tie"]), "labels"),
        ("bert", "labels", json!(["strong", "strong", "weak"]), "labels"),
        ("bert", "labels", json!(["strong", "best"]), "json"),
        // The tiny artifact has more than the two models of its pair.
        ("bert", "labels", json!(["strong", "weak"]), "models"),
        ("causal_llm", "labels", json!(["strong", "weak"]), "labels"),
        ("causal_llm", "generation", json!(null), "generation"),
        ("causal_llm", "generation", generation(), "models"),
        ("causal_llm", "generation", edited("/score_tokens", json!([1, 2, 3, 4, 4])), "generation.score_tokens"),
        ("causal_llm", "generation", edited("/score_tokens", json!([1, 2, 3, 4])), "json"),
        ("causal_llm", "generation", edited("/end_tokens", json!([5])), "generation.score_tokens"),
        ("causal_llm", "generation", edited("/max_new_tokens", json!(0)), "generation.max_new_tokens"),
    ];
    for (kind, section, value, expected) in cases {
        let copy = Folder::new();
        copy.edit(|manifest| {
            manifest["kind"] = json!(kind);
            manifest[section] = value.clone();
        });
        let (file, name, message) = copy.refused();
        assert_eq!((file.as_str(), name.as_str()), ("router.json", expected), "{kind} with {value}: {message}");
    }
}

#[test]
fn all_files_together_have_a_limit() {
    let copy = Folder::new();
    let entry = json!({"bytes": 1u64 << 29, "sha256": "0".repeat(64)});
    copy.edit(|manifest| (0..3).for_each(|row| manifest["files"][format!("extra-{row}")] = entry.clone()));
    assert_eq!(copy.refused().1, "files");
    let entries: Value = (0..70).map(|row| (format!("f{row}"), entry.clone())).collect();
    copy.edit(|manifest| manifest["files"] = entries);
    assert!(copy.refused().2.contains("expected at most 64"));
}

#[test]
fn unknown_and_repeated_fields_are_refused() {
    for place in ["", "/pair", "/encoder", "/tokenizer", "/calibration", "/thresholds", "/files/model.onnx"] {
        let copy = Folder::new();
        copy.edit(|manifest| manifest.pointer_mut(place).unwrap()["unheard_of"] = json!(1));
        assert!(copy.refused().2.contains("unheard_of"), "{place}");
    }
    let original = String::from_utf8(Folder::new().manifest().to_string().into_bytes()).unwrap();
    let repeated = [
        ("{\"calibration\":", "{\"kind\":\"mf\",\"calibration\":"),
        ("\"format_version\":1", "\"format_version\":1,\"format_version\":1"),
        ("\"dim\":12", "\"dim\":12,\"dim\":12"),
        ("\"kind\":\"graph\"", "\"kind\":\"graph\",\"kind\":\"graph\""),
        ("\"kind\":\"platt\"", "\"kind\":\"platt\",\"kind\":\"identity\""),
        ("\"slope\":0.8", "\"slope\":0.8,\"slope\":0.8"),
        ("\"default\":0.5", "\"default\":0.5,\"default\":0.5"),
        ("\"files\":{", "\"files\":{\"model.onnx\":{\"bytes\":1,\"sha256\":\"0\"},"),
        ("\"max_tokens\":64", "\"max_tokens\":64,\"max_tokens\":64"),
    ];
    for (once, twice) in repeated {
        assert!(original.contains(once), "{once} is not in {original}");
        let copy = Folder::new();
        copy.write("router.json", original.replacen(once, twice, 1).as_bytes());
        let (file, _, message) = copy.refused();
        assert_eq!(file, "router.json");
        assert!(message.contains("duplicate"), "{twice}: {message}");
    }
}

#[test]
fn a_manifest_that_is_no_json_object_in_utf_8_is_refused() {
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let deep_provenance =
        Folder::new().manifest().to_string().replace("\"provenance\":{", &format!("\"provenance\":{{\"x\":{deep},"));
    let cases: [(&[u8], &str); 14] = [
        (b"", "json"),
        (b"{", "json"),
        (b"null", "json"),
        (b"[]", "json"),
        (b"{}", "json"),
        (b"{\"format_version\": 1}", "json"),
        (b"{\"format_version\": 1e999}", "json"),
        (b"{\"format_version\": NaN}", "json"),
        (b"{\"format_version\": 3, \"whatever\": {}}", "format_version"),
        (b"\xff\xfe{}", "text"),
        (b"\xef\xbb\xbf{}", "json"),
        (b"\0\0\0\0", "json"),
        (deep.as_bytes(), "json"),
        (deep_provenance.as_bytes(), "json"),
    ];
    for (bytes, expected) in cases {
        let copy = Folder::new();
        copy.write("router.json", bytes);
        let (file, name, message) = copy.refused();
        assert_eq!((file.as_str(), name.as_str()), ("router.json", expected), "{message}");
    }
    let copy = Folder::new();
    copy.write("router.json", &[copy.read("router.json"), b"trailing".to_vec()].concat());
    assert!(copy.refused().2.contains("trailing"));
    copy.write("router.json", &vec![b' '; (1 << 20) + 1]);
    assert_eq!(copy.refused().1, "size");
}

// Files of the folder.

#[test]
fn file_names_that_lead_elsewhere_are_refused() {
    let names = [
        "..",
        ".",
        "",
        "../model.onnx",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:model",
        ".hidden",
        "model.onnx\0",
        "mödel",
        "a b",
    ];
    for name in names.map(String::from).into_iter().chain(["x".repeat(129)]) {
        let copy = Folder::new();
        copy.edit(|manifest| {
            let entry = manifest["files"]["model.onnx"].clone();
            manifest["files"][&name] = entry;
            manifest["graph"] = json!(name);
        });
        let (file, field, message) = copy.refused();
        assert_eq!((file.as_str(), field.as_str()), ("router.json", "files"), "{name:?}: {message}");
    }
}

#[test]
fn a_missing_folder_or_file_is_named() {
    let missing = Artifact::open("/nowhere/at/all".as_ref()).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/at/all/router.json"), "{missing}");
    assert!(matches!(Artifact::open("a\0b".as_ref()), Err(Error::Artifact { .. })));
    let a_file = folder::tiny().join("model.onnx");
    assert!(matches!(Artifact::open(&a_file), Err(Error::Artifact { .. })));
    for name in ["router.json", "model.onnx", "tokenizer.json"] {
        let copy = Folder::new();
        fs::remove_file(copy.path().join(name)).unwrap();
        assert_eq!((copy.refused().0.as_str(), copy.refused().1.as_str()), (name, "file"));
    }
}

#[test]
fn truncated_altered_and_oversized_files_are_told_apart() {
    for name in ["model.onnx", "tokenizer.json"] {
        let copy = Folder::new();
        let bytes = copy.read(name);
        for (damaged, expected) in [
            (bytes[..bytes.len() - 1].to_vec(), "size"),
            (Vec::new(), "size"),
            ([&bytes[..], b" "].concat(), "size"),
            (vec![0; bytes.len() + (1 << 20)], "size"),
            ([&bytes[..bytes.len() - 1], &[bytes[bytes.len() - 1] ^ 1]].concat(), "sha256"),
        ] {
            copy.write(name, &damaged);
            let (file, field, _) = copy.refused();
            assert_eq!((file.as_str(), field.as_str()), (name, expected));
        }
    }
}

#[test]
fn links_are_followed_inside_the_folder_only() {
    let outside = Folder::new();
    for name in ["router.json", "model.onnx", "tokenizer.json"] {
        let copy = Folder::new();
        fs::rename(copy.path().join(name), copy.path().join("renamed")).unwrap();
        symlink("renamed", copy.path().join(name)).unwrap();
        copy.open().unwrap();
        for target in [
            outside.path().join(name),
            "/dev/zero".into(),
            "/etc/passwd".into(),
            "nowhere".into(),
            name.into(),
            "..".into(),
        ] {
            fs::remove_file(copy.path().join(name)).unwrap();
            symlink(&target, copy.path().join(name)).unwrap();
            let (file, field, message) = copy.refused();
            assert_eq!((file.as_str(), field.as_str()), (name, "file"), "{}: {message}", target.display());
        }
    }
    // The folder itself may be a link: the user named it.
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(outside.path(), elsewhere.path().join("router")).unwrap();
    Artifact::open(&elsewhere.path().join("router")).unwrap();
}

#[test]
fn pipes_and_folders_in_place_of_files_are_refused_at_once() {
    for name in ["router.json", "model.onnx", "tokenizer.json"] {
        let copy = Folder::new();
        let path = copy.path().join(name);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(copy.refused().2.contains("regular file"));
        fs::remove_dir(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(copy.refused().2.contains("regular file"));
    }
}

// The graph.

/// Refused as a defect of `model.onnx`; the message says `expected`.
#[track_caller]
fn refused_graph(change: impl FnOnce(&mut Graph<'_>), expected: &str) {
    let copy = Folder::new();
    copy.edit_graph(change);
    let (file, field, message) = copy.refused();
    assert_eq!((file.as_str(), field.as_str()), ("model.onnx", "graph"));
    assert!(message.contains(expected), "{message}");
}

const WEIGHTS: [&str; 6] = ["row_scale", "count_table", "feature_weight", "bias", "projection", "model_heads"];

#[test]
fn weights_that_are_no_finite_numbers_are_refused() {
    for name in WEIGHTS {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for last in [false, true] {
                let copy = Folder::new();
                let bytes = copy.read("model.onnx");
                let mut graph = Graph::parse(&bytes).unwrap();
                let tensor = graph.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
                let mut raw = tensor.raw.to_vec();
                let at = if last { raw.len() - 4 } else { 0 };
                raw[at..at + 4].copy_from_slice(&bad.to_le_bytes());
                tensor.raw = &raw;
                copy.replace("model.onnx", &encode(&graph));
                let (file, field, message) = copy.refused();
                assert_eq!((file.as_str(), field.as_str()), ("model.onnx", "graph"));
                assert!(message.contains(name) && message.contains("expected finite numbers"), "{message}");
            }
        }
    }
}

#[test]
fn absurd_shapes_are_refused_by_the_name_of_the_tensor() {
    let shapes: [&[i64]; 11] = [
        &[],
        &[0],
        &[-1, 12],
        &[i64::MIN, i64::MIN],
        &[i64::MAX, i64::MAX],
        &[1 << 32, 1 << 32],
        &[1 << 62, 4],
        &[1 << 40],
        &[1, 1, 1, 1],
        &[3, 1 << 20],
        &[7; 9],
    ];
    for name in WEIGHTS.into_iter().chain(["token_table", "one", "last_axis", "token_axis"]) {
        for shape in shapes {
            let copy = Folder::new();
            copy.edit_graph(|graph| {
                graph.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().dims = shape.to_vec();
            });
            match copy.open() {
                Err(Error::Artifact { path, field, message, .. }) => {
                    assert!(path.ends_with("model.onnx") && field == "graph", "{field}");
                    assert!(message.contains(name) || message.contains("more than 8 integers"), "{message}");
                }
                // One number in another shape.
                Ok(_) if shape.iter().product::<i64>() == 1 => {}
                other => panic!("{name} {shape:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn tensors_with_too_few_or_too_many_bytes_are_refused() {
    for name in WEIGHTS.into_iter().chain(["token_table", "one", "last_axis", "token_axis"]) {
        for change in [|raw: &[u8]| raw[1..].to_vec(), |raw: &[u8]| [raw, &[0]].concat(), |_: &[u8]| vec![]] {
            let copy = Folder::new();
            let bytes = copy.read("model.onnx");
            let mut graph = Graph::parse(&bytes).unwrap();
            let tensor = graph.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
            let raw = change(tensor.raw);
            tensor.raw = &raw;
            copy.replace("model.onnx", &encode(&graph));
            let (_, field, message) = copy.refused();
            assert!(field == "graph" && message.contains(name) && message.contains("bytes of raw data"), "{message}");
        }
    }
}

#[test]
fn weights_in_other_files_are_refused() {
    for name in WEIGHTS {
        refused_graph(
            |graph| graph.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().external = true,
            "another file",
        );
    }
    // Deep inside: a graph in an attribute of a node.
    let (mut tensor, mut inner, mut attribute, mut node, mut outer, mut model) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    field(&mut tensor, 8, b"hidden");
    integer(&mut tensor, 14, 1);
    field(&mut inner, 5, &tensor);
    field(&mut attribute, 6, &inner);
    field(&mut node, 5, &attribute);
    field(&mut outer, 1, &node);
    field(&mut model, 7, &outer);
    let copy = Folder::new();
    copy.replace("model.onnx", &model);
    assert!(copy.refused().2.contains("\"hidden\" keeps its elements in another file"));
}

#[test]
fn files_that_are_no_onnx_graph_are_refused() {
    let mut nested = Vec::new();
    for _ in 0..40 {
        // Graph in attribute in node in graph: only the depth matters.
        let (mut attribute, mut node, mut graph) = (vec![], vec![], vec![]);
        field(&mut attribute, 6, &nested);
        field(&mut node, 5, &attribute);
        field(&mut graph, 1, &node);
        nested = graph;
    }
    let mut deep = Vec::new();
    field(&mut deep, 7, &nested);
    let two = [&encode(&Graph::default())[..], &encode(&Graph::default())].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"", "no graph"),
        (b"not protobuf at all", ""),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field of"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than ten bytes"),
        (b"\x3b", "wire type 3"),
        (b"\x38\x01", "length-delimited"),
        (b"\x3a\x04\x5a\x02\x0a\xff", ""),
        (&two, "two graphs"),
        (&deep, "graphs inside of graphs"),
    ];
    for (bytes, expected) in cases {
        let copy = Folder::new();
        copy.replace("model.onnx", bytes);
        let (file, field, message) = copy.refused();
        assert_eq!((file.as_str(), field.as_str()), ("model.onnx", "graph"));
        assert!(message.contains(expected), "{message}");
    }
}

/// Valid, only not native: without ONNX Runtime that is an engine error which says what differs and what to install.
#[test]
fn a_graph_that_is_not_native_needs_onnx_runtime() {
    let differing = |change: fn(&mut Graph<'_>), expected: &str| {
        let copy = Folder::new();
        copy.edit_graph(change);
        match copy.open() {
            Err(Error::Engine { message, .. }) => assert!(message.contains(expected), "{message}"),
            other => panic!("{other:?}"),
        }
    };
    differing(|graph| graph.nodes.swap(0, 4), "node 0");
    differing(|graph| drop(graph.nodes.pop()), "the graph ends before node");
    differing(|graph| graph.nodes.push(graph.nodes[0].clone()), "two values of the name");
    differing(|graph| graph.inputs.push(graph.inputs[0].clone()), "two values of the name");
    differing(|graph| graph.inputs.swap(0, 1), "graph inputs");
    differing(|graph| graph.nodes[0].op = "Unheard", "node 0 is Unheard");
    differing(|graph| graph.nodes[0].domain = "com.microsoft", "node 0");
    differing(|graph| drop(graph.tensors.remove(0)), "no tensor");
    differing(|graph| graph.tensors[1].data_type = DataType::Other(6), "");
    differing(|graph| (0..300).for_each(|_| graph.nodes.push(graph.nodes[0].clone())), "more nodes");
    differing(|graph| (0..300).for_each(|_| graph.tensors.push(graph.tensors[0].clone())), "more tensors");
    differing(|graph| graph.nodes[0].inputs = vec!["token_table"; 40], "more node inputs");
    differing(|graph| graph.inputs = vec![graph.inputs[0].clone(); 40], "more graph inputs");
}

// The tokenizer.

#[test]
fn tokenizers_whose_ids_the_table_does_not_have_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|t| t["model"]["vocab"]["huge"] = json!(4_294_967_295u32), "vocab"),
        (|t| t["model"]["vocab"]["one more"] = json!(t["model"]["vocab"].as_object().unwrap().len()), "vocab"),
        (|t| t["added_tokens"].as_array_mut().unwrap().push(added("<new>")), "vocab"),
        (
            |t| t["post_processor"] = json!({"type": "BertProcessing", "sep": ["[SEP]", 99_999], "cls": ["[CLS]", 2]}),
            "model",
        ),
        (
            |t| t["post_processor"] = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 4_000_000_000u32], "trim_offsets": true, "add_prefix_space": true}),
            "model",
        ),
        (|t| t["post_processor"] = template(json!([text("A"), special()]), &[99_999]), "model"),
    ];
    for (change, expected) in cases {
        let copy = Folder::new();
        copy.edit_tokenizer(change);
        let (file, field, message) = copy.refused();
        assert_eq!((file.as_str(), field.as_str()), ("tokenizer.json", expected), "{message}");
        assert!(message.contains("the graph's table"), "{message}");
    }
}

fn added(content: &str) -> Value {
    json!({"id": 0, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

fn text(id: &str) -> Value {
    json!({"Sequence": {"id": id, "type_id": 0}})
}

fn special() -> Value {
    json!({"SpecialToken": {"id": "[S]", "type_id": 0}})
}

fn template(single: Value, ids: &[u32]) -> Value {
    let tokens = vec!["[S]"; ids.len()];
    json!({"type": "TemplateProcessing", "single": single, "pair": [text("A"), text("B")],
           "special_tokens": {"[S]": {"id": "[S]", "ids": ids, "tokens": tokens}}})
}

/// Each of these makes the `tokenizers` crate panic, overflow its stack, ask for gigabytes or multiply every prompt.
#[test]
fn hostile_tokenizers_are_refused() {
    let unigram = |tokens: Value| json!({"type": "Unigram", "unk_id": 0, "vocab": tokens});
    let bpe = |vocab: Value, merges: Value| json!({"type": "BPE", "vocab": vocab, "merges": merges});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"Regex": from}, "content": to});
    let map = |base64: &str| json!({"type": "Precompiled", "precompiled_charsmap": base64});
    let once = template(json!([text("A"), special()]), &[2]);
    let mut nested = json!({"type": "Lowercase"});
    (0..60).for_each(|_| nested = sequence(vec![nested.clone()]));
    let cases = [
        ("model", json!({"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]"})),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        ),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 1u64 << 60}),
        ),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": -1, "[UNK]": 1}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        ),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 1u64 << 40, "[UNK]": 1}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        ),
        ("model", json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"})),
        ("model", bpe(json!({"a": 0, "b": 1}), json!(["a b"]))),
        ("model", bpe(json!({"aaaa": 0, "bbbb": 1}), json!(["aaaa bbbb"]))),
        ("model", bpe(json!({"a": 0}), json!(["a"]))),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 0, "é": 1}, "merges": ["a é"], "continuing_subword_prefix": "#"}),
        ),
        ("model", unigram(json!([]))),
        ("model", json!({"type": "Unigram", "unk_id": null, "vocab": [["a", 0.5]]})),
        ("model", json!({"type": "Unigram", "unk_id": 7, "vocab": [["a", 0.5]]})),
        ("model", unigram(json!([["<unk>", 0.0], ["a".repeat(100_000), 0.0]]))),
        ("model", json!({"type": "Unheard", "vocab": {"a": 0}})),
        ("model", json!(null)),
        ("normalizer", sequence(vec![replace("", "aaaaaaaaaaaaaaaa"); 20])),
        ("normalizer", sequence(vec![json!({"type": "ByteLevel"}); 30])),
        ("normalizer", json!({"type": "Prepend", "prepend": "a".repeat(1 << 20)})),
        ("normalizer", replace("(", "x")),
        ("normalizer", nested),
        ("normalizer", map("/////w==")),
        ("normalizer", map("")),
        ("normalizer", map("BAAAAP////8=")),
        ("normalizer", map("%%%")),
        ("normalizer", json!({"type": "Unheard"})),
        ("normalizer", json!(7)),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(?<"}, "behavior": "Isolated", "invert": false}),
        ),
        ("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": vec![json!({"type": "ByteLevel"}); 20]})),
        ("post_processor", template(json!([text("B")]), &[2])),
        ("post_processor", template(json!(vec![text("A"); 1000]), &[2])),
        ("post_processor", template(json!([text("A"), special()]), &[2; 5000])),
        ("post_processor", template(json!([text("A"), {"SpecialToken": {"id": "[X]", "type_id": 0}}]), &[2])),
        ("post_processor", json!({"type": "Sequence", "processors": [once.clone(), once]})),
        ("post_processor", template(json!([text("A"), special()]), &[2; 65])),
        ("decoder", json!(7)),
        ("added_tokens", json!([added(&"a".repeat(5000))])),
        (
            "added_tokens",
            json!([{"id": 0, "content": "\u{301}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}]),
        ),
        ("added_tokens", json!({})),
        ("version", json!("2.0")),
    ];
    for (part, value) in cases {
        let copy = Folder::new();
        let described = value.to_string().chars().take(120).collect::<String>();
        copy.edit_tokenizer(|tokenizer| tokenizer[part] = value);
        match copy.open() {
            Err(Error::Artifact { path, .. }) => assert!(path.ends_with("tokenizer.json"), "{part} {described}"),
            Err(other) => panic!("{part} {described}: {other:?}"),
            // What the crate can read must also be usable.
            Ok(router) => {
                eprintln!("opened: {part} {described}");
                for prompt in ["", "a", "aaaa bbbb", "\u{301}", "é 中 \u{10ffff}"] {
                    router.route(prompt, None).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_tokenizer_that_is_no_json_is_refused() {
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    for bytes in [&b""[..], b"{", b"[]", b"{}", b"null", b"\xff", b"\0", deep.as_bytes()] {
        let copy = Folder::new();
        copy.replace("tokenizer.json", bytes);
        let (file, field, _) = copy.refused();
        assert_eq!((file.as_str(), field.as_str()), ("tokenizer.json", "json"));
    }
    let copy = Folder::new();
    copy.edit_tokenizer(|tokenizer| {
        tokenizer["normalizer"]["x"] = serde_json::from_str(
            &"[".repeat(100).to_string().chars().chain("]".repeat(100).chars()).collect::<String>(),
        )
        .unwrap()
    });
    copy.open().unwrap();
}

// Anything at all.

/// A small generator, the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A few bytes changed, inserted, removed, repeated, or the end cut off.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(8) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = [0, 0xff, 0x7f, 0x80, b'"', b'{', b'9', b'-'][self.below(8)],
                3 => bytes.insert(at, self.below(256) as u8),
                4 => drop(bytes.drain(at..end)),
                5 => bytes.truncate(at),
                6 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                _ => {
                    let from = self.below(bytes.len());
                    let until = (from + 16).min(bytes.len());
                    drop(bytes.splice(at..end, bytes[from..until].to_vec()));
                }
            }
        }
    }
}

/// Sizes and hashes are right, so that the parser behind them sees every mutation.
fn survives_mutation(name: &str, times: usize) {
    let original = Folder::new().read(name);
    let copy = Folder::new();
    let manifest = copy.read("router.json");
    let mut random = Random(0x7475_726e_6f75_7421);
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..times {
        let mut bytes = original.clone();
        random.mutate(&mut bytes);
        if name == "router.json" {
            copy.write(name, &bytes);
        } else {
            copy.write("router.json", &manifest);
            copy.replace(name, &bytes);
        }
        match copy.open() {
            Ok(router) => {
                opened += 1;
                for prompt in ["", "what is the sum of [SEP] 中文?", "a\u{301}\u{10ffff}"] {
                    match router.explain(prompt, None) {
                        Ok(explanation) => assert!((0.0..=1.0).contains(&explanation.decision.win_rate)),
                        Err(Error::Inference { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
            Err(Error::Artifact { path, .. }) => {
                refused += 1;
                assert!(name == "router.json" || path.ends_with(name), "{}", path.display());
            }
            Err(Error::Engine { .. }) if name != "tokenizer.json" => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    eprintln!("{name}: {opened} opened, {refused} refused");
    assert!(opened > 0 && refused > times / 4);
}

#[test]
fn any_manifest_opens_or_is_refused() {
    survives_mutation("router.json", 3000);
}

#[test]
fn any_graph_opens_or_is_refused() {
    survives_mutation("model.onnx", 3000);
}

#[test]
fn any_tokenizer_opens_or_is_refused() {
    survives_mutation("tokenizer.json", 3000);
}

#[test]
fn polite_phrases_need_version_2_tokens_and_both_ends_of_a_prompt() {
    let opened = |version: u64, truncation: &str, courtesy: Value| {
        let copy = Folder::new();
        let mut manifest = copy.manifest();
        manifest["format_version"] = json!(version);
        manifest["tokenizer"]["truncation"] = json!(truncation);
        manifest["tokenizer"]["courtesy"] = courtesy;
        copy.write("router.json", manifest.to_string().as_bytes());
        Router::open(copy.path(), &RouterConfig::default()).map(|_| ()).map_err(|error| error.to_string())
    };
    let phrases = json!({"openings": ["what is"], "closings": ["the numbers"]});
    assert_eq!(opened(2, "head_tail", phrases.clone()), Ok(()));
    for (version, truncation, courtesy, expected) in [
        (1, "head", phrases.clone(), "tokenizer.courtesy: present, expected format_version 2"),
        (2, "head", phrases, "tokenizer.courtesy: present, expected truncation \"head_tail\""),
        (2, "head_tail", json!({"openings": [" "]}), "has no tokens"),
        (2, "head_tail", json!({"openings": [""]}), "a phrase of 0 bytes"),
        (2, "head_tail", json!({"openings": vec!["a"; 5000]}), "5000 phrases"),
        (2, "head_tail", json!({"closing": ["a"]}), "unknown field `closing`"),
    ] {
        let message = opened(version, truncation, courtesy).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn text_rules_need_version_2_and_known_names() {
    for (field, value) in [("truncation", "head_tail"), ("short_prompts", "plain")] {
        let opened = |version: u64, value: &str| {
            let copy = Folder::new();
            let mut manifest = copy.manifest();
            manifest["format_version"] = json!(version);
            manifest["tokenizer"][field] = json!(value);
            copy.write("router.json", manifest.to_string().as_bytes());
            Artifact::open(copy.path()).map(|artifact| artifact.manifest().tokenizer.clone())
        };
        assert!(opened(2, value).is_ok());
        assert!(opened(2, "tail").unwrap_err().to_string().contains("unknown variant `tail`"));
        let message = opened(1, value).unwrap_err().to_string();
        assert!(message.contains(&format!("tokenizer.{field}: present, expected format_version 2")), "{message}");
    }
}
