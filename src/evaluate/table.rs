//! Reports as text.

use super::{Bin, BlankReport, Centre, Report, Slope};

/// A report as a plain-text table, one column per signal-to-noise bin, all objects together.
pub fn render(report: &Report) -> String {
    let mut out = head(report);
    out.push('\n');
    out.push_str(&columns(&report.all, &report.bins, &report.above));
    out
}

/// A report as two plain-text tables: galaxies, then stars, one column per signal-to-noise bin.
pub fn render_groups(report: &Report) -> String {
    let mut out = head(report);
    for (name, group) in [("Galaxies", &report.galaxies), ("Stars", &report.stars)] {
        if group.all.truth > 0 {
            out.push_str(&format!("\n{name}\n"));
            out.push_str(&columns(&group.all, &group.bins, &group.above));
        }
    }
    out
}

fn head(report: &Report) -> String {
    format!(
        "{} true objects, {} rows, {} matched ({} left out for their flags): completeness {}, purity {}\n",
        report.truth,
        report.measured,
        report.matched,
        report.excluded,
        number(report.completeness, 3),
        number(report.purity, 3),
    )
}

fn columns(all: &Bin, bins: &[Bin], above: &[Bin]) -> String {
    let bins: Vec<&Bin> = std::iter::once(all).chain(bins).chain(above).collect();
    let mut out = String::new();
    let mut line = |name: &str, cell: &dyn Fn(&Bin) -> String| {
        out.push_str(&format!("{name:<34}"));
        for bin in &bins {
            out.push_str(&format!(" {:>17}", cell(bin)));
        }
        out.push('\n');
    };
    let median = |c: &Centre, unit: f64, digits| spread(unit * c.median, unit * c.median_err(), digits);
    line("true SNR", &|b| match (b.snr_from == f64::NEG_INFINITY, b.snr_to) {
        (true, _) => "all".into(),
        (false, Some(to)) => format!("{}-{to}", b.snr_from),
        (false, None) => format!("> {}", b.snr_from),
    });
    line("objects matched / true", &|b| format!("{}/{}", b.matched, b.truth));
    line("completeness", &|b| number(b.completeness, 3));
    line("flux bias, %: median +- error", &|b| median(&b.flux_bias, 100.0, 2));
    line("flux bias, %: scatter", &|b| number(100.0 * b.flux_bias.scatter, 2));
    line("flux pulls: median +- error", &|b| median(&b.pulls, 1.0, 3));
    line("flux pulls: mean +- error", &|b| spread(b.pulls.mean, b.pulls.mean_err(), 3));
    line("flux pulls: scatter (std)", &|b| format!("{} ({})", number(b.pulls.scatter, 3), number(b.pulls.std, 2)));
    line("flux pulls beyond 5, %", &|b| number(100.0 * b.pull_outliers, 1));
    line("e1 bias: median +- error", &|b| median(&b.e1_bias, 1.0, 4));
    line("e2 bias: median +- error", &|b| median(&b.e2_bias, 1.0, 4));
    line("ellipticity rms per component", &|b| number(b.e_rms, 3));
    line("size bias, %: median +- error", &|b| median(&b.size_bias, 100.0, 2));
    line("size bias, %: scatter", &|b| number(100.0 * b.size_bias.scatter, 1));
    line("C_psf", &|b| slope(&b.c_psf));
    line("C_psf of (e - true e)", &|b| slope(&b.c_psf_of_error));
    line("C_true", &|b| slope(&b.c_true));
    line("centroid rms, pixels", &|b| number(b.centroid_rms, 3));
    line("flagged FALSE_STRUCTURE, %", &|b| number(100.0 * b.flagged_structure, 1));
    if all.nmse.count > 0 {
        line("images", &|b| b.nmse.count.to_string());
        line("NMSE, median", &|b| number(b.nmse.median, 3));
        line("NMSE, mean", &|b| number(b.nmse.mean, 3));
        line("SSIM, median", &|b| number(b.ssim.median, 3));
        line("SSIM of the object, median", &|b| number(b.ssim_object.median, 3));
        line("image flux error, %, median", &|b| number(100.0 * b.flux_error.median, 2));
        line("structure not in the truth, %", &|b| number(100.0 * b.invented, 1));
    }
    out
}

/// A report on empty positions as text.
pub fn render_blanks(report: &BlankReport) -> String {
    format!(
        "{} empty positions: flux {} (mean {}: {} of its error), pulls {}, above {} errors {} %, without a flux {} %, \
         blobs above {} sigma on {} %\n",
        report.positions,
        spread(report.flux.median, report.flux.scatter, 3),
        spread(report.mean, report.mean_err, 3),
        spread(report.mean_over_error, report.mean_over_error_err, 3),
        spread(report.pulls.median, report.pulls.scatter, 2),
        report.source_threshold,
        number(100.0 * report.sources, 1),
        number(100.0 * report.without_flux, 1),
        report.blob_threshold,
        number(100.0 * report.blobs, 1),
    )
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".into() }
}

fn spread(value: f64, spread: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:+.digits$} +- {}", number(spread, digits)) } else { "-".into() }
}

fn slope(s: &Slope) -> String {
    spread(s.value, s.error, 3)
}
