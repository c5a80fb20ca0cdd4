//! Small-scale structure of an output that has no counterpart in the truth: hallucinations, where the truth is known.

use super::ImageError;
use crate::deconv::starlet;
use crate::image::Plane;

/// The starlet scale that is looked at, 0-based: the third, structures of about 8 pixels.
const SCALE: usize = 2;

/// What counts as a structure and as its counterpart.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct InventedSettings {
    /// A structure is a local maximum above this share of the truth's highest coefficient ..
    pub share: f64,
    /// .. and above this many standard deviations of the output's noise, where that is known.
    pub significance: f64,
    /// It has a counterpart if the truth reaches this share of it ..
    pub counterpart: f64,
    /// .. within this distance, pixels.
    pub distance: f64,
    /// Structures are looked for within this many FWHM of the object about its centre: farther out stand its neighbours.
    pub reach: f64,
}

impl Default for InventedSettings {
    fn default() -> Self {
        Self { share: 0.1, significance: 5.0, counterpart: 0.5, distance: 3.0, reach: 2.5 }
    }
}

/// Structures of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invented {
    /// All of them.
    pub structures: usize,
    /// Those without a counterpart in the truth.
    pub invented: usize,
}

/// Compares the third starlet scale of an output with that of its truth about `centre` (column, row); `fwhm` is the object's, pixels,
/// `noise` the output's white noise per pixel (NaN: unknown).
pub fn invented_structure(
    output: &Plane,
    truth: &Plane,
    centre: (f64, f64),
    fwhm: f64,
    noise: f64,
    settings: &InventedSettings,
) -> Result<Invented, ImageError> {
    if output.dim() != truth.dim() {
        return Err(ImageError::ShapeMismatch { output: output.dim(), truth: truth.dim() });
    }
    if output.iter().any(|v| !v.is_finite()) {
        return Err(ImageError::Empty { what: "the output holds values that are not finite" });
    }
    let empty = |_| ImageError::Empty { what: "an image of no pixels" };
    let third = |plane: &Plane| starlet::transform(plane, SCALE + 1).map(|mut s| s.details.swap_remove(SCALE));
    let (x, t) = (third(output).map_err(empty)?, third(truth).map_err(empty)?);
    let level = starlet::noise_levels(SCALE + 1).map_err(empty)?.last().copied().unwrap_or(f64::NAN) * noise;
    let highest = t.iter().copied().fold(0.0f32, f32::max);
    let least =
        (settings.share * f64::from(highest)).max(if level > 0.0 { settings.significance * level } else { 0.0 });
    let reach = (settings.reach * fwhm).max(6.0);
    let (ny, nx) = x.dim();
    let mut found = Invented { structures: 0, invented: 0 };
    for row in 1..ny.saturating_sub(1) {
        for column in 1..nx.saturating_sub(1) {
            let value = x[(row, column)];
            let far = (column as f64 - centre.0).hypot(row as f64 - centre.1) > reach;
            if far || f64::from(value) <= least {
                continue;
            }
            let around = x.slice(ndarray::s![row - 1..=row + 1, column - 1..=column + 1]);
            if around.iter().any(|v| *v > value) {
                continue;
            }
            found.structures += 1;
            if f64::from(best_near(&t, (row, column), settings.distance)) < settings.counterpart * f64::from(value) {
                found.invented += 1;
            }
        }
    }
    Ok(found)
}

/// Highest value within `distance` pixels of (row, column).
fn best_near(plane: &Plane, (row, column): (usize, usize), distance: f64) -> f32 {
    let (ny, nx) = plane.dim();
    let r = distance.ceil() as usize;
    let mut best = f32::NEG_INFINITY;
    for j in row.saturating_sub(r)..(row + r + 1).min(ny) {
        for i in column.saturating_sub(r)..(column + r + 1).min(nx) {
            if (j as f64 - row as f64).hypot(i as f64 - column as f64) <= distance {
                best = best.max(plane[(j, i)]);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(places: &[(f64, f64, f64)]) -> Plane {
        Plane::from_shape_fn((64, 64), |(j, i)| {
            let one = |(x, y, a): &(f64, f64, f64)| {
                a * (-0.5 * ((i as f64 - x).powi(2) + (j as f64 - y).powi(2)) / 4.0).exp()
            };
            places.iter().map(one).sum::<f64>() as f32
        })
    }

    #[test]
    fn a_knot_that_is_not_there_is_found_and_one_that_is_is_not() {
        let settings = InventedSettings::default();
        let truth = blobs(&[(32.0, 32.0, 10.0), (42.0, 30.0, 4.0)]);
        let check =
            |output: &Plane, noise| invented_structure(output, &truth, (32.0, 32.0), 8.0, noise, &settings).unwrap();
        let faithful = check(&truth, 0.01);
        assert!(faithful.structures >= 2 && faithful.invented == 0, "{faithful:?}");
        let knot = blobs(&[(32.0, 32.0, 10.0), (42.0, 30.0, 4.0), (26.0, 43.0, 4.0)]);
        assert_eq!(check(&knot, 0.01).invented, 1);
        // the same knot is nothing in noise as high as itself
        assert_eq!(check(&knot, 4.0).invented, 0);
        // and one far out is a neighbour
        assert_eq!(check(&blobs(&[(32.0, 32.0, 10.0), (42.0, 30.0, 4.0), (58.0, 58.0, 4.0)]), 0.01).invented, 0);
    }
}
