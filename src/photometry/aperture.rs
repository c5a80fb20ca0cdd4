//! Flux in a circular aperture.

use super::{PhotometryError, same_shape, usable_weight};
use crate::image::Plane;

/// Flux in an aperture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aperture {
    /// Sum within the circle, image units.
    pub flux: f64,
    /// Its standard deviation from the pixels' variances, image units.
    pub flux_err: f64,
    /// Share of the circle's area that lies on unusable pixels or outside the plane and was filled from the pixels
    /// mirrored through the centre.
    pub mirrored: f64,
    /// Share of the circle's area that could not be filled: its flux is missing from the sum.
    pub missing: f64,
}

/// Sum of `image` within `radius` pixels of `(x, y)` (0-based), pixel overlaps exact. Unusable pixels (weight 0), and
/// those outside the plane, are replaced by their mirror image through the centre where that is usable.
pub fn aperture_flux(
    image: &Plane,
    weight: &Plane,
    (x, y): (f64, f64),
    radius: f64,
) -> Result<Aperture, PhotometryError> {
    same_shape("weight", image, weight)?;
    if !(radius > 0.0 && radius.is_finite() && radius < 1e5) {
        return Err(PhotometryError::BadGeometry { what: "aperture radius", value: radius });
    }
    for (what, value) in [("aperture x", x), ("aperture y", y)] {
        if !(value.is_finite() && value.abs() < 1e9) {
            return Err(PhotometryError::BadGeometry { what, value });
        }
    }
    // One pixel more all round, for mirrored pixels.
    let (x0, x1) = ((x - radius).round() as i64 - 1, (x + radius).round() as i64 + 1);
    let (y0, y1) = ((y - radius).round() as i64 - 1, (y + radius).round() as i64 + 1);
    let (width, height) = ((x1 - x0 + 1) as usize, (y1 - y0 + 1) as usize);
    let pixel = |row: i64, column: i64| -> Option<(f64, f64)> {
        let index = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
        let (&v, &w) = (image.get(index)?, weight.get(index)?);
        let w = usable_weight(v, w);
        (w > 0.0).then(|| (f64::from(v), 1.0 / w))
    };
    // How often each pixel counts: its own overlap, and that of the unusable pixel it stands in for.
    let mut counts = ndarray::Array2::<f64>::zeros((height, width));
    let (mut mirrored, mut missing, mut total) = (0.0, 0.0, 0.0);
    for row in y0..=y1 {
        for column in x0..=x1 {
            let overlap = circle_overlap(column as f64 - x, row as f64 - y, radius);
            if overlap == 0.0 {
                continue;
            }
            total += overlap;
            let mirror = ((2.0 * y - row as f64).round() as i64, (2.0 * x - column as f64).round() as i64);
            let source = if pixel(row, column).is_some() {
                (row, column)
            } else if pixel(mirror.0, mirror.1).is_some() {
                mirrored += overlap;
                mirror
            } else {
                missing += overlap;
                continue;
            };
            if let Some(slot) = counts.get_mut(((source.0 - y0) as usize, (source.1 - x0) as usize)) {
                *slot += overlap;
            }
        }
    }
    if total - missing <= 0.0 {
        return Err(PhotometryError::NoUsablePixels { pixels: width * height });
    }
    let (mut flux, mut variance) = (0.0, 0.0);
    for ((row, column), &count) in counts.indexed_iter() {
        if count > 0.0
            && let Some((v, var)) = pixel(row as i64 + y0, column as i64 + x0)
        {
            flux += count * v;
            variance += count * count * var;
        }
    }
    Ok(Aperture { flux, flux_err: variance.sqrt(), mirrored: mirrored / total, missing: missing / total })
}

/// Area of the unit pixel centred on `(dx, dy)` that lies within `radius` of the origin.
pub fn circle_overlap(dx: f64, dy: f64, radius: f64) -> f64 {
    let far = dx.hypot(dy);
    if far > radius + std::f64::consts::FRAC_1_SQRT_2 {
        return 0.0;
    }
    if far < radius - std::f64::consts::FRAC_1_SQRT_2 {
        return 1.0;
    }
    let corner = |x: f64, y: f64| signed_corner_area(x, y, radius);
    let area = corner(dx + 0.5, dy + 0.5) - corner(dx - 0.5, dy + 0.5) - corner(dx + 0.5, dy - 0.5)
        + corner(dx - 0.5, dy - 0.5);
    area.clamp(0.0, 1.0)
}

/// Area of the circle within the rectangle between the origin and `(x, y)`, odd in both.
fn signed_corner_area(x: f64, y: f64, r: f64) -> f64 {
    let (u, v) = (x.abs().min(r), y.abs().min(r));
    let area = if u * u + v * v <= r * r {
        u * v
    } else {
        // Flat top up to where the circle meets it, then under the arc.
        let meet = (r * r - v * v).max(0.0).sqrt();
        let under_arc = |t: f64| 0.5 * (t * (r * r - t * t).max(0.0).sqrt() + r * r * (t / r).clamp(-1.0, 1.0).asin());
        meet * v + under_arc(u) - under_arc(meet)
    };
    area * x.signum() * y.signum()
}
