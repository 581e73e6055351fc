//! Battles between models over prompts: what `battles.safetensors` holds, and what routing needs of it.

use safetensors::{Dtype, SafeTensors};

use super::vectors::{Int8, Rows, Vectors};
use crate::{artifact::FileBytes, view::View};

/// Who won: the codes of `battle_outcome`.
pub(crate) const A_WINS: u8 = 0;
pub(crate) const B_WINS: u8 = 1;
pub(crate) const TIE: u8 = 2;

/// Prompts with their vectors, and the battles over them in the order of prompts.
#[derive(Debug, Clone)]
pub(crate) struct Battles {
    pub(crate) vectors: Vectors,
    pub(crate) prompt: View<u32>,
    pub(crate) model_a: View<u16>,
    pub(crate) model_b: View<u16>,
    pub(crate) outcome: View<u8>,
    pub(crate) id: View<u64>,
}

impl Battles {
    /// Reads and checks the file's bytes. Errors name the tensor and say what was expected and found.
    pub(crate) fn parse(bytes: &FileBytes, dim: usize, models: usize) -> Result<Self, (String, String)> {
        let fail = |tensor: &str, message: String| (tensor.to_string(), message);
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| fail("header", error.to_string()))?;
        let data = 8 + header;
        let tensor = |name: &str, kind: Dtype| {
            let info = metadata.info(name).ok_or_else(|| fail(name, "missing".into()))?;
            if info.dtype != kind {
                return Err(fail(name, format!("is {:?}, expected {kind:?}", info.dtype)));
            }
            let (start, end) = info.data_offsets;
            Ok((info.shape.clone(), data + start..data + end))
        };
        let vectors = metadata.info("vectors").ok_or_else(|| fail("vectors", "missing".into()))?;
        let kind = vectors.dtype;
        let (shape, range) = tensor("vectors", kind)?;
        let &[prompts, width] = &shape[..] else {
            return Err(fail("vectors", format!("shape {shape:?}, expected [prompts, {dim}]")));
        };
        if width != dim || prompts == 0 || u32::try_from(prompts).is_err() {
            return Err(fail("vectors", format!("shape {shape:?}, expected [prompts, {dim}], at least one prompt")));
        }
        let view = |message: String| fail("vectors", message);
        let rows = match kind {
            Dtype::F32 => Rows::F32(View::of_file(bytes, range).map_err(view)?),
            Dtype::F16 => Rows::F16(View::of_file(bytes, range).map_err(view)?),
            Dtype::I8 => {
                let (shape, scales) = tensor("scales", Dtype::F32)?;
                if shape != [prompts] {
                    return Err(fail("scales", format!("shape {shape:?}, expected [{prompts}]")));
                }
                let scales = View::of_file(bytes, scales).map_err(|message| fail("scales", message))?;
                let residuals = match metadata.info("residuals") {
                    None => None,
                    Some(_) => {
                        let (found, range) = tensor("residuals", Dtype::I8)?;
                        if found != [prompts, dim] {
                            return Err(fail("residuals", format!("shape {found:?}, expected [{prompts}, {dim}]")));
                        }
                        Some(View::of_file(bytes, range).map_err(|message| fail("residuals", message))?)
                    }
                };
                Rows::I8(Int8::new(View::of_file(bytes, range).map_err(view)?, scales, residuals))
            }
            other => return Err(fail("vectors", format!("is {other:?}, expected F32, F16 or I8"))),
        };
        let (shape, range) = tensor("battle_prompt", Dtype::U32)?;
        let &[battles] = &shape[..] else {
            return Err(fail("battle_prompt", format!("shape {shape:?}, expected [battles]")));
        };
        let prompt = View::of_file(bytes, range).map_err(|message| fail("battle_prompt", message))?;
        let column = |name: &str, kind: Dtype| {
            let (shape, range) = tensor(name, kind)?;
            if shape == [battles] {
                Ok(range)
            } else {
                Err(fail(name, format!("shape {shape:?}, expected [{battles}]")))
            }
        };
        let shorts =
            |name: &str| View::of_file(bytes, column(name, Dtype::U16)?).map_err(|message| fail(name, message));
        let (model_a, model_b) = (shorts("battle_model_a")?, shorts("battle_model_b")?);
        let outcome = View::of_file(bytes, column("battle_outcome", Dtype::U8)?)
            .map_err(|message| fail("battle_outcome", message))?;
        let id =
            View::of_file(bytes, column("battle_id", Dtype::U64)?).map_err(|message| fail("battle_id", message))?;
        let parsed = Self { vectors: Vectors::new(dim, rows), prompt, model_a, model_b, outcome, id };
        parsed.check(models)?;
        Ok(parsed)
    }

    /// Whether every number is in its range.
    pub(crate) fn check(&self, models: usize) -> Result<(), (String, String)> {
        let fail = |tensor: &str, message: String| Err((tensor.to_string(), message));
        if let Some(row) = self.vectors.not_finite() {
            return fail("vectors", format!("row {row} holds a number that is not finite, or is longer than 1"));
        }
        let prompts = self.prompt.as_slice();
        if let Some(at) = prompts.iter().position(|&prompt| prompt as usize >= self.vectors.len()) {
            return fail(
                "battle_prompt",
                format!("battle {at} is over prompt {}, there are {}", prompts[at], self.vectors.len()),
            );
        }
        if let Some(at) = prompts.windows(2).position(|pair| pair[0] > pair[1]) {
            return fail(
                "battle_prompt",
                format!("battle {} is over an earlier prompt than the one before it", at + 1),
            );
        }
        for (name, column) in [("battle_model_a", &self.model_a), ("battle_model_b", &self.model_b)] {
            let column = column.as_slice();
            if let Some(at) = column.iter().position(|&model| usize::from(model) >= models) {
                return fail(name, format!("battle {at} names model {}, there are {models}", column[at]));
            }
        }
        if let Some(at) = self.outcome.as_slice().iter().position(|&outcome| outcome > TIE) {
            return fail(
                "battle_outcome",
                format!("battle {at} has the outcome {}, expected 0, 1 or 2", self.outcome.as_slice()[at]),
            );
        }
        Ok(())
    }
}
