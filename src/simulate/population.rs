//! The sources that a calibration injects: what they are, how large, how bright, where, and each turned by 90 degrees.

use std::f64::consts::FRAC_PI_2;

use rand::{Rng, RngExt};

use super::draw::{self, Kind, log_uniform, normal, uniform};
use super::scene::{Component, Scene};
use super::table::Shear;
use crate::image::{MaskPlane, mask};

/// What is injected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Population {
    /// Share of stars.
    pub stars: f64,
    /// Least and largest SNR of a matched filter against the sky noise; fluxes are log-uniform in between.
    pub snr: (f64, f64),
    /// Median half-light radius of galaxies of SNR 30, pixels; it grows as SNR^0.175, as galaxies' sizes grow with their fluxes.
    pub half_light_radius: f64,
    /// Scatter of the logarithm (base e) of the half-light radius.
    pub size_scatter: f64,
}

impl Population {
    /// A source of unit flux, what it is, and the SNR that it is to have.
    pub fn draw(&self, rng: &mut impl Rng) -> (Scene, Kind, f64) {
        let snr = log_uniform(rng, self.snr.0, self.snr.1);
        if rng.random::<f64>() < self.stars {
            return (Scene::star(1.0), Kind::Star, snr);
        }
        // magnitudes scale the radius by 10^(-0.07 m) in simulated exposures: 10^(0.07 * 2.5 log10 SNR)
        let radius = self.half_light_radius * (snr / 30.0).powf(0.175) * (self.size_scatter * normal(rng)).exp();
        let (scene, kind) = draw::galaxy(rng, radius.clamp(0.2, 40.0));
        (scene, kind, snr)
    }
}

/// The same object turned by 90 degrees, from +x towards +y.
pub fn quarter_turn(scene: &Scene) -> Scene {
    let turned = |dx: f64, dy: f64| (-dy, dx);
    // a shear has spin 2: half a turn of its phase
    let opposite = |shear: &Shear| Shear { g1: -shear.g1, g2: -shear.g2 };
    let components = scene
        .components
        .iter()
        .map(|component| {
            let mut component = component.clone();
            match &mut component {
                Component::Point { dx, dy, .. } | Component::Knot { dx, dy, .. } => (*dx, *dy) = turned(*dx, *dy),
                Component::Sersic { shear, dx, dy, .. } => {
                    (*dx, *dy) = turned(*dx, *dy);
                    *shear = opposite(shear);
                }
                Component::Arms { shear, phase, mirrored, .. } => {
                    *shear = opposite(shear);
                    *phase += if *mirrored { -FRAC_PI_2 } else { FRAC_PI_2 };
                }
                Component::Picture { angle, dx, dy, .. } => {
                    (*dx, *dy) = turned(*dx, *dy);
                    // the flip comes before the rotation
                    *angle += FRAC_PI_2;
                }
            }
            component
        })
        .collect();
    Scene { components }
}

/// Where sources may be put: far from the edge, from bad pixels and from what is there already.
#[derive(Debug, Clone)]
pub struct Room {
    /// Number of forbidden pixels above and left of each pixel: forbidden pixels in any box are four look-ups.
    sums: ndarray::Array2<u32>,
    /// Half side of the box about a position that must be free, pixels.
    clearance: usize,
    /// Least distance to the edge, pixels.
    margin: usize,
}

impl Room {
    /// `labels` is not 0 where something is.
    pub fn new(labels: &ndarray::Array2<i32>, bits: &MaskPlane, clearance: usize, margin: usize) -> Self {
        let (ny, nx) = labels.dim();
        let mut sums = ndarray::Array2::<u32>::zeros((ny + 1, nx + 1));
        for y in 0..ny {
            let mut row = 0u32;
            for x in 0..nx {
                let taken = labels[(y, x)] != 0 || bits.get((y, x)).is_some_and(|b| b & mask::UNUSABLE != 0);
                row += u32::from(taken);
                sums[(y + 1, x + 1)] = sums[(y, x + 1)] + row;
            }
        }
        Self { sums, clearance, margin: margin.max(clearance + 1) }
    }

    fn free(&self, x: f64, y: f64) -> bool {
        let (x, y, r) = (x.round() as usize, y.round() as usize, self.clearance);
        let sum = |y: usize, x: usize| i64::from(self.sums.get((y, x)).copied().unwrap_or(u32::MAX));
        let (x0, x1, y0, y1) = (x.saturating_sub(r), x + r + 1, y.saturating_sub(r), y + r + 1);
        sum(y1, x1) - sum(y0, x1) - sum(y1, x0) + sum(y0, x0) == 0
    }

    /// At most `count` random free positions, 0-based, at least `spacing` pixels from one another: fewer where there is no more room.
    pub fn positions(&self, count: usize, spacing: f64, rng: &mut impl Rng) -> Vec<(f64, f64)> {
        let (ny, nx) = (self.sums.nrows() - 1, self.sums.ncols() - 1);
        let margin = self.margin as f64;
        let (width, height) = (nx as f64 - 1.0 - 2.0 * margin, ny as f64 - 1.0 - 2.0 * margin);
        let mut found: Vec<(f64, f64)> = Vec::new();
        if width <= 0.0 || height <= 0.0 {
            return found;
        }
        let cell = spacing.max(1.0);
        let mut cells: std::collections::HashMap<(i64, i64), Vec<usize>> = std::collections::HashMap::new();
        for _ in 0..count.saturating_mul(60) {
            if found.len() >= count {
                break;
            }
            let (x, y) = (margin + uniform(rng, 0.0, width), margin + uniform(rng, 0.0, height));
            let (cx, cy) = ((x / cell) as i64, (y / cell) as i64);
            let near = (-1..=1).flat_map(|j| (-1..=1).map(move |i| (cx + i, cy + j)));
            let crowded = near
                .filter_map(|place| cells.get(&place))
                .flatten()
                .filter_map(|&i| found.get(i))
                .any(|(ox, oy)| (ox - x).hypot(oy - y) < spacing);
            if !crowded && self.free(x, y) {
                cells.entry((cx, cy)).or_default().push(found.len());
                found.push((x, y));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::grid::{Grid, Renderer, Window};
    use super::super::psf::target_spectrum;
    use super::*;

    #[test]
    fn a_quarter_turn_turns_the_picture() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut renderer = Renderer::new();
        let n = 48;
        let grid = Grid::new(2 * n, 0.9, 1);
        let kernel = target_spectrum(grid, 2.0);
        let middle = (n / 2) as f64;
        for _ in 0..30 {
            let (scene, _) = draw::galaxy(&mut rng, 3.0);
            let mut draw = |scene: &Scene| {
                let window = Window { nx: n, ny: n, sampling: 1, centre: (middle, middle) };
                renderer.draw(&scene.spectrum(grid), &kernel, window)
            };
            let (plain, turned) = (draw(&scene), draw(&quarter_turn(&scene)));
            let peak = plain.iter().copied().fold(0.0f32, f32::max);
            for y in 1..n {
                for x in 1..n {
                    // (dx, dy) goes to (-dy, dx)
                    let (tx, ty) = (n - y, x);
                    assert!((plain[(y, x)] - turned[(ty, tx)]).abs() < 2e-3 * peak, "{scene:?} at ({x}, {y})");
                }
            }
        }
    }

    #[test]
    fn positions_are_free_and_apart() {
        let mut labels = ndarray::Array2::<i32>::zeros((300, 200));
        labels.slice_mut(ndarray::s![100..150, 50..90]).fill(3);
        let bits = MaskPlane::zeros((300, 200));
        let room = Room::new(&labels, &bits, 5, 20);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = room.positions(1000, 25.0, &mut rng);
        assert!(found.len() > 20 && found.len() < 90, "{}", found.len());
        for (i, a) in found.iter().enumerate() {
            assert!(a.0 >= 20.0 && a.0 <= 179.0 && a.1 >= 20.0 && a.1 <= 279.0);
            let inside = a.0 > 44.6 && a.0 < 94.4 && a.1 > 94.6 && a.1 < 154.4;
            assert!(!inside, "{a:?} lies on something");
            assert!(found[..i].iter().all(|b| (a.0 - b.0).hypot(a.1 - b.1) >= 25.0));
        }
    }
}
