//! `router.json`: what was trained, parsed and validated once.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Deserializer, de};

use super::{
    files::{is_plain_name, max_file_bytes},
    network::{Generation, Label},
    ranking::RankingSpec,
};
use crate::{
    calibration::Calibration,
    error::{Error, Result},
    policy::check_quantiles,
};

/// The newest artifact format that this build reads; it reads those before, too.
pub const FORMAT_VERSION: u64 = 2;
/// More tokens than any router here looks at, few enough that a batch stays small.
const MAX_TOKENS: usize = 8192;
/// Polite phrases of a manifest, in all, and bytes of each.
const MAX_PHRASES: usize = 1024;
const MAX_PHRASE_BYTES: usize = 256;
const MAX_MODELS: usize = 4096;
const MAX_DIM: usize = 16_384;
const MAX_FILES: usize = 64;

/// `router.json`, validated.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// From 1 to [`FORMAT_VERSION`].
    pub format_version: u64,
    /// Name of the router, for people.
    pub name: String,
    /// Kind of router.
    pub kind: Kind,
    /// Models in the order of the graph's `model_scores`.
    pub models: Vec<String>,
    /// The trained pair.
    pub pair: Pair,
    /// Where embeddings come from.
    pub encoder: EncoderSpec,
    /// What the columns of the graph's `logits` mean; for `bert`, where it does not score models instead.
    #[serde(default)]
    pub labels: Option<Vec<Label>>,
    /// Around which texts the prompt is put and how a score is read; for `causal_llm`.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// File name of the ONNX graph; null where battles alone decide over the caller's embeddings.
    #[serde(deserialize_with = "Option::deserialize")]
    pub graph: Option<String>,
    /// Type of the graph's weights.
    #[serde(default)]
    pub graph_precision: Precision,
    /// Tokenizer of the prompt; null where embeddings come from the caller.
    #[serde(deserialize_with = "Option::deserialize")]
    pub tokenizer: Option<TokenizerSpec>,
    /// Map from raw to calibrated win rate.
    pub calibration: Calibration,
    /// Thresholds on the calibrated win rate.
    pub thresholds: Thresholds,
    /// Battles and tiers; for `sw_ranking` only.
    #[serde(default)]
    pub ranking: Option<RankingSpec>,
    /// File with the profiles of models, from which a pool's chances of success come.
    #[serde(default)]
    pub profiles: Option<String>,
    /// Data, rows, licenses, recipe and scores; for people, `turnout inspect` prints it.
    pub provenance: serde_json::Value,
    /// Size and hash of every file of the folder that is used.
    #[serde(deserialize_with = "each_once")]
    pub files: BTreeMap<String, FileEntry>,
}

/// Kind of router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Matrix factorization.
    #[serde(rename = "mf")]
    Mf,
    /// Similarity-weighted Elo over stored battles.
    #[serde(rename = "sw_ranking")]
    SwRanking,
    /// A classifier over a transformer encoder.
    #[serde(rename = "bert")]
    Bert,
    /// A language model that is asked for a score.
    #[serde(rename = "causal_llm")]
    CausalLm,
}

const KINDS: [&str; 4] = ["mf", "sw_ranking", "bert", "causal_llm"];

impl Kind {
    /// The name that stands in the manifest.
    pub fn name(self) -> &'static str {
        KINDS[self as usize]
    }
}

/// Type in which a graph keeps most of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Float32,
    /// 16-bit floats, for GPUs only.
    Float16,
    /// 8-bit integers with scales.
    Int8,
    /// 4-bit integers with scales.
    Int4,
}

/// The two models between which the router was trained to decide.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The strong, expensive model.
    pub strong: String,
    /// The weak, cheap model.
    pub weak: String,
}

/// Where embeddings come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum EncoderSpec {
    /// The graph computes them from token ids.
    Graph {
        /// Length of an embedding.
        dim: usize,
    },
    /// The caller supplies them.
    External {
        /// Length of an embedding.
        dim: usize,
    },
}

impl EncoderSpec {
    /// Length of an embedding.
    pub fn dim(&self) -> usize {
        match self {
            Self::Graph { dim } | Self::External { dim } => *dim,
        }
    }
}

/// How prompts become token ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    /// File name of the `tokenizer.json`.
    pub file: String,
    /// Of a longer prompt only so many tokens are read.
    pub max_tokens: usize,
    /// Which of them; since version 2.
    #[serde(default)]
    pub truncation: Truncation,
    /// What is done to prompts of at most three words; since version 2.
    #[serde(default)]
    pub short_prompts: ShortPrompts,
    /// Phrases at the ends of a prompt that are not read; since version 2.
    #[serde(default)]
    pub courtesy: CourtesySpec,
}

/// Greetings, polite words and labels that carry no content. From the beginning, a prompt is read as far as it consists of openings and
/// fillers, and loses all up to the last opening; from the end likewise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CourtesySpec {
    /// Such as "please" and "could you".
    pub openings: Vec<String>,
    /// Words between openings, such as "help me with this".
    pub opening_fillers: Vec<String>,
    /// Such as "thank you" and "answer:".
    pub closings: Vec<String>,
    /// Words between and after closings, such as "in advance".
    pub closing_fillers: Vec<String>,
}

impl CourtesySpec {
    fn lists(&self) -> [&[String]; 4] {
        [&self.openings, &self.opening_fillers, &self.closings, &self.closing_fillers]
    }

    /// Whether there are no phrases.
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    fn check(&self) -> std::result::Result<(), String> {
        let phrases: usize = self.lists().iter().map(|list| list.len()).sum();
        if phrases > MAX_PHRASES {
            return Err(format!("{phrases} phrases, expected at most {MAX_PHRASES}"));
        }
        match self.lists().into_iter().flatten().find(|text| text.is_empty() || text.len() > MAX_PHRASE_BYTES) {
            Some(text) => Err(format!("a phrase of {} bytes, expected 1..={MAX_PHRASE_BYTES}", text.len())),
            None => Ok(()),
        }
    }
}

/// What is read of a prompt beyond the token limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Its beginning.
    #[default]
    Head,
    /// Half of the limit from its beginning, half from its end.
    HeadTail,
}

/// What is done to prompts of at most three words before they are tokenized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortPrompts {
    /// Nothing.
    #[default]
    AsWritten,
    /// Punctuation at their ends is taken off, and they are put in lower case.
    Plain,
}

/// Thresholds on the calibrated win rate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Used where the caller names none.
    pub default: f64,
    /// Win rates at evenly spaced quantiles (0 to 1) of the calibration prompts, never falling; may be empty.
    pub quantiles: Vec<f32>,
}

/// Size and hash of one file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// Files by name. Duplicate names are refused, because JSON readers differ in which entry they use.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<BTreeMap<String, FileEntry>, D::Error> {
    struct Files;
    impl<'de> de::Visitor<'de> for Files {
        type Value = BTreeMap<String, FileEntry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("sizes and hashes of files by name")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut files = BTreeMap::new();
            while let Some((name, entry)) = map.next_entry::<String, FileEntry>()? {
                if files.insert(name.clone(), entry).is_some() {
                    return Err(de::Error::custom(format!("duplicate file {name:?}")));
                }
            }
            Ok(files)
        }
    }
    deserializer.deserialize_map(Files)
}

impl Manifest {
    /// Parses and validates the text of `router.json`; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        // The version first: a later format may look entirely different, and the reader should be told that and nothing else.
        #[derive(Deserialize)]
        struct Head {
            format_version: u64,
            kind: Option<String>,
        }
        let json_error = |error: serde_json::Error| Error::artifact_from(path, "json", error);
        let Head { format_version: version, kind } = serde_json::from_str(text).map_err(json_error)?;
        if !(1..=FORMAT_VERSION).contains(&version) {
            let message = format!("{version}, this build of turnout reads 1 to {FORMAT_VERSION}");
            return Err(Error::artifact(path, "format_version", message));
        }
        if let Some(kind) = kind.filter(|kind| !KINDS.contains(&kind.as_str())) {
            let message = format!("{kind:?}, this build of turnout runs {}", KINDS.join(", "));
            return Err(Error::artifact(path, "kind", message));
        }
        let manifest: Self = serde_json::from_str(text).map_err(json_error)?;
        manifest.check().map_err(|(field, message)| Error::artifact(path, field, message))?;
        Ok(manifest)
    }

    fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        self.check_models()?;
        self.check_kind()?;
        self.check_ranking()?;
        let dim = self.encoder.dim();
        if dim == 0 || dim > MAX_DIM {
            return Err(("encoder.dim", format!("{dim}, expected 1..={MAX_DIM}")));
        }
        match (&self.encoder, &self.tokenizer) {
            (EncoderSpec::Graph { .. }, None) => {
                return Err(("tokenizer", "missing, expected one because the encoder is a graph".into()));
            }
            (EncoderSpec::External { .. }, Some(_)) => {
                return Err(("tokenizer", "present, expected none because the encoder is external".into()));
            }
            (_, Some(spec)) if spec.max_tokens == 0 || spec.max_tokens > MAX_TOKENS => {
                return Err(("tokenizer.max_tokens", format!("{}, expected 1..={MAX_TOKENS}", spec.max_tokens)));
            }
            (_, Some(spec)) => self.check_text_rules(spec)?,
            _ => {}
        }
        self.calibration.check().map_err(|message| ("calibration", message))?;
        self.check_thresholds()?;
        self.check_files()
    }

    fn check_text_rules(&self, spec: &TokenizerSpec) -> std::result::Result<(), (&'static str, String)> {
        let declared = [
            ("tokenizer.truncation", spec.truncation != Truncation::default()),
            ("tokenizer.short_prompts", spec.short_prompts != ShortPrompts::default()),
            ("tokenizer.courtesy", !spec.courtesy.is_empty()),
        ];
        spec.courtesy.check().map_err(|message| ("tokenizer.courtesy", message))?;
        match declared.iter().find(|(_, is_declared)| *is_declared) {
            Some((field, _)) if self.format_version < 2 => {
                Err((field, "present, expected format_version 2 for it".into()))
            }
            Some((field, _)) if self.generation.is_some() => {
                Err((field, "present, but a prompt of the kind \"causal_llm\" is read as it is, and whole".into()))
            }
            _ if !spec.courtesy.is_empty() && spec.truncation != Truncation::HeadTail => {
                Err(("tokenizer.courtesy", "present, expected truncation \"head_tail\" with it".into()))
            }
            _ => Ok(()),
        }
    }

    fn check_ranking(&self) -> std::result::Result<(), (&'static str, String)> {
        let external = matches!(self.encoder, EncoderSpec::External { .. });
        match (self.kind, &self.ranking) {
            (Kind::SwRanking, None) => return Err(("ranking", "missing, expected for the kind \"sw_ranking\"".into())),
            (Kind::SwRanking, Some(ranking)) => ranking.check(&self.models)?,
            (_, Some(_)) => return Err(("ranking", "present, expected for the kind \"sw_ranking\" only".into())),
            (_, None) => {}
        }
        match (&self.graph, self.kind == Kind::SwRanking && external) {
            (Some(_), true) => Err(("graph", "present, expected null because the encoder is external".into())),
            (None, false) => Err(("graph", "null, expected a file name".into())),
            _ => Ok(()),
        }
    }

    fn check_models(&self) -> std::result::Result<(), (&'static str, String)> {
        if self.models.len() < 2 || self.models.len() > MAX_MODELS {
            return Err(("models", format!("{} models, expected 2..={MAX_MODELS}", self.models.len())));
        }
        let mut names: Vec<&str> = self.models.iter().map(String::as_str).collect();
        names.sort_unstable();
        if names[0].is_empty() {
            return Err(("models", "an empty name".into()));
        }
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(("models", format!("{:?} is listed twice", twice[0])));
        }
        for (field, name) in [("pair.strong", &self.pair.strong), ("pair.weak", &self.pair.weak)] {
            if !self.models.contains(name) {
                return Err((field, format!("{name:?} is not among the models")));
            }
        }
        Ok(())
    }

    fn check_thresholds(&self) -> std::result::Result<(), (&'static str, String)> {
        if !(0.0..=1.0).contains(&self.thresholds.default) {
            return Err(("thresholds.default", format!("{}, expected a number in 0..=1", self.thresholds.default)));
        }
        let quantiles = &self.thresholds.quantiles;
        if quantiles.is_empty() {
            return Ok(());
        }
        check_quantiles(quantiles).map_err(|message| ("thresholds.quantiles", format!("{message} (or none)")))
    }

    fn check_files(&self) -> std::result::Result<(), (&'static str, String)> {
        if self.files.len() > MAX_FILES {
            return Err(("files", format!("{} files, expected at most {MAX_FILES}", self.files.len())));
        }
        let total = self.files.values().fold(0u64, |total, entry| total.saturating_add(entry.bytes));
        let limit = max_file_bytes(self.kind);
        if total > limit {
            return Err(("files", format!("{total} bytes together, expected at most {limit}")));
        }
        for (name, entry) in &self.files {
            if !is_plain_name(name) {
                return Err(("files", format!("{name:?}, expected a plain file name")));
            }
            let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            if entry.sha256.len() != 64 || !entry.sha256.bytes().all(hexadecimal) {
                return Err((
                    "files",
                    format!("sha256 of {name:?} is {:?}, expected 64 hexadecimal digits", entry.sha256),
                ));
            }
        }
        let used = [
            ("graph", self.graph.as_ref()),
            ("tokenizer.file", self.tokenizer.as_ref().map(|t| &t.file)),
            ("profiles", self.profiles.as_ref()),
        ];
        for (field, name) in used.into_iter().chain(self.ranking.iter().flat_map(RankingSpec::files)) {
            if let Some(name) = name.filter(|name| !self.files.contains_key(*name)) {
                return Err((field, format!("{name:?} is not listed in `files`")));
            }
        }
        Ok(())
    }
}
