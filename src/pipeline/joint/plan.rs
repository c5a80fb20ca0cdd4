//! What each exposure may be used for.

use std::collections::BTreeMap;

use super::{JointExposure, SkySource};
use crate::joint::wide_band_weights;

/// Bands, and what each exposure sees of them.
#[derive(Debug, Clone)]
pub struct BandPlan {
    /// Names of the bands, in the order of the exposures.
    pub bands: Vec<String>,
    /// Shares of the bands in each exposure; `None` for one that is left out.
    pub shares: Vec<Option<Vec<f64>>>,
    /// What was found and what had to be left out, in sentences.
    pub notes: Vec<String>,
}

/// Signal-to-noise ratio of the detections whose fluxes are compared.
const LEAST_SNR: f64 = 20.0;
/// Largest factor between two exposures' fluxes of the same objects in the same band.
const CONTRADICTION: f64 = 1.25;
/// Range of the sum of a wide band's shares: 1 where all zero points are right.
const SHARE_SUM: (f64, f64) = (0.5, 2.0);

/// Decides. `given` are shares by band; those not given come from the exposures' own photometry.
pub fn plan(exposures: &[JointExposure], sources: &[SkySource], given: &BTreeMap<String, f64>) -> BandPlan {
    let mut notes = Vec::new();
    let mut bands: Vec<String> = Vec::new();
    for e in exposures.iter().filter(|e| !e.wide) {
        if !bands.contains(&e.band) {
            bands.push(e.band.clone());
        }
    }
    // without a narrow band, the wide one is a band of its own
    let alone = bands.is_empty();
    if alone {
        for e in exposures {
            if !bands.contains(&e.band) {
                bands.push(e.band.clone());
            }
        }
    }
    let mut shares: Vec<Option<Vec<f64>>> = exposures
        .iter()
        .map(|e| (alone || !e.wide).then(|| bands.iter().map(|b| f64::from(u8::from(*b == e.band))).collect()))
        .collect();
    contradictions(exposures, sources, &bands, &mut shares, &mut notes);
    for (at, e) in exposures.iter().enumerate().filter(|(_, e)| e.wide && !alone) {
        shares[at] = wide_shares(exposures, sources, at, &bands, &shares, given, &mut notes);
        if shares[at].is_none() {
            notes.push(format!("{} ({}): left out as a wide band", e.exposure.id, e.band));
        }
    }
    BandPlan { bands, shares, notes }
}

fn bright(flux: Option<(f64, f64)>) -> Option<(f64, f64)> {
    flux.filter(|(f, e)| *f > 0.0 && *e > 0.0 && f / e > LEAST_SNR)
}

/// Exposures of one band whose fluxes of the same objects differ: those that differ from the band's first are left out.
fn contradictions(
    exposures: &[JointExposure],
    sources: &[SkySource],
    bands: &[String],
    shares: &mut [Option<Vec<f64>>],
    notes: &mut Vec<String>,
) {
    for band in bands {
        let mine: Vec<usize> =
            (0..exposures.len()).filter(|i| shares[*i].is_some() && exposures[*i].band == *band).collect();
        let Some((first, others)) = mine.split_first() else { continue };
        for other in others {
            let mut ratios: Vec<f64> = sources
                .iter()
                .filter_map(|s| Some(bright(s.detected[*other])?.0 / bright(s.detected[*first])?.0))
                .collect();
            ratios.sort_by(f64::total_cmp);
            let Some(ratio) = ratios.get(ratios.len() / 2) else { continue };
            if ratios.len() >= 5 && (*ratio > CONTRADICTION || *ratio < 1.0 / CONTRADICTION) {
                notes.push(format!(
                    "{}: the same objects have {ratio:.2} times the flux they have in {} of the same band {band}: one zero point is wrong; it is left out, \
                     give the right one with zero_point in the manifest",
                    exposures[*other].exposure.id, exposures[*first].exposure.id
                ));
                shares[*other] = None;
            }
        }
    }
}

fn wide_shares(
    exposures: &[JointExposure],
    sources: &[SkySource],
    wide: usize,
    bands: &[String],
    shares: &[Option<Vec<f64>>],
    given: &BTreeMap<String, f64>,
    notes: &mut Vec<String>,
) -> Option<Vec<f64>> {
    let e = &exposures[wide];
    if !given.is_empty() {
        let taken: Vec<f64> = bands.iter().map(|b| given.get(b).copied().unwrap_or(0.0)).collect();
        if taken.iter().sum::<f64>() > 0.0 {
            notes.push(format!("{}: shares {} as given", e.exposure.id, described(bands, &taken)));
            return Some(taken);
        }
        notes.push(format!("{}: none of the shares given is of a band at hand ({})", e.exposure.id, bands.join(", ")));
        return None;
    }
    let objects: Vec<(Vec<f64>, f64, f64)> = sources
        .iter()
        .filter_map(|s| {
            let (flux, error) = bright(s.detected[wide])?;
            let narrow: Option<Vec<f64>> = bands
                .iter()
                .map(|band| {
                    let of_band =
                        |i: &usize| exposures[*i].band == *band && shares[*i].is_some() && !exposures[*i].wide;
                    let seen: Vec<f64> = (0..exposures.len())
                        .filter(of_band)
                        .filter_map(|i| bright(s.detected[i]))
                        .map(|f| f.0)
                        .collect();
                    (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
                })
                .collect();
            Some((narrow?, flux, error))
        })
        .collect();
    let Some(fit) = wide_band_weights(&objects, bands.len()) else {
        notes.push(format!(
            "{}: no object brighter than {LEAST_SNR} sigma is seen in it and in every band: its shares cannot be found; give them in [joint] shares",
            e.exposure.id
        ));
        return None;
    };
    let sum: f64 = fit.shares.iter().sum();
    if !(SHARE_SUM.0..=SHARE_SUM.1).contains(&sum) {
        notes.push(format!(
            "{}: its fluxes are {sum:.2} times those of the bands: a zero point is wrong, or they do not see the same light",
            e.exposure.id
        ));
        return None;
    }
    notes.push(format!(
        "{}: shares {} from {} objects, scatter {:.3}",
        e.exposure.id,
        described(bands, &fit.shares),
        fit.objects,
        fit.scatter
    ));
    Some(fit.shares)
}

fn described(bands: &[String], shares: &[f64]) -> String {
    bands.iter().zip(shares).map(|(b, s)| format!("{b} {s:.3}")).collect::<Vec<_>>().join(", ")
}
