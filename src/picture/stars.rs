//! The star selection: half-light radius against magnitude.

use super::PictureError;
use super::axes::{Axis, NOTE, Plot, TITLE};
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::Rgb;
use super::psf_map::StarStatus;

/// One source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StarDiagramPoint {
    /// Magnitude (instrumental where no zero point is known).
    pub mag: f64,
    /// Half-light radius, detector pixels.
    pub half_light_radius: f64,
    /// `None`: never a candidate.
    pub status: Option<StarStatus>,
}

/// What the diagram shows.
#[derive(Debug, Clone, Default)]
pub struct StarDiagram {
    /// Name of the exposure.
    pub exposure: String,
    /// One line below it.
    pub subtitle: String,
    /// Detector pixel scale, arcsec.
    pub pixel_scale: Option<f64>,
    /// Whether magnitudes are calibrated.
    pub calibrated: bool,
    /// Half-light radii between which the star locus was taken, detector pixels.
    pub locus: Option<(f64, f64)>,
    /// Every source.
    pub points: Vec<StarDiagramPoint>,
}

/// Draws the diagram.
pub fn star_selection(diagram: &StarDiagram) -> Result<Picture, PictureError> {
    let mut canvas = Canvas::new(860, 600)?;
    canvas.text((24.0, 28.0), &diagram.exposure, TITLE, Anchor::Left)?;
    canvas.text((24.0, 54.0), &diagram.subtitle, Type::new(13.5, Rgb::GREY), Anchor::Left)?;
    let scale = diagram.pixel_scale.unwrap_or(1.0);
    let unit = if diagram.pixel_scale.is_some() { "arcsec" } else { "pixels" };
    let finite: Vec<&StarDiagramPoint> =
        diagram.points.iter().filter(|p| p.mag.is_finite() && p.half_light_radius > 0.0).collect();
    let mut mags: Vec<f64> = finite.iter().map(|p| p.mag).collect();
    let mut radii: Vec<f64> = finite.iter().map(|p| p.half_light_radius * scale).collect();
    mags.sort_by(f64::total_cmp);
    radii.sort_by(f64::total_cmp);
    let share = |v: &[f64], s: f64| v.get(((v.len() as f64 - 1.0).max(0.0) * s) as usize).copied();
    let (low, high) = (share(&mags, 0.0).unwrap_or(15.0) - 0.4, share(&mags, 1.0).unwrap_or(25.0) + 0.4);
    let stars = finite.iter().filter(|p| p.status.is_some()).map(|p| p.half_light_radius * scale).fold(0.0, f64::max);
    let top = (1.2 * share(&radii, 0.98).unwrap_or(1.0)).max(1.3 * stars);
    let mag = if diagram.calibrated { "magnitude (AB)" } else { "instrumental magnitude" };
    let plot = Plot {
        corner: (84.0, 84.0),
        size: (744.0, 430.0),
        x: Axis::linear(low, high, mag),
        y: Axis::linear(0.0, top, format!("half-light radius ({unit})")),
    };
    if let Some((from, to)) = diagram.locus {
        let (from, to) = ((from * scale).clamp(0.0, top), (to * scale).clamp(0.0, top));
        canvas.fill(plot.at(low, to), plot.at(high, from), Rgb(232, 240, 250))?;
    }
    let is = |status| move |p: &&&StarDiagramPoint| p.status == status;
    for p in finite.iter().filter(is(None)) {
        let (at, outside) = plot.clamped(p.mag, p.half_light_radius * scale);
        if !outside {
            canvas.disc(at, 1.7, Rgb(120, 126, 136), 0.6)?;
        }
    }
    for status in [StarStatus::Rejected, StarStatus::Used, StarStatus::Reserved] {
        for p in finite.iter().filter(is(Some(status))) {
            sign(&mut canvas, plot.clamped(p.mag, p.half_light_radius * scale).0, status)?;
        }
    }
    plot.axes(&mut canvas)?;
    let mut at = (plot.corner.0, 578.0);
    let none = finite.iter().filter(is(None)).count();
    canvas.disc(at, 2.2, Rgb(120, 126, 136), 0.8)?;
    canvas.text((at.0 + 10.0, at.1), &format!("other sources ({none})"), NOTE, Anchor::Left)?;
    at.0 += 170.0;
    for (status, name) in [
        (StarStatus::Used, "used for the PSF"),
        (StarStatus::Reserved, "reserved"),
        (StarStatus::Rejected, "candidates rejected"),
    ] {
        sign(&mut canvas, at, status)?;
        let count = finite.iter().filter(is(Some(status))).count();
        canvas.text((at.0 + 10.0, at.1), &format!("{name} ({count})"), NOTE, Anchor::Left)?;
        at.0 += if status == StarStatus::Used { 180.0 } else { 130.0 };
    }
    canvas.finish()
}

fn sign(canvas: &mut Canvas, at: (f64, f64), status: StarStatus) -> Result<(), PictureError> {
    match status {
        StarStatus::Used => canvas.disc(at, 3.2, Rgb::BLUE, 0.85),
        StarStatus::Reserved => canvas.diamond(at, 4.5, Rgb::ORANGE),
        StarStatus::Rejected => canvas.cross(at, 3.2, Rgb::RED, 1.2),
    }
}
