//! The exponential function in a form that compilers vectorise.
//!
//! Performance notes: the C library's functions take about 10 ns a number and cannot be vectorised. This polynomial is within
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
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = x - whole * LN2_HIGH - whole * LN2_LOW;
    let mut polynomial = 1.0 / 720.0;
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        polynomial = polynomial * rest + coefficient;
    }
    let power = f32::from_bits(((whole as i32 + 127) as u32) << 23);
    polynomial * power
}
