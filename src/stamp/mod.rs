//! Cut-outs: one per object, neighbours and bad pixels dealt with, ready for deconvolution.
//!
//! A stamp is 64 or 128 detector pixels wide: the smaller one if the object's reach (the larger of its isophote's extent and
//! [`StampSettings::reach_radii`] half-light radii, from its centre) and a margin fit on either side of the centre, else the larger one;
//! what does not fit that either is cut all the same and flagged `TRUNCATED`.
//!
//! Every pixel of the stamp is finite. Pixels that are masked, missing or outside the image, and pixels that belong to another object, are filled
//! in so that a transform can be taken, and carry no weight in any fit.

mod inpaint;
mod neighbours;
mod weights;

use crate::catalog::Flags;
use crate::detect::{Detection, Detections};
use crate::failure::{Classify, FailureKind};
use crate::image::{MaskPlane, PixelBox, Plane, mask};

/// What cutting sees of an exposure. All planes have the same shape (rows, columns).
#[derive(Debug, Clone, Copy)]
pub struct StampInput<'a> {
    /// Background-subtracted image, image units.
    pub image: &'a Plane,
    /// Bits of [`crate::image::mask`].
    pub mask: &'a MaskPlane,
    /// Standard deviation of the sky noise per pixel, image units.
    pub sky_rms: &'a Plane,
    /// Electrons per image unit, if known; without it the weights hold the sky's noise only.
    pub gain: Option<f64>,
    /// Sources found in the image.
    pub detections: &'a Detections,
}

/// What is put in the place of a neighbour's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourFill {
    /// The object's own light on the opposite side of its centre where that can be used, else the sky.
    Opposite,
    /// The sky, 0.
    Sky,
}

/// Settings of cutting (`[stamp]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StampSettings {
    /// Side of the stamp of a small object, detector pixels; even.
    pub small: usize,
    /// Side of the stamp of a large object, detector pixels; even.
    pub large: usize,
    /// Half-light radii that a stamp must hold around the object's centre.
    pub reach_radii: f64,
    /// Pixels that must remain between the object's reach and the stamp's side, for the taper and the sky.
    pub margin: f64,
    /// Pixels by which a neighbour's isophote is grown before it is masked.
    pub grow: usize,
    /// What is put in the place of a neighbour's pixels.
    pub neighbour_fill: NeighbourFill,
    /// Length over which the filling of missing pixels falls back to the sky, detector pixels.
    pub fill_length: f64,
}

impl Default for StampSettings {
    fn default() -> Self {
        Self {
            small: 64,
            large: 128,
            reach_radii: 3.0,
            margin: 6.0,
            grow: 1,
            neighbour_fill: NeighbourFill::Opposite,
            fill_length: 4.0,
        }
    }
}

/// Why no stamp could be cut.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum StampError {
    /// An index beyond the list of sources.
    #[error("no source {index}: the exposure has {count}")]
    NoSuchSource {
        /// Index asked for.
        index: usize,
        /// Number of sources.
        count: usize,
    },
    /// The planes do not belong together.
    #[error("{plane} plane has shape {got:?}, the image {expected:?}")]
    Shape {
        /// Which plane.
        plane: &'static str,
        /// Its (rows, columns).
        got: (usize, usize),
        /// The image's (rows, columns).
        expected: (usize, usize),
    },
    /// The settings ask for an impossible stamp.
    #[error(
        "stamps of {small} and {large} pixels: both must be even, at least 8, and the first not the larger; set stamp.small and stamp.large"
    )]
    Size {
        /// Side of the small stamp.
        small: usize,
        /// Side of the large stamp.
        large: usize,
    },
    /// The object's position cannot be used.
    #[error("object {id} lies at ({x}, {y}), outside the image of {nx} x {ny} pixels")]
    Outside {
        /// Identifier of the object.
        id: i64,
        /// Column, 0-based.
        x: f64,
        /// Row, 0-based.
        y: f64,
        /// Columns of the image.
        nx: usize,
        /// Rows of the image.
        ny: usize,
    },
    /// Every pixel is masked or missing.
    #[error("object {id}: every pixel of its stamp is masked or missing")]
    NoPixels {
        /// Identifier of the object.
        id: i64,
    },
}

impl Classify for StampError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::NoSuchSource { .. } | Self::Shape { .. } => FailureKind::Bug,
            Self::Size { .. } | Self::Outside { .. } | Self::NoPixels { .. } => FailureKind::BadInput,
        }
    }
}

/// One object's square cut-out on the detector's grid, sky and neighbours subtracted.
/// All planes are (n, n), axes (row = y, column = x); pixels are never interpolated or shifted.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Index into the exposure's sources.
    pub source: usize,
    /// Where it was cut.
    pub bounds: PixelBox,
    /// Observed pixels, image units: sky and neighbours subtracted, unusable pixels in-painted (so that a Fourier transform can be taken).
    pub observed: Plane,
    /// 1 / model variance (sky noise + smoothed source), image units^-2; 0 where the pixel is unusable or outside the image.
    pub weight: Plane,
    /// White-noise standard deviation per pixel of the sky in the stamp, image units.
    pub sigma: f64,
    /// Object's 0-based position in stamp pixels: column, row.
    pub centre: (f64, f64),
    /// How far the object reaches from its centre, detector pixels.
    pub reach: f64,
    /// Share of pixels with zero weight within the object's footprint.
    pub bad_fraction: f64,
    /// Highest pixel of other objects' light that was taken off, image units; `None` where nothing was known of it.
    pub others: Option<f64>,
    /// What cutting has to say: EDGE, BAD_PIXELS, NEIGHBOUR, TRUNCATED ...
    pub flags: Flags,
}

/// What a pixel of a stamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixel {
    /// Sky or the object itself.
    Good,
    /// Belongs to another object.
    Neighbour,
    /// Masked, missing, or outside the image.
    Missing,
}

/// Side of the stamp for an object of this reach (pixels from the centre), and whether even the larger one is too small.
pub fn stamp_size(reach: f64, settings: &StampSettings) -> (usize, bool) {
    let needed = 2.0 * (reach + settings.margin);
    if needed <= settings.small as f64 {
        (settings.small, false)
    } else {
        (settings.large, needed > settings.large as f64)
    }
}

/// How far the object reaches from its centre, pixels.
fn reach(source: &Detection, settings: &StampSettings) -> f64 {
    let (x0, x1, y0, y1) = source.extent;
    let far = |c: f64, lo: usize, hi: usize| (c - lo as f64).abs().max((hi as f64 - c).abs());
    let isophote = far(source.x, x0, x1).max(far(source.y, y0, y1));
    let light = settings.reach_radii * source.half_light_radius;
    // A radius that could not be measured is NaN, and is ignored by max.
    isophote.max(light)
}

/// Side of the stamp that [`cut`] gives a source, detector pixels.
pub fn side_for(source: &Detection, settings: &StampSettings) -> usize {
    stamp_size(reach(source, settings), settings).0
}

/// Where the stamp of a source is cut, and the source's 0-based position in it: column, row.
pub fn frame(source: &Detection, settings: &StampSettings) -> (PixelBox, (f64, f64)) {
    let bounds = PixelBox::centred(source.x, source.y, side_for(source, settings));
    (bounds, (source.x - bounds.x0 as f64, source.y - bounds.y0 as f64))
}

/// Cuts the stamp of one source; pure, and callable from many threads at once.
pub fn cut(input: &StampInput, index: usize, settings: &StampSettings) -> Result<Stamp, StampError> {
    cut_apart(input, index, settings, None)
}

/// What is known of the light of all objects.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Light of all objects as the detector shows it, without sky; the image's shape.
    pub all: &'a Plane,
    /// This object's part of it, in the frame of its stamp; `None` where it has none.
    pub own: Option<&'a Plane>,
}

/// As [`cut`], with the light of the other objects taken off. Pixels of their isophotes are left out all the same: a model is never
/// right to the noise of another object's centre.
pub fn cut_apart(
    input: &StampInput,
    index: usize,
    settings: &StampSettings,
    scene: Option<Scene>,
) -> Result<Stamp, StampError> {
    let source = check(input, index, settings)?;
    let (ny, nx) = input.image.dim();
    let reach = reach(source, settings);
    let (n, truncated) = stamp_size(reach, settings);
    let bounds = PixelBox::centred(source.x, source.y, n);
    let centre = (source.x - bounds.x0 as f64, source.y - bounds.y0 as f64);
    let mut flags = source.flags;
    flags.set(Flags::TRUNCATED, truncated);

    let mut observed = Plane::zeros((n, n));
    let mut sky = Plane::zeros((n, n));
    let mut labels = ndarray::Array2::<i32>::zeros((n, n));
    let mut bits = MaskPlane::from_elem((n, n), mask::NO_DATA);
    let Some((x0, x1, y0, y1)) = bounds.clip(nx, ny) else {
        return Err(StampError::NoPixels { id: source.id });
    };
    flags.set(Flags::EDGE, flags.contains(Flags::EDGE) || x1 - x0 < n || y1 - y0 < n);
    let within = ndarray::s![y0..y1, x0..x1];
    let (r, c) = ((y0 as isize - bounds.y0) as usize, (x0 as isize - bounds.x0) as usize);
    let inside = ndarray::s![r..r + (y1 - y0), c..c + (x1 - x0)];
    observed.slice_mut(inside).assign(&input.image.slice(within));
    sky.slice_mut(inside).assign(&input.sky_rms.slice(within));
    labels.slice_mut(inside).assign(&input.detections.segmentation.slice(within));
    bits.slice_mut(inside).assign(&input.mask.slice(within));

    let mut others = None;
    if let Some(scene) = scene {
        let mut light = Plane::zeros((n, n));
        light.slice_mut(inside).assign(&scene.all.slice(within));
        if let Some(own) = scene.own {
            if own.dim() != (n, n) {
                return Err(StampError::Shape { plane: "model", got: own.dim(), expected: (n, n) });
            }
            let mut part = light.slice_mut(inside);
            part -= &own.slice(inside);
        }
        observed -= &light;
        others = Some(light);
    }

    let own = index as i32 + 1;
    let mut pixels = ndarray::Array2::from_elem((n, n), Pixel::Good);
    for (((pixel, bit), rms), value) in pixels.iter_mut().zip(&bits).zip(&sky).zip(&mut observed) {
        if bit & mask::UNUSABLE != 0 || !value.is_finite() || !rms.is_finite() || *rms <= 0.0 {
            *pixel = Pixel::Missing;
            *value = 0.0;
        }
    }
    let sigma = sky_level(&sky, &pixels).ok_or(StampError::NoPixels { id: source.id })?;

    let found = neighbours::mark(&mut pixels, &labels, own, settings.grow);
    flags.set(Flags::NEIGHBOUR, flags.contains(Flags::NEIGHBOUR) || found.any);
    flags.set(Flags::BLENDED, flags.contains(Flags::BLENDED) || found.touching);

    let footprint = footprint(source, &labels, own, centre);
    let (mut area, mut bad, mut masked) = (0usize, 0usize, false);
    for (((_, pixel), bit), _) in pixels.indexed_iter().zip(&bits).zip(&footprint).filter(|(_, f)| **f) {
        area += 1;
        bad += usize::from(*pixel != Pixel::Good);
        masked |= *pixel == Pixel::Missing;
        if bit & mask::SATURATED != 0 {
            flags |= Flags::SATURATED;
        }
    }
    flags.set(Flags::BAD_PIXELS, flags.contains(Flags::BAD_PIXELS) || masked);

    let template = inpaint::Opposite { centre, reach: reach + settings.margin };
    let neighbour_template = match settings.neighbour_fill {
        NeighbourFill::Opposite => template,
        NeighbourFill::Sky => inpaint::Opposite { centre, reach: -1.0 },
    };
    inpaint::fill_neighbours(&mut observed, &pixels, &neighbour_template);
    inpaint::fill_missing(&mut observed, &pixels, &template, settings.fill_length);
    let weight = weights::model_weights(&observed, others.as_ref(), &sky, &pixels, input.gain);
    Ok(Stamp {
        source: index,
        bounds,
        observed,
        weight,
        sigma,
        centre,
        reach,
        others: others.map(|light| light.iter().fold(0.0f32, |m, v| m.max(v.abs())).into()),
        bad_fraction: bad as f64 / area.max(1) as f64,
        flags,
    })
}

fn check<'a>(input: &StampInput<'a>, index: usize, settings: &StampSettings) -> Result<&'a Detection, StampError> {
    let expected = input.image.dim();
    let planes = [
        ("mask", input.mask.dim()),
        ("sky rms", input.sky_rms.dim()),
        ("segmentation", input.detections.segmentation.dim()),
    ];
    if let Some((plane, got)) = planes.into_iter().find(|(_, got)| *got != expected) {
        return Err(StampError::Shape { plane, got, expected });
    }
    let (small, large) = (settings.small, settings.large);
    if small < 8 || small % 2 == 1 || large % 2 == 1 || small > large {
        return Err(StampError::Size { small, large });
    }
    let sources = &input.detections.sources;
    let source = sources.get(index).ok_or(StampError::NoSuchSource { index, count: sources.len() })?;
    let (ny, nx) = expected;
    let inside = |v: f64, n: usize| v >= -0.5 && v < n as f64 - 0.5;
    if !inside(source.x, nx) || !inside(source.y, ny) {
        return Err(StampError::Outside { id: source.id, x: source.x, y: source.y, nx, ny });
    }
    Ok(source)
}

/// Median of the sky noise over the pixels that are not missing.
fn sky_level(sky: &Plane, pixels: &ndarray::Array2<Pixel>) -> Option<f64> {
    let mut values: Vec<f32> = sky.iter().zip(pixels).filter(|(_, p)| **p != Pixel::Missing).map(|(v, _)| *v).collect();
    crate::image::stats::median_in_place(&mut values)
}

/// Pixels in which the object's light lies: its own isophote, and the ellipse of 3 RMS extents, which also holds masked pixels.
fn footprint(source: &Detection, labels: &ndarray::Array2<i32>, own: i32, centre: (f64, f64)) -> ndarray::Array2<bool> {
    let (sin, cos) = source.theta.sin_cos();
    let size = |v: f64| 3.0 * if v.is_finite() { v.max(0.5) } else { 0.5 };
    let (a, b) = (size(source.a), size(source.b));
    ndarray::Array2::from_shape_fn(labels.dim(), |(y, x)| {
        let (dx, dy) = (x as f64 - centre.0, y as f64 - centre.1);
        let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
        labels[(y, x)] == own || (u / a).powi(2) + (v / b).powi(2) <= 1.0
    })
}
