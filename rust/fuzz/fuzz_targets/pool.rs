//! A hostile `pool.toml` or file of profiles is read, or refused with an error that a caller can act on.
//!
//! The first byte chooses the kind. Of a pool that is read, names are unique and every declared chance lies in 0..=1; of profiles, names
//! are unique.

#![no_main]

use libfuzzer_sys::fuzz_target;
use turnout_core::{
    Error,
    pool::{MAX_CANDIDATES, PoolSpec, Profiles},
};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, content)) = input.split_first() else { return };
    if choice % 2 == 0 {
        let Ok(text) = std::str::from_utf8(content) else { return };
        match PoolSpec::parse(text, None) {
            Ok(spec) => {
                let candidates = spec.candidates(None).unwrap();
                assert!((1..=MAX_CANDIDATES).contains(&candidates.len()));
                assert_unique(candidates.iter().map(|one| one.name.as_str()));
                let chances = candidates.iter().filter_map(|one| one.spec.success);
                assert!(chances.into_iter().all(|success| (0.0..=1.0).contains(&success)));
            }
            Err(error) => assert!(matches!(error, Error::Pool { .. }), "{error}"),
        }
    } else if let Ok(profiles) = Profiles::parse(content, 12) {
        assert!((1..=MAX_CANDIDATES).contains(&profiles.models.len()));
        assert_unique(profiles.models.iter().map(|model| model.name.as_str()));
    }
});

fn assert_unique<'a>(names: impl Iterator<Item = &'a str>) {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}
