//! Calibration and identity from header cards: which keyword of which survey means what.

use crate::sky::Cards;

/// What a header says of an exposure besides its pixels and world coordinates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// Exposure, if the header names it.
    pub exposure: Option<String>,
    /// Detector, if the header names it.
    pub detector: Option<String>,
    /// AB magnitude of one image unit.
    pub zero_point: Option<f64>,
    /// Electrons per image unit.
    pub gain: Option<f64>,
    /// Image value of saturation.
    pub saturation: Option<f64>,
    /// Band.
    pub band: Option<String>,
    /// Exposure time, s.
    pub exposure_time: Option<f64>,
    /// Instrument.
    pub instrument: Option<String>,
    /// Whether the sky is subtracted.
    pub background_subtracted: Option<bool>,
    /// Pixel scale, arcsec.
    pub pixel_scale: Option<f64>,
    /// What was assumed.
    pub notes: Vec<String>,
}

/// Keywords tried in order.
const EXPOSURE_TIME: &[&str] = &["EXPTIME", "EXPOSURE", "TEXPTIME", "TEXPOSED", "DARKTIME"];
const SATURATION: &[&str] = &["SATURATE", "SATUR_LEVEL", "SATLEVEL", "SATURAT"];
const PIXEL_SCALE: &[&str] = &["PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PIXELSCL"];
const INSTRUMENT: &[&str] = &["INSTRUME", "INSTRUMENT", "CAMERA"];
const BAND: &[&str] = &["BAND", "FILTER", "FILTER1", "FILTERS", "FILTNAME"];

/// Reads the cards of an image HDU (the primary's behind them). `euclid`: zero points are per second.
pub fn read(cards: &Cards, euclid: bool) -> Metadata {
    let mut notes = Vec::new();
    let first = |names: &[&str]| names.iter().find_map(|name| cards.real(name));
    let exposure_time = first(EXPOSURE_TIME).filter(|&time| time > 0.0);
    let text = |names: &[&str]| names.iter().find_map(|name| cards.text(name));
    Metadata {
        // EXPID: LSST afw and stillair; DECam's OBSID is a time stamp, EXPNUM is what people quote.
        exposure: text(&["EXPID", "EXPNUM", "EXP_ID", "OBS_ID", "OBSID", "ROOTNAME"]),
        detector: text(&["DETNAME", "CCDNUM"]),
        zero_point: zero_point(cards, euclid, exposure_time, &mut notes),
        gain: gain(cards),
        saturation: first(SATURATION).filter(|&level| level > 0.0),
        band: band(cards),
        exposure_time,
        instrument: text(INSTRUMENT),
        background_subtracted: background_subtracted(cards),
        pixel_scale: first(PIXEL_SCALE).map(f64::abs).filter(|&scale| scale > 0.0),
        notes,
    }
}

/// AB zero point of one image unit. LSST `FLUXMAG0` (counts of magnitude 0), DECam and others `MAGZERO`, HST's PHOTFLAM
/// and PHOTPLAM, Euclid `MAGZEROP` and `ZPAB` (per second), `BUNIT` in Jansky; `MAGZPT` and its like are ambiguous
/// (per second or not) and not used.
fn zero_point(cards: &Cards, euclid: bool, time: Option<f64>, notes: &mut Vec<String>) -> Option<f64> {
    if let Some(flux) = cards.real("FLUXMAG0").filter(|&flux| flux > 0.0) {
        return Some(2.5 * flux.log10());
    }
    if let Some(physical) = physical_unit(cards) {
        return Some(physical);
    }
    if euclid && let Some(per_second) = cards.real("MAGZEROP").or_else(|| cards.real("ZPAB")) {
        let rate = cards.text("BUNIT").is_some_and(|unit| unit.ends_with("/s") || unit.ends_with("s-1"));
        return match time {
            _ if rate => Some(per_second),
            Some(time) => Some(per_second + 2.5 * time.log10()),
            None => {
                notes.push("the zero point is per second, but the header gives no exposure time: not used".into());
                None
            }
        };
    }
    if let Some(zero_point) = cards.real("MAGZERO").or_else(|| cards.real("MAGZEROP")).or_else(|| cards.real("MAG_ZP"))
    {
        return Some(zero_point);
    }
    if let (Some(flam), Some(plam)) = (cards.real("PHOTFLAM"), cards.real("PHOTPLAM"))
        && flam > 0.0
        && plam > 0.0
    {
        // ABMAG_ZEROPOINT = -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408 [HST ACS data handbook]; per second.
        let per_second = -2.5 * flam.log10() - 5.0 * plam.log10() - 2.408;
        let rate = cards.text("BUNIT").is_some_and(|unit| unit.to_ascii_uppercase().ends_with("/S"));
        return match time {
            _ if rate => Some(per_second),
            Some(time) => Some(per_second + 2.5 * time.log10()),
            None => None,
        };
    }
    None
}

/// AB zero point that BUNIT alone fixes: Jansky and maggies, the prefixes in use.
fn physical_unit(cards: &Cards) -> Option<f64> {
    match cards.text("BUNIT")?.trim() {
        "nJy" => Some(31.4),
        "uJy" | "microJy" => Some(23.9),
        "mJy" => Some(16.4),
        "Jy" => Some(8.9),
        "nanomaggy" | "nmgy" | "nanomaggies" => Some(22.5),
        _ => None,
    }
}

/// Electrons per image unit. GAIN cards are per ADU, so they say nothing of an image in electrons or Jansky.
fn gain(cards: &Cards) -> Option<f64> {
    let unit = cards.text("BUNIT").unwrap_or_default().to_ascii_lowercase();
    if matches!(unit.as_str(), "electron" | "electrons" | "e-" | "e") {
        return Some(1.0);
    }
    if physical_unit(cards).is_some() || unit.ends_with("/s") {
        return None;
    }
    let positive = |name: &str| cards.real(name).filter(|&gain| gain > 0.0);
    // DECam images are in ADU, with one gain per amplifier.
    if let (Some(a), Some(b)) = (positive("GAINA"), positive("GAINB")) {
        return Some(0.5 * (a + b));
    }
    ["GAIN", "EGAIN", "CCDGAIN", "GAINEFF"].into_iter().find_map(positive)
}

/// First word of the filter's name: DECam writes `z DECam SDSS c0004 9260.0 1520.0`.
fn band(cards: &Cards) -> Option<String> {
    let name = BAND.iter().find_map(|name| cards.text(name))?;
    name.split_whitespace().next().map(str::to_string)
}

fn background_subtracted(cards: &Cards) -> Option<bool> {
    // BKGSUB: stillair's own; SKYSUB is a level in some pipelines, a truth value in others.
    ["BKGSUB", "SKYSUB", "BACKSUB", "SUBBACK"].into_iter().find_map(|name| cards.logical(name)).or_else(|| {
        // LSST's calexp and visit_image record the level they took away.
        cards.real("BGMEAN").map(|_| true)
    })
}
