//! Reports as text.

use super::{Bin, BlankReport, Report, Slope};

/// A report as a plain-text table, one column per signal-to-noise bin.
pub fn render(report: &Report) -> String {
    let bins: Vec<&Bin> = std::iter::once(&report.all).chain(&report.bins).collect();
    let mut out = format!(
        "{} true objects, {} rows, {} matched ({} left out for their flags): completeness {}, purity {}\n\n",
        report.truth,
        report.measured,
        report.matched,
        report.excluded,
        number(report.completeness, 3),
        number(report.purity, 3),
    );
    let mut line = |name: &str, cell: &dyn Fn(&Bin) -> String| {
        out.push_str(&format!("{name:<34}"));
        for bin in &bins {
            out.push_str(&format!(" {:>16}", cell(bin)));
        }
        out.push('\n');
    };
    line("true SNR", &|b| match (b.snr_from == f64::NEG_INFINITY, b.snr_to) {
        (true, _) => "all".into(),
        (false, Some(to)) => format!("{}-{to}", b.snr_from),
        (false, None) => format!("> {}", b.snr_from),
    });
    line("objects matched / true", &|b| format!("{}/{}", b.matched, b.truth));
    line("completeness", &|b| number(b.completeness, 3));
    line("flux bias, %: median +- scatter", &|b| spread(100.0 * b.flux_bias.median, 100.0 * b.flux_bias.scatter, 2));
    line("flux pulls: median +- scatter", &|b| spread(b.pulls.median, b.pulls.scatter, 2));
    line("flux pulls beyond 5, %", &|b| number(100.0 * b.pull_outliers, 1));
    line("e1 bias: median +- scatter", &|b| spread(b.e1_bias.median, b.e1_bias.scatter, 3));
    line("e2 bias: median +- scatter", &|b| spread(b.e2_bias.median, b.e2_bias.scatter, 3));
    line("ellipticity rms per component", &|b| number(b.e_rms, 3));
    line("size bias, %: median +- scatter", &|b| spread(100.0 * b.size_bias.median, 100.0 * b.size_bias.scatter, 1));
    line("C_psf", &|b| slope(&b.c_psf));
    line("C_psf of (e - true e)", &|b| slope(&b.c_psf_of_error));
    line("C_true", &|b| slope(&b.c_true));
    line("centroid rms, pixels", &|b| number(b.centroid_rms, 3));
    if report.all.nmse.count > 0 {
        line("NMSE, median", &|b| number(b.nmse.median, 3));
        line("SSIM, median", &|b| number(b.ssim.median, 3));
        line("image flux error, %, median", &|b| number(100.0 * b.flux_error.median, 2));
    }
    out
}

/// A report on empty positions as text.
pub fn render_blanks(report: &BlankReport) -> String {
    format!(
        "{} empty positions: flux {} (mean {}), pulls {}, blobs above {} sigma on {} %\n",
        report.positions,
        spread(report.flux.median, report.flux.scatter, 3),
        spread(report.mean, report.mean_err, 3),
        spread(report.pulls.median, report.pulls.scatter, 2),
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
