//! The Elo solve over ten tiers, from the strengths of all battles unweighted.

use turnout_benches::report;
use turnout_core::bradley_terry;

fn main() {
    let tiers = 10;
    // Every tier met every other; the stronger won more often.
    let wins: Vec<f64> = (0..tiers * tiers)
        .map(|at| {
            let (i, j) = ((at / tiers) as f64, (at % tiers) as f64);
            if i == j { 0.0 } else { 1000.0 / (1.0 + (0.3 * (i - j)).exp()) + (at * 7 % 13) as f64 }
        })
        .collect();
    let mut start = vec![0.0; tiers];
    bradley_terry::solve(&wins, &mut start);
    // What a prompt changes: some cells weigh up to ten times as much as others.
    let weighted: Vec<f64> = wins.iter().enumerate().map(|(at, wins)| wins * (1.0 + (at % 7) as f64)).collect();
    let mut strengths = start.clone();
    bradley_terry::solve(&weighted, &mut strengths);
    assert!(strengths[0] > strengths[9]);
    report("elo/solve/10", 100, || {
        strengths.copy_from_slice(&start);
        bradley_terry::solve(&weighted, &mut strengths);
        strengths[0]
    });
}
