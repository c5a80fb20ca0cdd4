//! Whether small structures in a deconvolved image are borne out by the observed pixels.

use ndarray::Array2;

use super::{PhotometryError, same_shape, usable_weight};
use crate::image::{Plane, stats};

/// When a structure counts, and when the data reject it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StructureSettings {
    /// A structure is a connected patch of wavelet coefficients above this many standard deviations of their noise.
    pub threshold: f64,
    /// Fewest pixels of a structure.
    pub min_pixels: usize,
    /// Most structures tested, most energetic first: each costs a convolution. The rest count as untested.
    pub max_structures: usize,
    /// The data reject a structure if they want less than half of it, at this many standard deviations.
    pub rejection: f64,
}

impl Default for StructureSettings {
    fn default() -> Self {
        Self { threshold: 3.0, min_pixels: 4, max_structures: 12, rejection: 3.0 }
    }
}

/// What the observed pixels say about the small structures of an output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseStructure {
    /// Share of the structures' energy (sum of squared coefficients) that the data reject: 0 to 1; 0 without structures.
    pub score: f64,
    /// Structures found.
    pub structures: usize,
    /// Structures that the data reject.
    pub rejected: usize,
    /// Structures too faint on the observed pixels to be tested, or beyond `max_structures`; they count as not rejected.
    pub untested: usize,
}

/// Tests each structure of `scale` (one starlet scale of the output, the third by convention, in the output's units) by
/// its own convolution back onto the observed grid: with m its model there and r the residual of the whole model, the data
/// want beta = 1 + sum w r m / sum w m^2 times the structure, with standard deviation (sum w m^2)^(-1/2).
/// A structure is rejected where beta < 1/2 and lies `rejection` standard deviations below 1, untested where that
/// standard deviation is so large that no beta could tell (1 / rejection or more).
///
/// `sigma`: noise of the coefficients where it is known, else it is taken from their median absolute deviation.
/// `reconvolve` takes a plane of the output's grid and units to the observed grid, amplitude included: S(K * alpha z).
pub fn false_structure(
    scale: &Plane,
    sigma: Option<f64>,
    residual: &Plane,
    weight: &Plane,
    reconvolve: &dyn Fn(&Plane) -> Plane,
    settings: &StructureSettings,
) -> Result<FalseStructure, PhotometryError> {
    same_shape("weight", residual, weight)?;
    let sigma = sigma.or_else(|| stats::median_and_sigma(scale).map(|(_, s)| s)).unwrap_or(0.0);
    let level = settings.threshold * sigma;
    let mut result = FalseStructure { score: 0.0, structures: 0, rejected: 0, untested: 0 };
    let (mut energy, mut rejected_energy) = (0.0, 0.0);
    let mut found: Vec<(f64, Vec<(usize, usize)>)> = patches(scale, level)
        .into_iter()
        .filter(|patch| patch.len() >= settings.min_pixels)
        .map(|patch| (patch.iter().map(|&i| f64::from(scale[i]).powi(2)).sum(), patch))
        .collect();
    found.sort_by(|l, r| r.0.total_cmp(&l.0).then_with(|| l.1.cmp(&r.1)));
    for (order, (own, patch)) in found.into_iter().enumerate() {
        result.structures += 1;
        energy += own;
        if order >= settings.max_structures {
            result.untested += 1;
            continue;
        }
        let mut alone = Plane::zeros(scale.dim());
        for &index in &patch {
            alone[index] = scale[index];
        }
        let model = reconvolve(&alone);
        same_shape("reconvolved structure", residual, &model)?;
        let (mut projected, mut norm) = (0.0, 0.0);
        for ((&r, &w), &m) in residual.iter().zip(weight).zip(&model) {
            let w = usable_weight(r, w);
            if w > 0.0 {
                projected += w * f64::from(r) * f64::from(m);
                norm += w * f64::from(m) * f64::from(m);
            }
        }
        if norm.sqrt() <= settings.rejection {
            result.untested += 1;
        } else {
            let beta = 1.0 + projected / norm;
            if beta < 0.5 && (1.0 - beta) * norm.sqrt() > settings.rejection {
                result.rejected += 1;
                rejected_energy += own;
            }
        }
    }
    if energy > 0.0 {
        result.score = rejected_energy / energy;
    }
    Ok(result)
}

/// Connected patches (eight neighbours, one sign each) of values beyond +-`level`.
fn patches(plane: &Plane, level: f64) -> Vec<Vec<(usize, usize)>> {
    let (ny, nx) = plane.dim();
    let sign = |v: f32| match f64::from(v) {
        v if v > level => 1i8,
        v if v < -level => -1,
        _ => 0,
    };
    let mut open = Array2::from_shape_fn((ny, nx), |index| sign(plane[index]));
    let mut found = Vec::new();
    for row in 0..ny {
        for column in 0..nx {
            let own = open[(row, column)];
            if own == 0 {
                continue;
            }
            let mut patch = Vec::new();
            let mut queue = vec![(row, column)];
            open[(row, column)] = 0;
            while let Some((y, x)) = queue.pop() {
                patch.push((y, x));
                for v in y.saturating_sub(1)..(y + 2).min(ny) {
                    for u in x.saturating_sub(1)..(x + 2).min(nx) {
                        if open[(v, u)] == own {
                            open[(v, u)] = 0;
                            queue.push((v, u));
                        }
                    }
                }
            }
            patch.sort_unstable();
            found.push(patch);
        }
    }
    found
}
