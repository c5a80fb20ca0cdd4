//! Sources at the positions of a survey's catalogue.

use std::collections::HashMap;

use super::find::Prepared;
use super::measure;
use super::sep::{Ellipse, RawObject};
use super::{DetectError, DetectSettings, Detection, Detections};
use crate::catalog::Flags;
use crate::image::{MaskPlane, Plane};

/// A position from a survey's catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CatalogPosition {
    /// The survey's identifier.
    pub id: i64,
    /// Column, 0-based.
    pub x: f64,
    /// Row, 0-based.
    pub y: f64,
}

/// Sources at given positions.
#[derive(Debug, Clone)]
pub struct CatalogDetections {
    /// One source per position in the image, in the catalogue's order, with its identifier and position.
    /// In the segmentation, pixels of objects that are in the image but not in the catalogue are -1.
    pub detections: Detections,
    /// Positions outside the image, or not finite: nothing can be measured there.
    pub outside: Vec<CatalogPosition>,
    /// Objects found in the image that no position was matched to.
    pub uncatalogued: usize,
    /// Positions at which nothing was found above the threshold (their `npix` is 0).
    pub unseen: usize,
}

/// Measures sources at given positions: a detection run lends shapes and pixels to the positions that lie on, or within
/// `match_radius` of, an object; the rest get a round aperture of `default_extent`. Positions are kept as given.
/// Where several positions share one object its pixels go to the nearest of them, and all are flagged BLENDED.
pub fn from_catalog(
    positions: &[CatalogPosition],
    subtracted: &Plane,
    rms: &Plane,
    mask: &MaskPlane,
    settings: &DetectSettings,
) -> Result<CatalogDetections, DetectError> {
    let prepared = Prepared::new(subtracted, rms, mask, settings)?;
    let shape = prepared.shape;
    let objects = prepared.extract(settings)?;
    let found = super::find::label(&objects, shape);
    let found_flat = found.as_slice().unwrap_or(&[]);
    let (inside, outside): (Vec<CatalogPosition>, Vec<CatalogPosition>) =
        positions.iter().copied().partition(|p| measure::label_at(found_flat, shape, p.x, p.y).is_some());

    let owner: Vec<Option<usize>> =
        inside.iter().map(|p| object_of(p, &objects, found_flat, shape, settings.match_radius)).collect();
    let mut claims: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, o) in owner.iter().enumerate() {
        if let Some(o) = o {
            claims.entry(*o).or_default().push(i);
        }
    }
    let mut segmentation = ndarray::Array2::<i32>::zeros(shape);
    let mut pixels: Vec<Vec<usize>> = vec![Vec::new(); inside.len()];
    for (o, object) in objects.iter().enumerate() {
        for &p in &object.pixels {
            let (row, column) = (p / shape.1, p % shape.1);
            let nearest = claims.get(&o).and_then(|c| nearest_claim(c, &inside, column as f64, row as f64));
            if let Some(i) = nearest {
                pixels[i].push(p);
            }
            if let Some(slot) = segmentation.get_mut((row, column)) {
                *slot = nearest.map_or(-1, |i| i as i32 + 1);
            }
        }
    }
    // SEP leaves out pixels with a positive label of another source; uncatalogued objects must count as such.
    let for_sep: Vec<i32> = segmentation.iter().map(|&l| if l < 0 { i32::MAX } else { l }).collect();
    let image = prepared.image()?.with_labels(&for_sep)?;

    let mut sources = Vec::with_capacity(inside.len());
    for (i, position) in inside.iter().enumerate() {
        let object = owner[i].and_then(|o| objects.get(o));
        let ellipse = match object {
            Some(object) => Ellipse { x: position.x, y: position.y, ..measure::safe_ellipse(object) },
            None => {
                let extent = settings.default_extent;
                Ellipse { x: position.x, y: position.y, a: extent, b: extent, theta: 0.0 }
            }
        };
        let m = measure::measure_at(&image, &ellipse, i as i32 + 1, settings)?;
        let here = position.y.round() as usize * shape.1 + position.x.round() as usize;
        let own: &[usize] = if pixels[i].is_empty() { &[here] } else { &pixels[i] };
        let mut flags = measure::mask_flags(mask, own, shape) | m.flags;
        if let Some((o, object)) = owner[i].zip(object) {
            flags.set(
                Flags::BLENDED,
                object.flag & super::sep::OBJ_MERGED != 0 || claims.get(&o).is_some_and(|c| c.len() > 1),
            );
            if object.flag & super::sep::OBJ_TRUNC != 0 {
                flags |= Flags::EDGE;
            }
        }
        sources.push(Detection {
            id: position.id,
            x: position.x,
            y: position.y,
            flux: m.flux,
            flux_err: m.flux_err,
            peak: own.iter().filter_map(|&p| prepared.data.get(p)).copied().fold(f32::NEG_INFINITY, f32::max).into(),
            a: m.a,
            b: m.b,
            theta: m.theta,
            half_light_radius: m.half_light_radius,
            npix: pixels[i].len(),
            extent: extent(own, shape.1),
            flags,
        });
    }
    Ok(CatalogDetections {
        unseen: sources.iter().filter(|s| s.npix == 0).count(),
        detections: Detections { sources, segmentation },
        outside,
        uncatalogued: (0..objects.len()).filter(|o| !claims.contains_key(o)).count(),
    })
}

/// The object a position lies on, else the nearest within `radius` of it.
fn object_of(
    p: &CatalogPosition,
    objects: &[RawObject],
    labels: &[i32],
    shape: (usize, usize),
    radius: f64,
) -> Option<usize> {
    match measure::label_at(labels, shape, p.x, p.y) {
        Some(label) if label > 0 => Some(label as usize - 1),
        _ => {
            let distance = |o: &RawObject| (o.x - p.x).hypot(o.y - p.y);
            let (index, nearest) =
                objects.iter().enumerate().min_by(|(_, l), (_, r)| distance(l).total_cmp(&distance(r)))?;
            (distance(nearest) <= radius).then_some(index)
        }
    }
}

fn nearest_claim(claims: &[usize], positions: &[CatalogPosition], x: f64, y: f64) -> Option<usize> {
    let distance = |i: usize| positions.get(i).map_or(f64::INFINITY, |p| (p.x - x).hypot(p.y - y));
    claims.iter().copied().min_by(|l, r| distance(*l).total_cmp(&distance(*r)))
}

fn extent(pixels: &[usize], nx: usize) -> (usize, usize, usize, usize) {
    pixels.iter().fold((usize::MAX, 0, usize::MAX, 0), |(x0, x1, y0, y1), &p| {
        let (row, column) = (p / nx, p % nx);
        (x0.min(column), x1.max(column), y0.min(row), y1.max(row))
    })
}
