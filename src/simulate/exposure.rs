//! A simulated exposure: what stands where, drawn object by object, so that the caller may share the objects among threads.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draw::{self, Kind, normal};
use super::field::PsfField;
use super::grid::{Grid, Renderer, Spectrum, Window};
use super::instrument::{Instrument, Layout};
use super::psf::{self, target_spectrum};
use super::scene::Scene;
use super::sky_image::SkyImage;
use super::stamps::power;
use crate::image::{PixelBox, Plane};
use crate::sky::{SkyError, Wcs};

/// What an exposure is simulated from (`[simulate.exposure]`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExposureSettings {
    /// Instrument and layout.
    pub layout: Layout,
    /// Columns.
    pub nx: usize,
    /// Rows.
    pub ny: usize,
    /// Objects, stars among them.
    pub objects: usize,
    /// Stars; `None` takes a tenth of the objects, at least 150, at most half of them.
    pub stars: Option<usize>,
    /// Share of cosmic rays' pixels that the mask knows of.
    pub cosmic_rays_masked: f64,
}

impl Default for ExposureSettings {
    fn default() -> Self {
        Self { layout: Layout::Lsst, nx: 2048, ny: 2048, objects: 3000, stars: None, cosmic_rays_masked: 0.95 }
    }
}

/// One object that stands in an exposure.
#[derive(Debug, Clone, PartialEq)]
pub struct TruthObject {
    /// Number, 1-based.
    pub id: i64,
    /// Column, 0-based.
    pub x: f64,
    /// Row, 0-based.
    pub y: f64,
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
    /// Flux, image units.
    pub flux: f64,
    /// What it is.
    pub kind: Kind,
    /// Sersic index; 0 where it is not a single profile.
    pub index: f64,
    /// What it looks like; its flux is `flux`.
    pub scene: Scene,
}

/// What came of drawing an object.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// Where the stamp lies.
    pub bounds: PixelBox,
    /// Its pixels without noise, image units.
    pub pixels: Plane,
    /// Matched-filter SNR against the sky noise alone: sqrt(sum m^2) / sigma_sky.
    pub snr: f64,
    /// Highest pixel, image units.
    pub peak: f64,
    /// FWHM of the effective PSF there, pixels.
    pub psf_fwhm: f64,
}

/// Real galaxies to stand among the drawn ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pictures {
    /// The galaxies.
    pub galaxies: Vec<Arc<SkyImage>>,
    /// Side of their pixels, arcsec.
    pub pixel_scale: f64,
    /// Share of the exposure's galaxies that are real ones.
    pub share: f64,
}

/// Everything about an exposure that is decided before a pixel is drawn.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was asked to be.
    pub settings: ExposureSettings,
    /// Its instrument.
    pub instrument: Instrument,
    /// Its PSF.
    pub psf: PsfField,
    /// Its world coordinates.
    pub wcs: Wcs,
    /// Its objects.
    pub objects: Vec<TruthObject>,
    /// Seed, for what comes after the objects.
    pub seed: u64,
    /// Azimuthally averaged surface brightness of the unit PSF at r = 0, 1, 2 .. pixels, never rising.
    wings: Vec<f64>,
}

/// Streams of random numbers, one for each purpose; detector rows take theirs from `ROWS` on.
pub(super) mod stream {
    pub const PSF: u64 = 1;
    pub const OBJECTS: u64 = 2;
    pub const DEFECTS: u64 = 3;
    pub const COSMIC_RAYS: u64 = 4;
    pub const BLANKS: u64 = 5;
    pub const ROWS: u64 = 1 << 32;
}

/// A generator for one purpose.
pub(super) fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// Surface brightness, in sky noise per pixel, at which stamps end.
const STAMP_EDGE: f64 = 0.03;
/// Largest half-width of a stamp, pixels.
const LARGEST_HALF: f64 = 320.0;

impl Plan {
    /// Decides what the exposure `seed` holds.
    pub fn new(settings: &ExposureSettings, seed: u64) -> Result<Self, SkyError> {
        Self::with_pictures(settings, seed, &Pictures::default())
    }

    /// As [`Plan::new`], with real galaxies among the objects; positions, magnitudes and drawn galaxies are others than without them.
    pub fn with_pictures(settings: &ExposureSettings, seed: u64, pictures: &Pictures) -> Result<Self, SkyError> {
        let instrument = settings.layout.instrument();
        let size = (settings.nx, settings.ny);
        let mut rng = generator(seed, stream::PSF);
        let psf = match settings.layout {
            // 0.8 arcsec in all; D = 6.6 m (effective) at 620 nm on 0.2 arcsec: 10 cycles per pixel
            Layout::Lsst => PsfField::ground(size, 3.75, 10.0, &mut rng),
            // D = 1.2 m at 770 nm on 0.1 arcsec
            Layout::Euclid => PsfField::space(size, 0.76, 0.6, &mut rng),
            Layout::Generic => PsfField::moffat(size, 3.7, 3.0, &mut rng),
        };
        // a field somewhere at high latitude, turned by some angle
        let (ra, dec) = (360.0 * rng.random::<f64>(), -60.0 + 70.0 * rng.random::<f64>());
        let turn = 0.5 * (rng.random::<f64>() - 0.5);
        let step = instrument.pixel_scale / 3600.0;
        let (sin, cos) = turn.sin_cos();
        // east is left
        let cd = [[-step * cos, step * sin], [step * sin, step * cos]];
        let middle = ((settings.nx as f64 - 1.0) / 2.0, (settings.ny as f64 - 1.0) / 2.0);
        let wcs = Wcs::tan((ra, dec), middle, cd)?;
        let wings = wings(&psf, size);
        let mut plan = Self { settings: *settings, instrument, psf, wcs, objects: Vec::new(), seed, wings };
        plan.objects = plan.draw_objects(pictures);
        Ok(plan)
    }

    /// AB magnitude of a point source of SNR 5 in the middle of the field, against the sky.
    pub fn limiting_magnitude(&self) -> f64 {
        let (nx, ny) = (self.settings.nx as f64, self.settings.ny as f64);
        let psf = self.psf.at(nx / 2.0, ny / 2.0);
        let plane = psf.effective(&mut Renderer::new(), 41, 1);
        self.instrument.magnitude(5.0 * self.instrument.sky_sigma() / power(&plane).sqrt())
    }

    fn draw_objects(&self, pictures: &Pictures) -> Vec<TruthObject> {
        let settings = &self.settings;
        let limit = self.limiting_magnitude();
        let mut rng = generator(self.seed, stream::OBJECTS);
        let total = settings.objects;
        let stars = settings.stars.unwrap_or_else(|| (total / 10).max(150).min(total / 2)).min(total);
        (0..total)
            .map(|i| {
                let x = rng.random::<f64>() * settings.nx as f64 - 0.5;
                let y = rng.random::<f64>() * settings.ny as f64 - 0.5;
                let (magnitude, scene, kind, index) = if i < stars {
                    // counts of stars rise slowly: 10^(0.12 m); the brightest saturate
                    let m = magnitude(&mut rng, 0.12, limit - 9.5, limit - 0.3);
                    (m, Scene::star(1.0), Kind::Star, 0.0)
                } else {
                    // counts of galaxies rise steeply: 10^(0.35 m)
                    let m = magnitude(&mut rng, 0.35, limit - 6.5, limit + 0.2);
                    let at_24 = self.instrument.radius_at_24 / self.instrument.pixel_scale;
                    let radius = at_24 * 10f64.powf(-0.07 * (m - 24.0)) * (0.4 * normal(&mut rng)).exp();
                    let radius = radius.clamp(0.2, 40.0);
                    // without pictures no random number is spent on them
                    let real = if pictures.galaxies.is_empty() || !rng.random_bool(pictures.share.clamp(0.0, 1.0)) {
                        None
                    } else {
                        let pixel = pictures.pixel_scale / self.instrument.pixel_scale;
                        draw::picture(&mut rng, &pictures.galaxies, pixel, radius)
                    };
                    let (scene, kind) = match real {
                        Some(scene) => (scene, Kind::Picture),
                        None => draw::galaxy(&mut rng, radius),
                    };
                    let index = match (kind, scene.components.first()) {
                        (Kind::Sersic, Some(super::scene::Component::Sersic { n, .. })) => *n,
                        _ => 0.0,
                    };
                    (m, scene, kind, index)
                };
                let flux = self.instrument.flux(magnitude);
                let (ra, dec) = self.wcs.pixel_to_sky(x, y);
                TruthObject { id: i as i64 + 1, x, y, ra, dec, flux, kind, index, scene: scene.scaled(flux) }
            })
            .collect()
    }

    /// Half-width that a stamp of this object needs, pixels.
    fn half_width(&self, object: &TruthObject) -> f64 {
        let edge = STAMP_EDGE * self.instrument.sky_sigma();
        let wing = self.wings.iter().position(|w| w * object.flux < edge).unwrap_or(self.wings.len()) as f64;
        (wing.max(object.scene.radius_at(edge)) + 4.0).min(LARGEST_HALF)
    }

    /// Draws one object as the detector sees it, without noise.
    pub fn draw(&self, object: &TruthObject, renderer: &mut Renderer) -> Drawn {
        let n = ((2.0 * self.half_width(object) / 16.0).ceil() as usize * 16).max(32);
        let bounds = PixelBox::centred(object.x, object.y, n);
        let psf = self.psf.at(object.x, object.y);
        let grid = Grid::new(n, psf.cut(1e-5), 1);
        let kernel = psf.effective_spectrum(grid);
        let centre = (object.x - bounds.x0 as f64, object.y - bounds.y0 as f64);
        let window = Window { nx: n, ny: n, sampling: 1, centre };
        let pixels = renderer.draw(&object.scene.spectrum(grid), &kernel, window);
        Drawn {
            bounds,
            snr: power(&pixels).sqrt() / self.instrument.sky_sigma(),
            peak: pixels.iter().copied().fold(0.0f32, f32::max).into(),
            psf_fwhm: psf::fwhm(&kernel),
            pixels,
        }
    }

    /// The object as the target Gaussian sees it: `size` * `factor` pixels along each side, `factor` times finer than the detector's,
    /// centred on pixel (size * factor / 2, ..); `target_fwhm` in target pixels. Image units.
    pub fn truth_stamp(
        &self,
        object: &TruthObject,
        size: usize,
        factor: usize,
        target_fwhm: f64,
        renderer: &mut Renderer,
    ) -> Plane {
        let fwhm = target_fwhm / factor as f64;
        let grid = Grid::new(2 * size, 1.75 / fwhm.max(0.25), factor);
        let side = size * factor;
        let middle = (side / 2) as f64;
        let window = Window { nx: side, ny: side, sampling: factor, centre: (middle, middle) };
        renderer.draw(&object.scene.spectrum(grid), &target_spectrum(grid, fwhm), window)
    }

    /// The image without sky and noise, empty as yet.
    pub fn empty(&self) -> Plane {
        Plane::zeros((self.settings.ny, self.settings.nx))
    }
}

/// Adds a stamp to an image, where they overlap.
pub fn paste(image: &mut Plane, bounds: &PixelBox, pixels: &Plane) {
    let (ny, nx) = image.dim();
    let Some((x0, x1, y0, y1)) = bounds.clip(nx, ny) else { return };
    let (sx, sy) = ((x0 as isize - bounds.x0) as usize, (y0 as isize - bounds.y0) as usize);
    let from = pixels.slice(ndarray::s![sy..sy + y1 - y0, sx..sx + x1 - x0]);
    let mut to = image.slice_mut(ndarray::s![y0..y1, x0..x1]);
    to += &from;
}

/// A magnitude between `bright` and `faint` with counts 10^(slope m).
fn magnitude(rng: &mut ChaCha8Rng, slope: f64, bright: f64, faint: f64) -> f64 {
    let span = 10f64.powf(slope * (faint - bright)) - 1.0;
    bright + (1.0 + span * rng.random::<f64>()).log10() / slope
}

/// Azimuthally averaged profile of the PSF in the middle of the field, as an envelope that never rises.
fn wings(psf: &PsfField, size: (usize, usize)) -> Vec<f64> {
    let n = 2 * LARGEST_HALF as usize;
    let psf = psf.at(0.5 * size.0 as f64, 0.5 * size.1 as f64);
    let grid = Grid::new(n, psf.cut(1e-5), 1);
    let centre = (n / 2) as f64;
    let window = Window { nx: n, ny: n, sampling: 1, centre: (centre, centre) };
    let plane = Renderer::new().draw(&Spectrum::constant(grid, 1.0), &psf.effective_spectrum(grid), window);
    let mut rings = vec![(0.0, 0usize); n / 2];
    for ((y, x), v) in plane.indexed_iter() {
        let r = (x as f64 - centre).hypot(y as f64 - centre) as usize;
        if let Some(ring) = rings.get_mut(r) {
            ring.0 += f64::from(*v).abs();
            ring.1 += 1;
        }
    }
    let mut wings: Vec<f64> = rings.iter().map(|(s, c)| s / (*c).max(1) as f64).collect();
    let mut outside = 0.0f64;
    for w in wings.iter_mut().rev() {
        outside = outside.max(*w);
        *w = outside;
    }
    wings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(layout: Layout) -> Plan {
        let settings = ExposureSettings { layout, nx: 256, ny: 200, objects: 40, ..ExposureSettings::default() };
        Plan::new(&settings, 11).expect("a plan")
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        assert_eq!(small(Layout::Lsst).objects, small(Layout::Lsst).objects);
    }

    #[test]
    fn stamps_hold_the_flux_and_lie_on_their_object() {
        for layout in [Layout::Lsst, Layout::Euclid, Layout::Generic] {
            let plan = small(layout);
            let mut renderer = Renderer::new();
            for object in plan.objects.iter().filter(|o| o.kind == Kind::Star || o.kind == Kind::BulgeDisc) {
                let drawn = plan.draw(object, &mut renderer);
                let sum: f64 = drawn.pixels.iter().map(|v| f64::from(*v)).sum();
                // the stamp's edge lies far below the noise; the transform puts what lies beyond it back inside
                assert!(
                    (sum - object.flux).abs() < 1e-3 * object.flux,
                    "{layout:?} {} {sum} {}",
                    object.id,
                    object.flux
                );
                let (mut x, mut y) = (0.0, 0.0);
                for ((row, column), v) in drawn.pixels.indexed_iter() {
                    x += f64::from(*v) * column as f64;
                    y += f64::from(*v) * row as f64;
                }
                let (x, y) = (x / sum + drawn.bounds.x0 as f64, y / sum + drawn.bounds.y0 as f64);
                // cut wings pull the mean towards the stamp's middle
                assert!(
                    (x - object.x).hypot(y - object.y) < 0.3,
                    "{layout:?}: ({x}, {y}) for ({}, {})",
                    object.x,
                    object.y
                );
            }
        }
    }

    #[test]
    fn depths_are_those_of_the_surveys() {
        for (layout, low, high) in
            [(Layout::Lsst, 24.0, 25.2), (Layout::Euclid, 25.5, 27.2), (Layout::Generic, 22.5, 25.0)]
        {
            let limit = small(layout).limiting_magnitude();
            assert!(limit > low && limit < high, "{layout:?}: {limit}");
        }
    }
}
