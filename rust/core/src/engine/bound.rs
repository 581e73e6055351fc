//! Tensors that a session reads and writes at the same addresses in every run of one shape.
//!
//! A set of tensors is made at the first run of a shape and kept ([`Buckets`] says how many). Without CUDA graphs they lie in the
//! host's memory, and ONNX Runtime copies inputs to the device when they are bound and the output back after the run. With CUDA
//! graphs each has a counterpart in device memory that is bound once: a replay is nothing but the kernels that were captured, with
//! the addresses of then, so copies to and from these addresses are made around it. The first run of a shape runs the graph twice
//! and captures it; ONNX Runtime does both inside that one run. It never lets a captured graph go before the session ends, so with
//! CUDA graphs no set makes room for another: further shapes run without capture.
//!
//! The device memory of a set may be scratch memory of a graph that was captured earlier. That is no harm, for one thread runs one
//! shape at a time: all inputs are written before a run and the output is read after it.

use std::fmt::Debug;

use ort::{
    memory::Allocator,
    session::{IoBinding, RunOptions, Session},
    value::{PrimitiveTensorElementType, Tensor},
};

use super::{
    buckets::{Buckets, Limits},
    capturing::turn,
};
use crate::batcher::Row;

/// Sets and bytes that a session keeps: every shape of the default limits of batches, which take some 20 MiB where outputs are narrow.
const KEPT: (usize, usize) = (128, 64 << 20);
/// And of outputs as wide as a vocabulary, so many times the largest.
const KEPT_OUTPUTS: usize = 16;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Tokens(&'a [&'a [u32]]),
    Embeddings(&'a [&'a [f32]]),
}

/// An output and the number of its columns.
pub(super) type Output = (&'static str, usize);

/// Rows and columns of the inputs, and the output that is asked for.
type Key = ([usize; 2], &'static str);

/// A run that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: ort::Error,
    /// Whether a CUDA graph was about to be captured, and the session may be left in the midst of it.
    pub(super) in_capture: bool,
}

/// The sets of one session.
pub(super) struct Bound {
    sets: Buckets<Key, Set>,
    /// Where device memory comes from; without it tensors lie in the host's.
    device: Option<Allocator>,
    /// Rows of the pair, for graphs that take it.
    pair: Option<(usize, usize)>,
    /// Graphs are told apart by number; a number is never used again, for its graph has the addresses of a set that is gone.
    last_graph: u64,
}

impl Bound {
    /// With device memory from `device` and CUDA graphs, or else in the host's memory. `output_bytes` are those of the largest run.
    pub(super) fn new(device: Option<Allocator>, pair: Option<(usize, usize)>, output_bytes: usize) -> Self {
        let twins = if device.is_some() { 2 } else { 1 };
        let bytes = KEPT.1.saturating_add(output_bytes.saturating_mul(twins * KEPT_OUTPUTS));
        let limits = Limits { entries: KEPT.0, bytes, replace: device.is_none() };
        Self { sets: Buckets::new(limits), device, pair, last_graph: 0 }
    }

    /// Keeps so many sets and no more.
    #[cfg(test)]
    pub(super) fn keep(&mut self, sets: usize) {
        self.sets = Buckets::new(Limits { entries: sets, bytes: KEPT.1, replace: self.device.is_none() });
    }

    /// Rows of the output for a run whose tensors have `shape`, or nothing if there is no room for tensors of that shape.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        content: Content<'_>,
        shape: [usize; 2],
        output: Output,
    ) -> Result<Option<Vec<Row>>, Failure> {
        let key = (shape, output.0);
        let is_new = self.sets.get(key).is_none();
        let in_capture = is_new && self.device.is_some();
        let _turn = turn(in_capture);
        let failed = |error| Failure { error, in_capture };
        if is_new {
            let bytes = self.bytes(content, shape, output.1);
            if !self.sets.make_room(bytes) {
                return Ok(None);
            }
            let set = self.set(session, content, shape, output).map_err(failed)?;
            self.sets.insert(key, bytes, set);
        }
        let Some(set) = self.sets.get(key) else { return Ok(None) };
        set.write(content, shape);
        match set.run(session) {
            Ok(()) => Ok(Some(set.rows(content, output.1))),
            Err(error) => {
                // Nobody says what a failed run leaves in a binding.
                self.sets.remove(key);
                Err(failed(error))
            }
        }
    }

    fn bytes(&self, content: Content<'_>, [rows, columns]: [usize; 2], width: usize) -> usize {
        let per_row = match content {
            Content::Tokens(_) => 2 * columns * size_of::<i64>(),
            Content::Embeddings(_) => columns * size_of::<f32>(),
        } + width * size_of::<f32>();
        rows * per_row * if self.device.is_some() { 2 } else { 1 }
    }

    fn set(
        &mut self,
        session: &Session,
        content: Content<'_>,
        shape: [usize; 2],
        (output, width): Output,
    ) -> ort::Result<Set> {
        let device = self.device.as_ref();
        let (mut integers, mut floats) = (vec![], vec![]);
        match content {
            Content::Tokens(_) => {
                integers.push(Twin::new("input_ids", device, &shape)?);
                integers.push(Twin::new("attention_mask", device, &shape)?);
            }
            Content::Embeddings(_) => floats.push(Twin::new("embedding", device, &shape)?),
        }
        for (name, row) in self.pair.into_iter().flat_map(|(strong, weak)| [("strong", strong), ("weak", weak)]) {
            let mut scalar = Twin::new(name, device, &[])?;
            scalar.elements().fill(row as i64);
            integers.push(scalar);
        }
        let mut output = Twin::<f32>::new(output, device, &[shape[0], width])?;
        let (mut binding, mut options) = (session.create_binding()?, RunOptions::new()?);
        integers.iter().try_for_each(|input| input.bind(&mut binding))?;
        floats.iter().try_for_each(|input| input.bind(&mut binding))?;
        output.bind_as_output(&mut binding)?;
        if device.is_some() {
            self.last_graph += 1;
            options.set("gpu_graph_id", self.last_graph.to_string())?;
        }
        Ok(Set { binding, options, integers, floats, output })
    }
}

/// A tensor in the host's memory and, with CUDA graphs, its counterpart in the device's.
struct Twin<T: PrimitiveTensorElementType + Debug> {
    name: &'static str,
    host: Tensor<T>,
    device: Option<Tensor<T>>,
}

impl<T: PrimitiveTensorElementType + Debug> Twin<T> {
    fn new(name: &'static str, device: Option<&Allocator>, shape: &[usize]) -> ort::Result<Self> {
        let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        let host = Tensor::new(&Allocator::default(), shape.clone())?;
        Ok(Self { name, host, device: device.map(|device| Tensor::new(device, shape)).transpose()? })
    }

    fn elements(&mut self) -> &mut [T] {
        self.host.extract_tensor_mut().1
    }

    fn bind(&self, binding: &mut IoBinding) -> ort::Result<()> {
        binding.bind_input(self.name, self.device.as_ref().unwrap_or(&self.host))
    }

    fn bind_as_output(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        binding.bind_output(self.name, self.device.as_mut().unwrap_or(&mut self.host))
    }

    /// Takes what was written in the host's memory to where the session reads it. Without a counterpart, binding copies.
    fn send(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        match &mut self.device {
            Some(device) => self.host.copy_into(device),
            None => self.bind(binding),
        }
    }

    fn fetch(&mut self) -> ort::Result<()> {
        self.device.as_ref().map_or(Ok(()), |device| device.copy_into(&mut self.host))
    }
}

/// The tensors of one shape.
struct Set {
    binding: IoBinding,
    options: RunOptions,
    integers: Vec<Twin<i64>>,
    floats: Vec<Twin<f32>>,
    output: Twin<f32>,
}

impl Set {
    /// Writes every element of the inputs, so that nothing of an earlier run is left.
    fn write(&mut self, content: Content<'_>, shape: [usize; 2]) {
        match (content, &mut self.integers[..], &mut self.floats[..]) {
            (Content::Tokens(batch), [ids, mask, ..], _) => write_tokens(batch, shape, ids.elements(), mask.elements()),
            (Content::Embeddings(batch), _, [embedding]) => {
                let elements = embedding.elements();
                elements.fill(0.0);
                elements.chunks_exact_mut(shape[1]).zip(batch).for_each(|(row, values)| row.copy_from_slice(values));
            }
            _ => {}
        }
    }

    fn run(&mut self, session: &mut Session) -> ort::Result<()> {
        self.integers.iter_mut().try_for_each(|input| input.send(&mut self.binding))?;
        self.floats.iter_mut().try_for_each(|input| input.send(&mut self.binding))?;
        // Copies that binding began are not part of the run; it does not wait for them by itself.
        self.binding.synchronize_inputs()?;
        session.run_binding_with_options(&self.binding, &self.options)?;
        self.output.fetch()
    }

    fn rows(&self, content: Content<'_>, width: usize) -> Vec<Row> {
        let count = match content {
            Content::Tokens(batch) => batch.len(),
            Content::Embeddings(batch) => batch.len(),
        };
        self.output.host.extract_tensor().1.chunks_exact(width).take(count).map(<[f32]>::to_vec).collect()
    }
}

/// Ids and mask of a batch, each `[rows, tokens]`. A prompt without tokens has a mask of zeros; rows that only fill the shape see one
/// token, so that nothing divides by zero.
pub(super) fn write_tokens(batch: &[&[u32]], [_, tokens]: [usize; 2], ids: &mut [i64], mask: &mut [i64]) {
    ids.fill(0);
    mask.fill(0);
    for ((ids, mask), encoding) in ids.chunks_exact_mut(tokens).zip(mask.chunks_exact_mut(tokens)).zip(batch) {
        ids.iter_mut().zip(*encoding).for_each(|(to, &id)| *to = i64::from(id));
        mask[..encoding.len()].fill(1);
    }
    mask.chunks_exact_mut(tokens).skip(batch.len()).for_each(|row| row[0] = 1);
}
