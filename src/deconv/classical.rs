//! The baselines a user knows, on the detector's grid: Wiener and Richardson-Lucy, both as seen with the target PSF.

use super::tikhonov::TikhonovInput;
use super::{DeconvError, cosine_taper};
use crate::fourier::{
    Amplitude, Fft2, FftScratch, embed_centred, gaussian_half_spectrum, half_multiplicity, plan, shift_phases,
};
use crate::image::Plane;

/// Squared transfer below which a frequency counts as lost.
const LOST: f32 = 1e-6;

/// Transforms of a stamp: plan, response with the object's phase, and the observed pixels.
struct Prepared {
    n: usize,
    fft: std::sync::Arc<Fft2>,
    scratch: FftScratch,
    response: Vec<Amplitude>,
    target: Vec<f32>,
}

fn prepare(input: &TikhonovInput, target_fwhm: f64) -> Result<Prepared, DeconvError> {
    let (n, nx) = input.observed.dim();
    if n != nx || n == 0 {
        return Err(DeconvError::Shape { ny: n, nx, what: "a square one is needed".into() });
    }
    let bad = input.observed.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        return Err(DeconvError::NotFinite(bad));
    }
    if !target_fwhm.is_finite() || target_fwhm < 0.0 {
        return Err(DeconvError::TargetWidth(target_fwhm));
    }
    if !input.centre.0.is_finite() || !input.centre.1.is_finite() {
        return Err(DeconvError::Centre(input.centre.0, input.centre.1));
    }
    let sum: f64 = input.psf.iter().map(|v| f64::from(*v)).sum();
    if !sum.is_finite() || sum <= 0.0 {
        return Err(DeconvError::Psf(sum));
    }
    let fft = plan(n, n)?;
    let mut scratch = FftScratch::default();
    let mut grid = vec![0.0; n * n];
    embed_centred(input.psf, &mut grid, n, n)?;
    let mut response = vec![Amplitude::default(); fft.half_len()];
    fft.forward(&grid, &mut response, &mut scratch)?;
    let (mut px, mut py) = (vec![Amplitude::default(); n / 2 + 1], vec![Amplitude::default(); n]);
    shift_phases(n, input.centre.0 - (n / 2) as f64, &mut px);
    shift_phases(n, input.centre.1 - (n / 2) as f64, &mut py);
    for (column, x) in response.chunks_exact_mut(n).zip(&px) {
        for (h, y) in column.iter_mut().zip(&py) {
            *h *= x * y;
        }
    }
    let target = gaussian_half_spectrum(n, n, target_fwhm).into_iter().map(|v| v as f32).collect();
    Ok(Prepared { n, fft, scratch, response, target })
}

/// Wiener filter, `Z = G Y / H * P / (P + sigma^2)`, with the signal's power `P` on the observed grid taken from the data: the mean of
/// `|Y|^2 - sigma^2` over rings of frequency, not below 0. Shape (n, n), flux per pixel, object centred on pixel (n/2, n/2).
pub fn wiener(input: &TikhonovInput, target_fwhm: f64) -> Result<Plane, DeconvError> {
    if !input.sigma.is_finite() || input.sigma <= 0.0 {
        return Err(DeconvError::Noise(input.sigma));
    }
    let Prepared { n, fft, mut scratch, response, target } = prepare(input, target_fwhm)?;
    let taper = cosine_taper(n, n / 16);
    let tapered: Vec<f32> = input.observed.indexed_iter().map(|((y, x), v)| v * taper[y] * taper[x]).collect();
    let mut spectrum = vec![Amplitude::default(); fft.half_len()];
    fft.forward(&tapered, &mut spectrum, &mut scratch)?;
    let ring = |i: usize| {
        let (kx, ky) = (i / n, i % n);
        let ky = if 2 * ky > n { n - ky } else { ky };
        (kx as f64).hypot(ky as f64).round() as usize
    };
    let mut rings = vec![(0.0f64, 0.0f64); n + 1];
    for ((i, y), m) in spectrum.iter().enumerate().zip(half_multiplicity(n, n)) {
        let (sum, count) = &mut rings[ring(i)];
        *sum += f64::from(m * y.norm_sqr());
        *count += f64::from(m);
    }
    let noise = input.sigma.powi(2) * (n * n) as f64;
    for (i, ((y, h), g)) in spectrum.iter_mut().zip(&response).zip(&target).enumerate() {
        let (sum, count) = rings[ring(i)];
        let signal = (sum / count.max(1.0) - noise).max(0.0);
        *y *= h.conj() * (g / h.norm_sqr().max(LOST) * (signal / (signal + noise)) as f32);
    }
    let mut out = Plane::zeros((n, n));
    if let Some(pixels) = out.as_slice_mut() {
        fft.inverse(&spectrum, pixels, &mut scratch)?;
    }
    Ok(out)
}

/// Richardson-Lucy, `x <- x H^T (y / H x)`, `steps` times from a flat start, then seen with the target PSF.
///
/// A `pedestal` (image units, at least a few sigma) is added to the pixels before and taken off after, because the sky has been subtracted and the method
/// knows only positive light: without one, every negative pixel is clipped, and a false source rises everywhere. Pixels still
/// negative count as 0. Shape (n, n), flux per pixel, object centred on pixel (n/2, n/2).
pub fn richardson_lucy(
    input: &TikhonovInput,
    steps: usize,
    pedestal: f64,
    target_fwhm: f64,
) -> Result<Plane, DeconvError> {
    if !pedestal.is_finite() || pedestal < 0.0 {
        return Err(DeconvError::Noise(pedestal));
    }
    let Prepared { n, fft, mut scratch, response, target } = prepare(input, target_fwhm)?;
    let pedestal = pedestal as f32;
    let data: Vec<f32> = input.observed.iter().map(|v| (v + pedestal).max(0.0)).collect();
    let mean = data.iter().map(|v| f64::from(*v)).sum::<f64>() / (n * n) as f64;
    let mut sky = vec![mean as f32; n * n];
    // Far below anything that matters in the ratio, far above underflow.
    let floor = (mean as f32 * 1e-6).max(f32::MIN_POSITIVE);
    let mut spectrum = vec![Amplitude::default(); fft.half_len()];
    let mut work = vec![0.0f32; n * n];
    for _ in 0..steps {
        fft.forward(&sky, &mut spectrum, &mut scratch)?;
        spectrum.iter_mut().zip(&response).for_each(|(a, h)| *a *= h);
        fft.inverse(&spectrum, &mut work, &mut scratch)?;
        work.iter_mut().zip(&data).for_each(|(m, y)| *m = y / m.max(floor));
        fft.forward(&work, &mut spectrum, &mut scratch)?;
        spectrum.iter_mut().zip(&response).for_each(|(a, h)| *a *= h.conj());
        fft.inverse(&spectrum, &mut work, &mut scratch)?;
        sky.iter_mut().zip(&work).for_each(|(x, c)| *x *= c.max(0.0));
    }
    sky.iter_mut().for_each(|x| *x -= pedestal);
    fft.forward(&sky, &mut spectrum, &mut scratch)?;
    spectrum.iter_mut().zip(&target).for_each(|(a, g)| *a *= g);
    let mut out = Plane::zeros((n, n));
    if let Some(pixels) = out.as_slice_mut() {
        fft.inverse(&spectrum, pixels, &mut scratch)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(n: usize, c: (f64, f64), fwhm: f64) -> Plane {
        let s = fwhm / 2.354_82;
        let mut p = Plane::from_shape_fn((n, n), |(y, x)| {
            (-0.5 * ((x as f64 - c.0).powi(2) + (y as f64 - c.1).powi(2)) / s / s).exp() as f32
        });
        p /= p.sum();
        p
    }

    fn error(got: &Plane, want: &Plane) -> f32 {
        (got - want).mapv(|v| v * v).sum() / want.mapv(|v| v * v).sum()
    }

    #[test]
    fn both_sharpen_and_centre_a_clean_source() {
        let psf = gaussian(31, (15.0, 15.0), 4.0);
        // Source of FWHM 3 seen through 4 is 5 wide; seen with the target of 2 it is sqrt(13) wide.
        let observed = gaussian(64, (32.3, 31.6), 5.0) * 1000.0;
        let truth = gaussian(64, (32.0, 32.0), 13f64.sqrt()) * 1000.0;
        let input = TikhonovInput {
            observed: &observed,
            psf: &psf,
            centre: (32.3, 31.6),
            sigma: 0.01,
            flux: 1e3,
            half_light_radius: 3.0,
        };
        let before = error(&gaussian(64, (32.0, 32.0), 5.0).mapv(|v| v * 1000.0), &truth);
        let got = wiener(&input, 2.0).unwrap();
        assert!(error(&got, &truth) < 1e-3 && before > 0.08, "{} {before}", error(&got, &truth));
        let got = richardson_lucy(&input, 60, 10.0, 2.0).unwrap();
        assert!(error(&got, &truth) < 0.01, "{}", error(&got, &truth));
        assert!((got.sum() - 1000.0).abs() < 2.0);
    }

    #[test]
    fn lucy_survives_zeros_and_negatives_and_keeps_a_blank_blank() {
        use rand::{RngExt, SeedableRng};
        let psf = gaussian(31, (15.0, 15.0), 4.0);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let noise = Plane::from_shape_simple_fn((32, 32), || rng.sample::<f32, _>(rand_distr::StandardNormal));
        for (plane, pedestal) in
            [(Plane::zeros((32, 32)), 0.0), (Plane::from_elem((32, 32), -1.0), 0.0), (noise.clone(), 0.0)]
        {
            let input = TikhonovInput {
                observed: &plane,
                psf: &psf,
                centre: (16.0, 16.0),
                sigma: 1.0,
                flux: 1.0,
                half_light_radius: 3.0,
            };
            assert!(richardson_lucy(&input, 30, pedestal, 2.0).unwrap().iter().all(|v| v.is_finite()));
        }
        let input = TikhonovInput {
            observed: &noise,
            psf: &psf,
            centre: (16.0, 16.0),
            sigma: 1.0,
            flux: 1.0,
            half_light_radius: 3.0,
        };
        let clipped = richardson_lucy(&input, 30, 0.0, 2.0).unwrap().mean().unwrap();
        let pedestal = richardson_lucy(&input, 30, 10.0, 2.0).unwrap().mean().unwrap();
        assert!(clipped > 0.3 && (pedestal - noise.mean().unwrap()).abs() < 0.01, "{clipped} {pedestal}");
    }
}
