//! Truth and output on the same pixels: what was drawn about one position is moved to where the output has it.

use ndarray::s;

use super::ImageError;
use crate::fourier::{Amplitude, FftScratch, plan, shift_phases};
use crate::image::Plane;

/// A plane on pixels `factor` times smaller, values as before: the trigonometric interpolation through its pixels, which is the image itself
/// where that holds nothing above the Nyquist frequency. Pixel i of the plane is pixel i `factor` of the result.
pub fn upsampled(plane: &Plane, factor: usize) -> Result<Plane, ImageError> {
    let unusable = ImageError::Empty { what: "an image of no pixels" };
    let (ny, nx) = plane.dim();
    if factor < 2 {
        return Ok(plane.clone());
    }
    let (coarse, fine) = (plan(ny, nx), plan(ny * factor, nx * factor));
    let (Ok(coarse), Ok(fine)) = (coarse, fine) else { return Err(unusable) };
    let mut scratch = FftScratch::default();
    let mut spectrum = vec![Amplitude::default(); coarse.half_len()];
    let pixels: Vec<f32> = plane.iter().copied().collect();
    coarse.forward(&pixels, &mut spectrum, &mut scratch).map_err(|_| unusable.clone())?;
    let mut padded = vec![Amplitude::default(); fine.half_len()];
    let high = ny * factor;
    let scale = (factor * factor) as f32;
    for (kx, (from, to)) in spectrum.chunks_exact(ny).zip(padded.chunks_exact_mut(high)).enumerate() {
        // an even axis' Nyquist frequency stands for both signs, half each; of kx the negative half is implied
        let halved_x = if 2 * kx == nx { 0.5 } else { 1.0 };
        for (ky, value) in from.iter().enumerate() {
            let value = value * (scale * halved_x);
            if 2 * ky == ny {
                for place in [ky, high - ky] {
                    if let Some(slot) = to.get_mut(place) {
                        *slot += value * 0.5;
                    }
                }
            } else if let Some(slot) = to.get_mut(if 2 * ky < ny { ky } else { high - (ny - ky) }) {
                *slot = value;
            }
        }
    }
    let mut out = vec![0.0f32; high * nx * factor];
    fine.inverse(&padded, &mut out, &mut scratch).map_err(|_| unusable.clone())?;
    Plane::from_shape_vec((high, nx * factor), out).map_err(|_| unusable)
}

/// The part of an output that its truth covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Aligned {
    /// Pixels of the output.
    pub output: Plane,
    /// The truth on the same pixels.
    pub truth: Plane,
    /// Column and row of the object's true position on them, 0-based.
    pub centre: (f64, f64),
}

/// A plane moved by (dx, dy) pixels by its Fourier phases: exact for an image that holds nothing above the Nyquist frequency, as one at
/// a target PSF of two pixels or more nearly does. What leaves at one side comes in at the other.
pub fn shifted(plane: &Plane, dx: f64, dy: f64) -> Result<Plane, ImageError> {
    if dx == 0.0 && dy == 0.0 {
        return Ok(plane.clone());
    }
    let unusable = ImageError::Empty { what: "an image of no pixels, or moved by no finite distance" };
    if !(dx.is_finite() && dy.is_finite()) {
        return Err(unusable);
    }
    let (ny, nx) = plane.dim();
    let fft = plan(ny, nx).map_err(|_| unusable.clone())?;
    let mut scratch = FftScratch::default();
    let mut spectrum = vec![Amplitude::default(); fft.half_len()];
    let pixels: Vec<f32> = plane.iter().copied().collect();
    fft.forward(&pixels, &mut spectrum, &mut scratch).map_err(|_| unusable.clone())?;
    let (mut along_x, mut along_y) = (vec![Amplitude::default(); nx / 2 + 1], vec![Amplitude::default(); ny]);
    shift_phases(nx, dx, &mut along_x);
    shift_phases(ny, dy, &mut along_y);
    for (column, px) in spectrum.chunks_exact_mut(ny).zip(&along_x) {
        for (value, py) in column.iter_mut().zip(&along_y) {
            *value *= px * py;
        }
    }
    let mut moved = vec![0.0f32; ny * nx];
    fft.inverse(&spectrum, &mut moved, &mut scratch).map_err(|_| unusable.clone())?;
    Plane::from_shape_vec((ny, nx), moved).map_err(|_| unusable)
}

/// Brings a truth whose object lies at `truth_centre` onto the pixels of an output in which it lies at `place` (column, row; 0-based),
/// and cuts both to the pixels they share.
pub fn align(
    output: &Plane,
    place: (f64, f64),
    truth: &Plane,
    truth_centre: (f64, f64),
) -> Result<Aligned, ImageError> {
    let apart = ImageError::Empty { what: "output and truth share no pixel" };
    let (dx, dy) = (place.0 - truth_centre.0, place.1 - truth_centre.1);
    if !(dx.abs() < 1e6 && dy.abs() < 1e6) {
        return Err(apart);
    }
    let (whole_x, whole_y) = (dx.round(), dy.round());
    let moved = shifted(truth, dx - whole_x, dy - whole_y)?;
    let shared = |offset: f64, output: usize, truth: usize| {
        // truth pixel i lies on output pixel i + offset
        let offset = offset as isize;
        let from = offset.max(0);
        let to = (offset + truth as isize).min(output as isize);
        (to > from).then(|| (from as usize, to as usize, (from - offset) as usize, (to - offset) as usize))
    };
    let ((oy, ox), (ty, tx)) = (output.dim(), truth.dim());
    let (Some((x0, x1, tx0, tx1)), Some((y0, y1, ty0, ty1))) = (shared(whole_x, ox, tx), shared(whole_y, oy, ty))
    else {
        return Err(apart);
    };
    Ok(Aligned {
        output: output.slice(s![y0..y1, x0..x1]).to_owned(),
        truth: moved.slice(s![ty0..ty1, tx0..tx1]).to_owned(),
        centre: (place.0 - x0 as f64, place.1 - y0 as f64),
    })
}

/// FWHM of the circle that has the area of the pixels above half of the maximum, 2 sqrt(area / pi), pixels; `None` where no pixel is
/// positive.
pub fn fwhm_of_area(plane: &Plane) -> Option<f64> {
    let peak = plane.iter().copied().filter(|v| v.is_finite()).fold(0.0f32, f32::max);
    if peak <= 0.0 {
        return None;
    }
    let area = plane.iter().filter(|v| **v >= 0.5 * peak).count() as f64;
    Some(2.0 * (area / std::f64::consts::PI).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(side: usize, x: f64, y: f64, sigma: f64) -> Plane {
        Plane::from_shape_fn((side, side + 4), |(j, i)| {
            (-0.5 * ((i as f64 - x).powi(2) + (j as f64 - y).powi(2)) / (sigma * sigma)).exp() as f32
        })
    }

    #[test]
    fn a_truth_moves_to_where_the_output_has_it() {
        let truth = gaussian(40, 22.0, 20.0, 2.0);
        let output = gaussian(30, 14.3, 16.6, 2.0);
        let aligned = align(&output, (14.3, 16.6), &truth, (22.0, 20.0)).unwrap();
        assert_eq!(aligned.output.dim(), aligned.truth.dim());
        for (a, b) in aligned.output.iter().zip(&aligned.truth) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
        let (x, y) = aligned.centre;
        let (column, row) = (x.round() as usize, y.round() as usize);
        let peak = aligned.output.iter().copied().fold(0.0, f32::max);
        assert_eq!(aligned.output[(row, column)], peak);
    }

    #[test]
    fn a_finer_grid_shows_the_same_function() {
        let coarse = gaussian(20, 9.3, 10.6, 1.4);
        let fine = upsampled(&coarse, 3).unwrap();
        assert_eq!(fine.dim(), (60, 72));
        for ((j, i), v) in fine.indexed_iter() {
            let r2 = (i as f64 / 3.0 - 9.3).powi(2) + (j as f64 / 3.0 - 10.6).powi(2);
            assert!((f64::from(*v) - (-0.5 * r2 / 1.96).exp()).abs() < 2e-3, "{i} {j} {v}");
        }
        assert_eq!(fine[(30, 27)], upsampled(&coarse, 3).unwrap()[(30, 27)]);
        assert!((fine[(30, 27)] - coarse[(10, 9)]).abs() < 1e-5);
    }

    #[test]
    fn what_shares_no_pixel_is_refused() {
        let plane = gaussian(16, 8.0, 8.0, 2.0);
        assert!(align(&plane, (60.0, 8.0), &plane, (8.0, 8.0)).is_err());
        assert!(align(&plane, (f64::NAN, 8.0), &plane, (8.0, 8.0)).is_err());
    }

    #[test]
    fn the_width_of_a_gaussian_is_its_fwhm() {
        let sigma = 5.0;
        let fwhm = fwhm_of_area(&gaussian(64, 32.2, 31.7, sigma)).unwrap();
        assert!((fwhm / (sigma * 2.354_82) - 1.0).abs() < 0.02, "{fwhm}");
        assert_eq!(fwhm_of_area(&Plane::zeros((4, 4))), None);
    }
}
