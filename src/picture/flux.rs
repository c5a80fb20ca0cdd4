//! Flux against truth: relative error over SNR with its running median, and the pulls.

use super::PictureError;
use super::axes::{Axis, LABEL, NOTE, Plot, TITLE, number};
use super::canvas::{Anchor, Canvas, Picture, Type};
use super::colour::Rgb;

/// One matched object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FluxPoint {
    /// True flux.
    pub truth: f64,
    /// Catalogue flux, same unit.
    pub flux: f64,
    /// Its error.
    pub flux_err: f64,
    /// Signal-to-noise ratio.
    pub snr: f64,
    /// Whether flags advise against using it: drawn faintly, left out of the statistics.
    pub flagged: bool,
}

/// What the picture says beside the points.
#[derive(Debug, Clone, Default)]
pub struct FluxTexts {
    /// Name of the exposure.
    pub exposure: String,
    /// One line below it: matched objects, matching radius.
    pub subtitle: String,
}

/// Draws the picture.
pub fn flux_against_truth(points: &[FluxPoint], texts: &FluxTexts) -> Result<Picture, PictureError> {
    let mut canvas = Canvas::new(1180, 560)?;
    canvas.text((24.0, 28.0), &texts.exposure, TITLE, Anchor::Left)?;
    canvas.text((24.0, 54.0), &texts.subtitle, Type::new(13.5, Rgb::GREY), Anchor::Left)?;
    let usable: Vec<FluxPoint> = points
        .iter()
        .copied()
        .filter(|p| p.truth > 0.0 && p.snr > 0.0 && p.flux.is_finite() && p.flux_err > 0.0 && p.snr.is_finite())
        .collect();
    errors(&mut canvas, &usable)?;
    pulls(&mut canvas, &usable)?;
    canvas.finish()
}

/// A share of sorted values; `None` if there are none.
fn share(sorted: &[f64], s: f64) -> Option<f64> {
    sorted.get(((sorted.len() as f64 - 1.0).max(0.0) * s).round() as usize).copied()
}

fn errors(canvas: &mut Canvas, points: &[FluxPoint]) -> Result<(), PictureError> {
    let snr: Vec<f64> = points.iter().map(|p| p.snr).collect();
    let low = snr.iter().copied().fold(f64::INFINITY, f64::min).max(1.0);
    let high = snr.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high { (0.85 * low, 1.2 * high) } else { (1.0, 1000.0) };
    let relative = |p: &FluxPoint| 100.0 * (p.flux - p.truth) / p.truth;
    let mut sizes: Vec<f64> = points.iter().map(|p| relative(p).abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let reach = (1.25 * share(&sizes, 0.93).unwrap_or(20.0)).clamp(2.0, 100.0);
    let plot = Plot {
        corner: (90.0, 92.0),
        size: (640.0, 380.0),
        x: Axis::log(low, high, "signal-to-noise ratio"),
        y: Axis::linear(-reach, reach, "(flux \u{2212} truth) / truth (%)"),
    };
    let running = running(points, relative);
    let mut band: Vec<(f64, f64)> = running.iter().map(|b| plot.clamped(b.snr, b.high).0).collect();
    band.extend(running.iter().rev().map(|b| plot.clamped(b.snr, b.low).0));
    if band.len() >= 6 {
        canvas.polygon(&band, Rgb::ORANGE, 0.22)?;
    }
    for flagged in [true, false] {
        for p in points.iter().filter(|p| p.flagged == flagged) {
            let (at, outside) = plot.clamped(p.snr, relative(p));
            let colour = if flagged { Rgb(150, 155, 163) } else { Rgb::BLUE };
            let (radius, opacity) = if outside { (1.5, 0.5) } else { (2.0, if flagged { 0.4 } else { 0.5 }) };
            canvas.disc(at, radius, colour, opacity)?;
        }
    }
    plot.line(canvas, &[(low, 0.0), (high, 0.0)], Rgb::INK, 1.0)?;
    let middle: Vec<(f64, f64)> = running.iter().map(|b| (b.snr, b.median)).collect();
    plot.line(canvas, &middle, Rgb::ORANGE, 2.5)?;
    plot.axes(canvas)?;
    let mut at = (plot.corner.0, 536.0);
    for (colour, text, flag) in [
        (Rgb::BLUE, format!("objects ({})", points.iter().filter(|p| !p.flagged).count()), false),
        (Rgb(150, 155, 163), format!("flagged ({})", points.iter().filter(|p| p.flagged).count()), true),
    ] {
        canvas.disc(at, 3.0, colour, if flag { 0.7 } else { 0.8 })?;
        canvas.text((at.0 + 10.0, at.1), &text, NOTE, Anchor::Left)?;
        at.0 += 140.0;
    }
    canvas.path(&[(at.0, at.1), (at.0 + 22.0, at.1)], Rgb::ORANGE, 2.5)?;
    canvas.text((at.0 + 30.0, at.1), "running median, 16\u{2013}84% band (unflagged)", NOTE, Anchor::Left)
}

/// Median and 16-84 % band of a bin in SNR.
struct Bin {
    snr: f64,
    low: f64,
    median: f64,
    high: f64,
}

/// Bins of equal numbers of unflagged objects, at least 15 each.
fn running(points: &[FluxPoint], value: impl Fn(&FluxPoint) -> f64) -> Vec<Bin> {
    let mut sound: Vec<&FluxPoint> = points.iter().filter(|p| !p.flagged).collect();
    sound.sort_by(|a, b| a.snr.total_cmp(&b.snr));
    let each = (sound.len() / 14).max(15);
    sound
        .chunks(each)
        .filter(|bin| bin.len() >= each.min(15))
        .filter_map(|bin| {
            let mut values: Vec<f64> = bin.iter().map(|p| value(p)).collect();
            values.sort_by(f64::total_cmp);
            let snr = (bin.iter().map(|p| p.snr.ln()).sum::<f64>() / bin.len() as f64).exp();
            Some(Bin { snr, low: share(&values, 0.16)?, median: share(&values, 0.5)?, high: share(&values, 0.84)? })
        })
        .collect()
}

fn pulls(canvas: &mut Canvas, points: &[FluxPoint]) -> Result<(), PictureError> {
    const HALF: usize = 20;
    const STEP: f64 = 0.25;
    let reach = HALF as f64 * STEP;
    let mut pulls: Vec<f64> = points
        .iter()
        .filter(|p| !p.flagged)
        .map(|p| (p.flux - p.truth) / p.flux_err)
        .filter(|v| v.is_finite())
        .collect();
    pulls.sort_by(f64::total_cmp);
    let mut counts = [0_usize; 2 * HALF];
    for pull in &pulls {
        let bin = ((pull + reach) / STEP).floor();
        if bin >= 0.0
            && let Some(count) = counts.get_mut(bin as usize)
        {
            *count += 1;
        }
    }
    let normal = |x: f64| pulls.len() as f64 * STEP * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let plot = Plot {
        corner: (826.0, 92.0),
        size: (324.0, 380.0),
        x: Axis::linear(-reach, reach, "(flux \u{2212} truth) / error"),
        y: Axis::linear(0.0, (1.15 * most.max(normal(0.0))).max(1.0), "objects"),
    };
    for (i, count) in counts.iter().enumerate().filter(|(_, c)| **c > 0) {
        let x = i as f64 * STEP - reach;
        let (a, b) = (plot.at(x, *count as f64), plot.at(x + STEP, 0.0));
        canvas.fill(a, b, Rgb(150, 184, 222))?;
        canvas.path(&[(a.0, b.1), a, (b.0, a.1), b], Rgb::BLUE, 1.0)?;
    }
    let curve: Vec<(f64, f64)> =
        (0..=200).map(|i| f64::from(i) / 100.0 * reach - reach).map(|x| (x, normal(x))).collect();
    plot.line(canvas, &curve, Rgb::INK, 1.8)?;
    plot.axes(canvas)?;
    let outside = pulls.iter().filter(|p| p.abs() > reach).count();
    if let (Some(low), Some(median), Some(high)) = (share(&pulls, 0.16), share(&pulls, 0.5), share(&pulls, 0.84)) {
        let at = (plot.corner.0 + 12.0, plot.corner.1 + 12.0);
        let small = Type::new(12.5, Rgb::INK);
        let lines = [
            format!("median {}", number(median, 2)),
            format!("\u{3c3} (16\u{2013}84%) {}", number(0.5 * (high - low), 2)),
            if outside > 0 { format!("{outside} outside") } else { String::new() },
        ];
        canvas.lines(at, lines.iter().map(|l| (l.as_str(), small)))?;
        canvas.text((plot.corner.0 + 324.0, 536.0), "curve: normal distribution", NOTE, Anchor::Right)?;
    } else {
        canvas.text((plot.corner.0 + 162.0, 280.0), "no matched objects", LABEL, Anchor::Centre)?;
    }
    Ok(())
}
