//! Position, flux and size of one source.

use super::sep::{self, Ellipse, RawObject, SepImage};
use super::{DetectError, DetectSettings};
use crate::catalog::Flags;
use crate::image::{MaskPlane, mask};

/// Smallest rms extent used for apertures, pixels: that of a single pixel (a uniform square of side 1).
const LEAST_EXTENT: f64 = 0.288_675;

/// The Kron radius is measured within this many rms extents (as in SExtractor).
const KRON_SEARCH: f64 = 6.0;

/// Half-light radius of a round Gaussian in units of its standard deviation: sqrt(2 ln 2).
const GAUSSIAN_HALF_LIGHT: f64 = 1.177_410;

/// What is measured of a source, beyond its isophote.
pub(super) struct Measured {
    pub x: f64,
    pub y: f64,
    pub flux: f64,
    pub flux_err: f64,
    pub a: f64,
    pub b: f64,
    pub theta: f64,
    pub half_light_radius: f64,
    pub flags: Flags,
}

/// Measures a found object: Kron flux and half-light radius about its isophotal barycentre, then the windowed centroid.
pub(super) fn measure(
    image: &SepImage,
    object: &RawObject,
    label: i32,
    labels: &[i32],
    settings: &DetectSettings,
) -> Result<Measured, DetectError> {
    let ellipse = safe_ellipse(object);
    let mut m = measure_at(image, &ellipse, label, settings)?;
    let sigma = (2.0 * m.half_light_radius / (2.0 * GAUSSIAN_HALF_LIGHT)).max(0.5);
    let (x, y) = sep::windowed_centroid(image, (ellipse.x, ellipse.y), sigma)?;
    // The window does not know of neighbours: a centroid that has walked off the object's own pixels is theirs.
    if label_at(labels, image.shape(), x, y) == Some(label) {
        (m.x, m.y) = (x, y);
    }
    Ok(m)
}

/// Flux and half-light radius about a given ellipse; the position is left as given.
pub(super) fn measure_at(
    image: &SepImage,
    ellipse: &Ellipse,
    label: i32,
    settings: &DetectSettings,
) -> Result<Measured, DetectError> {
    let (kron, _) = sep::kron_radius(image, ellipse, KRON_SEARCH, label)?;
    let kron = if kron.is_finite() { kron } else { 0.0 };
    let radius = (settings.kron_factor * kron).max(settings.kron_min_radius).max(LEAST_EXTENT);
    let (flux, flux_err, flag) = sep::sum_ellipse(image, ellipse, radius, label)?;
    let usable = flag & sep::APER_ALLMASKED == 0 && flux.is_finite();
    let gaussian = GAUSSIAN_HALF_LIGHT * (ellipse.a * ellipse.b).sqrt();
    let half_light_radius = if usable && flux > 0.0 {
        let r = sep::flux_radius(image, (ellipse.x, ellipse.y), KRON_SEARCH * ellipse.a, label, flux, 0.5)?;
        if r.is_finite() && r > 0.0 { r } else { gaussian }
    } else {
        gaussian
    };
    let mut flags = Flags::empty();
    flags.set(Flags::EDGE, flag & sep::APER_TRUNC != 0);
    flags.set(Flags::BAD_PIXELS, !usable);
    Ok(Measured {
        x: ellipse.x,
        y: ellipse.y,
        flux: if usable { flux } else { f64::NAN },
        flux_err: if usable { flux_err } else { f64::NAN },
        a: ellipse.a,
        b: ellipse.b,
        theta: ellipse.theta,
        half_light_radius,
        flags,
    })
}

/// The object's ellipse, with axes that are at least a pixel's.
pub(super) fn safe_ellipse(object: &RawObject) -> Ellipse {
    let axis = |v: f64| if v.is_finite() { v.max(LEAST_EXTENT) } else { LEAST_EXTENT };
    let half_pi = std::f64::consts::FRAC_PI_2;
    let theta = if object.theta.is_finite() { object.theta.clamp(-half_pi, half_pi) } else { 0.0 };
    let a = axis(object.a);
    Ellipse { x: object.x, y: object.y, a, b: axis(object.b).min(a), theta }
}

/// Label of the pixel nearest to a position; `None` outside the image.
pub(super) fn label_at(labels: &[i32], (ny, nx): (usize, usize), x: f64, y: f64) -> Option<i32> {
    let (column, row) = (x.round(), y.round());
    if !(column >= 0.0 && row >= 0.0 && column < nx as f64 && row < ny as f64) {
        return None;
    }
    labels.get(row as usize * nx + column as usize).copied()
}

/// SATURATED and BAD_PIXELS from the mask on the object's pixels and their eight neighbours: masked pixels cannot
/// themselves belong to an isophote, but touch it.
pub(super) fn mask_flags(mask_plane: &MaskPlane, pixels: &[usize], (ny, nx): (usize, usize)) -> Flags {
    let mut bits = 0u16;
    for &p in pixels {
        let (row, column) = (p / nx, p % nx);
        for y in row.saturating_sub(1)..=(row + 1).min(ny - 1) {
            for x in column.saturating_sub(1)..=(column + 1).min(nx - 1) {
                bits |= mask_plane.get((y, x)).copied().unwrap_or(0);
            }
        }
    }
    let mut flags = Flags::empty();
    flags.set(Flags::SATURATED, bits & mask::SATURATED != 0);
    flags.set(Flags::BAD_PIXELS, bits & (mask::UNUSABLE & !mask::SATURATED) != 0);
    flags
}
