//! The far battles of an approximate decision, cell by cell.
//!
//! A cell is a set of prompts that lie together. Its battles are known as one win matrix, its prompts as a mean vector and a spread,
//! so the weight of a far prompt is replaced by the mean weight of its cell. For similarities that scatter around `mu = e . mean`
//! with variance `v`, the mean of `10^(s / s_max) = exp(a s)` is `exp(a mu + a^2 v / 2)` with `a = ln 10 / s_max` (the
//! moment-generating function of a normal distribution), and it is never more than the weight at `s_max`.

use safetensors::{Dtype, SafeTensors};

use super::Weighting;
use super::{
    outcomes::Outcomes,
    vectors::{Query, Vectors},
};
use crate::{artifact::FileBytes, view::View};

/// More cells cost more than scanning their prompts would.
const MAX_CELLS: usize = 65_536;

/// Cells with the wins of their prompts.
#[derive(Debug)]
pub(super) struct Cells {
    cell_of: View<u32>,
    means: Vectors,
    spreads: Vec<f32>,
    /// `[cells, tiers * tiers]`.
    wins: Vec<f32>,
    places: usize,
}

impl Cells {
    /// Reads and checks the file's bytes, and adds up the battles of every cell.
    pub(super) fn parse(
        bytes: &FileBytes,
        dim: usize,
        prompts: usize,
        outcomes: &Outcomes,
        tiers: usize,
    ) -> Result<Self, (String, String)> {
        let fail = |tensor: &str, message: String| (tensor.to_string(), message);
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| fail("header", error.to_string()))?;
        let data = 8 + header;
        let tensor = |name: &str, kind: Dtype, expected: &[usize]| {
            let info = metadata.info(name).ok_or_else(|| fail(name, "missing".into()))?;
            if info.dtype != kind || info.shape != expected {
                return Err(fail(name, format!("{:?} {:?}, expected {kind:?} {expected:?}", info.dtype, info.shape)));
            }
            Ok(data + info.data_offsets.0..data + info.data_offsets.1)
        };
        let cells = metadata.info("spreads").map_or(0, |info| info.shape.iter().product());
        if !(1..=MAX_CELLS).contains(&cells) {
            return Err(fail("spreads", format!("{cells} cells, expected 1..={MAX_CELLS}")));
        }
        let floats = |name: &str, shape: &[usize]| {
            let view =
                View::<f32>::of_file(bytes, tensor(name, Dtype::F32, shape)?).map_err(|message| fail(name, message))?;
            match view.as_slice().iter().all(|value| value.abs() <= 4.0) {
                true => Ok(view),
                false => Err(fail(name, "holds a number that no mean or spread of unit vectors has".into())),
            }
        };
        let (means, spreads) = (floats("means", &[cells, dim])?, floats("spreads", &[cells])?);
        if spreads.as_slice().iter().any(|&spread| spread < 0.0) {
            return Err(fail("spreads", "holds a negative number".into()));
        }
        let cell_of: View<u32> =
            View::of_file(bytes, tensor("cell", Dtype::U32, &[prompts])?).map_err(|message| fail("cell", message))?;
        let places = tiers * tiers;
        let mut wins = vec![0.0f32; cells * places];
        for (prompt, &cell) in cell_of.as_slice().iter().enumerate() {
            let Some(own) = wins.get_mut(cell as usize * places..).and_then(|rest| rest.get_mut(..places)) else {
                return Err(fail("cell", format!("prompt {prompt} lies in cell {cell}, there are {cells}")));
            };
            outcomes.of(prompt).iter().for_each(|entry| own[entry.cell as usize] += entry.wins);
        }
        let means = Vectors::quantized(dim, means.as_slice());
        Ok(Self { cell_of, means, spreads: spreads.as_slice().to_vec(), wins, places })
    }

    /// Mean weight of every cell.
    pub(super) fn weights(&self, query: &Query, weighting: Weighting) -> Vec<f32> {
        let mut weights = vec![0.0; self.means.len()];
        self.means.scan(std::slice::from_ref(query), &mut [&mut weights]);
        for (weight, spread) in weights.iter_mut().zip(&self.spreads) {
            *weight = weighting.mean(*weight, *spread);
        }
        weights
    }

    /// Adds the wins of all cells by their weights.
    pub(super) fn tally(&self, weights: &[f32], wins: &mut [f64]) {
        let mut sums = vec![0.0f32; self.places];
        for (&weight, own) in weights.iter().zip(self.wins.chunks_exact(self.places)) {
            sums.iter_mut().zip(own).for_each(|(sum, &value)| *sum += weight * value);
        }
        wins.iter_mut().zip(&sums).for_each(|(sum, &value)| *sum += f64::from(value));
    }

    /// Cell of a prompt.
    pub(super) fn of(&self, prompt: usize) -> usize {
        self.cell_of.as_slice()[prompt] as usize
    }
}
