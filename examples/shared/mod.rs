//! Simulated stamps for the examples: Moffat PSFs and exponential discs with their truth at the target PSF.

use stillair::fourier::{Amplitude, FftScratch, gaussian_half_spectrum, plan};
use stillair::image::Plane;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// FWHM of the target PSF, target pixels.
pub const TARGET: f64 = 2.0;

pub fn moffat(size: usize, fwhm: f64) -> Plane {
    let beta: f64 = 3.0;
    let alpha = 0.5 * fwhm / (2f64.powf(1.0 / beta) - 1.0).sqrt();
    let c = (size / 2) as f64;
    let mut p = Plane::from_shape_fn((size, size), |(y, x)| {
        (1.0 + ((y as f64 - c).powi(2) + (x as f64 - c).powi(2)) / alpha / alpha).powf(-beta) as f32
    });
    p /= p.sum();
    p
}

/// An exponential disc of unit flux seen with the target PSF, centred on pixel side / 2.
pub fn disc(side: usize, half_light: f64, e: f64, angle: f64) -> Result<Plane> {
    let r0 = half_light / 1.678_347;
    let (ra, rb) = (r0 * (1.0 + e).sqrt(), r0 * (1.0 - e).sqrt());
    let fft = plan(side, side)?;
    let nu =
        |k: usize| (if 2 * k > side { k as f64 - side as f64 } else { k as f64 }) / side as f64 * std::f64::consts::TAU;
    let spectrum: Vec<Amplitude> = gaussian_half_spectrum(side, side, TARGET)
        .iter()
        .enumerate()
        .map(|(i, g)| {
            let (u, v) = (nu(i / side), nu(i % side));
            let (a, b) = (u * angle.cos() + v * angle.sin(), v * angle.cos() - u * angle.sin());
            let sign = if (i / side + i % side).is_multiple_of(2) { 1.0 } else { -1.0 };
            Amplitude::new((sign * g * (1.0 + (a * ra).powi(2) + (b * rb).powi(2)).powf(-1.5)) as f32, 0.0)
        })
        .collect();
    let mut out = Plane::zeros((side, side));
    fft.inverse(&spectrum, out.as_slice_mut().ok_or("layout")?, &mut FftScratch::default())?;
    Ok(out)
}

pub fn centre_cut(p: &Plane, n: usize) -> Plane {
    let o = p.nrows() / 2 - n / 2;
    p.slice(ndarray::s![o..o + n, o..o + n]).to_owned()
}

/// Radius about (cx, cy) that holds half of the light.
pub fn half_light(p: &Plane, cx: f64, cy: f64) -> f64 {
    let mut by_radius: Vec<(f64, f64)> =
        p.indexed_iter().map(|((y, x), v)| ((x as f64 - cx).hypot(y as f64 - cy), f64::from(*v))).collect();
    by_radius.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = 0.5 * f64::from(p.sum());
    let mut sum = 0.0;
    for (r, v) in by_radius {
        sum += v;
        if sum >= half {
            return r;
        }
    }
    f64::NAN
}

pub fn nmse(image: &Plane, truth: &Plane, window: &Plane) -> f64 {
    let (mut top, mut bottom) = (0.0, 0.0);
    for ((a, t), w) in image.iter().zip(truth).zip(window) {
        let (a, t, w) = (f64::from(*a), f64::from(*t), f64::from(*w));
        top += (w * (a - t)).powi(2);
        bottom += (w * t).powi(2);
    }
    top / bottom
}
