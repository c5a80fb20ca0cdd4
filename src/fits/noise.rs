//! From whatever noise plane a survey gives to a variance that agrees with the image.
//!
//! The median of the plane is held against the image's own scatter. Within a factor 3 in sigma it is taken as it is.
//! Beyond that, if the plane read as another kind (variance for RMS, weight for variance ...) agrees within a factor 1.5,
//! it is read so. A weight that is off by more than a factor 5 in sigma is a relative weight (a map of ones, for instance)
//! and is scaled to the scatter; so is any other plane off by more than a factor 10. Each of these leaves a note.

use super::layout::NoiseKind;
use crate::exposure::VarianceOrigin;
use crate::image::stats::median_in_place;
use crate::image::{MaskPlane, Plane, mask};

/// A variance plane and how it came about.
#[derive(Debug)]
pub struct Noise {
    /// Positive and finite everywhere.
    pub variance: Plane,
    /// Where it came from.
    pub origin: VarianceOrigin,
    /// What was corrected or assumed.
    pub notes: Vec<String>,
}

/// Below this part of usable noise pixels the plane is not used at all.
const MIN_USABLE: f64 = 0.01;

/// Builds the variance of `image`. Pixels whose noise is unusable are marked `NO_DATA` in `mask`.
/// `None` if no noise can be told: no usable plane and an image without scatter.
pub fn variance(
    image: &Plane,
    mask: &mut MaskPlane,
    given: Option<(NoiseKind, Plane)>,
    gain: Option<f64>,
) -> Option<Noise> {
    let scatter = scatter(image, mask);
    let mut notes = Vec::new();
    if let Some((kind, plane)) = given {
        let usable = usable(&plane, mask);
        let valid = mask.iter().filter(|&&bits| bits & mask::NO_DATA == 0).count();
        if (usable as f64) < MIN_USABLE * valid as f64 || usable == 0 {
            notes.push(format!("{} is unusable (only {usable} of {valid} pixels are positive)", kind.described()));
        } else {
            return Some(from_plane(mask, kind, plane, scatter, notes));
        }
    } else {
        notes.push("no noise plane".into());
    }
    let (sky, sigma) = scatter?;
    let variance = match gain {
        // Above the sky a pixel also carries the source's own photon noise.
        Some(gain) => image.mapv(|value| (sigma * sigma + (f64::from(value) - sky).max(0.0) / gain) as f32),
        None => Plane::from_elem(image.dim(), (sigma * sigma) as f32),
    };
    let poisson = if gain.is_some() { " plus photon noise of the sources" } else { "" };
    let why = notes.join("; ");
    let notes = vec![format!("{why}: the noise is estimated from the image (sigma {sigma:.4} image units{poisson})")];
    Some(Noise { variance, origin: VarianceOrigin::Estimated, notes })
}

impl NoiseKind {
    fn described(self) -> &'static str {
        match self {
            Self::Variance => "the variance plane",
            Self::Rms => "the RMS plane",
            Self::Weight => "the weight plane",
        }
    }

    fn to_variance(self, value: f32) -> f32 {
        match self {
            Self::Variance => value,
            Self::Rms => value * value,
            Self::Weight => 1.0 / value,
        }
    }

    fn origin(self) -> VarianceOrigin {
        match self {
            Self::Variance => VarianceOrigin::Variance,
            Self::Rms => VarianceOrigin::Rms,
            Self::Weight => VarianceOrigin::Weight,
        }
    }
}

fn usable(plane: &Plane, mask: &MaskPlane) -> usize {
    plane.iter().zip(mask).filter(|&(&value, &bits)| bits & mask::NO_DATA == 0 && good(value)).count()
}

fn good(value: f32) -> bool {
    value.is_finite() && value > 0.0
}

fn from_plane(
    mask: &mut MaskPlane,
    given: NoiseKind,
    plane: Plane,
    scatter: Option<(f64, f64)>,
    mut notes: Vec<String>,
) -> Noise {
    // Medians commute with the monotonic conversions between the kinds.
    let step = (plane.len() / 1_000_000).max(1);
    let mut values: Vec<f32> = plane
        .iter()
        .zip(mask.iter())
        .step_by(step)
        .filter(|&(&value, &bits)| bits & mask::UNUSABLE == 0 && good(value))
        .map(|(&value, _)| value)
        .collect();
    if values.is_empty() {
        values = plane.iter().copied().filter(|&v| good(v)).collect();
    }
    let middle = median_in_place(&mut values).unwrap_or(1.0);
    let as_variance = |kind: NoiseKind| match kind {
        NoiseKind::Variance => middle,
        NoiseKind::Rms => middle * middle,
        NoiseKind::Weight => 1.0 / middle,
    };
    let mut kind = given;
    let mut scale = 1.0;
    let mut origin = given.origin();
    if let Some((_, sigma)) = scatter {
        let off = |kind: NoiseKind| 0.5 * (as_variance(kind) / (sigma * sigma)).ln().abs();
        if off(given) > 3_f64.ln() {
            let others = [NoiseKind::Variance, NoiseKind::Rms, NoiseKind::Weight];
            let better = others.into_iter().filter(|&other| other != given).find(|&other| off(other) < 1.5_f64.ln());
            let tolerated = if given == NoiseKind::Weight { 5_f64 } else { 10_f64 };
            let factor = off(given).exp();
            if let Some(other) = better {
                kind = other;
                origin = other.origin();
                notes.push(format!(
                    "{} does not agree with the image's scatter (factor {factor:.1} in sigma) but does as {}: read as that",
                    given.described(),
                    match other {
                        NoiseKind::Variance => "variance",
                        NoiseKind::Rms => "RMS",
                        NoiseKind::Weight => "weight",
                    }
                ));
            } else if off(given) > tolerated.ln() {
                scale = sigma * sigma / as_variance(given);
                origin = VarianceOrigin::Estimated;
                notes.push(format!(
                    "{} does not agree with the image's scatter (factor {factor:.1} in sigma): taken as relative and \
                     scaled to it (sigma {sigma:.4} image units)",
                    given.described()
                ));
            } else {
                notes.push(format!(
                    "{} and the image's scatter differ by a factor {factor:.1} in sigma; the plane is used as it is",
                    given.described()
                ));
            }
        }
    }
    let fill = (as_variance(kind) * scale) as f32;
    let fill = if good(fill) { fill } else { 1.0 };
    let scale = scale as f32;
    let mut variance = plane;
    for (value, bits) in variance.iter_mut().zip(mask.iter_mut()) {
        let converted = if good(*value) { kind.to_variance(*value) * scale } else { 0.0 };
        if good(converted) {
            *value = converted;
        } else {
            *value = fill;
            *bits |= mask::NO_DATA;
        }
    }
    Noise { variance, origin, notes }
}

/// (median, sigma) of the image's background noise: sigma from the median absolute difference of pixels a few columns
/// apart, which neither sources nor a sky gradient disturb much; the largest of several distances, so that noise
/// correlated by resampling is not underestimated. `None` where there is no scatter.
pub fn scatter(image: &Plane, mask: &MaskPlane) -> Option<(f64, f64)> {
    const LAGS: [usize; 3] = [1, 2, 4];
    const SAMPLES: usize = 400_000;
    let (ny, nx) = image.dim();
    let step = (ny * nx / SAMPLES).max(1);
    // Whole rows, evenly spread: differences need neighbours.
    let rows = (0..ny).step_by(step.min(ny));
    let usable = |y: usize, x: usize| match (image.get((y, x)), mask.get((y, x))) {
        (Some(&value), Some(bits)) if bits & mask::UNUSABLE == 0 && value.is_finite() => Some(value),
        _ => None,
    };
    let mut level: Vec<f32> = Vec::new();
    let mut differences: [Vec<f32>; LAGS.len()] = Default::default();
    for y in rows {
        for x in 0..nx {
            let Some(value) = usable(y, x) else { continue };
            level.push(value);
            for (lag, list) in LAGS.iter().zip(&mut differences) {
                if let Some(other) = usable(y, x + lag) {
                    list.push((other - value).abs());
                }
            }
        }
    }
    let median = median_in_place(&mut level)?;
    let sigma = differences
        .iter_mut()
        .filter_map(|list| median_in_place(list))
        .map(|mad| mad * crate::image::stats::MAD_TO_SIGMA / std::f64::consts::SQRT_2)
        .fold(0.0, f64::max);
    if sigma > 0.0 {
        return Some((median, sigma));
    }
    // More than half the differences are zero (counts of a few photons): the plain standard deviation, if any.
    let n = level.len() as f64;
    let mean = level.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let deviation = (level.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    (deviation > 0.0 && deviation.is_finite()).then_some((median, deviation))
}
