//! What the surveys' mask planes mean, and their translation into [`crate::image::mask`] bits.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::error::FitsError;
use crate::image::{MaskPlane, mask};
use crate::sky::Cards;

/// Names of mask planes, upper case, and the bits they stand for; 0 = not a defect. LSST (afw and lsst-images),
/// HSC, Euclid and HST/JWST-style names together: they do not contradict each other.
const PLANES: &[(&str, u16)] = &[
    ("BAD", mask::BAD),
    ("HOT", mask::BAD),
    ("HOT_PIXEL", mask::BAD),
    ("COLD", mask::BAD),
    ("DEAD", mask::BAD),
    ("BAD_PIXEL", mask::BAD),
    ("BADPIX", mask::BAD),
    ("BAD_COLUMN", mask::BAD),
    ("DO_NOT_USE", mask::BAD),
    ("UNMASKEDNAN", mask::NO_DATA),
    ("UNMASKED_NAN", mask::NO_DATA),
    ("BAD_CLUSTER", mask::BAD),
    ("OVRCOL", mask::BAD),
    ("CHARINJ", mask::BAD),
    ("ADCMAX", mask::SATURATED),
    ("SATURATEDSTAR", mask::SATURATED),
    ("SAT_TEMPLATE", mask::SATURATED),
    ("CR_REGION", mask::SUSPECT),
    ("SATXTALKGHOST", mask::SUSPECT),
    ("SCATLIGHT", mask::SUSPECT),
    ("CTICORRECTION", 0),
    ("STITCHBLOCK", 0),
    ("EXTOBJ", 0),
    ("QUADEDGE", mask::EDGE),
    ("DETECTION_EDGE", mask::EDGE),
    ("CELL_EDGE", 0),
    ("SAT", mask::SATURATED),
    ("SATURATED", mask::SATURATED),
    ("SATUR", mask::SATURATED),
    ("BLEED", mask::SATURATED),
    ("ITL_DIP", mask::SUSPECT),
    ("NON_LINEAR", mask::SATURATED),
    ("NLINEAR", mask::SATURATED),
    ("CR", mask::COSMIC_RAY),
    ("COSMIC", mask::COSMIC_RAY),
    ("COSMIC_RAY", mask::COSMIC_RAY),
    ("NO_DATA", mask::NO_DATA),
    ("INVALID", mask::NO_DATA),
    ("DISCONNECTED", mask::BAD),
    ("ZEROQE", mask::BAD),
    ("NO_VALUE", mask::NO_DATA),
    ("EDGE", mask::EDGE),
    ("SENSOR_EDGE", mask::EDGE),
    ("INEXACT_PSF", 0),
    ("SUSPECT", mask::SUSPECT),
    ("CROSSTALK", 0),
    ("VIGNETTED", mask::SUSPECT),
    ("PARTLY_VIGNETTED", 0),
    ("STREAK", mask::SUSPECT),
    ("SPIKE", 0),
    ("GHOST", mask::SUSPECT),
    ("CLIPPED", 0),
    ("REJECTED", 0),
    ("HIGH_VARIANCE", 0),
    ("NOT_DEBLENDED", 0),
    ("BRIGHT_OBJECT", 0),
    // An interpolated pixel carries a made-up value: it must not be fitted.
    ("INTRP", mask::BAD),
    ("INTERPOLATED", mask::BAD),
    ("DETECTED", 0),
    ("DETECTED_NEGATIVE", 0),
    ("INJECTED", 0),
    ("INJECTED_CORE", 0),
    ("INJECTED_TEMPLATE", 0),
    ("INJECTED_CORE_TEMPLATE", 0),
    ("STARSIGNAL", 0),
    ("OBJECTS", 0),
];

/// Euclid VIS `.FLG` bits [VIS data product description]: bit number and plane name.
const EUCLID_VIS: &[(u32, &str)] = &[
    (0, "INVALID"),
    (1, "HOT"),
    (2, "COLD"),
    (3, "SAT"),
    (4, "COSMIC"),
    (5, "GHOST"),
    (6, "QUADEDGE"),
    (7, "BAD_COLUMN"),
    (8, "BAD_CLUSTER"),
    (9, "CR_REGION"),
    (12, "OVRCOL"),
    (13, "EXTOBJ"),
    (14, "SCATLIGHT"),
    (15, "CHARINJ"),
    (17, "SATXTALKGHOST"),
    (18, "STARSIGNAL"),
    (19, "SATURATEDSTAR"),
    (20, "CTICORRECTION"),
    (21, "ADCMAX"),
    (22, "NO_DATA"),
    (23, "STITCHBLOCK"),
    (24, "OBJECTS"),
];

/// DECam community pipeline `ood` codes since version 3.5: a value per pixel, not bits
/// [NOIRLab DECam community pipeline, data quality]: 1 bad, 2 no value, 3 saturated, 4 bleed, 5 cosmic ray, 6 low weight,
/// 7 difference detection, 8 streak.
const DECAM_CODES: [u16; 9] = [
    0,
    mask::BAD,
    mask::NO_DATA,
    mask::SATURATED,
    mask::SATURATED,
    mask::COSMIC_RAY,
    mask::SUSPECT,
    mask::SUSPECT,
    mask::SUSPECT,
];

/// DECam `ood` bits before version 3.5: 1 bad, 2 saturated, 4 interpolated, 16 cosmic ray, 64 bleed, 128 transient.
const DECAM_BITS: [(u32, u16); 6] = [
    (0, mask::BAD),
    (1, mask::SATURATED),
    (2, mask::BAD),
    (4, mask::COSMIC_RAY),
    (6, mask::SATURATED),
    (7, mask::SUSPECT),
];

/// How the numbers of a mask plane are to be understood.
#[derive(Debug, Clone, PartialEq)]
pub enum MaskScheme {
    /// Bit number -> our bits; bits not listed mean `other`.
    Bits {
        /// Meaning of each bit, by number.
        bits: Vec<(u32, u16)>,
        /// Meaning of a bit that is not listed.
        other: u16,
    },
    /// A code per pixel: our bits by value; values beyond the table are suspect.
    Codes(Vec<u16>),
}

/// A survey whose mask numbers have no names in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskDialect {
    /// Names in `MP_`, `MSKN`/`MSKM` or `MSK_FLAG_` cards, or no names at all.
    Named,
    /// Euclid VIS `.FLG`.
    EuclidVis,
    /// DECam community pipeline `ood`.
    Decam,
}

/// Our bits for a plane's name; `None` if the name is unknown.
pub fn plane_meaning(name: &str) -> Option<u16> {
    let name = name.trim().to_ascii_uppercase();
    PLANES.iter().find(|(known, _)| *known == name).map(|(_, bits)| *bits)
}

/// Checks and translates the `mask_planes` setting.
fn overrides(settings: &BTreeMap<String, String>) -> Result<BTreeMap<String, u16>, FitsError> {
    let meaning = |value: &str| match value.trim().to_ascii_uppercase().as_str() {
        "IGNORE" => Some(0),
        name => mask::MASK_BITS.iter().find(|bit| bit.name == name).map(|bit| bit.bit),
    };
    let mut table = BTreeMap::new();
    for (name, value) in settings {
        let bits = meaning(value).ok_or_else(|| FitsError::Setting {
            key: format!("mask_planes.{name}"),
            problem: format!(
                "{value:?} is no meaning; write IGNORE, {}",
                mask::MASK_BITS.map(|bit| bit.name).join(", ")
            ),
        })?;
        table.insert(name.trim().to_ascii_uppercase(), bits);
    }
    Ok(table)
}

/// The planes a header names: (bit number, name). `MP_<NAME>` = bit number (LSST afw), `MSKNnnnn`/`MSKMnnnn` = name and
/// mask value (lsst-images), `MSK_FLAG_<NAME>` = mask value (Euclid NISP).
pub fn named_planes(cards: &Cards) -> Vec<(u32, String)> {
    let mut planes = Vec::new();
    // afw and lsst-images write bit 31 of an int32 plane as -2^31.
    let single_bit = |value: i64| match value {
        -2_147_483_648 => Some(31),
        value => (value > 0 && value.count_ones() == 1).then(|| value.trailing_zeros()),
    };
    for card in cards.iter() {
        if let Some(name) = card.name.strip_prefix("MP_") {
            if let Some(bit) = cards.integer(&card.name).and_then(|bit| u32::try_from(bit).ok()).filter(|&bit| bit < 64)
            {
                planes.push((bit, name.to_string()));
            }
        } else if let Some(number) = card.name.strip_prefix("MSKN") {
            let value = cards.integer(&format!("MSKM{number}")).and_then(single_bit);
            if let (Some(bit), Some(name)) = (value, cards.text(&card.name)) {
                planes.push((bit, name));
            }
        } else if let Some(name) = card.name.strip_prefix("MSK_FLAG_")
            && let Some(bit) = cards.integer(&card.name).and_then(single_bit)
        {
            planes.push((bit, name.to_string()));
        }
    }
    // Where the new cards are, old ones beside them are kept only for older readers.
    if cards.iter().any(|card| card.name.starts_with("MSKN")) {
        planes.retain(|(_, name)| {
            cards.iter().any(|card| card.name.starts_with("MSKN") && card.value == name.as_str().into())
        });
    }
    planes
}

/// Planes that, in a coadd, say that a defect was left out of the sum or repaired in one of its inputs.
const HARMLESS_IN_COADDS: [&str; 4] = ["CR", "COSMIC_RAY", "INTRP", "INTERPOLATED"];

/// How to read a mask plane with these cards. Notes say which planes had to be guessed.
pub fn scheme(
    cards: &Cards,
    dialect: MaskDialect,
    settings: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Result<MaskScheme, FitsError> {
    let overrides = overrides(settings)?;
    let mut planes = named_planes(cards);
    if planes.is_empty() && dialect == MaskDialect::EuclidVis {
        planes = EUCLID_VIS.iter().map(|(bit, name)| (*bit, (*name).to_string())).collect();
    }
    if dialect == MaskDialect::Decam && planes.is_empty() {
        // Codes since version 3.5 of the pipeline, bits before.
        let version = cards.text("PLVER").unwrap_or_default();
        if decam_uses_codes(&version) {
            let mut codes = DECAM_CODES.to_vec();
            for (code, meaning) in codes.iter_mut().enumerate() {
                if let Some(bits) = overrides.get(&format!("CODE{code}")) {
                    *meaning = *bits;
                }
            }
            return Ok(MaskScheme::Codes(codes));
        }
        let bits = DECAM_BITS
            .iter()
            .map(|&(bit, meaning)| (bit, overrides.get(&format!("BIT{bit}")).copied().unwrap_or(meaning)));
        return Ok(MaskScheme::Bits { bits: bits.collect(), other: mask::SUSPECT });
    }
    let named = !planes.is_empty();
    let coadd = planes.iter().any(|(_, name)| name == "INEXACT_PSF");
    let mut unknown = Vec::new();
    let mut bits: Vec<(u32, u16)> = Vec::new();
    for (bit, name) in &planes {
        let key = name.to_ascii_uppercase();
        let harmless = (coadd && HARMLESS_IN_COADDS.contains(&key.as_str())).then_some(0);
        let meaning = overrides.get(&key).copied().or(harmless).or_else(|| plane_meaning(name)).unwrap_or_else(|| {
            unknown.push(name.clone());
            0
        });
        bits.push((*bit, meaning));
    }
    for (name, meaning) in &overrides {
        if let Some(bit) = name.strip_prefix("BIT").and_then(|bit| bit.parse::<u32>().ok()) {
            bits.retain(|(known, _)| *known != bit);
            bits.push((bit, *meaning));
        }
    }
    if !unknown.is_empty() {
        notes.push(format!(
            "mask planes of unknown meaning are ignored: {} (set [read.mask_planes])",
            unknown.join(", ")
        ));
    }
    if !named && dialect == MaskDialect::Named {
        notes.push(
            "the mask names no planes: every non-zero pixel counts as SUSPECT unless [read.mask_planes] says otherwise"
                .into(),
        );
    }
    // A bit nobody names: ignored where others are named (surveys add planes), else any bit is a reason for distrust.
    let other = match (named, dialect) {
        (true, MaskDialect::Named) => 0,
        (_, MaskDialect::EuclidVis) => 0,
        _ => mask::SUSPECT,
    };
    Ok(MaskScheme::Bits { bits, other })
}

fn decam_uses_codes(version: &str) -> bool {
    let mut parts = version.trim_start_matches(['V', 'v']).split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    match (parts.next(), parts.next()) {
        (Some(major), minor) if major > 0 => (major, minor.unwrap_or(0)) >= (3, 5),
        // No version: a recent file.
        _ => true,
    }
}

/// Translates a plane of mask numbers.
pub fn translate(plane: &Array2<u64>, scheme: &MaskScheme) -> MaskPlane {
    match scheme {
        MaskScheme::Codes(codes) => plane
            .mapv(|code| usize::try_from(code).ok().and_then(|code| codes.get(code)).copied().unwrap_or(mask::SUSPECT)),
        MaskScheme::Bits { bits, other } => {
            let listed = bits.iter().fold(0_u64, |sum, (bit, _)| sum | 1_u64.checked_shl(*bit).unwrap_or(0));
            plane.mapv(|value| {
                if value == 0 {
                    return 0;
                }
                let known = bits
                    .iter()
                    .filter(|(bit, _)| 1_u64.checked_shl(*bit).unwrap_or(0) & value != 0)
                    .fold(0, |sum, (_, meaning)| sum | meaning);
                if value & !listed != 0 { known | other } else { known }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(list: &[(&str, i64)]) -> Cards {
        let mut cards = Cards::new();
        for (name, value) in list {
            cards.push(name, *value, "");
        }
        cards
    }

    fn translated(cards: &Cards, dialect: MaskDialect, value: u64) -> u16 {
        let scheme = scheme(cards, dialect, &BTreeMap::new(), &mut Vec::new()).expect("a scheme");
        translate(&Array2::from_elem((1, 1), value), &scheme)[[0, 0]]
    }

    #[test]
    fn every_known_plane_is_listed_once() {
        for (i, (name, _)) in PLANES.iter().enumerate() {
            assert!(PLANES[i + 1..].iter().all(|(other, _)| other != name), "{name}");
        }
        assert!(EUCLID_VIS.iter().all(|(_, name)| plane_meaning(name).is_some()));
    }

    #[test]
    fn detected_planes_never_mask_and_impossible_bits_are_ignored() {
        let cards = cards(&[("MP_DETECTED", 5), ("MP_DETECTED_NEGATIVE", 6), ("MP_BAD", 99), ("MP_SAT", -1)]);
        assert_eq!(translated(&cards, MaskDialect::Named, u64::MAX), 0);
    }

    #[test]
    fn the_sign_bit_is_plane_31() {
        let mut cards = Cards::new();
        cards.push("MSKN0031", "BAD", "");
        cards.push("MSKM0031", -2_147_483_648_i64, "");
        assert_eq!(translated(&cards, MaskDialect::Named, i64::from(i32::MIN) as u64 & 0xffff_ffff), mask::BAD);
    }

    #[test]
    fn repairs_in_the_inputs_of_a_coadd_do_not_mask_it() {
        let visit = cards(&[("MP_CR", 0), ("MP_INTRP", 1)]);
        assert_eq!(translated(&visit, MaskDialect::Named, 3), mask::COSMIC_RAY | mask::BAD);
        let coadd = cards(&[("MP_CR", 0), ("MP_INTRP", 1), ("MP_INEXACT_PSF", 2)]);
        assert_eq!(translated(&coadd, MaskDialect::Named, 7), 0);
    }

    #[test]
    fn decam_changed_from_bits_to_codes() {
        let mut old = Cards::new();
        old.push("PLVER", "V3.2.1", "");
        assert_eq!(translated(&old, MaskDialect::Decam, 16 + 2), mask::COSMIC_RAY | mask::SATURATED);
        assert_eq!(translated(&old, MaskDialect::Decam, 256), mask::SUSPECT);
        assert_eq!(translated(&Cards::new(), MaskDialect::Decam, 5), mask::COSMIC_RAY);
        assert_eq!(translated(&Cards::new(), MaskDialect::Decam, 77), mask::SUSPECT);
        assert!(!decam_uses_codes("V3.4.9") && decam_uses_codes("V3.5.0") && decam_uses_codes("V4.8.2a"));
    }

    #[test]
    fn a_mask_without_names_is_distrusted_wholly() {
        let mut notes = Vec::new();
        let scheme = scheme(&Cards::new(), MaskDialect::Named, &BTreeMap::new(), &mut notes).expect("a scheme");
        assert_eq!(translate(&Array2::from_elem((1, 1), 64), &scheme)[[0, 0]], mask::SUSPECT);
        assert!(notes[0].contains("SUSPECT"));
    }
}
