//! Sources put into an exposure in passes, each run through detection and deconvolution.

use std::cell::RefCell;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::super::header::calibration_scope;
use super::super::profiles::light_beyond;
use super::super::{Context, Failure, Field, Given, Inference, Stage, Timings, catalog_header, deconvolve, prepare};
use crate::calibration::{Scope, UsedExposure, extent, signal_unit};
use crate::catalog::{CatalogHeader, CatalogRow};
use crate::detect::{self, CatalogPosition};
use crate::exposure::Exposure;
use crate::failure::{Classify, FailureKind};
use crate::image::{PixelBox, Plane};
use crate::photometry::{self, MomentsSettings};
use crate::psf::PsfStamp;
use crate::settings::Settings;
use crate::simulate::draw::Kind;
use crate::simulate::grid::{Grid, Window};
use crate::simulate::inject::{Source, add, draw_source};
use crate::simulate::population::{Population, Room, quarter_turn};
use crate::simulate::psf::target_spectrum;
use crate::simulate::{Renderer, Scene};

/// What is injected, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct InjectOptions {
    /// Sources put into each exposure, each galaxy and its turned twin counted separately.
    pub count: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Share of stars.
    pub stars: f64,
    /// Range of matched-filter SNR against the sky.
    pub snr: (f64, f64),
    /// Median half-light radius of galaxies of SNR 30, arcsec; pixels where the pixel scale is not known.
    pub half_light_radius: f64,
    /// Least distance between injected sources of one pass, pixels.
    pub spacing: f64,
    /// Positions with nothing on them that are measured in each exposure.
    pub empty: usize,
}

impl Default for InjectOptions {
    fn default() -> Self {
        Self {
            count: 2000,
            seed: 1,
            stars: 0.25,
            snr: (5.0, 1000.0),
            half_light_radius: 0.45,
            spacing: 64.0,
            empty: 400,
        }
    }
}

/// Why sources could not be injected.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// Nothing free.
    #[error(
        "no free place for a source: every place is within {clearance} pixels of an object or a bad pixel, or too near the edge; \
         give a larger or emptier exposure"
    )]
    NoRoom {
        /// Pixels that must be free around a source.
        clearance: usize,
    },
    /// No PSF where one is needed.
    #[error("the PSF cannot be evaluated for a source at ({x:.1}, {y:.1}): {reason}")]
    Psf {
        /// Column, FITS pixels.
        x: f64,
        /// Row, FITS pixels.
        y: f64,
        /// Why.
        reason: String,
    },
    /// Nothing known of what is there.
    #[error("detection at the injected positions: {0}")]
    Detect(#[from] detect::DetectError),
}

impl Classify for InjectError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoRoom { .. } | Self::Psf { .. } => FailureKind::BadInput,
            Self::Detect(error) => error.kind(),
        }
    }
}

/// One injected source and what the pipeline made of it.
#[derive(Debug, Clone)]
pub struct InjectedRow {
    /// Number of the source; its turned twin has the same.
    pub source: u64,
    /// Whether it is the twin, turned by 90 degrees.
    pub turned: bool,
    /// What it is.
    pub kind: Kind,
    /// Column, 0-based.
    pub x: f64,
    /// Row, 0-based.
    pub y: f64,
    /// True flux, image units.
    pub flux: f64,
    /// True SNR of a matched filter against the sky.
    pub snr: f64,
    /// True ellipticity as seen with the target PSF; NaN where it cannot be measured.
    pub e: [f64; 2],
    /// True extent, see [`extent`].
    pub extent: f64,
    /// Whether detection found it; it was measured all the same.
    pub detected: bool,
    /// Whether it lies on another object's pixels.
    pub swallowed: bool,
    /// What was measured, uncalibrated.
    pub row: CatalogRow,
}

/// What came of an exposure.
#[derive(Debug, Clone)]
pub struct InjectionRun {
    /// The exposure, for the file.
    pub used: UsedExposure,
    /// What laws of it hold for.
    pub scope: Scope,
    /// Whether its PSF was fitted (or given).
    pub psf_fitted: bool,
    /// Header of its catalogue (of the last pass).
    pub header: CatalogHeader,
    /// Injected sources.
    pub injected: Vec<InjectedRow>,
    /// Rows of positions with nothing on them.
    pub empty: Vec<CatalogRow>,
    /// Rows of the exposure's own objects, uncalibrated.
    pub own: Vec<CatalogRow>,
}

impl InjectionRun {
    /// Detector pixels in the unit of the rows' angles.
    pub fn pixel(&self) -> f64 {
        self.header.pixel_scale.unwrap_or(1.0)
    }

    /// [`signal_unit`] at a row, in the rows' unit of flux.
    pub fn signal_unit(&self, row: &CatalogRow) -> f64 {
        signal_unit(self.used.sky_sigma, row.psf_fwhm / self.pixel()) * self.flux_unit()
    }

    /// The rows' unit of flux per image unit.
    pub fn flux_unit(&self) -> f64 {
        self.header.zero_point.map_or(1.0, photometry::nanojansky_per_unit)
    }

    /// A row's half-light radius in target pixels.
    pub fn half_light_radius(&self, row: &CatalogRow) -> f64 {
        row.half_light_radius / (self.pixel() / self.header.target_factor as f64)
    }
}

/// A source before it is placed: drawn at unit flux.
struct Drawn {
    kind: Kind,
    x: f64,
    y: f64,
    snr: f64,
    flux: f64,
    /// Noiseless pixels of the source and of its twin, and true ellipticity.
    images: [(PixelBox, Plane); 2],
    shapes: [[f64; 2]; 2],
    extent: f64,
}

thread_local! {
    static RENDERER: RefCell<Renderer> = RefCell::new(Renderer::new());
}

/// Streams of random numbers.
mod stream {
    pub const EMPTY: u64 = 1;
    pub const SOURCES: u64 = 1 << 20;
    pub const NOISE: u64 = 2 << 20;
}

fn generator(seed: u64, name: &str, stream: u64) -> ChaCha8Rng {
    let digest = Sha256::digest(name.as_bytes());
    let mixed = digest.iter().take(8).fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ mixed);
    rng.set_stream(stream);
    rng
}

/// Fills an exposure with sources, pass after pass, and runs the pipeline on each; `progress` is told how many of the sources are done.
///
/// Each source is drawn with the PSF in force (fitted to the exposure, or given) and brings its photon noise where the gain is known.
/// Sources are put where nothing was found before, in pairs of passes: the same places, the galaxies turned by 90 degrees. All are
/// measured, whether detection finds them again or not.
pub fn inject_exposure(
    exposure: &Exposure,
    context: &Context,
    options: &InjectOptions,
    progress: &mut dyn FnMut(usize),
) -> Result<InjectionRun, Failure> {
    let mut settings = context.settings.clone();
    settings.calibration = crate::archive::CalibrationSettings::default();
    let mut timings = Timings::watched(&context.watch);
    let failed = |error: InjectError| Failure::new(&exposure.id, Stage::Detect, &error);
    let base = prepare(exposure, &context.given, &settings, &mut timings)?;
    let given = Given { psf: Some(base.psf.clone()), ..Given::default() };

    let clearance = (2.0 * base.psf_fwhm).ceil() as usize;
    let room = Room::new(&base.detections.segmentation, &exposure.mask, clearance, settings.stamp.small / 2);
    let identity = context.inference.as_ref().map(Inference::identity);
    let mut run = InjectionRun {
        used: UsedExposure {
            name: exposure.id.clone(),
            psf_fwhm: base.psf_fwhm,
            sky_sigma: base.sky_sigma,
            injected: 0,
            passes: 0,
        },
        scope: calibration_scope(exposure, &base, identity, &settings),
        psf_fitted: base.psf_report.is_some(),
        header: CatalogHeader::new(&exposure.id),
        injected: Vec::new(),
        empty: Vec::new(),
        own: Vec::new(),
    };
    let mut pair = 0u64;
    while run.injected.len() < options.count {
        let mut rng = generator(options.seed, &exposure.id, stream::SOURCES + pair);
        let wanted = (options.count - run.injected.len()).div_ceil(2);
        let places = room.positions(wanted, options.spacing, &mut rng);
        if places.is_empty() {
            return Err(failed(InjectError::NoRoom { clearance }));
        }
        let empty = match run.empty.is_empty() {
            true => empty_places(&room, &places, options, &exposure.id),
            false => Vec::new(),
        };
        let population = population(exposure, options);
        let sources: Vec<(Scene, Kind, f64)> = places.iter().map(|_| population.draw(&mut rng)).collect();
        let mut drawn: Vec<Drawn> = places
            .par_iter()
            .zip(sources)
            .map(|(&place, source)| {
                RENDERER.with_borrow_mut(|renderer| draw(place, source, &base, &settings, renderer))
            })
            .collect::<Result<_, InjectError>>()
            .map_err(failed)?;
        // They are drawn with the PSF as it was fitted: the catalogue's fluxes hold what lies beyond, and so do true ones.
        let total = 1.0 + light_beyond(&base);
        drawn.iter_mut().for_each(|source| source.flux *= total);
        for twin in 0..2usize {
            context.watch.check(&exposure.id, Stage::Detect)?;
            let mut filled = exposure.clone();
            let mut noise = generator(options.seed, &exposure.id, stream::NOISE + 2 * pair + twin as u64);
            for source in &drawn {
                let (bounds, pixels) = &source.images[twin];
                add(&mut filled, bounds, pixels, &mut noise);
            }
            let empty = if twin == 0 { empty.as_slice() } else { &[] };
            pass(&filled, &drawn, twin == 1, empty, &given, &settings, context, &mut timings, &mut run)?;
            progress(run.injected.len());
        }
        pair += 1;
    }
    Ok(run)
}

/// What is injected into this exposure.
fn population(exposure: &Exposure, options: &InjectOptions) -> Population {
    Population {
        stars: options.stars,
        snr: options.snr,
        half_light_radius: options.half_light_radius / exposure.pixel_scale().unwrap_or(1.0),
        size_scatter: 0.4,
    }
}

/// Places with nothing on them, apart from the sources'.
fn empty_places(room: &Room, taken: &[(f64, f64)], options: &InjectOptions, name: &str) -> Vec<(f64, f64)> {
    let mut rng = generator(options.seed, name, stream::EMPTY);
    let far = |p: &(f64, f64)| taken.iter().all(|t| (t.0 - p.0).hypot(t.1 - p.1) >= 0.5 * options.spacing);
    // Most places are too near a source: more are drawn than needed.
    let drawn = room.positions(options.empty.saturating_mul(8), 0.5 * options.spacing, &mut rng);
    drawn.into_iter().filter(far).take(options.empty).collect()
}

/// Draws a source and its twin at the flux that gives it the SNR asked for.
fn draw(
    (x, y): (f64, f64),
    (scene, kind, snr): (Scene, Kind, f64),
    base: &Field,
    settings: &Settings,
    renderer: &mut Renderer,
) -> Result<Drawn, InjectError> {
    let fwhm = base.psf_fwhm;
    // As wide as the PSF that objects are fitted with: light beyond that is in neither. Finer than the pixels where they undersample it.
    let side = settings.stamp.small.saturating_sub(1).clamp(15, 255) | 1;
    let oversample = if fwhm < 3.0 { 3 } else { 1 };
    let psf: PsfStamp = base
        .psf
        .evaluate(x, y, (side * oversample) | 1, oversample)
        .map_err(|error| InjectError::Psf { x: x + 1.0, y: y + 1.0, reason: error.to_string() })?;
    let radius = scene.half_light_radius();
    // The stamp ends where the object is far below the noise.
    let guess = snr * (signal_unit(1.0, fwhm).powi(2) + 4.0 * std::f64::consts::PI * radius * radius).sqrt();
    let reach = scene.radius_at(0.03 / guess) + 2.0 * fwhm;
    let n = ((2.0 * reach.max(side as f64 / 2.0) + 8.0).min(320.0) as usize).next_multiple_of(16);
    let twin = quarter_turn(&scene);
    let source = Source { x, y, scene: scene.clone() };
    let (bounds, unit) = draw_source(&source, &psf, n, renderer);
    let power: f64 = unit.iter().map(|v| f64::from(*v).powi(2)).sum();
    let flux = snr * base.sky_sigma / power.sqrt();
    let turned = match kind {
        Kind::Star => (bounds, unit.clone()),
        _ => draw_source(&Source { x, y, scene: twin.clone() }, &psf, n, renderer),
    };
    let scaled = |(bounds, plane): (PixelBox, Plane)| (bounds, plane.mapv(|v| (f64::from(v) * flux) as f32));
    let (shape, size) = true_shape(&scene, base.factor, settings.deconv.target_fwhm, renderer);
    let (turned_shape, _) = true_shape(&twin, base.factor, settings.deconv.target_fwhm, renderer);
    Ok(Drawn {
        kind,
        x,
        y,
        snr,
        flux,
        images: [scaled((bounds, unit)), scaled(turned)],
        shapes: [shape, turned_shape],
        extent: size,
    })
}

/// Ellipticity and extent of an object as seen with the target PSF, measured as the pipeline measures them, without noise.
fn true_shape(scene: &Scene, factor: usize, target_fwhm: f64, renderer: &mut Renderer) -> ([f64; 2], f64) {
    let size = ((10.0 * scene.half_light_radius()) as usize + 48).min(192).next_multiple_of(16);
    let fwhm = target_fwhm / factor as f64;
    let grid = Grid::new(2 * size, 1.75 / fwhm.max(0.25), factor);
    let side = size * factor;
    let centre = (side / 2) as f64;
    let window = Window { nx: side, ny: side, sampling: factor, centre: (centre, centre) };
    let image = renderer.draw(&scene.spectrum(grid), &target_spectrum(grid, fwhm), window);
    let start = MomentsSettings { start_sigma: 0.64 * target_fwhm, ..MomentsSettings::default() };
    match photometry::adaptive_moments(&image, None, None, (centre, centre), &start) {
        Ok(moments) => {
            let radius = photometry::half_light_radius(&image, &moments, None).map_or(f64::NAN, |half| half.radius);
            ([moments.e1, moments.e2], extent(radius, target_fwhm))
        }
        Err(_) => ([f64::NAN; 2], f64::NAN),
    }
}

/// One pass: detection, the positions it did not find, every object deconvolved.
#[allow(clippy::too_many_arguments)]
fn pass(
    filled: &Exposure,
    drawn: &[Drawn],
    turned: bool,
    empty: &[(f64, f64)],
    given: &Given,
    settings: &Settings,
    context: &Context,
    timings: &mut Timings,
    run: &mut InjectionRun,
) -> Result<(), Failure> {
    let mut field = prepare(filled, given, settings, timings)?;
    let found = field.detections.sources.len();
    let radius = (0.6 * field.psf_fwhm).max(2.0);
    let nearest = |x: f64, y: f64| {
        let distance = |i: usize| field.detections.sources.get(i).map_or(f64::INFINITY, |s| (s.x - x).hypot(s.y - y));
        (0..found).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).filter(|i| distance(*i) <= radius)
    };
    let mut places: Vec<Option<usize>> = drawn.iter().map(|d| nearest(d.x, d.y)).collect();
    let (ny, nx) = filled.shape();
    let swallowed: Vec<bool> = drawn
        .iter()
        .zip(&places)
        .map(|(d, place)| {
            let at = ((d.y.round() as usize).min(ny - 1), (d.x.round() as usize).min(nx - 1));
            place.is_none() && field.detections.segmentation.get(at).is_some_and(|label| *label != 0)
        })
        .collect();
    // What detection did not find is measured at its place all the same: its like would otherwise be in the law only where noise
    // made it brighter.
    let mut forced: Vec<CatalogPosition> = Vec::new();
    for (place, d) in places.iter_mut().zip(drawn).filter(|(place, _)| place.is_none()) {
        *place = Some(found + forced.len());
        forced.push(CatalogPosition { id: (found + forced.len()) as i64 + 1, x: d.x, y: d.y });
    }
    let first_empty = found + forced.len();
    for (x, y) in empty {
        forced.push(CatalogPosition { id: (found + forced.len()) as i64 + 1, x: *x, y: *y });
    }
    if !forced.is_empty() {
        let more = detect::from_catalog(&forced, &field.subtracted, &field.sky_rms, &filled.mask, &settings.detect)
            .map_err(|error| Failure::new(&filled.id, Stage::Detect, &InjectError::from(error)))?;
        field.detections.sources.extend(more.detections.sources);
    }
    let identity = context.inference.as_ref().map(Inference::identity);
    let header = catalog_header(filled, &field, &filled.id, identity, given, settings);
    let catalog = deconvolve(filled, &field, header, context.inference.as_ref(), settings, timings, &mut |_| Ok(()))?;
    let pair = run.used.passes as u64 / 2;
    for (i, ((d, place), swallowed)) in drawn.iter().zip(&places).zip(swallowed).enumerate() {
        let Some(row) = place.and_then(|i| catalog.rows.get(i)) else { continue };
        run.injected.push(InjectedRow {
            source: pair * 1_000_000 + i as u64,
            turned,
            kind: d.kind,
            x: d.x,
            y: d.y,
            flux: d.flux,
            snr: d.snr,
            e: d.shapes[usize::from(turned)],
            extent: d.extent,
            detected: place.is_some_and(|i| i < found),
            swallowed,
            row: row.clone(),
        });
    }
    run.empty.extend(catalog.rows.iter().skip(first_empty).take(empty.len()).cloned());
    if run.own.is_empty() {
        let taken: std::collections::HashSet<usize> = places.iter().flatten().copied().collect();
        let own = catalog.rows.iter().take(found).enumerate().filter(|(i, _)| !taken.contains(i));
        run.own = own.map(|(_, row)| row.clone()).collect();
    }
    run.header = catalog.header;
    run.used.passes += 1;
    run.used.injected = run.injected.len();
    Ok(())
}
