//! Linear interpolation with flat ends.

/// The value at a place between points, linear between neighbors and flat outside, as `numpy.interp`. There is at least one point.
pub(crate) fn interpolate(x: &[f32], y: &[f32], at: f32) -> f32 {
    let right = x.partition_point(|&point| point <= at);
    if right == 0 {
        return y[0];
    }
    if right == x.len() {
        return y[x.len() - 1];
    }
    let (x0, x1, y0, y1) = (x[right - 1], x[right], y[right - 1], y[right]);
    y0 + (y1 - y0) * ((at - x0) / (x1 - x0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_is_flat_outside_and_linear_inside() {
        let (x, y) = ([0.2, 0.4, 0.8], [0.1, 0.5, 0.6]);
        for (at, expected) in [(0.0, 0.1), (0.2, 0.1), (0.3, 0.3), (0.4, 0.5), (0.6, 0.55), (0.8, 0.6), (1.0, 0.6)] {
            assert!((interpolate(&x, &y, at) - expected).abs() < 1e-6, "{at}");
        }
    }
}
