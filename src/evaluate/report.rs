//! A catalogue (and its images' scores) against the truth.

use super::statistics::{Centre, Slope, rms};
use super::{ImageScore, match_positions};
use crate::catalog::Flags;

/// A true object. Values that are not known are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruthRow {
    /// Column, pixels, in the same convention as the measured rows.
    pub x: f64,
    /// Row, pixels.
    pub y: f64,
    /// Total flux, in the measured rows' unit.
    pub flux: f64,
    /// Signal-to-noise ratio by which objects are binned.
    pub snr: f64,
    /// Ellipticity as seen with the target PSF.
    pub e: [f64; 2],
    /// Size Qxx + Qyy as seen with the target PSF, in the measured rows' unit.
    pub size: f64,
    /// Whether it counts in ellipticity and size (galaxies do, stars do not).
    pub has_shape: bool,
}

/// A measured object. Values that are missing are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredRow {
    /// Column, pixels.
    pub x: f64,
    /// Row, pixels.
    pub y: f64,
    /// Total flux.
    pub flux: f64,
    /// Its standard error.
    pub flux_err: f64,
    /// Ellipticity.
    pub e: [f64; 2],
    /// Size Qxx + Qyy.
    pub size: f64,
    /// Ellipticity of the PSF at the object.
    pub psf_e: [f64; 2],
    /// Row flags.
    pub flags: Flags,
    /// Scores of its image, where images were compared.
    pub image: Option<ImageScore>,
    /// Whether its image shows small-scale structure that is not in the truth, where images were compared.
    pub invented: Option<bool>,
}

/// How rows are compared.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateSettings {
    /// Largest distance between a true and a measured position, pixels.
    pub match_radius: f64,
    /// Edges of the bins in true signal-to-noise ratio, ascending; a last bin without end follows.
    pub snr_edges: Vec<f64>,
    /// Signal-to-noise ratios above each of which all objects are summed up together.
    pub above: Vec<f64>,
    /// Matched rows with any of these flags count in completeness only (bits of the row flags).
    pub excluded_flags: u32,
}

impl Default for EvaluateSettings {
    fn default() -> Self {
        Self {
            match_radius: 2.0,
            snr_edges: vec![5.0, 10.0, 30.0, 100.0, 300.0],
            above: vec![100.0],
            excluded_flags: (Flags::EDGE | Flags::SATURATED | Flags::FIT_FAILED).bits(),
        }
    }
}

/// What is known of the objects of one range of signal-to-noise ratio.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Bin {
    /// Least true signal-to-noise ratio.
    pub snr_from: f64,
    /// Largest; `None`: no end.
    pub snr_to: Option<f64>,
    /// True objects.
    pub truth: usize,
    /// Those that were matched.
    pub matched: usize,
    /// `matched / truth`; NaN without true objects.
    pub completeness: f64,
    /// (flux - true flux) / true flux.
    pub flux_bias: Centre,
    /// (flux - true flux) / flux error: 0 +- 1 is right.
    pub pulls: Centre,
    /// Share of pulls beyond 5 either way: what median and scatter do not show.
    pub pull_outliers: f64,
    /// e1 - true e1.
    pub e1_bias: Centre,
    /// e2 - true e2.
    pub e2_bias: Centre,
    /// Root mean square of e - true e, per component.
    pub e_rms: f64,
    /// size / true size - 1.
    pub size_bias: Centre,
    /// Root mean square of the distance between the positions, pixels.
    pub centroid_rms: f64,
    /// Leakage of the PSF's ellipticity: 0 is right. Its error holds the galaxies' own shapes.
    pub c_psf: Slope,
    /// The same of e - true e, from which the galaxies' own shapes are gone.
    pub c_psf_of_error: Slope,
    /// Correlation with the true ellipticity: 1 is right.
    pub c_true: Slope,
    /// NMSE of the images.
    pub nmse: Centre,
    /// SSIM of the images, over the whole stamps.
    pub ssim: Centre,
    /// SSIM of the images, weighted by the window.
    pub ssim_object: Centre,
    /// |sum - true sum| / |true sum| of the images.
    pub flux_error: Centre,
    /// Share of the images whose small-scale structure has no counterpart in the truth; NaN where none was compared.
    pub invented: f64,
    /// Share of the rows flagged `FALSE_STRUCTURE`.
    pub flagged_structure: f64,
}

/// Objects of one kind, by true signal-to-noise ratio.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Group {
    /// All of them together.
    pub all: Bin,
    /// By true signal-to-noise ratio, ascending; objects below the first edge or of unknown ratio are in `all` only.
    pub bins: Vec<Bin>,
    /// All above one ratio together.
    pub above: Vec<Bin>,
}

/// A catalogue against the truth.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// True objects.
    pub truth: usize,
    /// Measured rows.
    pub measured: usize,
    /// Matched pairs.
    pub matched: usize,
    /// Matched pairs left out of all but completeness for their flags.
    pub excluded: usize,
    /// `matched / truth`.
    pub completeness: f64,
    /// `matched / measured`.
    pub purity: f64,
    /// All matched objects together.
    pub all: Bin,
    /// By true signal-to-noise ratio, ascending; objects below the first edge or of unknown ratio are in `all` only.
    pub bins: Vec<Bin>,
    /// All above one ratio together.
    pub above: Vec<Bin>,
    /// Objects that have a shape.
    pub galaxies: Group,
    /// Those that have none: here shape and size are those of the image, against the target PSF's.
    pub stars: Group,
}

/// Truth and measurement of one field.
#[derive(Debug, Clone, Copy)]
pub struct FieldRows<'a> {
    /// True objects.
    pub truth: &'a [TruthRow],
    /// Measured objects.
    pub measured: &'a [MeasuredRow],
}

/// Matches rows to the truth and compares them.
pub fn evaluate(truth: &[TruthRow], measured: &[MeasuredRow], settings: &EvaluateSettings) -> Report {
    evaluate_fields(&[FieldRows { truth, measured }], settings)
}

/// A true object and the row that belongs to it.
type Pair<'a> = (&'a TruthRow, Option<&'a MeasuredRow>);

/// Matches the rows of several fields, each to its own truth, and compares them all together.
pub fn evaluate_fields(fields: &[FieldRows<'_>], settings: &EvaluateSettings) -> Report {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for field in fields {
        let truth_positions: Vec<(f64, f64)> = field.truth.iter().map(|t| (t.x, t.y)).collect();
        let measured_positions: Vec<(f64, f64)> = field.measured.iter().map(|m| (m.x, m.y)).collect();
        let mut partner: Vec<Option<&MeasuredRow>> = vec![None; field.truth.len()];
        for m in match_positions(&truth_positions, &measured_positions, settings.match_radius) {
            if let Some(slot) = partner.get_mut(m.truth) {
                *slot = field.measured.get(m.measured);
            }
        }
        pairs.extend(field.truth.iter().zip(partner));
    }
    let excluded = Flags::from_bits_retain(settings.excluded_flags);
    let measured: usize = fields.iter().map(|f| f.measured.len()).sum();
    let matched = pairs.iter().filter(|(_, m)| m.is_some()).count();
    let (galaxies, stars): (Vec<Pair<'_>>, Vec<Pair<'_>>) = pairs.iter().partition(|(t, _)| t.has_shape);
    let Group { all, bins, above } = group(&pairs, settings, false);
    Report {
        truth: pairs.len(),
        measured,
        matched,
        excluded: pairs.iter().filter(|(_, m)| m.is_some_and(|m| m.flags.intersects(excluded))).count(),
        completeness: matched as f64 / pairs.len() as f64,
        purity: matched as f64 / measured as f64,
        all,
        bins,
        above,
        galaxies: group(&galaxies, settings, false),
        stars: group(&stars, settings, true),
    }
}

/// `points_too`: shapes and sizes of objects without a shape of their own count.
fn group(pairs: &[Pair<'_>], settings: &EvaluateSettings, points_too: bool) -> Group {
    let excluded = Flags::from_bits_retain(settings.excluded_flags);
    let ends = settings.snr_edges.iter().skip(1).copied().chain([f64::INFINITY]);
    let one = |from, to| bin(pairs, from, to, excluded, points_too);
    Group {
        all: one(f64::NEG_INFINITY, f64::INFINITY),
        bins: settings.snr_edges.iter().copied().zip(ends).map(|(from, to)| one(from, to)).collect(),
        above: settings.above.iter().map(|&from| one(from, f64::INFINITY)).collect(),
    }
}

fn bin(pairs: &[Pair<'_>], from: f64, to: f64, excluded: Flags, points_too: bool) -> Bin {
    let everything = from == f64::NEG_INFINITY;
    let inside: Vec<&Pair<'_>> = pairs.iter().filter(|(t, _)| everything || (t.snr >= from && t.snr < to)).collect();
    let matched = inside.iter().filter(|(_, m)| m.is_some()).count();
    let sound: Vec<(&TruthRow, &MeasuredRow)> =
        inside.iter().filter_map(|(t, m)| m.filter(|m| !m.flags.intersects(excluded)).map(|m| (*t, m))).collect();
    let shaped: Vec<(&TruthRow, &MeasuredRow)> =
        sound.iter().copied().filter(|(t, _)| points_too || t.has_shape).collect();
    let pulls: Vec<f64> = sound
        .iter()
        .filter(|(_, m)| m.flux_err > 0.0)
        .map(|(t, m)| (m.flux - t.flux) / m.flux_err)
        .filter(|p| p.is_finite())
        .collect();
    let error = |(t, m): &(&TruthRow, &MeasuredRow)| [m.e[0] - t.e[0], m.e[1] - t.e[1]];
    let judged: Vec<bool> = sound.iter().filter_map(|(_, m)| m.invented).collect();
    let image = |f: fn(&ImageScore) -> f64| Centre::of(sound.iter().filter_map(|(_, m)| m.image.as_ref().map(f)));
    Bin {
        snr_from: from,
        snr_to: to.is_finite().then_some(to),
        truth: inside.len(),
        matched,
        completeness: matched as f64 / inside.len() as f64,
        flux_bias: Centre::of(sound.iter().filter(|(t, _)| t.flux > 0.0).map(|(t, m)| (m.flux - t.flux) / t.flux)),
        pull_outliers: pulls.iter().filter(|p| p.abs() > 5.0).count() as f64 / pulls.len() as f64,
        pulls: Centre::of(pulls),
        e1_bias: Centre::of(shaped.iter().map(|p| error(p)[0])),
        e2_bias: Centre::of(shaped.iter().map(|p| error(p)[1])),
        e_rms: rms(shaped.iter().flat_map(error)),
        size_bias: Centre::of(shaped.iter().filter(|(t, _)| t.size > 0.0).map(|(t, m)| m.size / t.size - 1.0)),
        centroid_rms: rms(sound.iter().map(|(t, m)| (m.x - t.x).hypot(m.y - t.y))),
        c_psf: Slope::of(shaped.iter().map(|(_, m)| (m.psf_e, m.e))),
        c_psf_of_error: Slope::of(shaped.iter().map(|p| (p.1.psf_e, error(p)))),
        c_true: Slope::of(shaped.iter().map(|(t, m)| (t.e, m.e))),
        nmse: image(|s| s.nmse),
        ssim: image(|s| s.ssim),
        ssim_object: image(|s| s.ssim_object),
        flux_error: image(|s| s.flux_error),
        invented: judged.iter().filter(|i| **i).count() as f64 / judged.len() as f64,
        flagged_structure: sound.iter().filter(|(_, m)| m.flags.contains(Flags::FALSE_STRUCTURE)).count() as f64
            / sound.len() as f64,
    }
}
