//! Weights for the amplitude fit, from a model of the variance.

use super::Pixel;
use crate::image::Plane;

/// Standard deviation of the smoothing, pixels.
const SMOOTHING: f32 = 1.2;

/// 1 / (sky variance + source / gain) per pixel, 0 where a pixel is not to be used. The source is the observed light smoothed over
/// the pixel's surroundings *without the pixel itself*: a weight that knows its own pixel's noise prefers the pixels that fell low,
/// and lowers every flux fitted with it. `others` is the light of other objects that was taken off: its noise is still there.
pub(super) fn model_weights(
    observed: &Plane,
    others: Option<&Plane>,
    sky_rms: &Plane,
    pixels: &ndarray::Array2<Pixel>,
    gain: Option<f64>,
) -> Plane {
    let gain = gain.filter(|g| g.is_finite() && *g > 0.0);
    let source = gain.map(|_| smoothed_without_self(observed));
    Plane::from_shape_fn(observed.dim(), |at| {
        if pixels[at] != Pixel::Good {
            return 0.0;
        }
        let mut variance = f64::from(sky_rms[at]).powi(2);
        if let (Some(source), Some(gain)) = (&source, gain) {
            let others = others.map_or(0.0, |o| o[at].max(0.0));
            variance += f64::from(source[at].max(0.0) + others) / gain;
        }
        let weight = (1.0 / variance) as f32;
        if weight.is_finite() { weight } else { 0.0 }
    })
}

/// Gaussian smoothing that leaves each pixel's own value out; beyond the stamp lies the sky (0).
fn smoothed_without_self(plane: &Plane) -> Plane {
    const REACH: isize = 3;
    let kernel: Vec<f32> = (-REACH..=REACH).map(|i| (-0.5 * (i as f32 / SMOOTHING).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    let (ny, nx) = plane.dim();
    let along = |from: &Plane, rows: bool| {
        let mut out = Plane::zeros((ny, nx));
        for (k, shift) in kernel.iter().zip(-REACH..=REACH) {
            for y in 0..ny {
                for x in 0..nx {
                    let (v, u) = if rows { (y as isize, x as isize + shift) } else { (y as isize + shift, x as isize) };
                    if v >= 0 && u >= 0 && v < ny as isize && u < nx as isize {
                        out[(y, x)] += k * from[(v as usize, u as usize)];
                    }
                }
            }
        }
        out
    };
    let mut out = along(&along(plane, true), false);
    let total = sum * sum - 1.0;
    for (o, v) in out.iter_mut().zip(plane) {
        *o = (*o - v) / total;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixels_weight_does_not_depend_on_its_own_value() {
        let pixels = ndarray::Array2::from_elem((9, 9), Pixel::Good);
        let sky = Plane::from_elem((9, 9), 2.0);
        let mut a = Plane::from_elem((9, 9), 50.0);
        let w0 = model_weights(&a, None, &sky, &pixels, Some(2.0));
        assert!((w0[(4, 4)] - 1.0 / (4.0 + 25.0)).abs() < 1e-5);
        a[(4, 4)] = 1e4;
        let w1 = model_weights(&a, None, &sky, &pixels, Some(2.0));
        assert!((w0[(4, 4)] / w1[(4, 4)] - 1.0).abs() < 1e-2);
        assert!(w1[(4, 5)] < 0.5 * w0[(4, 5)]);
        assert_eq!(model_weights(&a, None, &sky, &pixels, None)[(4, 4)], 0.25);
    }
}
