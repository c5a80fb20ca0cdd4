//! From injected sources to a calibration.

use super::inject::{InjectOptions, InjectedRow, InjectionRun};
use crate::calibration::{
    self, AppliedCalibration, Calibration, CalibrationEntry, CalibrationError, Corrected, DriftReference,
    EmptyPositions, Estimate, FluxBin, FluxLaw, LawPoint, Pair, Provenance, Validity, robust,
};
use crate::catalog::{CatalogHeader, CatalogRow, Flags};
use crate::simulate::draw::Kind;

/// Rows with any of these say nothing of the estimator.
const UNSOUND: Flags = Flags::EDGE
    .union(Flags::BAD_PIXELS)
    .union(Flags::SATURATED)
    .union(Flags::BLENDED)
    .union(Flags::TRUNCATED)
    .union(Flags::FIT_FAILED);

/// Exposures whose PSF widths differ by no more than this share one law.
const WIDTH_BIN: f64 = 0.1;
/// A law holds for PSFs this much narrower and wider than those it was made with.
const WIDTH_SLACK: f64 = 0.05;
/// SNR that counts as bright where drift is watched.
const DRIFT_SNR: f64 = 50.0;
/// Fewest bright objects for a reference.
const DRIFT_LEAST: usize = 10;
/// Edges of the ranges of SNR in reports of fluxes.
const FLUX_EDGES: [f64; 6] = [5.0, 10.0, 30.0, 100.0, 300.0, 1000.0];
/// Edges of the ranges of SNR in reports of shapes.
const SHAPE_EDGES: [f64; 4] = [10.0, 30.0, 100.0, 1000.0];

/// Runs that share a law: same scope, PSF widths within [`WIDTH_BIN`] of the narrowest.
pub fn in_groups(runs: &[InjectionRun]) -> Vec<Vec<&InjectionRun>> {
    let mut sorted: Vec<&InjectionRun> = runs.iter().collect();
    sorted.sort_by(|a, b| a.used.psf_fwhm.total_cmp(&b.used.psf_fwhm).then_with(|| a.used.name.cmp(&b.used.name)));
    let mut groups: Vec<Vec<&InjectionRun>> = Vec::new();
    for run in sorted {
        let joins = |group: &&mut Vec<&InjectionRun>| {
            group.first().is_some_and(|first| {
                first.scope.differences(&run.scope).is_empty()
                    && run.used.psf_fwhm <= first.used.psf_fwhm * (1.0 + WIDTH_BIN)
            })
        };
        match groups.iter_mut().find(joins) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

/// The calibration that these runs give.
pub fn calibrate(runs: &[InjectionRun], options: &InjectOptions) -> Result<Calibration, CalibrationError> {
    let entries = in_groups(runs).iter().map(|group| entry(group, options)).collect::<Result<_, _>>()?;
    let calibration = Calibration {
        version: calibration::CALIBRATION_VERSION,
        software: concat!("stillair ", env!("CARGO_PKG_VERSION")).into(),
        seed: options.seed,
        entries,
    };
    calibration.check()?;
    Ok(calibration)
}

/// Whether a row tells of the estimator that the law is for.
fn sound(run: &InjectionRun, injected: &InjectedRow) -> bool {
    let row = &injected.row;
    let network_ran = !row.flags.contains(Flags::NETWORK_SKIPPED);
    !injected.swallowed
        && !row.flags.intersects(UNSOUND)
        && network_ran == run.scope.network.is_some()
        && row.flux.is_finite()
        && row.flux_err > 0.0
}

fn entry(group: &[&InjectionRun], options: &InjectOptions) -> Result<CalibrationEntry, CalibrationError> {
    let all: Vec<(&InjectionRun, &InjectedRow)> =
        group.iter().flat_map(|run| run.injected.iter().map(move |row| (*run, row))).collect();
    let fitted: Vec<(&InjectionRun, &InjectedRow)> =
        all.iter().filter(|(run, injected)| sound(run, injected)).copied().collect();
    let points: Vec<LawPoint> = fitted
        .iter()
        .map(|(run, injected)| {
            let unit = run.signal_unit(&injected.row);
            let exposure = group.iter().position(|other| std::ptr::eq(*other, *run)).unwrap_or(0) as u64;
            LawPoint {
                truth: injected.flux * run.flux_unit() / unit,
                flux: injected.row.flux / unit,
                flux_err: injected.row.flux_err / unit,
                extent: calibration::extent(run.half_light_radius(&injected.row), run.scope.target_fwhm),
                true_extent: injected.extent,
                // the twins stand on the same noise
                group: (exposure << 48) | injected.source,
            }
        })
        .collect();
    let (law, errors) = FluxLaw::fit(&points)?;

    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)])
    };
    let widths = range(&mut fitted.iter().map(|(run, i)| i.row.psf_fwhm / run.pixel()));
    let first = group.first().map(|run| run.scope.clone());
    let scope = first.ok_or(CalibrationError::TooFew { what: "a calibration", needed: 1, got: 0 })?;
    let mut signals: Vec<f64> = points.iter().map(|p| p.flux).collect();
    signals.sort_by(f64::total_cmp);
    let bright = signals.get(signals.len().saturating_sub(1 + signals.len() / 200)).copied().unwrap_or(0.0);
    let mut made = CalibrationEntry {
        validity: Validity {
            psf_fwhm: [widths[0] * (1.0 - WIDTH_SLACK), widths[1] * (1.0 + WIDTH_SLACK)],
            // A source at the faint end is measured at half of its flux now and then.
            signal: [0.5 * options.snr.0, bright],
            snr: [options.snr.0, options.snr.1],
            flux: range(&mut fitted.iter().map(|(run, i)| i.flux * run.flux_unit())),
        },
        scope,
        law,
        errors,
        drift: None,
        provenance: Provenance {
            flux_unit: group.first().map(|run| run.header.units.flux.clone()).unwrap_or_default(),
            injected: all.len(),
            fitted: fitted.len(),
            psf: if group.iter().all(|run| run.psf_fitted) { "fitted" } else { "given" }.into(),
            exposures: group.iter().map(|run| run.used.clone()).collect(),
        },
        bins: Vec::new(),
        shapes: shapes(&fitted),
        empty: empty(group),
    };
    made.bins = bins(&made, &all);
    made.drift = drift_reference(&made, group);
    Ok(made)
}

/// A row's flux with a law applied, in the row's unit; `None` where the law does not hold.
fn corrected(entry: &CalibrationEntry, run: &InjectionRun, row: &CatalogRow) -> Option<Corrected> {
    let unit = run.flux_unit();
    let applied = AppliedCalibration::new(entry, "", run.used.sky_sigma);
    let half_light = run.half_light_radius(row);
    let c = applied.correct(
        row.flux / unit,
        row.flux_err / unit,
        row.psf_fwhm / run.pixel(),
        half_light,
        run.scope.target_fwhm,
    )?;
    Some(Corrected { flux: c.flux * unit, flux_err: c.flux_err * unit, ..c })
}

/// Median with its standard error: 1.2533 sigma / sqrt(n) for Gaussian noise.
fn median(values: &[f64]) -> Estimate {
    let error = 1.2533 * robust::scatter(values.iter().copied()) / (values.len() as f64).sqrt();
    Estimate { value: robust::median(values.iter().copied()), error }
}

/// How an entry does on injected sources, by SNR.
pub fn bins(entry: &CalibrationEntry, all: &[(&InjectionRun, &InjectedRow)]) -> Vec<FluxBin> {
    FLUX_EDGES
        .windows(2)
        .filter_map(|edges| {
            let [low, high] = [edges[0], edges[1]];
            let within: Vec<_> = all.iter().filter(|(_, i)| i.snr >= low && i.snr < high).copied().collect();
            let found = within.iter().filter(|(_, i)| i.detected).count();
            let (mut before, mut after, mut pulls_before, mut pulls) = (vec![], vec![], vec![], vec![]);
            for (run, injected) in within.iter().filter(|(run, i)| sound(run, i)) {
                let truth = injected.flux * run.flux_unit();
                let row = &injected.row;
                let Some(c) = corrected(entry, run, row) else { continue };
                before.push((row.flux - truth) / truth);
                pulls_before.push((row.flux - truth) / row.flux_err);
                after.push((c.flux - truth) / truth);
                pulls.push((c.flux - truth) / c.flux_err);
            }
            (after.len() > 4).then(|| FluxBin {
                snr: [low, high],
                injected: within.len(),
                completeness: found as f64 / within.len() as f64,
                used: after.len(),
                bias_before: median(&before),
                bias: median(&after),
                pull_before: robust::scatter(pulls_before),
                pull: robust::scatter(pulls),
            })
        })
        .collect()
}

/// Shape bias from galaxies and their turned twins.
fn shapes(fitted: &[(&InjectionRun, &InjectedRow)]) -> Vec<calibration::ShapeBias> {
    let key = |run: &InjectionRun, i: &InjectedRow| (run.used.name.clone(), i.source);
    let second: std::collections::HashMap<_, _> =
        fitted.iter().filter(|(_, i)| i.turned).map(|(run, i)| (key(run, i), *i)).collect();
    let pairs: Vec<Pair> = fitted
        .iter()
        .filter(|(_, i)| !i.turned && i.kind != Kind::Star)
        .filter_map(|(run, first)| {
            let second = second.get(&key(run, first))?;
            let row = &first.row;
            Some(Pair {
                snr: first.snr,
                truth: [0, 1].map(|c| 0.5 * (first.e[c] - second.e[c])),
                first: [row.e1, row.e2],
                second: [second.row.e1, second.row.e2],
                psf: [row.psf_e1, row.psf_e2],
            })
        })
        .collect();
    SHAPE_EDGES.windows(2).filter_map(|edges| calibration::fit_shapes(&pairs, [edges[0], edges[1]])).collect()
}

fn empty(group: &[&InjectionRun]) -> Option<EmptyPositions> {
    let mut signals = Vec::new();
    let mut pulls = Vec::new();
    for run in group {
        for row in run.empty.iter().filter(|row| !row.flags.intersects(UNSOUND) && row.flux_err > 0.0) {
            signals.push(row.flux / run.signal_unit(row));
            pulls.push(row.flux / row.flux_err);
        }
    }
    let n = signals.len() as f64;
    if signals.len() < 10 {
        return None;
    }
    let mean = signals.iter().sum::<f64>() / n;
    let variance = signals.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some(EmptyPositions {
        count: signals.len(),
        mean: Estimate { value: mean, error: (variance / n).sqrt() },
        pull_mean: pulls.iter().sum::<f64>() / n,
        pull_scatter: robust::scatter(pulls.iter().copied()),
        above_5_sigma: pulls.iter().filter(|p| **p > 5.0).count() as f64 / n,
    })
}

/// (flux - flux_observed) / flux of a row that is bright, isolated and sound.
fn excess(row: &CatalogRow, flux: f64, min_snr: f64) -> Option<f64> {
    let value = (flux - row.flux_observed) / flux;
    (row.snr >= min_snr && flux > 0.0 && !row.flags.intersects(UNSOUND) && value.is_finite()).then_some(value)
}

fn drift_reference(entry: &CalibrationEntry, group: &[&InjectionRun]) -> Option<DriftReference> {
    let values: Vec<f64> = group
        .iter()
        .flat_map(|run| run.own.iter().map(move |row| (run, row)))
        .filter_map(|(run, row)| excess(row, corrected(entry, run, row)?.flux, DRIFT_SNR))
        .collect();
    let Estimate { value, error } = median(&values);
    (values.len() >= DRIFT_LEAST).then_some(DriftReference {
        median: value,
        error,
        objects: values.len(),
        min_snr: DRIFT_SNR,
    })
}

/// How far an exposure's bright isolated objects have drifted from the calibration: the median of (flux - flux_observed) / flux less
/// what it was when the calibration was made, over the calibrated rows. `None` without a calibration, its reference, or enough objects.
pub fn drift(header: &CatalogHeader, rows: &[CatalogRow]) -> Option<f64> {
    let applied = header.calibration.as_ref()?;
    let (reference, min_snr) = (applied.drift_reference?, applied.drift_min_snr?);
    let values: Vec<f64> = rows
        .iter()
        .filter(|row| !row.flags.contains(Flags::UNCALIBRATED))
        .filter_map(|row| excess(row, row.flux, min_snr))
        .collect();
    (values.len() >= DRIFT_LEAST).then(|| robust::median(values) - reference)
}
