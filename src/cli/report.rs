//! What a finished exposure prints.

use crate::catalog::CatalogHeader;
use crate::pipeline::{Done, TruthReport};

/// Prints what was found, how good it is, how long it took and where it lies.
pub fn print_done(done: &Done) {
    for line in lines(done) {
        say!("{line}");
    }
}

/// One line for a replay's log.
pub fn one_line(done: &Done) -> String {
    let psf = &done.catalog.header.psf;
    format!(
        "{} objects, PSF FWHM {}, {} stars, {}, {:.1} s",
        done.catalog.rows.len(),
        psf_width(&done.catalog.header),
        psf.stars_used,
        psf.quality,
        done.timings.total()
    )
}

/// The same of a summary.
pub fn summary_line(summary: &crate::archive::ExposureSummary) -> String {
    let psf = &summary.header.psf;
    format!("{} objects, PSF FWHM {}, {}", summary.objects, psf_width(&summary.header), psf.quality)
}

fn psf_width(header: &CatalogHeader) -> String {
    match (header.psf.fwhm_arcsec, header.psf.fwhm_pixels) {
        (Some(arcsec), Some(pixels)) => format!("{arcsec:.3} arcsec ({pixels:.2} px)"),
        (None, Some(pixels)) => format!("{pixels:.2} px"),
        _ => "unknown".into(),
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("unknown".into(), |v| format!("{:+.2} %", 100.0 * v))
}

fn lines(done: &Done) -> Vec<String> {
    let header = &done.catalog.header;
    let rows = &done.catalog.rows;
    let mut out = Vec::new();
    let mut say = |label: &str, text: String| out.push(format!("  {label:<11} {text}"));

    let band = header.band.as_ref().map_or(String::new(), |b| format!(", band {b}"));
    let scale = header.pixel_scale.map_or("pixel scale unknown".into(), |s| format!("{s:.4} arcsec/px"));
    let zero = header
        .zero_point
        .map_or("no zero point: fluxes in image units".into(), |z| format!("zero point {z:.3} mag AB"));
    say(
        "exposure",
        format!(
            "{}: {} layout, {} x {} px{band}, {scale}, {zero}",
            header.exposure,
            header.layout.as_deref().unwrap_or("unknown"),
            header.columns,
            header.rows
        ),
    );
    let detected = rows.iter().filter(|r| r.snr >= 5.0).count();
    say("objects", format!("{} ({detected} above SNR 5)", rows.len()));
    let psf = &header.psf;
    if psf.quality == "given" {
        say("PSF", format!("given; FWHM {}", psf_width(header)));
    } else {
        say(
            "PSF",
            format!(
                "FWHM {}, order {}, quality {}",
                psf_width(header),
                psf.order.map_or("-".into(), |o| o.to_string()),
                psf.quality
            ),
        );
        say(
            "stars",
            format!(
                "{} used, {} reserved, {} sources rejected",
                psf.stars_used, psf.stars_reserved, psf.stars_rejected
            ),
        );
        if psf.stars_reserved > 0 {
            let shape = |v: Option<f64>| v.map_or("unknown".into(), |v| format!("{v:+.4}"));
            say(
                "reserved",
                format!(
                    "size residual {} (scatter {}), ellipticity residual {} {}, chi2 {}",
                    percent(psf.reserved_size_residual),
                    percent(psf.reserved_size_scatter).trim_start_matches('+'),
                    shape(psf.reserved_e1_residual),
                    shape(psf.reserved_e2_residual),
                    psf.reserved_chi2.map_or("unknown".into(), |c| format!("{c:.2}")),
                ),
            );
        }
    }
    if let Some(fallback) = &psf.fallback {
        say("fallback", fallback.clone());
    }
    let target = header
        .target_fwhm_arcsec
        .map_or(format!("{:.2} px", header.target_fwhm_pixels / header.target_factor as f64), |a| {
            format!("{a:.3} arcsec")
        });
    say("target", format!("round Gaussian of FWHM {target} on a grid {} x the detector's", header.target_factor));
    say(
        "network",
        match (&header.network, &header.inference) {
            (Some(network), Some(inference)) => format!("{network} ({inference})"),
            _ => "none: the Tikhonov image was measured".into(),
        },
    );
    if let Some(truth) = &done.truth {
        truth_lines(truth, &mut say);
    }
    for note in &header.notes {
        say("note", note.clone());
    }
    let stages: Vec<String> =
        done.timings.seconds().filter(|(_, s)| *s > 0.0005).map(|(stage, s)| format!("{stage} {s:.2}")).collect();
    say("seconds", format!("{:.2} = {}", done.timings.total(), stages.join(" + ")));
    let names: Vec<&str> = done.summary.files.iter().map(|f| f.name.as_str()).collect();
    say("written", format!("{}: {}", done.paths.folder().display(), names.join(" ")));
    out
}

fn truth_lines(truth: &TruthReport, say: &mut impl FnMut(&str, String)) {
    let report = &truth.report;
    say(
        "truth",
        format!(
            "{} of {} true objects matched ({} of them left out for their flags), completeness {:.3}, purity {:.3}",
            report.matched, report.truth, report.excluded, report.completeness, report.purity
        ),
    );
    for bin in report.bins.iter().filter(|bin| bin.flux_bias.count > 0) {
        let range = match bin.snr_to {
            Some(to) => format!("SNR {:.0}-{to:.0}", bin.snr_from),
            None => format!("SNR > {:.0}", bin.snr_from),
        };
        say(
            "",
            format!(
                "{range:<12} {:>5} objects: flux bias {:+6.2} %, scatter {:5.2} %; pulls {:+.2} +- {:.2}; completeness {:.3}",
                bin.flux_bias.count,
                100.0 * bin.flux_bias.median,
                100.0 * bin.flux_bias.scatter,
                bin.pulls.median,
                bin.pulls.scatter,
                bin.completeness
            ),
        );
    }
}
