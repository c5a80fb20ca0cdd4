//! The sheet: objects as observed | PSF | Tikhonov | network | residual.

use super::PictureError;
use super::axes::short;
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::{NIGHT, Rgb, SIGNED, asinh_stretch};
use crate::catalog::text::flag_names;
use crate::catalog::{CatalogRow, Flags};
use crate::image::Plane;
use crate::image::stats::median_and_sigma;

/// One object of the sheet. Planes as in the stamp file; those on the target grid are `factor` times finer.
#[derive(Debug, Clone, Copy)]
pub struct SheetObject<'a> {
    /// Its row of the catalogue.
    pub row: &'a CatalogRow,
    /// Observed stamp, (n, n).
    pub observed: &'a Plane,
    /// PSF on the target grid.
    pub psf: &'a Plane,
    /// Tikhonov estimate.
    pub tikhonov: &'a Plane,
    /// Final image.
    pub deconvolved: &'a Plane,
    /// Residual, (n, n).
    pub residual: &'a Plane,
    /// Noise per pixel of `observed`, in its unit.
    pub sigma: f64,
    /// Noise per pixel of `tikhonov`, in its unit.
    pub noise_sigma: f64,
    /// Object's 0-based position in `observed`.
    pub centre: (f64, f64),
}

/// What the sheet says beside the objects.
#[derive(Debug, Clone, Default)]
pub struct SheetTexts {
    /// Name of the exposure.
    pub exposure: String,
    /// One line below it: band, PSF, target.
    pub subtitle: String,
    /// Unit of the fluxes in the rows.
    pub flux_unit: String,
    /// Unit of the planes, per pixel.
    pub pixel_unit: String,
    /// Name of the network; empty: none ran.
    pub network: String,
    /// Detector pixel scale, arcsec; `None`: scale bars are in pixels.
    pub pixel_scale: Option<f64>,
    /// Target pixels per detector pixel.
    pub factor: usize,
}

/// Picks `count` rows that show what the catalogue is like: spread evenly in log SNR from the brightest to 5, sound rows preferred.
/// Returns indices, brightest first.
pub fn choose_objects(rows: &[CatalogRow], count: usize) -> Vec<usize> {
    let unsound =
        Flags::EDGE | Flags::TRUNCATED | Flags::SATURATED | Flags::FIT_FAILED | Flags::BAD_PIXELS | Flags::NEGATIVE;
    let usable = |i: &usize| rows.get(*i).is_some_and(|r| r.snr > 0.0 && r.snr.is_finite() && r.stamp_size.is_some());
    let mut all: Vec<usize> = (0..rows.len()).filter(usable).collect();
    let sound: Vec<usize> = all
        .iter()
        .copied()
        .filter(|i| rows.get(*i).is_some_and(|r| !r.flags.intersects(unsound) && r.snr >= 5.0))
        .collect();
    if sound.len() >= count {
        all = sound;
    }
    let snr = |i: usize| rows.get(i).map_or(0.0, |r| r.snr);
    all.sort_by(|a, b| snr(*b).total_cmp(&snr(*a)).then(a.cmp(b)));
    if all.len() <= count {
        return all;
    }
    let (Some(top), Some(bottom)) = (all.first().map(|i| snr(*i).ln()), all.last().map(|i| snr(*i).ln())) else {
        return all;
    };
    let mut picked: Vec<usize> = Vec::with_capacity(count);
    for k in 0..count {
        let wanted = top + (bottom - top) * k as f64 / (count.max(2) - 1) as f64;
        let distance = |i: usize| (snr(i).ln() - wanted).abs();
        let free = all.iter().copied().filter(|i| !picked.contains(i));
        if let Some(best) = free.min_by(|a, b| distance(*a).total_cmp(&distance(*b)).then(a.cmp(b))) {
            picked.push(best);
        }
    }
    picked.sort_by(|a, b| snr(*b).total_cmp(&snr(*a)).then(a.cmp(b)));
    picked
}

const PANEL: f64 = 190.0;
const GAP: f64 = 12.0;
const LEFT: f64 = 236.0;
const HEAD: f64 = 116.0;
const ROW: f64 = PANEL + 34.0;
const FOOT: f64 = 30.0;

/// Draws the sheet.
pub fn object_sheet(objects: &[SheetObject<'_>], texts: &SheetTexts) -> Result<Picture, PictureError> {
    let width = LEFT + 5.0 * (PANEL + GAP) + 12.0;
    let height = HEAD + ROW * objects.len().max(1) as f64 + FOOT;
    let mut canvas = Canvas::new(width as u32, height as u32)?;
    canvas.text((24.0, 30.0), &texts.exposure, Type::new(20.0, Rgb::INK).bold(), Anchor::Left)?;
    canvas.text((24.0, 56.0), &texts.subtitle, Type::new(13.5, Rgb::GREY), Anchor::Left)?;
    let last = if texts.network.is_empty() { "no network: as Tikhonov" } else { texts.network.as_str() };
    for (i, name) in ["observed", "PSF", "Tikhonov", last, "residual / noise"].into_iter().enumerate() {
        let x = LEFT + i as f64 * (PANEL + GAP) + 0.5 * PANEL;
        canvas.text((x, HEAD - 14.0), name, Type::new(14.5, Rgb::INK).bold(), Anchor::Centre)?;
    }
    // what is true of every row is said once
    let common = objects.iter().map(|o| o.row.flags).reduce(|a, b| a & b).filter(|_| objects.len() > 1);
    let common = common.unwrap_or_default();
    if !common.is_empty() {
        let words = format!("every object: {}", flag_names(common).replace(',', ", "));
        canvas.text((24.0, 76.0), &words, Type::new(11.0, Rgb::ORANGE), Anchor::Left)?;
    }
    if objects.is_empty() {
        canvas.text((LEFT, HEAD + 40.0), "no objects to show", Type::new(14.0, Rgb::GREY), Anchor::Left)?;
    }
    for (k, object) in objects.iter().enumerate() {
        let y = HEAD + k as f64 * ROW;
        describe(&mut canvas, y, object, common, texts)?;
        draw_row(&mut canvas, y, object, texts)?;
    }
    let unit = if texts.pixel_unit.is_empty() { String::new() } else { format!(", {} per pixel", texts.pixel_unit) };
    let note = format!(
        "Under each panel: values at the dark and the light end{unit}; asinh stretch, residual linear. Detector frame, first row at the bottom."
    );
    canvas.text((24.0, height - 18.0), &note, Type::new(11.5, Rgb::GREY), Anchor::Left)?;
    canvas.finish()
}

/// The words to the left of an object's panels.
fn describe(
    canvas: &mut Canvas,
    y: f64,
    object: &SheetObject<'_>,
    common: Flags,
    texts: &SheetTexts,
) -> Result<(), PictureError> {
    let row = object.row;
    let plain = Type::new(13.0, Rgb::INK);
    let grey = Type::new(12.0, Rgb::GREY);
    let angle = if texts.pixel_scale.is_some() { "\u{2033}" } else { " px" };
    let unit = &texts.flux_unit;
    let mut lines = vec![
        (format!("{}", row.id), Type::new(16.0, Rgb::INK).bold()),
        (format!("S/N {}", short(row.snr)), plain),
        (format!("flux {} \u{b1} {} {unit}", short(row.flux), short(row.flux_err)), plain),
    ];
    if row.mag.is_finite() {
        lines.push((format!("mag {:.2} \u{b1} {:.2}", row.mag, row.mag_err), plain));
    }
    lines.push((format!("x {:.1}, y {:.1}", row.x, row.y), grey));
    lines.push((format!("PSF FWHM {}{angle}", short(row.psf_fwhm)), grey));
    lines.push((format!("half-light radius {}{angle}", short(row.half_light_radius)), grey));
    lines.push((format!("\u{3bb} {}   \u{3c7}\u{b2}/\u{3bd} {:.2}", short(row.lambda), row.chi2_reduced), grey));
    let flags = flag_names(row.flags - common);
    let names: Vec<&str> = flags.split(',').filter(|n| !n.is_empty()).collect();
    let shown = 4;
    let warn = Type::new(10.5, Rgb::ORANGE);
    lines.extend(names.iter().take(shown).map(|n| ((*n).to_string(), warn)));
    if names.len() > shown {
        lines.push((format!("and {} more flags", names.len() - shown), warn));
    }
    canvas.lines((24.0, y), lines.iter().map(|(text, look)| (text.as_str(), *look)))?;
    Ok(())
}

/// Limits of an image panel: 1.5 sigma below zero to the brightest pixel of the part shown, at least 10 sigma so that noise stays dark.
pub(super) struct Limits {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) soft: f64,
}

pub(super) fn limits(view: &View<'_>, sigma: f64) -> Limits {
    let peak = view.values().fold(f64::NEG_INFINITY, f64::max);
    let sigma = if sigma.is_finite() && sigma > 0.0 { sigma } else { peak.abs() * 0.02 };
    Limits { low: -1.5 * sigma, high: peak.max(10.0 * sigma), soft: 3.0 * sigma }
}

/// A square part of a plane.
pub(super) struct View<'a> {
    pub(super) plane: &'a Plane,
    pub(super) column: isize,
    pub(super) row: isize,
    pub(super) side: usize,
}

impl View<'_> {
    pub(super) fn at(&self, column: usize, row: usize) -> f64 {
        let (c, r) = (self.column + column as isize, self.row + row as isize);
        if c < 0 || r < 0 {
            return f64::NAN;
        }
        self.plane.get((r as usize, c as usize)).map_or(f64::NAN, |v| f64::from(*v))
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.side).flat_map(move |r| (0..self.side).map(move |c| self.at(c, r))).filter(|v| v.is_finite())
    }
}

fn draw_row(canvas: &mut Canvas, y: f64, object: &SheetObject<'_>, texts: &SheetTexts) -> Result<(), PictureError> {
    let factor = texts.factor.max(1);
    let n = object.observed.nrows();
    // what is shown: the object and some sky, in detector pixels
    let radius = object.row.half_light_radius / texts.pixel_scale.unwrap_or(1.0);
    let radius = if radius.is_finite() { radius } else { 3.0 };
    let side = ((10.0 * radius) as usize).clamp(32, 96).min(n).max(1);
    let coarse = |plane| View {
        plane,
        column: object.centre.0.round() as isize - (side / 2) as isize,
        row: object.centre.1.round() as isize - (side / 2) as isize,
        side,
    };
    let start = (n * factor / 2) as isize - (side * factor / 2) as isize;
    let finer = |plane| View { plane, column: start, row: start, side: side * factor };

    let residual_noise = median_and_sigma(object.residual).map_or(1.0, |(_, s)| s);
    let sigma = if object.sigma > 0.0 { object.sigma } else { residual_noise };
    let views = [
        coarse(object.observed),
        finer(object.psf),
        finer(object.tikhonov),
        finer(object.deconvolved),
        coarse(object.residual),
    ];
    for (i, view) in views.iter().enumerate() {
        let x = LEFT + i as f64 * (PANEL + GAP);
        let (a, b) = ((x, y), (x + PANEL, y + PANEL));
        let cells = (view.side, view.side);
        let (left, right) = if i == 4 {
            canvas.cells(a, b, cells, |c, r| SIGNED.at(0.5 + view.at(c, r) / (10.0 * sigma)));
            ("\u{2212}5".to_string(), "+5".to_string())
        } else {
            let l = match i {
                0 => limits(view, sigma),
                1 => Limits { low: 0.0, soft: 0.03 * limits(view, 0.0).high, ..limits(view, 0.0) },
                // Tikhonov and network on one scale, so that they compare
                _ => {
                    let (t, d) = (limits(&views[2], object.noise_sigma), limits(&views[3], object.noise_sigma));
                    Limits { high: if texts.network.is_empty() { t.high } else { t.high.max(d.high) }, ..t }
                }
            };
            canvas.cells(a, b, cells, |c, r| {
                let v = view.at(c, r);
                if v.is_nan() { Rgb(60, 62, 66) } else { NIGHT.at(asinh_stretch(v, l.low, l.high, l.soft)) }
            });
            (short(l.low), short(l.high))
        };
        let small = Type::new(11.0, Rgb::GREY);
        canvas.text((x, y + PANEL + 10.0), &left, small, Anchor::Left)?;
        canvas.text((x + PANEL, y + PANEL + 10.0), &right, small, Anchor::Right)?;
        if i == 0 {
            scale_bar(canvas, (x, y), side, texts.pixel_scale)?;
        }
    }
    Ok(())
}

/// A bar of a round length in the lower left corner of a panel that shows `side` detector pixels.
fn scale_bar(
    canvas: &mut Canvas,
    (x, y): (f64, f64),
    side: usize,
    pixel_scale: Option<f64>,
) -> Result<(), PictureError> {
    let scale = pixel_scale.unwrap_or(1.0);
    let across = side as f64 * scale;
    let lengths = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];
    let length = lengths.into_iter().filter(|l| *l <= 0.35 * across).fold(0.1, f64::max);
    let pixels = length / across * PANEL;
    let base = y + PANEL - 12.0;
    canvas.path(&[(x + 12.0, base), (x + 12.0 + pixels, base)], Rgb::WHITE, 2.0)?;
    let label = match pixel_scale {
        Some(_) => format!("{length}\u{2033}"),
        None => format!("{length} px"),
    };
    canvas.text((x + 12.0 + 0.5 * pixels, base - 4.0), &label, Type::new(11.5, Rgb::WHITE), Anchor::Bottom)
}
