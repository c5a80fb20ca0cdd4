//! The card of a network, `card.toml`: what goes in, what comes out, where it holds. Unknown keys are errors.

use std::path::Path;

use super::error::NetworkError;

/// A plane that a network can be given, as one channel of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaneKind {
    /// Tikhonov estimate, divided by the scale.
    Tikhonov,
    /// Effective PSF on the target grid, unit sum, centred on n / 2; not scaled.
    Psf,
    /// Noise per pixel of the Tikhonov estimate, divided by the scale, in every pixel.
    NoiseSigma,
    /// Noise per pixel of the observed sky, divided by the scale, in every pixel.
    SkySigma,
    /// Tikhonov estimate with [`crate::deconv::STRENGTH_RATIO`] times less smoothing, divided by the scale.
    TikhonovSharper,
    /// Tikhonov estimate with that much more smoothing, divided by the scale.
    TikhonovSmoother,
    /// The observed image on the target grid, flux per target pixel, divided by the scale.
    Observed,
    /// The observed image correlated with the PSF, divided by the scale.
    PsfCorrelated,
    /// The observed image filtered with the inverse PSF, bounded where the PSF lets little through, divided by the scale.
    InversePsf,
    /// That, smoothed with a round Gaussian of standard deviation 5 target pixels.
    InversePsfSmoothed,
}

/// A number per object that a network can be given as an input of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScalarKind {
    /// Noise per pixel of the Tikhonov estimate, divided by the scale.
    NoiseSigma,
    /// Noise per pixel of the observed sky, divided by the scale.
    SkySigma,
    /// Noise per pixel of the sharper Tikhonov estimate, divided by the scale.
    NoiseSharper,
    /// Noise per pixel of the smoother Tikhonov estimate, divided by the scale.
    NoiseSmoother,
    /// FWHM of the effective PSF, target pixels.
    PsfFwhm,
    /// FWHM of the target PSF, target pixels.
    TargetFwhm,
}

/// One input of the ONNX graph: either planes, shape (batch, planes, n, n), or a scalar, shape (batch) or (batch, 1).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputCard {
    /// Name of the input in the graph.
    pub name: String,
    /// Planes in the order of the channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub planes: Vec<PlaneKind>,
    /// The scalar, where the input is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<ScalarKind>,
}

/// The output of the ONNX graph: shape (batch, 1, n, n), times the scale = sky as seen with the target PSF.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputCard {
    /// Name of the output in the graph.
    pub name: String,
}

/// Side of the stamps, target pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// This side alone.
    Fixed(usize),
    /// Any multiple of `multiple`, `"dynamic"` in the card.
    Dynamic(Dynamic),
}

/// The word `dynamic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dynamic {
    /// `"dynamic"`.
    Dynamic,
}

/// Shapes a network runs in.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeCard {
    /// Side of the stamps, target pixels, or `"dynamic"`.
    pub side: Side,
    /// Where dynamic: sides must be multiples of this.
    #[serde(default = "one")]
    pub multiple: usize,
    /// Further pixels of input on every side of the output, for valid convolutions; filled with 0, the sky.
    #[serde(default, skip_serializing_if = "none")]
    pub border: usize,
    /// Batch sizes, smallest first; batches are filled up with blank stamps to one of these.
    pub batches: Vec<usize>,
}

fn one() -> usize {
    1
}

fn none(border: &usize) -> bool {
    *border == 0
}

/// How the scale of a stamp follows from what is known without the truth. Images are divided by it on the way in and the output is multiplied by it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Normalisation {
    /// Largest mean over `smooth` x `smooth` pixels of the Tikhonov estimate within the central `box` x `box` target pixels, at least `floor_sigmas` times its noise per pixel.
    CentralPeak {
        /// Side of the central box, target pixels, even.
        #[serde(rename = "box")]
        side: usize,
        /// Side of the mean, target pixels, odd.
        smooth: usize,
        /// Least scale in units of the noise per pixel of the Tikhonov estimate.
        floor_sigmas: f64,
    },
    /// Largest pixel of the Tikhonov estimate, at least `floor_sigmas` times its noise per pixel.
    Maximum {
        /// Least scale in units of the noise per pixel of the Tikhonov estimate.
        floor_sigmas: f64,
    },
    /// Largest pixel of the observed image on the target grid, at least `floor_sigmas` times the noise of the observed sky.
    ObservedMaximum {
        /// Least scale in units of the noise per pixel of the observed sky.
        floor_sigmas: f64,
    },
    /// The noise per pixel of the Tikhonov estimate.
    NoiseSigma,
    /// No scaling: scale 1.
    None,
}

/// What the output is as seen with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCard {
    /// FWHM of the round Gaussian target PSF, target pixels: the one it was trained for, or the least and largest of those.
    pub psf_fwhm: TargetWidth,
    /// Pixel scales it may be used at, arcsec per target pixel, least and largest; absent: any, since all it knows is pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_scale: Option<[f64; 2]>,
}

/// FWHM of a target PSF, target pixels.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum TargetWidth {
    /// This one alone.
    One(f64),
    /// Any from the least to the largest.
    Range([f64; 2]),
}

impl TargetWidth {
    /// Whether a target of this FWHM (target pixels) is one it was trained for.
    pub fn holds(&self, fwhm: f64) -> bool {
        let [least, largest] = self.ends();
        // Within a per cent: targets are given in arcsec, and pixel scales are not round.
        fwhm >= 0.99 * least && fwhm <= 1.01 * largest
    }

    /// Least and largest.
    fn ends(&self) -> [f64; 2] {
        match *self {
            Self::One(fwhm) => [fwhm; 2],
            Self::Range(ends) => ends,
        }
    }
}

impl std::fmt::Display for TargetWidth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(fwhm) => write!(formatter, "{fwhm}"),
            Self::Range([least, largest]) => write!(formatter, "{least} to {largest}"),
        }
    }
}

/// What the network was trained on. Outside, it still runs and the row carries a flag.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainCard {
    /// FWHM of the effective PSF, target pixels, least and largest.
    pub psf_fwhm: [f64; 2],
    /// Signal-to-noise ratio, least and largest.
    pub snr: [f64; 2],
    /// Kinds of objects, in words.
    pub morphology: String,
}

/// Type of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point inside, 32-bit in and out.
    F16,
    /// 8-bit integers inside, 32-bit floating point in and out.
    Int8,
}

/// Scores of one SNR bin on validation stamps.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationBin {
    /// Least and largest SNR.
    pub snr: [f64; 2],
    /// Objects in the bin.
    pub objects: usize,
    /// Median windowed NMSE of the Tikhonov input.
    pub nmse_tikhonov: f64,
    /// Median windowed NMSE of the output.
    pub nmse: f64,
    /// Median relative flux error of the output.
    pub flux_bias: f64,
    /// Half of the 16th to 84th percentile range of the relative flux error of the output.
    pub flux_scatter: f64,
}

/// How good it was found to be, and how to find the same.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationCard {
    /// Command that gives the figures.
    pub command: String,
    /// Data they hold for, in words.
    pub data: String,
    /// Scores by SNR.
    #[serde(default)]
    pub bins: Vec<ValidationBin>,
}

/// `card.toml`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name; the same as the folder's.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Model file, relative to the card.
    #[serde(default = "model_file")]
    pub file: String,
    /// SHA-256 of the model file, hexadecimal.
    pub sha256: String,
    /// ONNX operator set version.
    pub opset: u64,
    /// Type of the weights.
    pub precision: Precision,
    /// Licence of the weights.
    pub licence: String,
    /// Who trained it, on what, for how long.
    pub provenance: String,
    /// Inputs of the graph.
    pub inputs: Vec<InputCard>,
    /// Output of the graph.
    pub output: OutputCard,
    /// Shapes it runs in.
    pub shape: ShapeCard,
    /// Scale in and out.
    pub normalisation: Normalisation,
    /// What the output is as seen with.
    pub target: TargetCard,
    /// What it was trained on.
    pub domain: DomainCard,
    /// How good it was found to be.
    pub validation: ValidationCard,
}

fn model_file() -> String {
    "model.onnx".into()
}

impl Card {
    /// Reads and checks `card.toml` in a folder. The error names the file, the key and what to do.
    pub fn read(folder: &Path) -> Result<Self, NetworkError> {
        let path = folder.join("card.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| NetworkError::Unreadable {
            path: path.clone(),
            reason: format!("{error}; a network is a folder with card.toml and model.onnx, see models/README.md"),
        })?;
        let card: Self = toml::from_str(&text)
            .map_err(|error| NetworkError::Card { path: path.clone(), reason: error.to_string().trim_end().into() })?;
        card.validate().map_err(|reason| NetworkError::Card { path, reason })?;
        Ok(card)
    }

    /// What a card can say that no network can mean.
    fn validate(&self) -> Result<(), String> {
        let say = |wrong: bool, what: &str| if wrong { Err(what.to_owned()) } else { Ok(()) };
        say(self.inputs.is_empty(), "inputs: none given; give at least one [[inputs]] with its planes")?;
        for input in &self.inputs {
            say(
                input.planes.is_empty() == input.scalar.is_none(),
                &format!("inputs, {}: give either planes or a scalar", input.name),
            )?;
        }
        say(self.inputs.iter().all(|i| i.planes.is_empty()), "inputs: no input has planes; one must")?;
        let batches = &self.shape.batches;
        say(
            batches.is_empty() || batches.contains(&0) || !batches.is_sorted(),
            "shape.batches: must be positive, smallest first",
        )?;
        say(self.shape.multiple == 0, "shape.multiple: must be at least 1")?;
        say(matches!(self.shape.side, Side::Fixed(0)), "shape.side: must be at least 1, or \"dynamic\"")?;
        say(
            self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_hexdigit()),
            "sha256: must be 64 hexadecimal digits, as sha256sum prints them",
        )?;
        say(
            !matches!(self.target.psf_fwhm.ends(), [a, b] if a > 0.0 && b >= a && b.is_finite()),
            "target.psf_fwhm: must be positive, target pixels; or [least, largest]",
        )?;
        for (name, [low, high]) in [("domain.psf_fwhm", self.domain.psf_fwhm), ("domain.snr", self.domain.snr)] {
            say(low.is_nan() || high.is_nan() || low > high, &format!("{name}: must be [least, largest]"))?;
        }
        match self.normalisation {
            Normalisation::CentralPeak { side, smooth, floor_sigmas } => say(
                side == 0 || side % 2 != 0 || smooth % 2 != 1 || !(floor_sigmas.is_finite() && floor_sigmas >= 0.0),
                "normalisation: box must be even and positive, smooth odd, floor_sigmas not negative",
            ),
            Normalisation::Maximum { floor_sigmas } | Normalisation::ObservedMaximum { floor_sigmas } => say(
                !(floor_sigmas.is_finite() && floor_sigmas >= 0.0),
                "normalisation: floor_sigmas must not be negative",
            ),
            Normalisation::NoiseSigma | Normalisation::None => Ok(()),
        }
    }

    /// Whether the network is given the sharper and smoother Tikhonov estimates.
    pub fn wants_companions(&self) -> bool {
        const PLANES: [PlaneKind; 2] = [PlaneKind::TikhonovSharper, PlaneKind::TikhonovSmoother];
        const SCALARS: [ScalarKind; 2] = [ScalarKind::NoiseSharper, ScalarKind::NoiseSmoother];
        self.inputs
            .iter()
            .any(|i| i.planes.iter().any(|p| PLANES.contains(p)) || i.scalar.is_some_and(|s| SCALARS.contains(&s)))
    }

    /// Whether the network is given the observed image, or something made of it.
    pub fn wants_observed(&self) -> bool {
        matches!(self.normalisation, Normalisation::ObservedMaximum { .. })
            || self.has_plane(|p| p == PlaneKind::Observed)
            || self.wants_filtered()
    }

    /// Whether the network is given the observed image filtered with the PSF or its inverse.
    pub fn wants_filtered(&self) -> bool {
        self.has_plane(|p| {
            matches!(p, PlaneKind::PsfCorrelated | PlaneKind::InversePsf | PlaneKind::InversePsfSmoothed)
        })
    }

    fn has_plane(&self, is: impl Fn(PlaneKind) -> bool) -> bool {
        self.inputs.iter().any(|input| input.planes.iter().any(|&plane| is(plane)))
    }

    /// Whether the network takes stamps of this side, target pixels.
    pub fn takes_side(&self, side: usize) -> bool {
        match self.shape.side {
            Side::Fixed(fixed) => side == fixed,
            Side::Dynamic(_) => side > 0 && side.is_multiple_of(self.shape.multiple),
        }
    }

    /// The sides it takes, in words.
    pub fn sides(&self) -> String {
        match self.shape.side {
            Side::Fixed(fixed) => format!("({fixed}, {fixed})"),
            Side::Dynamic(_) => format!("(n, n) with n a multiple of {}", self.shape.multiple),
        }
    }

    /// Whether an object lies outside what the network was trained on: FWHM of its PSF in target pixels, SNR.
    pub fn outside_domain(&self, psf_fwhm: f64, snr: f64) -> bool {
        let within = |value: f64, [low, high]: [f64; 2]| value >= low && value <= high;
        !(within(psf_fwhm, self.domain.psf_fwhm) && within(snr, self.domain.snr))
    }
}
