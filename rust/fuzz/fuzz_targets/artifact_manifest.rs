//! Any text is a manifest within its limits, or refused.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use turnout_core::{Error, FORMAT_VERSION, Manifest, threshold_for_share};

fuzz_target!(|text: &str| {
    match Manifest::parse(Path::new("router.json"), text) {
        Ok(manifest) => {
            assert!((1..=FORMAT_VERSION).contains(&manifest.format_version));
            assert!((2..=4096).contains(&manifest.models.len()));
            assert!(manifest.models.contains(&manifest.pair.strong) && manifest.models.contains(&manifest.pair.weak));
            assert!((1..=16_384).contains(&manifest.encoder.dim()));
            assert!(manifest.graph.iter().all(|graph| manifest.files.contains_key(graph)));
            assert!(manifest.files.keys().all(|name| !name.contains(['/', '\\', '\0']) && name != ".."));
            for logit in [f32::MIN, -1.0, 0.0, 1.0, f32::MAX] {
                assert!((0.0..=1.0).contains(&manifest.calibration.apply(logit)));
            }
            if !manifest.thresholds.quantiles.is_empty() {
                let threshold = threshold_for_share(&manifest.thresholds.quantiles, 0.25);
                assert!(threshold.is_ok_and(|threshold| (0.0..=1.0).contains(&threshold)));
            }
        }
        Err(error) => assert!(matches!(error, Error::Artifact { .. })),
    }
});
