//! Options of a session on a device. A device that cannot be had is an error: ONNX Runtime would fall back silently.

use std::{
    fs::DirBuilder,
    path::{Path, PathBuf},
};

use ort::{
    ep,
    session::{Session, builder::SessionBuilder},
};

use super::{environment::environment, sessions::Place};
use crate::{
    artifact::{Artifact, EncoderSpec, Manifest},
    batcher::{fixed_length, fixed_rows},
    config::{BatchConfig, Device, RouterConfig},
    error::{Error, Result},
};

/// The run for which TensorRT chooses its kernels: a few prompts of common length.
const TYPICAL: [usize; 2] = [8, 64];

pub(super) fn builder(
    artifact: &Artifact,
    config: &RouterConfig,
    place: Place,
    not_native_because: &str,
) -> Result<SessionBuilder> {
    let environment = environment(config.onnxruntime_library.as_deref(), not_native_because)?;
    let refused =
        |error: ort::Error| Error::engine(config.onnxruntime_library.as_deref(), error.to_string()).caused_by(error);
    let mut builder = Session::builder(environment).map_err(refused)?;
    if place.threads > 0 {
        builder = builder.with_intra_threads(place.threads).map_err(|error| refused(error.into()))?;
    }
    let device = place.device;
    let id =
        |number: u32| i32::try_from(number).map_err(|_| Error::device(device, format!("there is no device {device}")));
    let (providers, cache) = match device {
        Device::Cpu => return Ok(builder),
        Device::Cuda(number) => (vec![cuda(config, id(number)?).build().error_on_failure()], None),
        Device::TensorRt(number) => {
            let cache = cache_of(artifact, config)?;
            let tensorrt = tensorrt(artifact.manifest(), config, id(number)?, &cache).build().error_on_failure();
            // What TensorRT does not take runs on the same GPU.
            (vec![tensorrt, cuda(config, id(number)?).build().error_on_failure()], Some(cache))
        }
    };
    let builder = builder.with_execution_providers(providers).map_err(|error| {
        Error::device(
            device,
            format!(
                "device {device} is unavailable: {error}; install `turnout[gpu]` (and remove `turnout[onnx]`) and check the driver"
            ),
        )
        .caused_by(ort::Error::<()>::from(error))
    })?;
    if let Some(cache) = cache {
        make_private(&cache)?;
    }
    Ok(builder)
}

fn cuda(config: &RouterConfig, id: i32) -> ep::CUDA {
    let provider = ep::CUDA::default().with_device_id(id).with_tf32(false);
    match config.device_memory_bytes {
        Some(bytes) => {
            provider.with_memory_limit(bytes).with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
        }
        None => provider,
    }
}

/// Without TensorRT's flag for float16, which lets it choose the type of every layer, the graph's own types hold: those of a float16
/// graph are float32 where sums could overflow.
fn tensorrt(manifest: &Manifest, config: &RouterConfig, id: i32, cache: &Path) -> ep::TensorRT {
    let [least, typical, most] = shapes(manifest, &config.batch);
    let provider = ep::TensorRT::default()
        .with_device_id(id)
        .with_engine_cache(true)
        .with_engine_cache_path(cache.display())
        .with_timing_cache(true)
        .with_timing_cache_path(cache.display())
        .with_profile_min_shapes(least)
        .with_profile_opt_shapes(typical)
        .with_profile_max_shapes(most);
    match config.device_memory_bytes {
        Some(bytes) => provider.with_max_workspace_size(bytes),
        None => provider,
    }
}

/// Smallest, typical and largest shapes of the inputs, as TensorRT takes them (`name:1x16,name:1x16`). One engine serves all shapes in
/// between; without them every new shape would build another.
fn shapes(manifest: &Manifest, batch: &BatchConfig) -> [String; 3] {
    let rows = fixed_rows(batch.max_rows);
    let tokens = manifest.tokenizer.as_ref().map_or(1, |spec| spec.max_tokens);
    let typical = [TYPICAL[0].min(rows), TYPICAL[1].min(tokens)];
    let of = |[rows, tokens]: [usize; 2]| match manifest.encoder {
        EncoderSpec::Graph { .. } => format!("input_ids:{rows}x{tokens},attention_mask:{rows}x{tokens}"),
        EncoderSpec::External { dim } => format!("embedding:{rows}x{dim}"),
    };
    [[1, fixed_length(1, tokens)], typical, [rows, tokens]].map(of)
}

/// Where engines of this artifact are kept: never in its folder, which may be read-only and whose files are listed.
fn cache_of(artifact: &Artifact, config: &RouterConfig) -> Result<PathBuf> {
    let cache = config.tensorrt_cache.as_deref().ok_or_else(|| {
        Error::config(
            "tensorrt_cache",
            "tensorrt_cache is missing, expected a folder in which TensorRT may keep engines",
        )
    })?;
    Ok(cache.join(&artifact.hash()[..32]))
}

/// Makes a folder for the user alone: an engine is code, and a user who can write it can run code.
fn make_private(folder: &Path) -> Result<()> {
    let mut maker = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
    maker.recursive(true).create(folder).map_err(|error| {
        let message = format!("tensorrt_cache: {}: {error}; name a folder that can be written", folder.display());
        Error::config("tensorrt_cache", message).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(change: impl FnOnce(&mut serde_json::Value)) -> Manifest {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny");
        let text = std::fs::read_to_string(folder.join("router.json")).unwrap();
        let mut value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        Manifest::parse(&folder, &value.to_string()).unwrap()
    }

    #[test]
    fn one_tensorrt_engine_serves_all_shapes_of_runs() {
        let of_tokens = manifest(|value| value["tokenizer"]["max_tokens"] = json!(500));
        let batch = BatchConfig { max_rows: 33, ..BatchConfig::default() };
        assert_eq!(
            shapes(&of_tokens, &batch),
            [
                "input_ids:1x16,attention_mask:1x16",
                "input_ids:8x64,attention_mask:8x64",
                "input_ids:64x500,attention_mask:64x500"
            ]
        );
        let short = manifest(|value| value["tokenizer"]["max_tokens"] = json!(20));
        let alone = BatchConfig { max_rows: 1, ..BatchConfig::default() };
        assert_eq!(shapes(&short, &alone)[1..], ["input_ids:1x20,attention_mask:1x20"; 2]);
        let external = manifest(|value| {
            value["encoder"] = json!({"kind": "external", "dim": 12});
            value["tokenizer"] = json!(null);
        });
        assert_eq!(shapes(&external, &batch), ["embedding:1x12", "embedding:8x12", "embedding:64x12"]);
    }

    #[test]
    fn engines_are_kept_by_artifact_in_a_private_folder() {
        let artifact = Artifact::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny")).unwrap();
        let place = tempfile::tempdir().unwrap();
        let config = RouterConfig { tensorrt_cache: Some(place.path().join("new")), ..RouterConfig::default() };
        let cache = cache_of(&artifact, &config).unwrap();
        assert_eq!(cache, place.path().join("new").join(&artifact.hash()[..32]));
        make_private(&cache).unwrap();
        make_private(&cache).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(place.path().join("file"), "").unwrap();
        let told = make_private(&place.path().join("file/x")).unwrap_err().to_string();
        assert!(told.contains("name a folder that can be written"), "{told}");
        assert!(cache_of(&artifact, &RouterConfig::default()).unwrap_err().to_string().contains("tensorrt_cache"));
    }
}
