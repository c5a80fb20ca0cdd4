//! Half-light radius from a growth curve.

use ndarray::Array2;

use super::{Moments, PhotometryError};
use crate::image::{Plane, stats};

/// The radius that holds half of an object's light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfLight {
    /// Circularised: the square root of the product of the ellipse's semi-axes, pixels.
    pub radius: f64,
    /// Its standard deviation from white pixel noise, pixels; NaN without a noise.
    pub radius_err: f64,
    /// Flux within `reach`, background taken off, image units.
    pub flux: f64,
    /// Circularised radius at which the curve was taken as complete, pixels.
    pub reach: f64,
    /// Background per pixel that was taken off, image units.
    pub background: f64,
}

/// Samples per pixel along each axis.
const SAMPLES: usize = 4;

/// The curve is complete at this many half-light radii: 1.0000 of a Gaussian, 0.99 of an exponential.
const REACH: f64 = 4.0;

/// Half-light radius of the object whose ellipse (centre and shape) `moments` gives: fluxes within ellipses of that shape,
/// out to four half-light radii (found by iteration), on a background that is the median of what lies beyond.
/// `noise_sigma`: standard deviation per pixel of white noise, for the error.
pub fn half_light_radius(
    image: &Plane,
    moments: &Moments,
    noise_sigma: Option<f64>,
) -> Result<HalfLight, PhotometryError> {
    let no = |reason| PhotometryError::NoHalfLight { reason };
    let (ny, nx) = image.dim();
    let radii = elliptical_radii((ny, nx), moments).ok_or_else(|| no("moments are not an ellipse"))?;
    let edge = [moments.x, moments.y, nx as f64 - 1.0 - moments.x, ny as f64 - 1.0 - moments.y]
        .into_iter()
        .fold(f64::INFINITY, f64::min)
        + 0.5;
    if edge.is_nan() || edge < 1.0 {
        return Err(no("the centre lies on the stamp's border"));
    }
    // The ellipse of circularised radius r reaches r * stretch along its major axis.
    let stretch = {
        let half_trace = 0.5 * (moments.ixx + moments.iyy);
        let spread = (0.25 * (moments.ixx - moments.iyy).powi(2) + moments.ixy * moments.ixy).sqrt();
        ((half_trace + spread) / moments.sigma().powi(2)).sqrt()
    };
    let largest = edge / stretch;
    let curve = Curve::new(image, &radii, largest);
    let mut half = 1.177_41 * moments.sigma();
    let mut result = Err(no("no flux"));
    for _ in 0..20 {
        let reach = (REACH * half).clamp(2.0_f64.min(largest), largest);
        let background = median_beyond(image, &radii, reach * 1.1);
        let found = curve.half(reach, background).ok_or_else(|| no("the growth curve is not positive"))?;
        let slope = curve.slope(found, background);
        let sigma = noise_sigma.unwrap_or(f64::NAN);
        let area = std::f64::consts::PI * reach * reach;
        // F(r) = F_T / 2: half the noise of the flux outside r less that inside, over dF/dr.
        let radius_err = if slope > 0.0 { 0.5 * sigma * area.sqrt() / slope } else { f64::NAN };
        result = Ok(HalfLight { radius: found, radius_err, flux: curve.within(reach, background), reach, background });
        if (found - half).abs() < 1e-4 * half {
            break;
        }
        half = found;
    }
    result
}

/// Circularised elliptical radius of each sub-pixel sample: shape (rows * SAMPLES, columns * SAMPLES).
fn elliptical_radii((ny, nx): (usize, usize), m: &Moments) -> Option<Array2<f64>> {
    let det = m.ixx * m.iyy - m.ixy * m.ixy;
    if !(m.ixx > 0.0 && m.iyy > 0.0 && det > 0.0 && m.x.is_finite() && m.y.is_finite()) {
        return None;
    }
    let root = det.sqrt();
    let (p, q, s) = (m.iyy / root, m.ixx / root, -m.ixy / root);
    let place = |i: usize| (i as f64 + 0.5) / SAMPLES as f64 - 0.5;
    Some(Array2::from_shape_fn((ny * SAMPLES, nx * SAMPLES), |(j, i)| {
        let (dx, dy) = (place(i) - m.x, place(j) - m.y);
        (p * dx * dx + q * dy * dy + 2.0 * s * dx * dy).max(0.0).sqrt()
    }))
}

/// Median of the pixels beyond a radius; 0 if there are fewer than 50.
fn median_beyond(image: &Plane, radii: &Array2<f64>, radius: f64) -> f64 {
    let middle = SAMPLES / 2;
    let mut outside: Vec<f32> = image
        .indexed_iter()
        .filter(|((row, column), v)| {
            v.is_finite() && radii.get((row * SAMPLES + middle, column * SAMPLES + middle)).is_some_and(|r| *r > radius)
        })
        .map(|(_, v)| *v)
        .collect();
    if outside.len() < 50 { 0.0 } else { stats::median_in_place(&mut outside).unwrap_or(0.0) }
}

/// Flux and area within equal steps of radius, counted once; the background is taken off when they are read.
struct Curve {
    step: f64,
    /// Flux and area within i steps.
    within: Vec<(f64, f64)>,
}

impl Curve {
    fn new(image: &Plane, radii: &Array2<f64>, largest: f64) -> Self {
        let bins = ((largest * 10.0).ceil() as usize).max(10);
        let step = largest / bins as f64;
        let mut within = vec![(0.0f64, 0.0f64); bins + 1];
        let share = 1.0 / (SAMPLES * SAMPLES) as f64;
        for ((row, column), &r) in radii.indexed_iter() {
            if r >= largest {
                continue;
            }
            let v = image.get((row / SAMPLES, column / SAMPLES)).copied().unwrap_or(f32::NAN);
            if let Some((flux, area)) = within.get_mut((r / step) as usize + 1)
                && v.is_finite()
            {
                *flux += share * f64::from(v);
                *area += share;
            }
        }
        let mut sum = (0.0, 0.0);
        for (flux, area) in &mut within {
            sum = (sum.0 + *flux, sum.1 + *area);
            (*flux, *area) = sum;
        }
        Self { step, within }
    }

    /// Flux within a radius, linear between steps.
    fn within(&self, radius: f64, background: f64) -> f64 {
        let place = (radius / self.step).clamp(0.0, (self.within.len() - 1) as f64);
        let at = |i: usize| self.within.get(i).or(self.within.last()).map_or(0.0, |(f, a)| f - background * a);
        let (low, share) = (at(place as usize), place.fract());
        low + share * (at(place as usize + 1) - low)
    }

    /// First radius at which the curve passes half of what it reaches at `reach`, between steps in proportion to area.
    fn half(&self, reach: f64, background: f64) -> Option<f64> {
        let half = 0.5 * self.within(reach, background);
        if half.is_nan() || half <= 0.0 {
            return None;
        }
        let mut before = 0.0;
        for (i, (flux, area)) in self.within.iter().enumerate().skip(1) {
            let now = flux - background * area;
            if now >= half {
                let (inner, outer) = ((i - 1) as f64 * self.step, i as f64 * self.step);
                let share = (half - before) / (now - before);
                return Some((inner * inner + share * (outer * outer - inner * inner)).sqrt());
            }
            before = now;
        }
        None
    }

    /// dF/dr near a radius, over about a pixel.
    fn slope(&self, radius: f64, background: f64) -> f64 {
        let (low, high) = ((radius - 0.5).max(0.0), radius + 0.5);
        (self.within(high, background) - self.within(low, background)) / (high - low)
    }
}
