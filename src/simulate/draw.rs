//! Random skies: what galaxies and PSFs are drawn for training stamps and exposures. Lengths in pixels.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::grid::Grid;
use super::optics::Optics;
use super::psf::{self, Psf};
use super::scene::{Component, Scene};
use super::sersic;
use super::sky_image::SkyImage;
use super::spiral::PITCHES;
use super::table::Shear;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: noise alone.
    Blank,
    /// A point.
    Star,
    /// One Sersic profile.
    Sersic,
    /// Bulge and smooth disc.
    BulgeDisc,
    /// Bulge and disc with arms and knots.
    Spiral,
    /// Clumps, tails, lopsided parts.
    Irregular,
    /// A real galaxy's picture.
    Picture,
}

impl Kind {
    /// Every kind, in the order of their numbers in tables.
    pub const ALL: [Self; 7] =
        [Self::Blank, Self::Star, Self::Sersic, Self::BulgeDisc, Self::Spiral, Self::Irregular, Self::Picture];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Star => "star",
            Self::Sersic => "sersic",
            Self::BulgeDisc => "bulge+disc",
            Self::Spiral => "spiral",
            Self::Irregular => "irregular",
            Self::Picture => "picture",
        }
    }
}

/// A standard normal number.
pub fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// A number whose logarithm is uniform between those of `low` and `high`.
pub fn log_uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    (low.ln() + rng.random::<f64>() * (high / low).ln()).exp()
}

/// Uniform between `low` and `high`.
pub fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + rng.random::<f64>() * (high - low)
}

/// A shear of random direction; |e| of early types and bulges is smaller than of discs, which are seen at all inclinations.
fn random_shape(rng: &mut impl Rng, disc: bool) -> Shear {
    let q = if disc {
        // a disc of thickness 0.15-0.25 seen at a random inclination
        let (cos, thickness) = (rng.random::<f64>(), uniform(rng, 0.15, 0.25));
        (cos * cos + (1.0 - cos * cos) * thickness * thickness).sqrt()
    } else {
        uniform(rng, 0.5, 1.0)
    };
    Shear::from_axis_ratio(q, PI * rng.random::<f64>())
}

/// A galaxy of unit flux about as large as `half_light_radius`, with its kind. Small ones are plain: nothing of their structure would be seen.
pub fn galaxy(rng: &mut impl Rng, half_light_radius: f64) -> (Scene, Kind) {
    let pick = rng.random::<f64>();
    let structured = half_light_radius > 1.2;
    match (pick, structured) {
        (p, true) if p < 0.15 => (sersic(rng, half_light_radius), Kind::Sersic),
        (p, true) if p < 0.35 => (bulge_disc(rng, half_light_radius), Kind::BulgeDisc),
        (p, true) if p < 0.80 => (spiral(rng, half_light_radius), Kind::Spiral),
        (_, true) => (irregular(rng, half_light_radius), Kind::Irregular),
        (p, false) if p < 0.5 => (sersic(rng, half_light_radius), Kind::Sersic),
        (p, false) if p < 0.9 => (bulge_disc(rng, half_light_radius), Kind::BulgeDisc),
        (_, false) => (irregular(rng, half_light_radius), Kind::Irregular),
    }
}

/// One of several real galaxies at random, turned and mirrored at random, of unit flux and at most as large as `half_light_radius`: never
/// larger than the picture itself, whose pixels are `pixel` pixels long.
pub fn picture(rng: &mut impl Rng, pictures: &[Arc<SkyImage>], pixel: f64, half_light_radius: f64) -> Option<Scene> {
    let chosen = pictures.get(rng.random_range(0..pictures.len().max(1)))?;
    let scale = (half_light_radius / chosen.half_light_radius).min(pixel);
    let (angle, mirrored) = (TAU * rng.random::<f64>(), rng.random_bool(0.5));
    let picture = Component::Picture { flux: 1.0, picture: chosen.clone(), scale, angle, mirrored, dx: 0.0, dy: 0.0 };
    Some(Scene { components: vec![picture] })
}

fn sersic(rng: &mut impl Rng, radius: f64) -> Scene {
    let n = sersic::shared_index(log_uniform(rng, 0.5, 4.5).min(4.0));
    let shear = random_shape(rng, n < 1.8);
    Scene::sersic(1.0, n, radius, shear)
}

/// Bulge and disc; returns the disc's flux, half-light radius and shape too.
fn bulge_and_disc(rng: &mut impl Rng, radius: f64) -> (Scene, f64, f64, Shear) {
    let bulge_share = rng.random::<f64>().powi(2) * 0.9;
    let disc_shape = random_shape(rng, true);
    let bulge_shape = Shear { g1: disc_shape.g1 * 0.4, g2: disc_shape.g2 * 0.4 };
    let disc_radius = radius * (1.0 + 0.35 * bulge_share);
    let bulge_radius = radius * uniform(rng, 0.15, 0.6);
    let n = sersic::shared_index(uniform(rng, 1.5, 4.0));
    let mut components = vec![Component::Sersic {
        flux: 1.0 - bulge_share,
        n: 1.0,
        half_light_radius: disc_radius,
        shear: disc_shape,
        dx: 0.0,
        dy: 0.0,
    }];
    if bulge_share > 0.005 {
        components.push(Component::Sersic {
            flux: bulge_share,
            n,
            half_light_radius: bulge_radius,
            shear: bulge_shape,
            dx: 0.0,
            dy: 0.0,
        });
    }
    let disc_flux = 1.0 - bulge_share;
    (normalised(Scene { components }), disc_flux, disc_radius, disc_shape)
}

fn bulge_disc(rng: &mut impl Rng, radius: f64) -> Scene {
    bulge_and_disc(rng, radius).0
}

fn spiral(rng: &mut impl Rng, radius: f64) -> Scene {
    let (mut scene, disc_flux, disc_radius, shear) = bulge_and_disc(rng, radius);
    let scale_length = disc_radius / sersic::b_n(1.0);
    let pitch = rng.random_range(0..PITCHES.len());
    let arms = [2, 2, 2, 3][rng.random_range(0..4)];
    let (contrast, phase) = (uniform(rng, 0.3, 1.0), TAU * rng.random::<f64>());
    let mirrored = rng.random_bool(0.5);
    for (order, share) in [(1, 1.0), (2, 0.25)] {
        // the second harmonic narrows the arms; its sum with the first never falls below -1
        scene.components.push(Component::Arms {
            disc_flux,
            scale_length,
            shear,
            pitch,
            arms: arms * order,
            contrast: contrast * share,
            phase,
            mirrored,
        });
    }
    let knots = rng.random_range(0..=14usize);
    if knots > 0 {
        let share = uniform(rng, 0.03, 0.3);
        let winding = 1.0 / PITCHES[pitch].to_radians().tan();
        let (a, b, d) = shear.matrix();
        let fluxes = shares(rng, knots);
        for flux in fluxes {
            // along an arm: phi = phase + ln r / tan p + 2 pi j / m, a little scattered
            let r = uniform(rng, 0.8, 3.8);
            let arm = f64::from(rng.random_range(0..arms));
            let phi = phase + winding * r.ln() + TAU * arm / f64::from(arms) + 0.15 * normal(rng);
            let phi = if mirrored { -phi } else { phi };
            let (x, y) = (scale_length * r * phi.cos(), scale_length * r * phi.sin());
            scene.components.push(Component::Knot {
                flux: share * flux,
                sigma: radius * log_uniform(rng, 0.03, 0.2),
                dx: a * x + b * y,
                dy: b * x + d * y,
            });
        }
    }
    normalised(scene)
}

fn irregular(rng: &mut impl Rng, radius: f64) -> Scene {
    let mut scene = Scene::default();
    // one to three lopsided bodies
    let bodies = rng.random_range(1..=3usize);
    for share in shares(rng, bodies) {
        scene.components.push(Component::Sersic {
            flux: share,
            n: sersic::shared_index(uniform(rng, 0.5, 1.5)),
            half_light_radius: radius * uniform(rng, 0.5, 1.0),
            shear: random_shape(rng, false),
            dx: 0.5 * radius * normal(rng),
            dy: 0.5 * radius * normal(rng),
        });
    }
    let knots = rng.random_range(2..=12usize);
    let share = uniform(rng, 0.05, 0.5);
    for flux in shares(rng, knots) {
        scene.components.push(Component::Knot {
            flux: share * flux,
            sigma: radius * log_uniform(rng, 0.04, 0.3),
            dx: 0.9 * radius * normal(rng),
            dy: 0.9 * radius * normal(rng),
        });
    }
    if rng.random_bool(0.4) {
        // a tidal tail: a fading arc of overlapping knots
        let (start, turn) = (TAU * rng.random::<f64>(), uniform(rng, -2.0, 2.0));
        let (length, share) = (uniform(rng, 2.0, 4.0), uniform(rng, 0.05, 0.25));
        let pieces = 10;
        for i in 0..pieces {
            let t = (f64::from(i) + 0.5) / f64::from(pieces);
            let (r, phi) = (radius * (0.7 + length * t), start + turn * t);
            scene.components.push(Component::Knot {
                flux: share * (1.0 - t) * 2.0 / f64::from(pieces),
                sigma: radius * (0.2 + 0.2 * t),
                dx: r * phi.cos(),
                dy: r * phi.sin(),
            });
        }
    }
    // the object's position is the centre of its light
    let (cx, cy) = scene.centroid();
    for c in &mut scene.components {
        c.shift(-cx, -cy);
    }
    normalised(scene)
}

/// `count` random positive shares that add to 1, unequal.
fn shares(rng: &mut impl Rng, count: usize) -> Vec<f64> {
    let raw: Vec<f64> = (0..count).map(|_| (0.8 * normal(rng)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|v| v / sum).collect()
}

fn normalised(scene: Scene) -> Scene {
    let flux = scene.flux();
    if flux > 0.0 { scene.scaled(1.0 / flux) } else { scene }
}

/// A PSF whose effective FWHM is `fwhm` pixels (to a few per cent): Moffat, Kolmogorov-like, two Moffats, or telescope times atmosphere.
pub fn psf(rng: &mut impl Rng, fwhm: f64) -> Psf {
    let raw = raw_psf(rng, fwhm);
    let grid = Grid::new(((10.0 * fwhm) as usize).max(32), raw.cut(1e-4), 1);
    let got = psf::fwhm(&raw.effective_spectrum(grid));
    // the pixel's part of the width does not scale
    let pixel = PIXEL_FWHM2;
    let factor = ((fwhm * fwhm - pixel).max(0.5) / (got * got - pixel).max(0.5)).sqrt();
    raw.scaled(factor.clamp(0.5, 1.5))
}

/// A pixel adds 1/12 px^2 to the variance along each axis: in squared FWHM, 8 ln 2 / 12.
const PIXEL_FWHM2: f64 = 0.462;

fn raw_psf(rng: &mut impl Rng, fwhm: f64) -> Psf {
    let width = (fwhm * fwhm - PIXEL_FWHM2).max(0.5).sqrt();
    let shear = psf_shear(rng, 0.15);
    match rng.random_range(0..20u32) {
        0..10 => Psf::moffat(width, uniform(rng, 2.5, 5.0), shear),
        10..14 => Psf::kolmogorov(width, shear),
        14..16 => {
            let core = uniform(rng, 0.6, 0.9);
            Psf::Sum(vec![
                (core, Psf::moffat(width * 0.93, uniform(rng, 3.0, 5.0), shear)),
                (1.0 - core, Psf::moffat(width * uniform(rng, 1.3, 2.2), uniform(rng, 2.5, 3.5), psf_shear(rng, 0.1))),
            ])
        }
        _ => {
            // the diffraction pattern takes 0.3-0.9 of the width; its FWHM is close to 1.03 lambda / D
            let share = uniform(rng, 0.3, 0.9);
            let cutoff = 1.03 / (width * share);
            let optics = Optics {
                cutoff,
                obscuration: uniform(rng, 0.2, 0.5),
                defocus: 0.05 * normal(rng),
                astigmatism_0: 0.03 * normal(rng),
                astigmatism_45: 0.03 * normal(rng),
                coma_x: 0.02 * normal(rng),
                coma_y: 0.02 * normal(rng),
            };
            let atmosphere = Psf::kolmogorov(width * (1.0 - share * share).sqrt(), shear);
            Psf::Convolution(vec![atmosphere, Psf::telescope(optics, 1.0)])
        }
    }
}

/// A shear of random direction with distortion |e| up to `largest`, small ones more often.
fn psf_shear(rng: &mut impl Rng, largest: f64) -> Shear {
    let e = largest * rng.random::<f64>().powi(2);
    // distortion e = 2 g / (1 + g^2)
    let g = if e > 0.0 { (1.0 - (1.0 - e * e).sqrt()) / e } else { 0.0 };
    let angle = TAU * rng.random::<f64>();
    Shear { g1: g * angle.cos(), g2: g * angle.sin() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn galaxies_have_unit_flux_the_size_asked_for_and_all_kinds() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut kinds = std::collections::HashSet::new();
        for i in 0..300 {
            let radius = if i % 2 == 0 { 4.0 } else { 0.8 };
            let (scene, kind) = galaxy(&mut rng, radius);
            assert!((scene.flux() - 1.0).abs() < 1e-9);
            let r = scene.half_light_radius();
            assert!(r > 0.12 * radius && r < 3.0 * radius, "{kind:?}: {r} for {radius}");
            kinds.insert(kind.name());
        }
        assert_eq!(kinds.len(), 4);
    }
}
