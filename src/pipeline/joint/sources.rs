//! One list of objects of several exposures.

use super::JointExposure;

/// An object on the sky.
#[derive(Debug, Clone)]
pub struct SkySource {
    /// Identifier: order in the list, or the given catalogue's.
    pub id: i64,
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
    /// Half-light radius where it is seen sharpest, arcsec; NaN if unknown.
    pub radius: f64,
    /// How far it reaches from its centre, arcsec.
    pub reach: f64,
    /// Flux and error as detected in each exposure, common unit; `None` where it was not detected.
    pub detected: Vec<Option<(f64, f64)>>,
}

/// Largest distance at which detections are one object, in FWHM of the wider PSF.
const MATCH: f64 = 0.7;

/// Detections of all exposures, from the sharpest on: what an exposure adds are those that no sharper one has.
pub fn sources(exposures: &[JointExposure]) -> Vec<SkySource> {
    let mut order: Vec<usize> = (0..exposures.len()).collect();
    order.sort_by(|a, b| exposures[*a].fwhm().total_cmp(&exposures[*b].fwhm()));
    let mut list = Cells::default();
    for at in order {
        let e = &exposures[at];
        let Some(wcs) = &e.exposure.wcs else { continue };
        let known = list.sources.len();
        for d in &e.field.detections.sources {
            let (ra, dec) = wcs.pixel_to_sky(d.x, d.y);
            if !(ra.is_finite() && dec.is_finite()) {
                continue;
            }
            let flux = (d.flux * e.unit, d.flux_err * e.unit);
            match list.nearest(ra, dec, MATCH * e.fwhm(), known) {
                Some(i) => {
                    let slot = &mut list.sources[i].detected[at];
                    if slot.is_none_or(|(f, _)| f < flux.0) {
                        *slot = Some(flux);
                    }
                }
                None => {
                    let scale = e.scale();
                    let isophote = (d.extent.1.saturating_sub(d.extent.0)).max(d.extent.3.saturating_sub(d.extent.2));
                    let mut detected = vec![None; exposures.len()];
                    detected[at] = Some(flux);
                    list.push(SkySource {
                        id: list.sources.len() as i64 + 1,
                        ra,
                        dec,
                        radius: d.half_light_radius * scale,
                        reach: (0.5 * isophote as f64).max(3.0 * d.half_light_radius) * scale,
                        detected,
                    });
                }
            }
        }
    }
    list.sources
}

/// The objects of a given catalogue (id, ra, dec), with what the exposures' detections say of them.
pub fn sources_at(given: &[(i64, f64, f64)], exposures: &[JointExposure]) -> Vec<SkySource> {
    let found = sources(exposures);
    let mut cells = Cells::default();
    found.into_iter().for_each(|s| cells.push(s));
    let radius = MATCH * exposures.iter().map(JointExposure::fwhm).fold(0.0, f64::max);
    let count = cells.sources.len();
    given
        .iter()
        .map(|(id, ra, dec)| match cells.nearest(*ra, *dec, radius, count) {
            Some(i) => SkySource { id: *id, ra: *ra, dec: *dec, ..cells.sources[i].clone() },
            None => SkySource {
                id: *id,
                ra: *ra,
                dec: *dec,
                radius: f64::NAN,
                reach: 0.0,
                detected: vec![None; exposures.len()],
            },
        })
        .collect()
}

/// Sources by place, so that the nearest is found without looking at all.
#[derive(Default)]
struct Cells {
    sources: Vec<SkySource>,
    cells: std::collections::HashMap<(i64, i64), Vec<usize>>,
}

/// Side of a cell, degrees.
const CELL: f64 = 10.0 / 3600.0;

impl Cells {
    fn place(ra: f64, dec: f64) -> (i64, i64) {
        let x = ra * dec.to_radians().cos() / CELL;
        (x.floor() as i64, (dec / CELL).floor() as i64)
    }

    fn push(&mut self, source: SkySource) {
        self.cells.entry(Self::place(source.ra, source.dec)).or_default().push(self.sources.len());
        self.sources.push(source);
    }

    /// The nearest of the first `known` sources within `radius` arcsec (less than a cell).
    fn nearest(&self, ra: f64, dec: f64, radius: f64, known: usize) -> Option<usize> {
        let (cx, cy) = Self::place(ra, dec);
        let mut best: Option<(f64, usize)> = None;
        for x in cx - 1..=cx + 1 {
            for y in cy - 1..=cy + 1 {
                for i in self.cells.get(&(x, y)).into_iter().flatten().filter(|i| **i < known) {
                    let s = &self.sources[*i];
                    let d = 3600.0 * ((s.ra - ra) * dec.to_radians().cos()).hypot(s.dec - dec);
                    if d <= radius && best.is_none_or(|(b, _)| d < b) {
                        best = Some((d, *i));
                    }
                }
            }
        }
        best.map(|(_, i)| i)
    }
}
