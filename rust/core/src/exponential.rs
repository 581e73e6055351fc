//! The exponential function in a form that compilers vectorize.
//!
//! Performance notes: the C library's functions take about 10 ns a number and cannot be vectorized. This polynomial is within
//! 2e-7 of the exact value, relatively.

/// `exp(x)`: split into a power of two and a remainder of at most `ln 2 / 2`, whose exponential is a polynomial of degree six.
/// Arguments beyond -87 and 88 count as those.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Not `clamp`, whose treatment of other cases takes more instructions than these two.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * LN2_HIGH - whole * LN2_LOW;
    let mut polynomial = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        polynomial = polynomial * rest + coefficient;
    }
    // The whole number stands in the lowest bits of `shifted`; moved up, it is an exponent.
    polynomial * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_close_to_double_precision_over_the_whole_range() {
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 3e-7, "exp({x}): {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY).is_finite());
    }
}
