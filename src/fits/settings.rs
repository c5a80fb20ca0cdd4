//! Section `[read]` of the configuration.

use std::collections::BTreeMap;

/// How exposures are read. Everything left out is taken from the file.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadSettings {
    /// HDU of the image: a name, `NAME,VERSION` or a number (0 = primary).
    pub image_hdu: Option<String>,
    /// HDU of the noise variance (image units squared); in the image's file unless a companion file is found.
    pub variance_hdu: Option<String>,
    /// HDU of the noise standard deviation (image units).
    pub rms_hdu: Option<String>,
    /// HDU of the weight (inverse variance).
    pub weight_hdu: Option<String>,
    /// HDU of the mask.
    pub mask_hdu: Option<String>,
    /// Companion files beside `X.fits`, tried in order; `{stem}` stands for the X.
    pub companions: Companions,
    /// What the survey's mask planes mean: plane name or bit number (`"BIT5"`) -> `BAD`, `SATURATED`, `COSMIC_RAY`,
    /// `NO_DATA`, `EDGE`, `SUSPECT` or `IGNORE`. Comes before the built-in table.
    pub mask_planes: BTreeMap<String, String>,
    /// AB magnitude of one image unit.
    pub zero_point: Option<f64>,
    /// Electrons per image unit.
    pub gain: Option<f64>,
    /// Image value at which pixels saturate.
    pub saturation: Option<f64>,
    /// Pixel scale, arcsec, where the file holds no world coordinates.
    pub pixel_scale: Option<f64>,
    /// Band name.
    pub band: Option<String>,
    /// Whether the sky has been subtracted already.
    pub background_subtracted: Option<bool>,
    /// Largest image read, pixels.
    pub max_pixels: u64,
    /// Most that a gzipped file may inflate to, bytes (it is inflated into memory).
    pub max_gzip_bytes: u64,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            image_hdu: None,
            variance_hdu: None,
            rms_hdu: None,
            weight_hdu: None,
            mask_hdu: None,
            companions: Companions::default(),
            mask_planes: BTreeMap::new(),
            zero_point: None,
            gain: None,
            saturation: None,
            pixel_scale: None,
            band: None,
            background_subtracted: None,
            max_pixels: 400_000_000,
            max_gzip_bytes: 2_000_000_000,
        }
    }
}

/// Names of companion files; each list is tried in order.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Companions {
    /// Variance files.
    pub variance: Vec<String>,
    /// RMS (standard deviation) files.
    pub rms: Vec<String>,
    /// Weight (inverse variance) files.
    pub weight: Vec<String>,
    /// Mask files.
    pub mask: Vec<String>,
}

impl Default for Companions {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Self {
            variance: list(&["{stem}.var.fits", "{stem}_var.fits", "{stem}.variance.fits"]),
            rms: list(&["{stem}.rms.fits", "{stem}_rms.fits", "{stem}-RMS.fits", "{stem}.err.fits"]),
            weight: list(&["{stem}.weight.fits", "{stem}_weight.fits", "{stem}.wht.fits", "{stem}_wht.fits"]),
            mask: list(&[
                "{stem}.mask.fits",
                "{stem}_mask.fits",
                "{stem}.flag.fits",
                "{stem}_flag.fits",
                "{stem}_dq.fits",
            ]),
        }
    }
}
