//! What a catalogue says of its exposure.

use sha2::{Digest, Sha256};

use super::{Field, Given, NetworkIdentity};
use crate::calibration::{AppliedCalibration, Scope};
use crate::catalog::{CatalogHeader, PsfSummary, Units};
use crate::exposure::Exposure;
use crate::settings::Settings;

/// The catalogue's header for an exposure, its field and the configuration in force.
pub fn catalog_header(
    exposure: &Exposure,
    field: &Field,
    source: &str,
    network: Option<&NetworkIdentity>,
    given: &Given,
    settings: &Settings,
) -> CatalogHeader {
    let (rows, columns) = exposure.shape();
    let pixel_scale = exposure.pixel_scale();
    let target_fwhm = settings.deconv.target_fwhm;
    let mut notes = field.notes.clone();
    let calibration = match calibration_in_force(exposure, field, network, settings) {
        Some(Ok(applied)) => Some(applied),
        Some(Err(reason)) => {
            notes.push(format!(
                "the calibration file holds nothing for this exposure, fluxes are as measured: {reason}"
            ));
            None
        }
        None => None,
    };
    CatalogHeader {
        source: Some(source.to_string()),
        layout: Some(exposure.layout.clone()),
        instrument: exposure.instrument.clone(),
        band: exposure.band.clone(),
        exposure_time: exposure.exposure_time,
        columns,
        rows,
        zero_point: exposure.zero_point,
        pixel_scale,
        units: Units {
            flux: if exposure.zero_point.is_some() { "nJy".into() } else { "adu".into() },
            angular: pixel_scale.is_some(),
        },
        target_fwhm_pixels: target_fwhm,
        target_fwhm_arcsec: pixel_scale.map(|scale| target_fwhm * scale / field.factor as f64),
        target_factor: field.factor,
        psf: psf_summary(field, pixel_scale),
        network: network.map(|n| n.name.clone()),
        network_sha: network.map(|n| n.sha256.clone()),
        inference: network.map(|n| n.inference.clone()),
        config_hash: Some(config_hash(settings, given)),
        calibration,
        notes,
        ..CatalogHeader::new(&exposure.id)
    }
}

/// What a calibration must have been made with to hold for an exposure.
pub fn calibration_scope(
    exposure: &Exposure,
    field: &Field,
    network: Option<&NetworkIdentity>,
    settings: &Settings,
) -> Scope {
    // The target is compared by itself. What follows decides nothing that is measured once exposure, PSF and network are known.
    const WITHOUT: [&str; 14] = [
        "read",
        "catalog",
        "psf",
        "network",
        "structure",
        "quality",
        "output",
        "calibration",
        "telemetry",
        "http",
        "serve",
        "bus",
        "spool",
        "fetch",
    ];
    let mut deciding = settings.deciding();
    let defaults = Settings::default();
    deciding.deconv.target_fwhm = defaults.deconv.target_fwhm;
    deciding.deconv.factor = defaults.deconv.factor;
    let sections = toml::Table::try_from(&deciding).unwrap_or_default();
    let hashes = sections
        .into_iter()
        .filter(|(name, _)| !WITHOUT.contains(&name.as_str()))
        .map(|(name, section)| (name, hex::encode(Sha256::digest(section.to_string().as_bytes()))));
    Scope {
        instrument: exposure.instrument.clone(),
        band: exposure.band.clone(),
        network: network.map(|n| n.name.clone()),
        network_sha: network.map(|n| n.sha256.clone()),
        target_fwhm: settings.deconv.target_fwhm,
        target_factor: field.factor,
        settings: hashes.collect(),
    }
}

/// The law for an exposure, or why there is none; `None` without a calibration file.
fn calibration_in_force(
    exposure: &Exposure,
    field: &Field,
    network: Option<&NetworkIdentity>,
    settings: &Settings,
) -> Option<Result<AppliedCalibration, String>> {
    let loaded = settings.calibration.loaded.as_ref()?;
    let scope = calibration_scope(exposure, field, network, settings);
    Some(
        loaded
            .calibration
            .find(&scope, field.psf_fwhm)
            .map(|entry| AppliedCalibration::new(entry, &loaded.sha256, field.sky_sigma)),
    )
}

fn psf_summary(field: &Field, pixel_scale: Option<f64>) -> PsfSummary {
    let known = |value: f64| value.is_finite().then_some(value);
    let mut summary = PsfSummary {
        fwhm_pixels: known(field.psf_fwhm),
        fwhm_arcsec: pixel_scale.and_then(|scale| known(field.psf_fwhm * scale)),
        ..PsfSummary::default()
    };
    let Some(report) = &field.psf_report else {
        summary.quality = "given".into();
        return summary;
    };
    summary.e1 = known(report.e1);
    summary.e2 = known(report.e2);
    summary.order = u32::try_from(report.order).ok();
    summary.stars_used = report.used;
    summary.stars_reserved = report.reserved;
    summary.stars_in_model = report.in_model;
    summary.stars_rejected = report.rejected.iter().map(|(_, count)| count).sum();
    summary.reserved_size_residual = known(report.size_residual.mean);
    summary.reserved_size_scatter = known(report.size_residual.rms);
    summary.reserved_e1_residual = known(report.e1_residual.mean);
    summary.reserved_e2_residual = known(report.e2_residual.mean);
    summary.reserved_e_scatter = known(report.e1_residual.rms.max(report.e2_residual.rms));
    let largest = |k: usize| report.rho.iter().map(|bin| bin.rho[k].abs()).reduce(f64::max).and_then(known);
    (summary.rho1, summary.rho2) = (largest(0), largest(1));
    summary.reserved_chi2 = known(report.chi2_reserved);
    summary.quality = report.quality.name().into();
    summary.fallback.clone_from(&report.fallback);
    summary
}

/// SHA-256 of the settings that decide what a catalogue holds (where it is written does not), and of the catalogue and PSF given.
pub fn config_hash(settings: &Settings, given: &Given) -> String {
    let mut text = toml::to_string(&settings.deciding()).unwrap_or_default();
    if let Some(fingerprint) = &given.fingerprint {
        text.push_str(fingerprint);
    }
    hex::encode(Sha256::digest(text.as_bytes()))
}
