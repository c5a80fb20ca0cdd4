//! Every catalogue column, declared once: field, unit, UCD, meaning. [`CatalogRow`], both file formats, the documentation and
//! `stillair columns` are made from this list.

use std::sync::Arc;

use super::Flags;

/// How a column is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit float; missing values are NaN in memory and in FITS, null in Parquet.
    Float,
    /// 64-bit integer, never missing.
    Integer,
    /// 32-bit integer; a missing value is [`MISSING_INT`] in FITS (card `TNULL`), null in Parquet.
    Small,
    /// Text; a missing value is blank in FITS, null in Parquet.
    Text,
}

impl Kind {
    /// Name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float64",
            Self::Integer => "int64",
            Self::Small => "int32",
            Self::Text => "text",
        }
    }
}

/// Value of a missing 32-bit integer in FITS.
pub const MISSING_INT: i32 = -1;

/// What a column is measured in. Some units depend on what is known of the exposure: see [`Units`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A pure number or a label.
    None,
    /// Degrees on the sky.
    Degree,
    /// Detector pixels.
    Pixel,
    /// nJy with a zero point, else image units.
    Flux,
    /// AB magnitudes.
    Magnitude,
    /// arcsec where the pixel scale is known, else pixels.
    Angle,
    /// arcsec squared where the pixel scale is known, else pixels squared.
    Area,
}

/// The units that depend on the exposure.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Units {
    /// Unit of the fluxes as a FITS unit string: `nJy` where a zero point is known, else the image's own (`adu`, `electron` or empty).
    pub flux: String,
    /// Whether sizes and second moments are in arcsec (the pixel scale is known) or in pixels.
    pub angular: bool,
}

impl Default for Units {
    fn default() -> Self {
        Self { flux: "nJy".into(), angular: true }
    }
}

impl Units {
    /// The unit as a FITS unit string (which VOUnits and astropy read too); empty for a pure number.
    pub fn text(&self, unit: Unit) -> &str {
        match unit {
            Unit::None => "",
            Unit::Degree => "deg",
            Unit::Pixel => "pixel",
            Unit::Flux => &self.flux,
            Unit::Magnitude => "mag",
            Unit::Angle if self.angular => "arcsec",
            Unit::Angle => "pixel",
            Unit::Area if self.angular => "arcsec**2",
            Unit::Area => "pixel**2",
        }
    }
}

/// One cell of a row, as the writers see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// For [`Kind::Float`]; NaN = missing.
    Float(f64),
    /// For [`Kind::Integer`].
    Integer(i64),
    /// For [`Kind::Small`].
    Small(Option<i32>),
    /// For [`Kind::Text`].
    Text(Option<Arc<str>>),
}

/// A column: what to call it, what it means, how to take it out of a row and put it back.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name in every format.
    pub name: &'static str,
    /// Storage.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// IVOA Unified Content Descriptor (UCD1+).
    pub ucd: &'static str,
    /// Meaning, one phrase.
    pub description: &'static str,
    /// The row's value.
    pub get: fn(&CatalogRow) -> Value,
    /// Sets the row's value; a value of another kind is left out.
    pub set: fn(&mut CatalogRow, Value),
}

/// A Rust type that can stand in a row.
trait Cell {
    const KIND: Kind;
    fn missing() -> Self;
    fn get(&self) -> Value;
    fn set(&mut self, value: Value);
}

impl Cell for f64 {
    const KIND: Kind = Kind::Float;
    fn missing() -> Self {
        f64::NAN
    }
    fn get(&self) -> Value {
        Value::Float(*self)
    }
    fn set(&mut self, value: Value) {
        if let Value::Float(v) = value {
            *self = v;
        }
    }
}

impl Cell for i64 {
    const KIND: Kind = Kind::Integer;
    fn missing() -> Self {
        0
    }
    fn get(&self) -> Value {
        Value::Integer(*self)
    }
    fn set(&mut self, value: Value) {
        if let Value::Integer(v) = value {
            *self = v;
        }
    }
}

impl Cell for Option<i32> {
    const KIND: Kind = Kind::Small;
    fn missing() -> Self {
        None
    }
    fn get(&self) -> Value {
        Value::Small(*self)
    }
    fn set(&mut self, value: Value) {
        if let Value::Small(v) = value {
            *self = v;
        }
    }
}

impl Cell for Flags {
    const KIND: Kind = Kind::Small;
    fn missing() -> Self {
        Flags::empty()
    }
    fn get(&self) -> Value {
        Value::Small(Some(self.bits().cast_signed()))
    }
    fn set(&mut self, value: Value) {
        if let Value::Small(Some(v)) = value {
            *self = Flags::from_bits_retain(v.cast_unsigned());
        }
    }
}

impl Cell for Option<Arc<str>> {
    const KIND: Kind = Kind::Text;
    fn missing() -> Self {
        None
    }
    fn get(&self) -> Value {
        Value::Text(self.clone())
    }
    fn set(&mut self, value: Value) {
        if let Value::Text(v) = value {
            *self = v;
        }
    }
}

macro_rules! columns {
    ($($name:ident: $type:ty, $unit:ident, $ucd:literal, $description:literal;)*) => {
        /// One object of the catalogue. Missing floats are NaN. Positions and sizes are in the units of the file:
        /// `x`, `y` are FITS pixels (centre of the first pixel = 1); fluxes and angles follow [`Units`].
        #[derive(Debug, Clone, PartialEq)]
        pub struct CatalogRow {
            $(#[doc = $description] pub $name: $type,)*
        }

        impl CatalogRow {
            /// A row of which nothing is known but its identifier: every other value is missing, no flag set.
            pub fn empty(id: i64) -> Self {
                let mut row = Self { $($name: <$type as Cell>::missing(),)* };
                row.id = id;
                row
            }
        }

        /// Every column, in file order.
        pub const COLUMNS: &[Column] = &[$(
            Column {
                name: stringify!($name),
                kind: <$type as Cell>::KIND,
                unit: Unit::$unit,
                ucd: $ucd,
                description: $description,
                get: |row| Cell::get(&row.$name),
                set: |row, value| Cell::set(&mut row.$name, value),
            },
        )*];
    };
}

columns! {
    id: i64, None, "meta.id;meta.main", "object identifier: order of detection from 1, or the given catalogue's own";
    ra: f64, Degree, "pos.eq.ra;meta.main", "right ascension of the object's centre, in the frame of the image's WCS";
    dec: f64, Degree, "pos.eq.dec;meta.main", "declination of the object's centre, in the frame of the image's WCS";
    x: f64, Pixel, "pos.cartesian.x;instr.det", "column of the object's centre, FITS pixels (centre of the first pixel = 1)";
    y: f64, Pixel, "pos.cartesian.y;instr.det", "row of the object's centre, FITS pixels (centre of the first pixel = 1)";
    band: Option<Arc<str>>, None, "instr.bandpass", "band (filter) of the exposure";
    flux: f64, Flux, "phot.flux.density", "total flux: profile fit to the observed pixels, others' light taken off, corrected for flux bias";
    flux_err: f64, Flux, "stat.error;phot.flux.density", "standard error of flux";
    mag: f64, Magnitude, "phot.mag", "AB magnitude of flux; missing where flux <= 0 or no zero point is known";
    mag_err: f64, Magnitude, "stat.error;phot.mag", "standard error of mag";
    flux_observed: f64, Flux, "phot.flux.density", "flux on the input image in an elliptical (Kron) aperture, before deconvolution";
    flux_observed_err: f64, Flux, "stat.error;phot.flux.density", "standard error of flux_observed";
    amplitude: f64, None, "stat.fit.param", "maximum-likelihood factor that brings the re-convolved model to the observed pixels";
    amplitude_err: f64, None, "stat.error;stat.fit.param", "standard error of amplitude";
    bias_correction: f64, None, "arith.factor", "factor applied to flux for flux bias (1 = none)";
    snr: f64, None, "stat.snr", "signal-to-noise ratio: flux over the error that pixel noise and sky alone leave for its profile";
    ixx: f64, Area, "src.morph.param", "second moment along x (columns) (adaptive) of the object as seen with the target PSF";
    iyy: f64, Area, "src.morph.param", "second moment along y (rows) (adaptive) of the object as seen with the target PSF";
    ixy: f64, Area, "src.morph.param", "mixed second moment (adaptive) of the object as seen with the target PSF";
    e1: f64, None, "src.ellipticity", "ellipticity along the pixel axes: (ixx - iyy) / (ixx + iyy)";
    e1_err: f64, None, "stat.error;src.ellipticity", "standard error of e1";
    e2: f64, None, "src.ellipticity", "ellipticity along the diagonals: 2 ixy / (ixx + iyy)";
    e2_err: f64, None, "stat.error;src.ellipticity", "standard error of e2";
    half_light_radius: f64, Angle, "phys.angSize;src", "radius that holds half of the flux, as seen with the target PSF";
    psf_fwhm: f64, Angle, "instr.obsty.seeing", "full width at half maximum of the observed PSF at the object";
    psf_e1: f64, None, "instr.det.psf", "ellipticity of the observed PSF at the object, along the pixel axes";
    psf_e2: f64, None, "instr.det.psf", "ellipticity of the observed PSF at the object, along the diagonals";
    lambda: f64, None, "stat.param", "strength of the Tikhonov step";
    chi2_reduced: f64, None, "stat.fit.chi2", "reduced chi-square of the observed pixels about the re-convolved model";
    residual_correlation: f64, None, "stat.correlation", "correlation of neighbouring pixels in the residual (0 for white noise)";
    false_structure: f64, None, "stat.fit.goodness", "share of the model's small-scale structure that the observed pixels reject (0 to 1)";
    stamp_size: Option<i32>, Pixel, "meta.number", "side of the object's stamp in detector pixels: it lies in stamps_<side>.fits; missing where none was cut";
    network: Option<Arc<str>>, None, "meta.id", "network that sharpened the stamp; missing where none ran";
    network_sha: Option<Arc<str>>, None, "meta.checksum", "SHA-256 of the network's ONNX file";
    flags: Flags, None, "meta.code.qual", "sum of the row flags; 0 means nothing to report";
}

/// The column of that name.
pub fn column(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|c| c.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_column_says_what_it_is() {
        for (i, c) in COLUMNS.iter().enumerate() {
            assert!(COLUMNS[..i].iter().all(|other| other.name != c.name), "{} twice", c.name);
            assert!(!c.ucd.is_empty() && !c.description.is_empty(), "{}", c.name);
            assert!(c.description.is_ascii(), "FITS cards are ASCII: {}", c.name);
        }
    }

    #[test]
    fn every_flag_fits_a_positive_32_bit_integer() {
        for (bit, name, meaning) in crate::catalog::flags::FLAG_TABLE {
            assert!(*bit < 31, "{name}");
            assert!(meaning.is_ascii() && name.len() <= 24, "{name}");
        }
    }

    #[test]
    fn what_is_taken_out_goes_back() {
        let mut row = CatalogRow::empty(7);
        row.flux = 12.5;
        row.band = Some("r".into());
        row.flags = Flags::EDGE | Flags::NO_WCS;
        let mut copy = CatalogRow::empty(0);
        for c in COLUMNS {
            (c.set)(&mut copy, (c.get)(&row));
        }
        assert_eq!((copy.id, copy.flux, copy.band, copy.flags), (7, 12.5, Some("r".into()), row.flags));
        assert!(copy.ra.is_nan() && copy.network.is_none());
    }

    #[test]
    fn units_follow_what_is_known() {
        let calibrated = Units::default();
        assert_eq!((calibrated.text(Unit::Flux), calibrated.text(Unit::Area)), ("nJy", "arcsec**2"));
        let bare = Units { flux: "adu".into(), angular: false };
        assert_eq!(
            (bare.text(Unit::Flux), bare.text(Unit::Area), bare.text(Unit::Angle)),
            ("adu", "pixel**2", "pixel")
        );
    }
}
