//! Data of `org.stillair.exposure.available.v1`: who the exposure is and where its pixels lie.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An exposure that can be processed now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExposureAvailable {
    /// Who it is.
    pub identity: Identity,
    /// What was observed.
    #[serde(default)]
    pub observation: Observation,
    /// Where its planes lie.
    pub data: DataFiles,
    /// What is known better than the files' headers say; wins over them.
    #[serde(default)]
    pub calibration: Calibration,
    /// Objects to deconvolve; without it they are found.
    #[serde(default)]
    pub catalog: Option<CatalogRef>,
    /// PSF to use; without it one is fitted.
    #[serde(default)]
    pub psf: Option<PsfRef>,
    /// Greater is more urgent; carried through, not acted upon.
    #[serde(default)]
    pub priority: Option<i64>,
    /// The catalogue is worthless after this time, RFC 3339: an exposure not finished by then has failed.
    #[serde(default)]
    pub deadline: Option<String>,
    /// Subject on which the answer (ready or failed) is said as well.
    #[serde(default)]
    pub reply_to: Option<String>,
}

/// Who an exposure is. `instrument`, `exposure_id`, `detector` and `version` make its key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Instrument ("LSSTCam", "VIS").
    pub instrument: String,
    /// Exposure, as text or number.
    #[serde(deserialize_with = "text_or_number")]
    #[schemars(with = "TextOrNumber")]
    pub exposure_id: String,
    /// Detector within the focal plane, as text or number.
    #[serde(default, deserialize_with = "optional_text_or_number")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub detector: Option<String>,
    /// Raised when the same exposure is said again with other pixels or calibration.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Visit.
    #[serde(default, deserialize_with = "optional_text_or_number")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub visit_id: Option<String>,
    /// Exposures to be treated together (bands of one field).
    #[serde(default, deserialize_with = "optional_text_or_number")]
    #[schemars(with = "Option<TextOrNumber>")]
    pub group_id: Option<String>,
    /// Night, YYYYMMDD.
    #[serde(default)]
    pub day_obs: Option<u32>,
    /// Survey.
    #[serde(default)]
    pub survey: Option<String>,
    /// Processing run or release.
    #[serde(default)]
    pub run: Option<String>,
}

impl Identity {
    /// `instrument/exposure/detector/version`: the same for everything that is said of the same exposure.
    pub fn key(&self) -> String {
        format!("{}/{}/{}/{}", self.instrument, self.exposure_id, self.detector.as_deref().unwrap_or("-"), self.version)
    }

    /// Name of its folder in the archive, before characters that a folder cannot have are replaced.
    pub fn archive_name(&self) -> String {
        let mut name = format!("{}-{}", self.instrument, self.exposure_id);
        if let Some(detector) = &self.detector {
            name = format!("{name}-{detector}");
        }
        if self.version == 1 { name } else { format!("{name}-v{}", self.version) }
    }
}

/// What was observed, as far as the sender knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// Band ("r", "VIS").
    #[serde(default)]
    pub band: Option<String>,
    /// Filter in the beam.
    #[serde(default)]
    pub physical_filter: Option<String>,
    /// Middle of the exposure, MJD, TAI.
    #[serde(default)]
    pub mid_time_mjd_tai: Option<f64>,
    /// Exposure time, s.
    #[serde(default)]
    pub exptime_s: Option<f64>,
    /// Where the telescope pointed.
    #[serde(default)]
    pub boresight: Option<SkyPosition>,
    /// Rotation of the camera on the sky, degrees.
    #[serde(default)]
    pub rot_sky_deg: Option<f64>,
    /// Outline, STC-S.
    #[serde(default)]
    pub s_region: Option<String>,
}

/// A place on the sky, ICRS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SkyPosition {
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
}

/// The files of an exposure. Planes that are not named are looked for in the image's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataFiles {
    /// Layout tag, for the sender's own use: layouts are recognised by what is in the file.
    #[serde(default)]
    pub format: Option<String>,
    /// The image.
    pub image: DataRef,
    /// Its variance.
    #[serde(default)]
    pub variance: Option<DataRef>,
    /// Or its standard deviation.
    #[serde(default)]
    pub rms: Option<DataRef>,
    /// Or its weight (inverse variance).
    #[serde(default)]
    pub weight: Option<DataRef>,
    /// Its mask.
    #[serde(default)]
    pub mask: Option<DataRef>,
    /// Sky level to subtract, in image units.
    #[serde(default)]
    pub background: Option<DataRef>,
    /// Names (or `BITn`) of mask planes that mean "do not use this pixel".
    #[serde(default)]
    pub bad_mask_planes: Vec<String>,
}

/// A file and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataRef {
    /// `file:`, `s3:`, `http:`, `https:` or `nats-object:`.
    pub uri: String,
    /// HDU: a name, `NAME,VERSION` or a number (0 = primary).
    #[serde(default)]
    pub hdu: Option<HduRef>,
    /// What the plane means, for the sender's own use.
    #[serde(default)]
    pub semantics: Option<String>,
    /// Length, bytes; checked where given.
    #[serde(default)]
    pub size: Option<u64>,
    /// `sha256:HEX`; checked where given.
    #[serde(default)]
    pub checksum: Option<String>,
}

/// An HDU by name or number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HduRef {
    /// Position in the file, 0 = primary.
    Number(u32),
    /// EXTNAME, or `EXTNAME,EXTVER`.
    Name(String),
}

impl std::fmt::Display for HduRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

/// What is known better than the headers say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// AB magnitude of one image unit.
    #[serde(default)]
    pub zero_point_ab: Option<f64>,
    /// Electrons per image unit.
    #[serde(default)]
    pub gain: Option<f64>,
    /// Image value at which pixels saturate.
    #[serde(default)]
    pub saturation: Option<f64>,
    /// Unit of the image, for the sender's own use.
    #[serde(default)]
    pub bunit: Option<String>,
    /// Pixel scale, arcsec, where the file holds no world coordinates.
    #[serde(default)]
    pub pixel_scale: Option<f64>,
    /// Whether the sky has been subtracted already.
    #[serde(default)]
    pub background_subtracted: Option<bool>,
    /// Whether the variance holds the sources' own noise; carried through, found out from the plane itself.
    #[serde(default)]
    pub variance_includes_source: Option<bool>,
}

/// A catalogue of objects to deconvolve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogRef {
    /// The file.
    #[serde(flatten)]
    pub file: DataRef,
    /// Which of its columns are meant: `id`, `ra`, `dec`, `x`, `y` -> the catalogue's name.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
}

/// A PSF model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PsfRef {
    /// The file.
    #[serde(flatten)]
    pub file: DataRef,
    /// Format tag, for the sender's own use: formats are recognised by what is in the file.
    #[serde(default)]
    pub format: Option<String>,
    /// Row of a table of PSFs, counted from 0.
    #[serde(default)]
    pub row: Option<usize>,
}

fn first_version() -> u32 {
    1
}

/// Identifiers that some surveys write as numbers.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum TextOrNumber {
    Number(i64),
    Text(String),
}

impl From<TextOrNumber> for String {
    fn from(value: TextOrNumber) -> Self {
        match value {
            TextOrNumber::Number(number) => number.to_string(),
            TextOrNumber::Text(text) => text,
        }
    }
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    TextOrNumber::deserialize(deserializer).map(String::from)
}

fn optional_text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<TextOrNumber>::deserialize(deserializer)?.map(String::from))
}
