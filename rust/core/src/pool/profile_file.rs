//! Reads `profiles.safetensors`. `models/README.md` is the contract.

use std::collections::HashSet;

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::Metadata};

use super::{
    candidate::MAX_CANDIDATES,
    landmarks::Landmarks,
    profiles::{Profile, Profiles},
};

/// Directions of the embedding, at most.
const MAX_RANK: usize = 256;
/// Landmarks, at most.
const MAX_LANDMARKS: usize = 4096;
/// Bandwidths of landmarks, at most.
const MAX_BANDWIDTHS: usize = 8;

type Fault = (String, String);

impl Profiles {
    /// Reads and checks the bytes of a file; `dim` is the length of an embedding. Errors name the tensor and say what was expected and
    /// found.
    pub fn parse(bytes: &[u8], dim: usize) -> Result<Self, Fault> {
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| fault("header", error.to_string()))?;
        let tensors = Tensors { data: bytes.get(8 + header..).unwrap_or_default(), metadata: &metadata };
        let (embedding, models) = read_header(&metadata)?;
        let landmarks = tensors.landmarks(dim)?;
        let width = dim + landmarks.as_ref().map_or(0, Landmarks::width);
        let basis = tensors.shape("basis")?;
        let &[rows, rank] = basis else {
            return Err(fault("basis", format!("shape {basis:?}, expected [{width}, r]")));
        };
        if rows != width || rank == 0 || rank > MAX_RANK.min(width) {
            return Err(fault("basis", format!("shape {basis:?}, expected [{width}, 1..={}]", MAX_RANK.min(width))));
        }
        let count = models.len();
        let packed = (rank + 1) * (rank + 2) / 2;
        let profiles = Self {
            rank,
            landmarks,
            basis: tensors.floats("basis", &[width, rank])?,
            weights: tensors.floats("weights", &[count, rank])?,
            bias: tensors.floats("bias", &[count])?,
            covariance: tensors.floats("covariance", &[count, packed])?,
            embedding,
            models,
        };
        profiles.check_variances()?;
        profiles.check_folds()?;
        tensors.refuse_others()?;
        Ok(profiles)
    }

    fn check_variances(&self) -> Result<(), Fault> {
        let packed = (self.rank + 1) * (self.rank + 2) / 2;
        for (row, covariance) in self.covariance.chunks_exact(packed).enumerate() {
            let negative = (0..=self.rank).find(|at| covariance[at * (at + 3) / 2] < 0.0);
            if let Some(at) = negative {
                return Err(fault("covariance", format!("the variance of number {at} of model {row} is negative")));
            }
        }
        Ok(())
    }

    /// Finite numbers may still overflow where they are multiplied.
    fn check_folds(&self) -> Result<(), Fault> {
        for row in 0..self.models.len() {
            if !self.folded(row).iter().all(|weight| weight.is_finite()) {
                return Err(fault("basis", format!("its product with the weights of model {row} overflows")));
            }
        }
        Ok(())
    }
}

fn fault(place: &str, message: impl Into<String>) -> Fault {
    (place.into(), message.into())
}

/// Hash of the graph and the models.
fn read_header(metadata: &Metadata) -> Result<(String, Vec<Profile>), Fault> {
    let text = |key: &str| {
        let found = metadata.metadata().as_ref().and_then(|all| all.get(key));
        found.ok_or_else(|| fault(&format!("__metadata__.{key}"), "missing"))
    };
    let place = "__metadata__.profiles";
    let models: Vec<Profile> =
        serde_json::from_str(text("profiles")?).map_err(|error| fault(place, error.to_string()))?;
    if models.is_empty() || models.len() > MAX_CANDIDATES {
        return Err(fault(place, format!("{} models, expected 1..={MAX_CANDIDATES}", models.len())));
    }
    let mut names = HashSet::new();
    for model in &models {
        if model.name.is_empty() || !names.insert(&model.name) {
            return Err(fault(place, format!("name {:?} is empty or listed twice", model.name)));
        }
        let is_count = |tokens: f64| tokens.is_finite() && tokens > 0.0;
        if let Some(tokens) = model.output_tokens.filter(|&tokens| !is_count(tokens)) {
            return Err(fault(place, format!("output_tokens of {:?} is {tokens}, expected more than 0", model.name)));
        }
    }
    Ok((text("embedding")?.clone(), models))
}

struct Tensors<'a> {
    data: &'a [u8],
    metadata: &'a Metadata,
}

impl Tensors<'_> {
    fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    fn shape(&self, name: &str) -> Result<&[usize], Fault> {
        self.metadata.info(name).map(|info| info.shape.as_slice()).ok_or_else(|| fault(name, "missing"))
    }

    /// A tensor of float32 or float16, all finite.
    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Fault> {
        let info = self.metadata.info(name).ok_or_else(|| fault(name, "missing"))?;
        if info.shape != shape {
            return Err(fault(name, format!("shape {:?}, expected {shape:?}", info.shape)));
        }
        let (start, end) = info.data_offsets;
        let bytes = self.data.get(start..end).ok_or_else(|| fault(name, "ends after the file"))?;
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
            Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|&two| f16::from_le_bytes(two).to_f32()).collect(),
            other => return Err(fault(name, format!("is {other:?}, expected F32 or F16"))),
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(fault(name, format!("holds {} at position {at}, expected finite numbers", values[at]))),
            None => Ok(values),
        }
    }

    /// Landmarks, where the file has them.
    fn landmarks(&self, dim: usize) -> Result<Option<Landmarks>, Fault> {
        if !self.has("landmarks") && !self.has("bandwidth") {
            return Ok(None);
        }
        let shape = self.shape("landmarks")?;
        let &[count @ 1..=MAX_LANDMARKS, _] = shape else {
            return Err(fault("landmarks", format!("shape {shape:?}, expected [1..={MAX_LANDMARKS}, {dim}]")));
        };
        let points = self.floats("landmarks", &[count, dim])?;
        let shape = self.shape("bandwidth")?;
        let &[number @ 1..=MAX_BANDWIDTHS] = shape else {
            return Err(fault("bandwidth", format!("shape {shape:?}, expected [1..={MAX_BANDWIDTHS}]")));
        };
        let bandwidths = self.floats("bandwidth", &[number])?;
        if let Some(bandwidth) = bandwidths.iter().find(|&&bandwidth| bandwidth <= 0.0) {
            return Err(fault("bandwidth", format!("is {bandwidth}, expected more than 0")));
        }
        let landmarks = Landmarks::new(dim, points, &bandwidths);
        if !landmarks.is_finite() {
            return Err(fault("landmarks", "their squares overflow, or the square of a bandwidth is 0"));
        }
        Ok(Some(landmarks))
    }

    fn refuse_others(&self) -> Result<(), Fault> {
        const KNOWN: [&str; 6] = ["basis", "weights", "bias", "covariance", "landmarks", "bandwidth"];
        let mut names: Vec<String> = self.metadata.tensors().into_keys().collect();
        names.sort();
        match names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
            Some(other) => Err(fault(other, format!("unknown tensor, expected some of {}", KNOWN.join(", ")))),
            None => Ok(()),
        }
    }
}
