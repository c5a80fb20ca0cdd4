//! A celestial world coordinate solution, evaluated by the `fits-well` crate (golden test against astropy in `tests/reading.rs`).

use fits_well::header::Header;

use super::cards::{CardValue, Cards};
use crate::failure::{Classify, FailureKind};

/// Why a header gives no world coordinates.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SkyError {
    /// No celestial axis pair among the first two axes.
    #[error("no celestial axes: CTYPE1 = {0:?}, CTYPE2 = {1:?}")]
    NotCelestial(String, String),
    /// Celestial, but not right ascension and declination.
    #[error("axes are {0} and {1}, not right ascension and declination: convert the header to RA/Dec")]
    NotEquatorial(String, String),
    /// The cards contradict each other or a needed one is missing.
    #[error("unusable WCS cards: {0}")]
    Cards(String),
    /// The solution is not finite or has no area at the reference pixel.
    #[error("degenerate WCS: the scale at the reference pixel is {0} arcsec per pixel")]
    Degenerate(f64),
}

impl Classify for SkyError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}

/// A celestial world coordinate solution (TAN, SIP, TPV). Pixels are 0-based here.
#[derive(Debug, Clone)]
pub struct Wcs {
    inner: fits_well::wcs::Wcs,
    cards: Cards,
    /// Whether axis 1 is declination.
    swapped: bool,
}

const ARCSEC_PER_DEGREE: f64 = 3600.0;

impl Wcs {
    /// The solution of the first two image axes, from a header's cards (others are ignored, and so are alternate
    /// descriptions such as LSST's "A", which holds the pixel offset of a cut-out).
    ///
    /// A TAN header with SCAMP's polynomial in `PVi_m` is read as TPV, which is what SCAMP means by it.
    pub fn from_cards(cards: &Cards) -> Result<Self, SkyError> {
        let used = wcs_cards(cards);
        let ctype = |axis: u8| used.text(&format!("CTYPE{axis}")).unwrap_or_default();
        let (first, second) = (ctype(1), ctype(2));
        let swapped = match (family(&first), family(&second)) {
            (Some(Axis::Ra), Some(Axis::Dec)) => false,
            (Some(Axis::Dec), Some(Axis::Ra)) => true,
            (Some(_), Some(_)) => return Err(SkyError::NotEquatorial(first, second)),
            _ => return Err(SkyError::NotCelestial(first, second)),
        };
        let used = scamp_to_tpv(used, &first, &second, swapped);
        let header = header_of(&used).map_err(|error| SkyError::Cards(error.to_string()))?;
        let inner =
            fits_well::wcs::Wcs::from_header(&header, None).map_err(|error| SkyError::Cards(error.to_string()))?;
        let wcs = Self { inner, cards: used, swapped };
        let x = wcs.cards.real("CRPIX1").unwrap_or(0.0) - 1.0;
        let y = wcs.cards.real("CRPIX2").unwrap_or(0.0) - 1.0;
        let scale = wcs.pixel_scale(x, y);
        // A pixel of a microarcsecond or of ten degrees is no image of the sky.
        if !(1e-6..36_000.0).contains(&scale) {
            return Err(SkyError::Degenerate(scale));
        }
        Ok(wcs)
    }

    /// A gnomonic (TAN) solution: `crval` = (ra, dec) in degrees at the 0-based pixel `crpix`;
    /// `cd` = [[d xi/dx, d xi/dy], [d eta/dx, d eta/dy]] in degrees per pixel.
    pub fn tan(crval: (f64, f64), crpix: (f64, f64), cd: [[f64; 2]; 2]) -> Result<Self, SkyError> {
        let mut cards = Cards::new();
        cards.push("CTYPE1", "RA---TAN", "gnomonic projection");
        cards.push("CTYPE2", "DEC--TAN", "gnomonic projection");
        cards.push("CUNIT1", "deg", "");
        cards.push("CUNIT2", "deg", "");
        cards.push("CRVAL1", crval.0, "[deg] right ascension at the reference pixel");
        cards.push("CRVAL2", crval.1, "[deg] declination at the reference pixel");
        cards.push("CRPIX1", crpix.0 + 1.0, "[pixel] reference pixel, axis 1");
        cards.push("CRPIX2", crpix.1 + 1.0, "[pixel] reference pixel, axis 2");
        cards.push("CD1_1", cd[0][0], "[deg/pixel]");
        cards.push("CD1_2", cd[0][1], "[deg/pixel]");
        cards.push("CD2_1", cd[1][0], "[deg/pixel]");
        cards.push("CD2_2", cd[1][1], "[deg/pixel]");
        cards.push("RADESYS", "ICRS", "frame of right ascension and declination");
        Self::from_cards(&cards)
    }

    /// The cards of this solution (FITS pixels, 1-based), to be written into a header.
    pub fn to_cards(&self) -> Cards {
        self.cards.clone()
    }

    /// The solution of a cut-out whose pixel (0, 0) is this image's pixel `(x0, y0)`.
    pub fn shifted(&self, x0: f64, y0: f64) -> Result<Self, SkyError> {
        let mut cards = self.cards.clone();
        for (name, offset) in [("CRPIX1", x0), ("CRPIX2", y0)] {
            let value = cards.real(name).unwrap_or(0.0) - offset;
            cards.set(name, value, "[pixel] reference pixel");
        }
        Self::from_cards(&cards)
    }

    /// Sky position (ra, dec) in degrees of a 0-based pixel position; (NaN, NaN) where the projection has no solution.
    pub fn pixel_to_sky(&self, x: f64, y: f64) -> (f64, f64) {
        let mut world = [f64::NAN; 2];
        if self.inner.pixel_to_world(&[x + 1.0, y + 1.0], &mut world).is_err() {
            return (f64::NAN, f64::NAN);
        }
        if self.swapped { (world[1], world[0]) } else { (world[0], world[1]) }
    }

    /// 0-based pixel position of a sky position in degrees; `None` where the projection has no solution.
    pub fn sky_to_pixel(&self, ra: f64, dec: f64) -> Option<(f64, f64)> {
        let world = if self.swapped { [dec, ra] } else { [ra, dec] };
        let mut pixel = [f64::NAN; 2];
        self.inner.world_to_pixel(&world, &mut pixel).ok()?;
        let (x, y) = (pixel[0] - 1.0, pixel[1] - 1.0);
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }

    /// Local Jacobian at a pixel: [[d xi/dx, d xi/dy], [d eta/dx, d eta/dy]] in arcsec per pixel,
    /// xi towards east (+ra cos dec), eta towards north. NaN where the projection has no solution.
    pub fn jacobian(&self, x: f64, y: f64) -> [[f64; 2]; 2] {
        // Central difference over one pixel: distortions vary over hundreds of pixels.
        let centre = self.pixel_to_sky(x, y);
        let at = |dx: f64, dy: f64| tangent(centre, self.pixel_to_sky(x + dx, y + dy));
        let (right, left, up, down) = (at(0.5, 0.0), at(-0.5, 0.0), at(0.0, 0.5), at(0.0, -0.5));
        [[right.0 - left.0, up.0 - down.0], [right.1 - left.1, up.1 - down.1]]
    }

    /// Square root of the pixel's area on the sky, arcsec.
    pub fn pixel_scale(&self, x: f64, y: f64) -> f64 {
        let j = self.jacobian(x, y);
        (j[0][0] * j[1][1] - j[0][1] * j[1][0]).abs().sqrt()
    }
}

/// Gnomonic offsets (east, north) in arcsec of `point` from `centre`, both (ra, dec) in degrees.
fn tangent(centre: (f64, f64), point: (f64, f64)) -> (f64, f64) {
    let dra = (point.0 - centre.0).to_radians();
    let (sin0, cos0) = centre.1.to_radians().sin_cos();
    let (sin1, cos1) = point.1.to_radians().sin_cos();
    // cos0 sin1 - sin0 cos1 cos(dra), written so that nothing cancels for close points.
    let haversine = (0.5 * dra).sin().powi(2);
    let north = (point.1 - centre.1).to_radians().sin() + 2.0 * sin0 * cos1 * haversine;
    let depth = sin0 * sin1 + cos0 * cos1 * dra.cos();
    let arcsec = ARCSEC_PER_DEGREE.to_degrees() / depth;
    (cos1 * dra.sin() * arcsec, north * arcsec)
}

#[derive(PartialEq)]
enum Axis {
    Ra,
    Dec,
    OtherCelestial,
}

/// What a `CTYPE` names, if it names a projected celestial axis.
fn family(ctype: &str) -> Option<Axis> {
    let (head, code) = ctype.split_once('-')?;
    if code.trim_matches('-').is_empty() {
        return None;
    }
    match head {
        "RA" => Some(Axis::Ra),
        "DEC" => Some(Axis::Dec),
        _ if head.ends_with("LON") || head.ends_with("LAT") => Some(Axis::OtherCelestial),
        _ => None,
    }
}

/// The cards that describe the first two axes, in a fixed set: anything else in a header cannot disturb the solution.
fn wcs_cards(cards: &Cards) -> Cards {
    let mut used = Cards::new();
    for card in cards.iter() {
        if !is_wcs_name(&card.name) || used.get(&card.name).is_some() {
            continue;
        }
        let numeric = cards.real(&card.name);
        let value = match (&card.value, numeric) {
            (CardValue::Text(text), _) if is_text_name(&card.name) => CardValue::Text(text.trim().to_string()),
            (_, _) if is_text_name(&card.name) => continue,
            (CardValue::Integer(value), _) => CardValue::Integer(*value),
            (_, Some(value)) => CardValue::Real(value),
            (_, None) => continue,
        };
        used.push(&card.name, value, &card.comment);
    }
    used
}

fn is_text_name(name: &str) -> bool {
    name.starts_with("CTYPE") || name.starts_with("CUNIT") || name == "RADESYS"
}

/// Whether the keyword belongs to the primary description of axes 1 and 2.
fn is_wcs_name(name: &str) -> bool {
    const PLAIN: [&str; 19] = [
        "CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "CROTA1",
        "CROTA2", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "PC1_1", "PC1_2", "PC2_1",
    ];
    if PLAIN.contains(&name) || name == "PC2_2" || matches!(name, "CD1_1" | "CD1_2" | "CD2_1" | "CD2_2") {
        return true;
    }
    let digits = |text: &str| !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = name.strip_prefix("PV1_").or_else(|| name.strip_prefix("PV2_")) {
        return digits(rest);
    }
    let Some((root, rest)) = name.split_once('_') else { return false };
    matches!(root, "A" | "B" | "AP" | "BP")
        && (rest == "ORDER" || rest.split_once('_').is_some_and(|(p, q)| digits(p) && digits(q)))
}

/// SCAMP writes its distortion polynomial as `PVi_m` under the plain TAN code; the registered name of that is TPV.
/// Plain TAN takes no `PVi_m` on the latitude axis and none above 4 on the longitude axis, so those mark it.
fn scamp_to_tpv(mut cards: Cards, first: &str, second: &str, swapped: bool) -> Cards {
    let plain_tan = first.ends_with("-TAN") && second.ends_with("-TAN");
    if !plain_tan || cards.get("A_ORDER").is_some() || cards.get("B_ORDER").is_some() {
        return cards;
    }
    let latitude_axis = if swapped { "PV1_" } else { "PV2_" };
    let marks = cards.iter().any(|card| {
        card.name.starts_with(latitude_axis)
            || card
                .name
                .strip_prefix("PV")
                .and_then(|rest| rest.split_once('_'))
                .is_some_and(|(_, m)| m.parse::<u32>().is_ok_and(|m| m > 4))
    });
    if marks {
        for (name, ctype) in [("CTYPE1", first), ("CTYPE2", second)] {
            cards.set(name, format!("{}-TPV", ctype.trim_end_matches("-TAN")), "");
        }
    }
    cards
}

fn header_of(cards: &Cards) -> Result<Header, fits_well::FitsError> {
    let mut header = Header::new();
    header.set("WCSAXES", 2_i64)?;
    for card in cards.iter() {
        let name = card.name.as_str();
        match &card.value {
            CardValue::Integer(value) => header.set(name, *value)?,
            CardValue::Real(value) => header.set(name, *value)?,
            CardValue::Text(value) => header.set(name, value.as_str())?,
            CardValue::Logical(value) => header.set(name, *value)?,
        };
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simple() -> Wcs {
        let s = 0.2 / 3600.0;
        Wcs::tan((150.0, 2.0), (99.5, 49.5), [[-s, 0.0], [0.0, s]]).expect("a plain TAN")
    }

    #[test]
    fn reference_pixel_is_the_reference_position() {
        let (ra, dec) = simple().pixel_to_sky(99.5, 49.5);
        assert!((ra - 150.0).abs() < 1e-12 && (dec - 2.0).abs() < 1e-12);
    }

    #[test]
    fn jacobian_of_a_tan_is_its_matrix_in_arcsec() {
        let j = simple().jacobian(99.5, 49.5);
        assert!((j[0][0] + 0.2).abs() < 1e-8 && (j[1][1] - 0.2).abs() < 1e-8, "{j:?}");
        assert!(j[0][1].abs() < 1e-8 && j[1][0].abs() < 1e-8, "{j:?}");
        assert!((simple().pixel_scale(99.5, 49.5) - 0.2).abs() < 1e-8);
    }

    #[test]
    fn cards_round_trip_and_shift() {
        let wcs = simple();
        let again = Wcs::from_cards(&wcs.to_cards()).expect("own cards");
        assert_eq!(wcs.pixel_to_sky(3.0, 80.0), again.pixel_to_sky(3.0, 80.0));
        let cut = wcs.shifted(10.0, 20.0).expect("shift");
        let (a, b) = (wcs.pixel_to_sky(13.0, 25.0), cut.pixel_to_sky(3.0, 5.0));
        assert!((a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12);
    }

    #[test]
    fn headers_without_a_sky_are_refused() {
        let mut cards = Cards::new();
        cards.push("CTYPE1", "", "");
        cards.push("CDELT1", 1.0, "");
        assert!(matches!(Wcs::from_cards(&cards), Err(SkyError::NotCelestial(..))));
        let mut cards = simple().to_cards();
        cards.set("CTYPE1", "GLON-TAN", "");
        cards.set("CTYPE2", "GLAT-TAN", "");
        assert!(matches!(Wcs::from_cards(&cards), Err(SkyError::NotEquatorial(..))));
        let mut cards = simple().to_cards();
        cards.set("CD1_1", 0.0, "");
        assert!(Wcs::from_cards(&cards).is_err());
    }

    #[test]
    fn declination_first_is_understood() {
        let mut cards = simple().to_cards();
        for (name, value) in [("CTYPE1", "DEC--TAN"), ("CTYPE2", "RA---TAN")] {
            cards.set(name, value, "");
        }
        cards.set("CRVAL1", 2.0, "");
        cards.set("CRVAL2", 150.0, "");
        let wcs = Wcs::from_cards(&cards).expect("swapped axes");
        let (ra, dec) = wcs.pixel_to_sky(99.5, 49.5);
        assert!((ra - 150.0).abs() < 1e-12 && (dec - 2.0).abs() < 1e-12);
        let (x, y) = wcs.sky_to_pixel(ra, dec).expect("inverse");
        assert!((x - 99.5).abs() < 1e-9 && (y - 49.5).abs() < 1e-9);
    }
}
