//! Activation functions over a whole embedding.
//!
//! Performance notes: the C library's `tanhf` takes about 10 ns a number and cannot be vectorized, which for an embedding of 64
//! costs more than tokenizing a short prompt. The exponential here is one that compilers vectorize.

use multiversion::multiversion;

use crate::exponential::exp;

/// Function applied to every element of the embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Relu,
    Tanh,
    /// GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415, section 2).
    Gelu,
}

impl Activation {
    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Self::Tanh => tanh(values),
            Self::Gelu => gelu(values),
        }
    }
}

#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn tanh(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = 1.0 - 2.0 / (1.0 + exp(2.0 * *value)));
}

#[multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn gelu(values: &mut [f32]) {
    // x * (1 + tanh(z)) / 2 = x / (1 + exp(-2 z)) with z = sqrt(2 / pi) * (x + 0.044715 x^3).
    const TWICE_ROOT: f32 = 1.595_769;
    values.iter_mut().for_each(|value| {
        let x = *value;
        *value = x / (1.0 + exp(-TWICE_ROOT * (x + 0.044_715 * x * x * x)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest_error(activation: Activation, exact: impl Fn(f64) -> f64) -> f64 {
        let points = (-20_000..=20_000).map(|step| step as f32 / 1000.0);
        points.fold(0.0, |worst, x| {
            let mut value = [x];
            activation.apply(&mut value);
            worst.max((f64::from(value[0]) - exact(f64::from(x))).abs() / f64::from(x).abs().max(1.0))
        })
    }

    #[test]
    fn activations_agree_with_double_precision() {
        assert!(largest_error(Activation::Tanh, f64::tanh) < 3e-7);
        let gelu =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
        assert!(largest_error(Activation::Gelu, gelu) < 3e-7);
        assert!(largest_error(Activation::Relu, |x| x.max(0.0)) == 0.0);
    }

    #[test]
    fn extreme_values_stay_finite() {
        for activation in [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Gelu] {
            let mut values = [-1e30, -100.0, 0.0, 100.0, 1e12];
            activation.apply(&mut values);
            assert!(values.iter().all(|value| value.is_finite()), "{activation:?} {values:?}");
        }
    }
}
