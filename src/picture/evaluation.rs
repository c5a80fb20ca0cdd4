//! Outputs against truth: scores over the signal-to-noise ratio, and objects beside their truth.

use super::PictureError;
use super::axes::{Axis, NOTE, Plot, TITLE, short};
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::{NIGHT, Rgb, SIGNED, asinh_stretch};
use super::sheet::{View, limits};
use crate::image::Plane;

/// One matched object. Values that are missing are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePoint {
    /// True signal-to-noise ratio.
    pub snr: f64,
    /// (flux - truth) / truth.
    pub flux_bias: f64,
    /// (flux - truth) / error.
    pub pull: f64,
    /// NMSE of the image.
    pub nmse: f64,
    /// Length of e - true e.
    pub ellipticity_error: f64,
    /// Whether it is a star.
    pub star: bool,
}

/// What the picture says beside the points.
#[derive(Debug, Clone, Default)]
pub struct ScoreTexts {
    /// What was scored.
    pub title: String,
    /// One line below it.
    pub subtitle: String,
}

/// One of a point's scores.
type Score = fn(&ScorePoint) -> f64;

const LEFT: f64 = 92.0;
const TOP: f64 = 100.0;
const WIDE: f64 = 440.0;
const HIGH: f64 = 250.0;
const APART: (f64, f64) = (110.0, 92.0);

/// Four panels over the true signal-to-noise ratio: flux bias, pulls, NMSE, ellipticity error; running medians of the galaxies.
pub fn score_picture(points: &[ScorePoint], texts: &ScoreTexts) -> Result<Picture, PictureError> {
    let width = LEFT + 2.0 * WIDE + APART.0 + 30.0;
    let height = TOP + 2.0 * HIGH + APART.1 + 70.0;
    let mut canvas = Canvas::new(width as u32, height as u32)?;
    canvas.text((24.0, 28.0), &texts.title, TITLE, Anchor::Left)?;
    canvas.text((24.0, 54.0), &texts.subtitle, Type::new(13.5, Rgb::GREY), Anchor::Left)?;
    canvas.text(
        (24.0, 76.0),
        "blue: galaxies, grey: stars, orange: median and 16\u{2013}84 % of the galaxies",
        NOTE,
        Anchor::Left,
    )?;
    let usable: Vec<&ScorePoint> = points.iter().filter(|p| p.snr > 0.0 && p.snr.is_finite()).collect();
    let high = usable.iter().map(|p| p.snr).fold(30.0, f64::max);
    let low = usable.iter().map(|p| p.snr).fold(high, f64::min).max(3.0);
    let panels: [(&str, Score, (f64, f64)); 4] = [
        ("(flux \u{2212} truth) / truth (%)", |p| 100.0 * p.flux_bias, (-30.0, 30.0)),
        ("(flux \u{2212} truth) / error", |p| p.pull, (-6.0, 6.0)),
        ("NMSE of the image", |p| p.nmse, (0.0, 0.8)),
        ("|e \u{2212} true e|", |p| p.ellipticity_error, (0.0, 0.8)),
    ];
    for (k, (label, value, (from, to))) in panels.into_iter().enumerate() {
        let corner = (LEFT + (k % 2) as f64 * (WIDE + APART.0), TOP + (k / 2) as f64 * (HIGH + APART.1));
        let plot = Plot {
            corner,
            size: (WIDE, HIGH),
            x: Axis::log(0.85 * low, 1.2 * high, "true signal-to-noise ratio"),
            y: Axis::linear(from, to, label),
        };
        panel(&mut canvas, &plot, &usable, value)?;
    }
    canvas.finish()
}

fn panel(canvas: &mut Canvas, plot: &Plot, points: &[&ScorePoint], value: Score) -> Result<(), PictureError> {
    for star in [true, false] {
        for p in points.iter().filter(|p| p.star == star && value(p).is_finite()) {
            let (at, outside) = plot.clamped(p.snr, value(p));
            let (colour, opacity) = if star { (Rgb(150, 155, 163), 0.45) } else { (Rgb::BLUE, 0.45) };
            canvas.disc(at, if outside { 1.3 } else { 1.8 }, colour, opacity)?;
        }
    }
    if plot.y.from < 0.0 {
        plot.line(canvas, &[(plot.x.from, 0.0), (plot.x.to, 0.0)], Rgb::INK, 1.0)?;
    }
    let mut galaxies: Vec<(f64, f64)> =
        points.iter().filter(|p| !p.star).map(|p| (p.snr, value(p))).filter(|p| p.1.is_finite()).collect();
    galaxies.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = (galaxies.len() / 12).clamp(8, 80);
    let mut curves: [Vec<(f64, f64)>; 3] = Default::default();
    for group in galaxies.chunks(size).filter(|g| g.len() >= 8) {
        let mut values: Vec<f64> = group.iter().map(|p| p.1).collect();
        values.sort_by(f64::total_cmp);
        let share = |s: f64| values.get(((values.len() - 1) as f64 * s).round() as usize).copied().unwrap_or(f64::NAN);
        let snr = group.get(group.len() / 2).map_or(f64::NAN, |p| p.0);
        for (curve, s) in curves.iter_mut().zip([0.16, 0.5, 0.84]) {
            curve.push((snr, share(s)));
        }
    }
    for (curve, width) in curves.iter().zip([1.0, 2.5, 1.0]) {
        plot.line(canvas, curve, Rgb::ORANGE, width)?;
    }
    plot.axes(canvas)
}

/// An object with its truth; planes on the target grid have one shape.
#[derive(Debug, Clone)]
pub struct TruthObject<'a> {
    /// Words to the left of its panels.
    pub words: Vec<String>,
    /// Observed stamp, detector grid, where there is one.
    pub observed: Option<&'a Plane>,
    /// Output.
    pub output: &'a Plane,
    /// Truth on the same pixels.
    pub truth: &'a Plane,
    /// Object's column and row on them.
    pub centre: (f64, f64),
    /// Width of what is shown, target pixels.
    pub shown: usize,
    /// Target pixels per detector pixel.
    pub factor: f64,
}

const PANEL: f64 = 180.0;
const GAP: f64 = 12.0;
const WORDS: f64 = 200.0;
const HEAD: f64 = 96.0;
const ROW: f64 = PANEL + 32.0;

/// A sheet: observed, output, truth, output minus truth, one row an object.
pub fn truth_sheet(objects: &[TruthObject<'_>], texts: &ScoreTexts) -> Result<Picture, PictureError> {
    let width = WORDS + 4.0 * (PANEL + GAP) + 12.0;
    let height = HEAD + ROW * objects.len().max(1) as f64 + 34.0;
    let mut canvas = Canvas::new(width as u32, height as u32)?;
    canvas.text((24.0, 28.0), &texts.title, TITLE, Anchor::Left)?;
    canvas.text((24.0, 52.0), &texts.subtitle, Type::new(13.0, Rgb::GREY), Anchor::Left)?;
    for (i, name) in ["observed", "output", "truth", "output \u{2212} truth"].into_iter().enumerate() {
        let x = WORDS + i as f64 * (PANEL + GAP) + 0.5 * PANEL;
        canvas.text((x, HEAD - 14.0), name, Type::new(14.0, Rgb::INK).bold(), Anchor::Centre)?;
    }
    if objects.is_empty() {
        canvas.text((WORDS, HEAD + 40.0), "no objects to show", Type::new(14.0, Rgb::GREY), Anchor::Left)?;
    }
    for (k, object) in objects.iter().enumerate() {
        let y = HEAD + k as f64 * ROW;
        let plain = Type::new(12.5, Rgb::INK);
        canvas.lines((24.0, y), object.words.iter().map(|w| (w.as_str(), plain)))?;
        draw_row(&mut canvas, y, object)?;
    }
    let note = "Output and truth on one scale, asinh stretch from 0 to the truth's peak; their difference linear, \u{b1} a fifth of that.";
    canvas.text((24.0, height - 16.0), note, Type::new(11.5, Rgb::GREY), Anchor::Left)?;
    canvas.finish()
}

fn draw_row(canvas: &mut Canvas, y: f64, object: &TruthObject<'_>) -> Result<(), PictureError> {
    let side = object.shown.max(8);
    let start = |c: f64| c.round() as isize - (side / 2) as isize;
    let view = |plane| View { plane, column: start(object.centre.0), row: start(object.centre.1), side };
    let (output, truth) = (view(object.output), view(object.truth));
    let peak = f64::from(object.truth.iter().copied().fold(0.0f32, f32::max)).max(f64::MIN_POSITIVE);
    let corners = |i: usize| {
        let x = WORDS + i as f64 * (PANEL + GAP);
        ((x, y), (x + PANEL, y + PANEL))
    };
    let grey = Rgb(60, 62, 66);
    if let Some(plane) = object.observed {
        let coarse = ((side as f64 / object.factor).round() as usize).clamp(4, plane.nrows());
        let first = (plane.nrows() / 2) as isize - (coarse / 2) as isize;
        let seen = View { plane, column: first, row: first, side: coarse };
        let sigma = crate::image::stats::median_and_sigma(plane).map_or(1.0, |(_, s)| s);
        let l = limits(&seen, sigma);
        let (a, b) = corners(0);
        canvas.cells(a, b, (coarse, coarse), |c, r| {
            let v = seen.at(c, r);
            if v.is_nan() { grey } else { NIGHT.at(asinh_stretch(v, l.low, l.high, l.soft)) }
        });
    }
    for (i, view) in [(1, &output), (2, &truth)] {
        let (a, b) = corners(i);
        canvas.cells(a, b, (side, side), |c, r| {
            let v = view.at(c, r);
            if v.is_nan() { grey } else { NIGHT.at(asinh_stretch(v, -0.02 * peak, peak, 0.05 * peak)) }
        });
    }
    let (a, b) = corners(3);
    canvas.cells(a, b, (side, side), |c, r| {
        let v = output.at(c, r) - truth.at(c, r);
        if v.is_nan() { grey } else { SIGNED.at(0.5 + 2.5 * v / peak) }
    });
    let small = Type::new(11.0, Rgb::GREY);
    canvas.text((b.0, b.1 + 10.0), &format!("\u{b1}{}", short(0.2 * peak)), small, Anchor::Right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_drawn_of_anything() {
        let point = |i: usize| ScorePoint {
            snr: 5.0 * 1.05f64.powi(i as i32),
            flux_bias: 0.3 * (i as f64).sin(),
            pull: 8.0 * (i as f64).cos(),
            nmse: if i.is_multiple_of(7) { f64::NAN } else { 0.1 },
            ellipticity_error: 0.2,
            star: i.is_multiple_of(3),
        };
        let points: Vec<ScorePoint> = (0..120).map(point).collect();
        let texts = ScoreTexts { title: "a".into(), subtitle: "b".into() };
        let drawn = score_picture(&points, &texts).unwrap();
        assert!(drawn.pixels.pixels().any(|p| p.0 != [255, 255, 255]));
        assert_ne!(drawn.pixels, score_picture(&[], &texts).unwrap().pixels);
        let plane = Plane::from_shape_fn((40, 40), |(j, i)| {
            (-0.05 * ((i as f32 - 20.0).powi(2) + (j as f32 - 20.0).powi(2))).exp()
        });
        let object = |observed| TruthObject {
            words: vec!["one".into()],
            observed,
            output: &plane,
            truth: &plane,
            centre: (20.0, 20.0),
            shown: 64,
            factor: 2.0,
        };
        let sheet = truth_sheet(&[object(Some(&plane)), object(None)], &texts).unwrap();
        assert!(sheet.pixels.height() > truth_sheet(&[], &texts).unwrap().pixels.height());
    }
}
