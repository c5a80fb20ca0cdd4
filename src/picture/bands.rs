//! Objects in several bands: a row of panels each, and three bands as one colour picture.

use super::PictureError;
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::{NIGHT, Rgb, asinh_stretch};
use crate::image::Plane;
use crate::image::stats::median_and_sigma;

/// One object.
#[derive(Debug, Clone)]
pub struct BandRow<'a> {
    /// What is written beside it.
    pub label: String,
    /// Its image in each band; `None` where there is none.
    pub images: Vec<Option<&'a Plane>>,
}

/// Side of a panel, logical pixels.
const PANEL: f64 = 110.0;
const GAP: f64 = 4.0;
const HEAD: f64 = 24.0;

/// A sheet of objects (rows) in `bands` (columns); where there are three bands or more, a last column shows the reddest, the middle and the bluest
/// (the bands being in order of wavelength) as red, green and blue.
pub fn band_sheet(rows: &[BandRow<'_>], bands: &[String]) -> Result<Picture, PictureError> {
    let colour = bands.len() >= 3;
    let panels = bands.len() + usize::from(colour);
    let width = panels as f64 * (PANEL + GAP) + GAP;
    let height = HEAD + rows.len() as f64 * (PANEL + HEAD + GAP);
    let mut canvas = Canvas::new(width.ceil() as u32, height.ceil() as u32)?;
    let look = Type::new(11.0, Rgb::GREY);
    let left = |panel: usize| GAP + panel as f64 * (PANEL + GAP);
    for (i, band) in bands.iter().map(String::as_str).chain(colour.then_some("together")).enumerate() {
        canvas.text((left(i) + 0.5 * PANEL, 0.5 * HEAD), band, look, Anchor::Centre)?;
    }
    for (r, row) in rows.iter().enumerate() {
        let top = HEAD + r as f64 * (PANEL + HEAD + GAP);
        canvas.text((GAP, top + 0.5 * HEAD), &row.label, look, Anchor::Left)?;
        let (y0, y1) = (top + HEAD, top + HEAD + PANEL);
        let scales: Vec<Option<(f64, f64)>> = row.images.iter().map(|i| i.and_then(limits)).collect();
        for (b, (image, scale)) in row.images.iter().zip(&scales).enumerate() {
            let corners = ((left(b), y0), (left(b) + PANEL, y1));
            let (Some(image), Some((soft, high))) = (image, scale) else {
                canvas.fill(corners.0, corners.1, Rgb(205, 208, 212))?;
                continue;
            };
            canvas.cells(corners.0, corners.1, (image.ncols(), image.nrows()), |c, r| {
                NIGHT.at(asinh_stretch(value(image, c, r), -soft, *high, *soft))
            });
        }
        let pick = [row.images.len().saturating_sub(1), row.images.len() / 2, 0];
        if colour && pick.iter().all(|b| scales.get(*b).is_some_and(Option::is_some)) {
            let chosen: Vec<(&Plane, f64, f64)> = pick
                .iter()
                .filter_map(|b| Some((row.images.get(*b).copied().flatten()?, scales.get(*b).copied().flatten()?)))
                .map(|(p, (soft, high))| (p, soft, high))
                .collect();
            // one scale for all three, so that colours are colours
            let high = chosen.iter().map(|c| c.2).fold(0.0, f64::max);
            let soft = chosen.iter().map(|c| c.1).fold(0.0, f64::max);
            if let Some((first, ..)) = chosen.first() {
                let corners = ((left(panels - 1), y0), (left(panels - 1) + PANEL, y1));
                canvas.cells(corners.0, corners.1, (first.ncols(), first.nrows()), |c, r| {
                    let part = |i: usize| {
                        let v = chosen.get(i).map_or(0.0, |p| value(p.0, c, r));
                        (255.0 * asinh_stretch(v, -soft, high, soft).clamp(0.0, 1.0)).round() as u8
                    };
                    Rgb(part(0), part(1), part(2))
                });
            }
        }
    }
    canvas.finish()
}

fn value(image: &Plane, column: usize, row: usize) -> f64 {
    image.get((row, column)).map_or(f64::NAN, |v| f64::from(*v))
}

/// Where the scale turns from linear to logarithmic, and its upper end.
fn limits(image: &Plane) -> Option<(f64, f64)> {
    let high = f64::from(image.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let (_, sigma) = median_and_sigma(image)?;
    (high.is_finite() && high > 0.0).then(|| (sigma.max(1e-3 * high), high))
}
