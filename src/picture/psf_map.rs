//! The PSF over the field: size as colour, ellipticity as whiskers, and what the stars say of the model.

use super::PictureError;
use super::axes::{Axis, LABEL, NOTE, Plot, TICK, TITLE, number, short};
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::{FIELD, Rgb};

/// The model at a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PsfPoint {
    /// Column, 0-based pixels.
    pub x: f64,
    /// Row, 0-based pixels.
    pub y: f64,
    /// FWHM, detector pixels.
    pub fwhm: f64,
    /// Ellipticity along the pixel axes.
    pub e1: f64,
    /// Ellipticity along the diagonals.
    pub e2: f64,
}

/// What became of a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StarStatus {
    /// The model was fitted to it.
    Used,
    /// Kept out of the fit to test the model.
    Reserved,
    /// Left out.
    Rejected,
}

/// A star with the model at its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StarPoint {
    /// As measured on the star.
    pub measured: PsfPoint,
    /// As measured on the model in the same way.
    pub model: PsfPoint,
    /// Magnitude (instrumental where no zero point is known).
    pub mag: f64,
    /// What became of it.
    pub status: StarStatus,
}

/// What the map shows.
#[derive(Debug, Clone, Default)]
pub struct PsfMap {
    /// Name of the exposure.
    pub exposure: String,
    /// One line below it: order, stars, quality.
    pub subtitle: String,
    /// Image columns.
    pub columns: usize,
    /// Image rows.
    pub rows: usize,
    /// Detector pixel scale, arcsec.
    pub pixel_scale: Option<f64>,
    /// Whether `mag` of the stars is calibrated.
    pub calibrated: bool,
    /// The model on a regular grid, row after row from the first; `grid_columns` points a row.
    pub grid: Vec<PsfPoint>,
    /// Points in a row of the grid.
    pub grid_columns: usize,
    /// The stars.
    pub stars: Vec<StarPoint>,
}

const MAP: f64 = 560.0;

/// Draws the map.
pub fn psf_map(map: &PsfMap) -> Result<Picture, PictureError> {
    let (nx, ny) = (map.columns.max(1) as f64, map.rows.max(1) as f64);
    let (wide, high) = if nx >= ny { (MAP, (MAP * ny / nx).max(180.0)) } else { ((MAP * nx / ny).max(180.0), MAP) };
    let (left, top) = (86.0, 92.0);
    let side = left + wide + 196.0;
    let tall = high.max(470.0);
    let small = 0.5 * (tall - 86.0);
    let mut canvas = Canvas::new((side + 372.0) as u32, (top + tall + 100.0) as u32)?;
    canvas.text((24.0, 28.0), &map.exposure, TITLE, Anchor::Left)?;
    canvas.text((24.0, 54.0), &map.subtitle, Type::new(13.5, Rgb::GREY), Anchor::Left)?;
    let plot = Plot {
        corner: (left, top),
        size: (wide, high),
        x: Axis::linear(0.5, nx + 0.5, "x (FITS pixels)"),
        y: Axis::linear(0.5, ny + 0.5, "y (FITS pixels)"),
    };
    field(&mut canvas, &plot, map)?;
    let mag = if map.calibrated { "magnitude (AB)" } else { "instrumental magnitude" };
    size_residuals(&mut canvas, (side, top), (330.0, small), map, mag)?;
    shape_residuals(&mut canvas, (side, top + small + 86.0), (330.0, small), map)?;
    canvas.finish()
}

/// The coloured field with whiskers, its colour bar, whisker scale and legend.
fn field(canvas: &mut Canvas, plot: &Plot, map: &PsfMap) -> Result<(), PictureError> {
    let scale = map.pixel_scale.unwrap_or(1.0);
    let unit = if map.pixel_scale.is_some() { "\u{2033}" } else { " px" };
    let values: Vec<f64> = map.grid.iter().map(|p| p.fwhm * scale).filter(|v| v.is_finite()).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // a field without variation is not blown up into colours
    let middle = if values.is_empty() { 1.0 } else { 0.5 * (low + high) };
    let half = (0.5 * (high - low)).max(0.005 * middle);
    let half = if half.is_finite() { half } else { 1.0 };
    let (low, high) = (middle - half, middle + half);

    let columns = map.grid_columns.max(1);
    let rows = map.grid.len() / columns;
    let (a, b) = (plot.corner, (plot.corner.0 + plot.size.0, plot.corner.1 + plot.size.1));
    if rows > 0 {
        // bilinear between the grid's points: the model is smooth
        const CELLS: usize = 140;
        canvas.cells(a, b, (CELLS, CELLS), |c, r| {
            let at = |v: usize, n: usize| ((v as f64 + 0.5) / CELLS as f64 * n as f64 - 0.5).clamp(0.0, n as f64 - 1.0);
            let (gx, gy) = (at(c, columns), at(r, rows));
            let (i, j) = (gx as usize, gy as usize);
            let (fx, fy) = (gx - i as f64, gy - j as f64);
            let value = |i: usize, j: usize| {
                map.grid.get(j.min(rows - 1) * columns + i.min(columns - 1)).map_or(f64::NAN, |p| p.fwhm * scale)
            };
            let lower = value(i, j) * (1.0 - fx) + value(i + 1, j) * fx;
            let upper = value(i, j + 1) * (1.0 - fx) + value(i + 1, j + 1) * fx;
            FIELD.at((lower * (1.0 - fy) + upper * fy - low) / (high - low))
        });
    }

    // whiskers: a typical one is 40 % of the distance between grid points
    let mut sizes: Vec<f64> = map.grid.iter().map(|p| p.e1.hypot(p.e2)).filter(|e| e.is_finite()).collect();
    sizes.sort_by(f64::total_cmp);
    let typical = sizes.get(sizes.len() * 9 / 10).copied().unwrap_or(0.0).max(0.01);
    let length = 0.62 * plot.size.0 / columns as f64 / typical;
    for p in &map.grid {
        whisker(canvas, plot, p, length, Rgb::GREY, 2.2)?;
    }
    // of the stars only the brightest third get whiskers: those of faint ones show noise
    let mut mags: Vec<f64> = compared(map).map(|s| s.mag).filter(|m| m.is_finite()).collect();
    mags.sort_by(f64::total_cmp);
    let bright = mags.get(mags.len() / 3).copied().unwrap_or(f64::INFINITY);
    for star in &map.stars {
        let p = &star.measured;
        let at = plot.at(p.x + 1.0, p.y + 1.0);
        if !plot.holds(p.x + 1.0, p.y + 1.0) {
            continue;
        }
        match star.status {
            StarStatus::Used => canvas.ring(at, 4.0, Rgb::INK, 1.0)?,
            StarStatus::Reserved => canvas.diamond(at, 4.5, Rgb::ORANGE)?,
            StarStatus::Rejected => canvas.cross(at, 3.0, Rgb(90, 20, 30), 1.0)?,
        }
        if star.status != StarStatus::Rejected && star.mag <= bright {
            let colour = if star.status == StarStatus::Reserved { Rgb(150, 62, 0) } else { Rgb::INK };
            whisker(canvas, plot, p, length, colour, 1.3)?;
        }
    }
    plot.axes(canvas)?;

    // colour bar
    let x = b.0 + 22.0;
    let bar = Plot {
        corner: (x, a.1),
        size: (16.0, plot.size.1),
        x: Axis::linear(0.0, 1.0, ""),
        y: Axis::linear(low, high, ""),
    };
    canvas.cells((x, a.1), (x + 16.0, b.1), (1, 200), |_, r| FIELD.at(r as f64 / 199.0));
    canvas.frame((x, a.1), (x + 16.0, b.1), Rgb::INK, 1.0)?;
    for (value, label) in bar.y.ticks(plot.size.1 / 60.0).into_iter().filter(|t| !t.1.is_empty()) {
        let level = bar.at(0.5, value).1;
        canvas.path(&[(x + 16.0, level), (x + 20.0, level)], Rgb::INK, 1.0)?;
        canvas.text((x + 25.0, level), &format!("{label}{unit}"), TICK, Anchor::Left)?;
    }
    canvas.text((x + 8.0, a.1 - 8.0), "FWHM", LABEL, Anchor::Bottom)?;

    // whisker scale and legend, below the map
    let mut at = (a.0, b.1 + 62.0);
    let shown = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005].into_iter().find(|e| *e <= typical * 1.3).unwrap_or(0.01);
    canvas.path(&[at, (at.0 + shown * length, at.1)], Rgb::GREY, 2.2)?;
    at.0 += shown * length + 8.0;
    canvas.text(at, &format!("model, ellipticity {shown}"), NOTE, Anchor::Left)?;
    at.0 += 170.0;
    for (status, name) in
        [(StarStatus::Used, "used"), (StarStatus::Reserved, "reserved"), (StarStatus::Rejected, "rejected")]
    {
        match status {
            StarStatus::Used => canvas.ring(at, 4.0, Rgb::INK, 1.0)?,
            StarStatus::Reserved => canvas.diamond(at, 4.5, Rgb::ORANGE)?,
            StarStatus::Rejected => canvas.cross(at, 3.0, Rgb(90, 20, 30), 1.0)?,
        }
        let count = map.stars.iter().filter(|s| s.status == status).count();
        canvas.text((at.0 + 10.0, at.1), &format!("{name} ({count})"), NOTE, Anchor::Left)?;
        at.0 += 112.0;
    }
    canvas.text(
        (plot.corner.0, b.1 + 82.0),
        "thin whiskers: measured, brightest third of the stars",
        NOTE,
        Anchor::Left,
    )
}

/// A headless arrow along the major axis, its length proportional to the ellipticity.
fn whisker(
    canvas: &mut Canvas,
    plot: &Plot,
    p: &PsfPoint,
    length: f64,
    colour: Rgb,
    width: f64,
) -> Result<(), PictureError> {
    let e = p.e1.hypot(p.e2);
    if !e.is_finite() {
        return Ok(());
    }
    let angle = 0.5 * p.e2.atan2(p.e1);
    let (dx, dy) = (0.5 * length * e * angle.cos(), 0.5 * length * e * angle.sin());
    let (x, y) = plot.at(p.x + 1.0, p.y + 1.0);
    // y runs downward on paper
    match plot.cut((x - dx, y + dy), (x + dx, y - dy)) {
        Some((a, b)) => canvas.path(&[a, b], colour, width),
        None => Ok(()),
    }
}

fn compared(map: &PsfMap) -> impl Iterator<Item = &StarPoint> {
    map.stars.iter().filter(|s| s.status != StarStatus::Rejected)
}

fn mark(canvas: &mut Canvas, plot: &Plot, at: (f64, f64), status: StarStatus) -> Result<(), PictureError> {
    let (paper, outside) = plot.clamped(at.0, at.1);
    if !(paper.0.is_finite() && paper.1.is_finite()) {
        return Ok(());
    }
    match status {
        StarStatus::Reserved => canvas.diamond(paper, if outside { 3.0 } else { 4.5 }, Rgb::ORANGE),
        _ => canvas.disc(paper, if outside { 2.0 } else { 3.0 }, Rgb::BLUE, 0.55),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Half-width of a symmetric axis that holds all but a few of the values.
fn reach(mut values: Vec<f64>, least: f64) -> f64 {
    values.retain(|v| v.is_finite());
    values.iter_mut().for_each(|v| *v = v.abs());
    values.sort_by(f64::total_cmp);
    let most = values.get((values.len() * 95 / 100).min(values.len().saturating_sub(1))).copied().unwrap_or(least);
    (1.3 * most).max(least)
}

fn size_residuals(
    canvas: &mut Canvas,
    corner: (f64, f64),
    size: (f64, f64),
    map: &PsfMap,
    mag: &str,
) -> Result<(), PictureError> {
    let percent = |s: &StarPoint| 100.0 * (s.measured.fwhm / s.model.fwhm - 1.0);
    let mags: Vec<f64> = compared(map).map(|s| s.mag).filter(|m| m.is_finite()).collect();
    let (low, high) = mags.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), m| (a.min(*m), b.max(*m)));
    let (low, high) = if low < high { (low - 0.3, high + 0.3) } else { (15.0, 25.0) };
    let reach = reach(compared(map).map(percent).collect(), 1.0);
    let plot = Plot {
        corner,
        size,
        x: Axis::linear(low, high, mag),
        y: Axis::linear(-reach, reach, "FWHM, star \u{2212} model (%)"),
    };
    plot.line(canvas, &[(low, 0.0), (high, 0.0)], Rgb::GREY, 1.0)?;
    for status in [StarStatus::Used, StarStatus::Reserved] {
        for star in compared(map).filter(|s| s.status == status) {
            mark(canvas, &plot, (star.mag, percent(star)), status)?;
        }
    }
    plot.axes(canvas)?;
    let reserved = median(compared(map).filter(|s| s.status == StarStatus::Reserved).map(percent).collect());
    let words = reserved.map_or("no reserved stars".to_string(), |m| format!("reserved: median {}%", signed(m)));
    canvas.text((corner.0, corner.1 - 14.0), &words, NOTE, Anchor::Left)
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", short(value)) } else { short(value) }
}

fn shape_residuals(
    canvas: &mut Canvas,
    corner: (f64, f64),
    size: (f64, f64),
    map: &PsfMap,
) -> Result<(), PictureError> {
    let difference = |s: &StarPoint| (s.measured.e1 - s.model.e1, s.measured.e2 - s.model.e2);
    let reach = reach(compared(map).flat_map(|s| [difference(s).0, difference(s).1]).collect(), 0.005);
    // equal scales on both axes
    let wide = reach * size.0 / size.1;
    let plot = Plot {
        corner,
        size,
        x: Axis::linear(-wide, wide, "e1, star \u{2212} model"),
        y: Axis::linear(-reach, reach, "e2, star \u{2212} model"),
    };
    plot.line(canvas, &[(-wide, 0.0), (wide, 0.0)], Rgb::GREY, 1.0)?;
    plot.line(canvas, &[(0.0, -reach), (0.0, reach)], Rgb::GREY, 1.0)?;
    for status in [StarStatus::Used, StarStatus::Reserved] {
        for star in compared(map).filter(|s| s.status == status) {
            mark(canvas, &plot, difference(star), status)?;
        }
    }
    plot.axes(canvas)?;
    let reserved: Vec<(f64, f64)> =
        compared(map).filter(|s| s.status == StarStatus::Reserved).map(difference).collect();
    let e1 = median(reserved.iter().map(|e| e.0).collect());
    let e2 = median(reserved.iter().map(|e| e.1).collect());
    let words = match (e1, e2) {
        (Some(e1), Some(e2)) => format!("reserved: median {}, {}", fixed(e1), fixed(e2)),
        _ => "no reserved stars".to_string(),
    };
    canvas.text((corner.0, corner.1 - 14.0), &words, NOTE, Anchor::Left)
}

fn fixed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value, 4)) } else { number(value, 4) }
}
