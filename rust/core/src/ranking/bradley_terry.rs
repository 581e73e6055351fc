//! Bradley-Terry strengths of a few tiers from a matrix of weighted wins.
//!
//! Maximizes `sum over i, j of wins[i][j] ln sigmoid(x_i - x_j) - ridge / 2 |x|^2` with `ridge = RIDGE * sum of wins` by Newton's
//! method (Bradley and Terry 1952; RouteLLM fits the same likelihood by L-BFGS, arXiv 2406.18665, section 4.2, equations 2 and 3).
//! The ridge is the only regularization. It moves no win rate by more than about 1e-8 where the data speak, and gives an answer
//! where they do not: a tier without wins comes to lie about twenty units (some 3,500 Elo) below, and parts of the tiers
//! that never met are each centered at zero, as RouteLLM's solver, which starts at zero, leaves them.

/// Share of the total weight that holds every strength at zero.
pub const RIDGE: f64 = 1e-9;

/// Newton steps; each moves differences by about one unit at least until the last few, and none is larger than some thirty.
const MAX_STEPS: usize = 200;
const TOLERANCE: f64 = 1e-10;

/// Strengths in natural units (an Elo rating is `400 / ln 10` times that), one a tier.
///
/// `wins[i * tiers + j]` is the weight of the battles that `i` won against `j`, finite and not negative; the diagonal does not
/// count. `strengths` holds the starting point and then the result.
pub fn solve(wins: &[f64], strengths: &mut [f64]) {
    let tiers = strengths.len();
    let total: f64 = wins.iter().sum();
    let ridge = RIDGE * total;
    if ridge <= 0.0 || !ridge.is_finite() {
        strengths.fill(0.0);
        return;
    }
    let mut hessian = vec![0.0; tiers * tiers];
    let mut step = vec![0.0; tiers];
    for _ in 0..MAX_STEPS {
        hessian.fill(0.0);
        for (i, (gradient, strength)) in step.iter_mut().zip(&*strengths).enumerate() {
            *gradient = -ridge * strength;
            hessian[i * tiers + i] = ridge;
        }
        for i in 0..tiers {
            for j in 0..i {
                let (won, lost) = (wins[i * tiers + j], wins[j * tiers + i]);
                let met = won + lost;
                if met == 0.0 {
                    continue;
                }
                let chance = 1.0 / (1.0 + (strengths[j] - strengths[i]).exp());
                let pull = won - met * chance;
                let curvature = met * chance * (1.0 - chance);
                step[i] += pull;
                step[j] -= pull;
                hessian[i * tiers + i] += curvature;
                hessian[j * tiers + j] += curvature;
                hessian[i * tiers + j] -= curvature;
            }
        }
        solve_positive_definite(&mut hessian, &mut step);
        let (low, high) = step.iter().fold((f64::MAX, f64::MIN), |(low, high), &s| (low.min(s), high.max(s)));
        let largest = (high - low).max(high.abs()).max(low.abs());
        if !largest.is_finite() {
            return;
        }
        // The third derivative of the likelihood along a step is at most `largest` times the second: with this damping every step
        // goes uphill (Sun and Tran-Dinh 2019, generalized self-concordant functions), and the last ones are whole.
        let damping = if largest > 1e-12 { largest.ln_1p() / largest } else { 1.0 };
        strengths.iter_mut().zip(&step).for_each(|(strength, step)| *strength += damping * step);
        if largest < TOLERANCE {
            return;
        }
    }
}

/// Solves `A x = b` in place by Cholesky's method; of `A` only the lower triangle is read.
fn solve_positive_definite(a: &mut [f64], b: &mut [f64]) {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            let factor = a[j * n + k];
            for i in j..n {
                a[i * n + j] -= a[i * n + k] * factor;
            }
        }
        let root = a[j * n + j].max(f64::MIN_POSITIVE).sqrt();
        for i in j..n {
            a[i * n + j] /= root;
        }
    }
    for i in 0..n {
        let known: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strengths(tiers: usize, wins: &[f64]) -> Vec<f64> {
        let mut strengths = vec![0.0; tiers];
        solve(wins, &mut strengths);
        strengths
    }

    fn slope(tiers: usize, wins: &[f64], x: &[f64]) -> f64 {
        let ridge = RIDGE * wins.iter().sum::<f64>();
        let gradient = |i: usize| {
            let pulls = (0..tiers).filter(|&j| j != i).map(|j| {
                let (won, lost) = (wins[i * tiers + j], wins[j * tiers + i]);
                won - (won + lost) / (1.0 + (x[j] - x[i]).exp())
            });
            pulls.sum::<f64>() - ridge * x[i]
        };
        (0..tiers).map(|i| gradient(i).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn two_tiers_differ_by_the_log_odds() {
        let found = strengths(2, &[0.0, 30.0, 10.0, 0.0]);
        assert!((found[0] - found[1] - 3f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn all_ties_are_equal_strengths() {
        let found = strengths(3, &[0.0, 5.0, 1.0, 5.0, 0.0, 2.0, 1.0, 2.0, 0.0]);
        assert!(found.iter().all(|x| x.abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn without_battles_nobody_is_stronger() {
        assert_eq!(strengths(4, &[0.0; 16]), [0.0; 4]);
    }

    #[test]
    fn one_battle_and_a_tier_without_wins_are_finite() {
        let one = strengths(2, &[0.0, 1.0, 0.0, 0.0]);
        assert!(one[0] > 5.0 && one[0] < 30.0 && (one[0] + one[1]).abs() < 1e-6, "{one:?}");
        let beaten = strengths(3, &[0.0, 3.0, 9.0, 2.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
        assert!(beaten.iter().all(|x| x.is_finite()) && beaten[2] < beaten[1] - 10.0, "{beaten:?}");
    }

    #[test]
    fn parts_that_never_met_are_centered_each() {
        let mut wins = [0.0; 16];
        (wins[1], wins[4], wins[11], wins[14]) = (30.0, 10.0, 10.0, 70.0);
        let found = strengths(4, &wins);
        assert!((found[0] + found[1]).abs() < 1e-6 && (found[2] + found[3]).abs() < 1e-6, "{found:?}");
        assert!((found[3] - found[2] - 7f64.ln()).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_gradient_vanishes_whatever_the_battles_and_the_start(
            tiers in 2usize..12, seed in prop::collection::vec(0.0f64..1.0, 144), density in 0.0f64..1.0, start in -30.0f64..30.0,
        ) {
            let wins: Vec<f64> = (0..tiers * tiers)
                .map(|at| if at % (tiers + 1) != 0 && seed[at % 144] < density { 1e3 * seed[(at * 7) % 144].powi(4) } else { 0.0 })
                .collect();
            let mut found: Vec<f64> = (0..tiers).map(|i| if i % 2 == 0 { start } else { 0.0 }).collect();
            solve(&wins, &mut found);
            prop_assert!(found.iter().all(|x| x.is_finite()));
            let total: f64 = wins.iter().sum();
            prop_assert!(slope(tiers, &wins, &found) <= 1e-9 * total.max(1e-9), "{found:?} {}", slope(tiers, &wins, &found));
        }
    }
}
