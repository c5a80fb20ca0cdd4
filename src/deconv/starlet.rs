//! Starlet: the isotropic undecimated wavelet transform with the B3 spline (Starck & Murtagh 2006, "Astronomical Image and Data
//! Analysis", section 2.1). Scale j (from 0) holds structures of about `2^(j+1)` pixels; the planes add up to the image.

use super::DeconvError;
use crate::image::Plane;

/// B3 spline: the smoothing between scales, along one axis.
const B3: [f32; 5] = [1.0 / 16.0, 1.0 / 4.0, 3.0 / 8.0, 1.0 / 4.0, 1.0 / 16.0];

/// A plane taken apart by scale; every part has the plane's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Starlet {
    /// Wavelet coefficients, finest scale first.
    pub details: Vec<Plane>,
    /// What is left after the coarsest scale.
    pub smooth: Plane,
}

/// Takes a plane apart into `scales` planes of coefficients and a smooth rest. Beyond its sides the plane is continued by reflection.
///
/// # Errors
/// No scale asked for, or more than 16, or an empty plane.
pub fn transform(image: &Plane, scales: usize) -> Result<Starlet, DeconvError> {
    if scales == 0 || scales > 16 || image.is_empty() {
        let (ny, nx) = image.dim();
        return Err(DeconvError::Scales { scales, ny, nx });
    }
    let mut smooth = image.clone();
    let mut details = Vec::with_capacity(scales);
    for scale in 0..scales {
        let next = smoothed(&smooth, 1 << scale);
        smooth -= &next;
        details.push(std::mem::replace(&mut smooth, next));
    }
    Ok(Starlet { details, smooth })
}

impl Starlet {
    /// The plane again: the sum of all parts, exact up to rounding.
    pub fn reconstruct(&self) -> Plane {
        self.details.iter().rev().fold(self.smooth.clone(), |sum, detail| sum + detail)
    }
}

/// Standard deviation of each scale's coefficients for white noise of standard deviation 1: the norms of the wavelets themselves.
pub fn noise_levels(scales: usize) -> Result<Vec<f64>, DeconvError> {
    // The two-dimensional smoothing is a product, so that the norms follow from those of one dimension:
    // |h_j h_j - h_(j+1) h_(j+1)|^2 = |h_j|^4 - 2 <h_j, h_(j+1)>^2 + |h_(j+1)|^4.
    if scales == 0 || scales > 16 {
        return Err(DeconvError::Scales { scales, ny: 0, nx: 0 });
    }
    let mut kernel = vec![1.0f64];
    let mut levels = Vec::with_capacity(scales);
    for scale in 0..scales {
        let step = 1usize << scale;
        let mut next = vec![0.0; kernel.len() + 4 * step];
        for (i, v) in kernel.iter().enumerate() {
            for (j, b) in B3.iter().enumerate() {
                next[i + j * step] += v * f64::from(*b);
            }
        }
        let norm = |k: &[f64]| k.iter().map(|v| v * v).sum::<f64>();
        let cross: f64 = kernel.iter().zip(next.iter().skip(2 * step)).map(|(a, b)| a * b).sum();
        levels.push((norm(&kernel).powi(2) - 2.0 * cross * cross + norm(&next).powi(2)).max(0.0).sqrt());
        kernel = next;
    }
    Ok(levels)
}

/// Position reflected into `0..n` about the first and the last pixel.
fn reflect(i: isize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n as isize - 1);
    let i = i.rem_euclid(period);
    (if i < n as isize { i } else { period - i }) as usize
}

/// Smoothing by the B3 spline with holes of `step - 1` pixels between its taps, along both axes.
fn smoothed(plane: &Plane, step: usize) -> Plane {
    let (ny, nx) = plane.dim();
    let taps = |n: usize| -> Vec<[usize; 5]> {
        (0..n as isize).map(|i| std::array::from_fn(|t| reflect(i + (t as isize - 2) * step as isize, n))).collect()
    };
    let (columns, rows) = (taps(nx), taps(ny));
    let mut along = Plane::zeros((ny, nx));
    for (from, mut to) in plane.rows().into_iter().zip(along.rows_mut()) {
        for (o, at) in to.iter_mut().zip(&columns) {
            *o = at.iter().zip(B3).map(|(x, b)| b * from[*x]).sum();
        }
    }
    let mut out = Plane::zeros((ny, nx));
    for (mut to, at) in out.rows_mut().into_iter().zip(&rows) {
        for (y, b) in at.iter().zip(B3) {
            to.scaled_add(b, &along.row(*y));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up(ny in 1usize..30, nx in 1usize..30, scales in 1usize..7, seed in any::<u32>()) {
            let plane = Plane::from_shape_fn((ny, nx), |(y, x)| ((y * 31 + x * 17) as u32 ^ seed) as f32 % 101.0 - 50.0);
            let parts = transform(&plane, scales).unwrap();
            prop_assert_eq!(parts.details.len(), scales);
            for (a, b) in parts.reconstruct().iter().zip(&plane) {
                prop_assert!((a - b).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn a_constant_has_no_detail_and_a_point_has_the_wavelet() {
        let parts = transform(&Plane::from_elem((9, 13), 5.0), 3).unwrap();
        assert!(parts.details.iter().flatten().all(|v| v.abs() < 1e-5));
        let mut point = Plane::zeros((33, 33));
        point[(16, 16)] = 1.0;
        let first = &transform(&point, 2).unwrap().details[0];
        assert!((first[(16, 16)] - (1.0 - 9.0 / 64.0)).abs() < 1e-6);
        assert!((first[(16, 18)] + 3.0 / 8.0 / 16.0).abs() < 1e-6);
        assert!(first.sum().abs() < 1e-6);
    }

    #[test]
    fn noise_levels_are_the_published_ones() {
        // Starck & Murtagh: 0.889, 0.200, 0.086, 0.041, 0.020, 0.010, 0.005 for the B3 spline in two dimensions.
        let want = [0.889, 0.200, 0.086, 0.041, 0.020, 0.010, 0.005];
        for (got, want) in noise_levels(7).unwrap().iter().zip(want) {
            assert!((got - want).abs() < 2e-3, "{got} {want}");
        }
        assert!(noise_levels(0).is_err() && transform(&Plane::zeros((0, 4)), 2).is_err());
    }
}
