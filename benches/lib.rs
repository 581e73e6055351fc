//! Inputs and timing that the benchmarks share. `benches/README.md` says how to run and read them.

use std::{collections::BTreeMap, hint::black_box, path::PathBuf, time::Instant};

use hdrhistogram::Histogram;

/// The shipped router.
pub fn artifact() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../python/turnout/artifacts/mf")
}

/// The prompts of `prompts.json` by name, such as `ascii-20`.
pub fn prompts() -> BTreeMap<String, String> {
    serde_json::from_str(include_str!("prompts.json")).expect("prompts.json maps names to texts")
}

/// Times `work` and prints a line of JSON: name, nanoseconds at p50, p95 and p99.
///
/// Calls are timed in groups, so that reading the clock (some 40 ns) does not count; the percentiles are of groups.
pub fn report<T>(name: &str, group: u64, mut work: impl FnMut() -> T) {
    let mut histogram =
        Histogram::<u64>::new_with_max(60_000_000_000, 3).expect("a minute with three digits is allowed");
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 700 || histogram.len() < 30 {
        let start = Instant::now();
        for _ in 0..group {
            black_box(work());
        }
        histogram.saturating_record(start.elapsed().as_nanos() as u64 / group);
    }
    let at = |percentile| histogram.value_at_percentile(percentile);
    println!("{}", serde_json::json!({ "name": name, "p50_ns": at(50.0), "p95_ns": at(95.0), "p99_ns": at(99.0) }));
}
