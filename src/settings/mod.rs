//! Layered configuration: built-in defaults < TOML file < `STILLAIR__SECTION__KEY` environment.
//!
//! Each section is declared (with its defaults and units) by the module it configures; this room composes and reads them.

mod differ;
mod load;

use crate::archive::{CalibrationSettings, CatalogColumns};
use crate::bus::{BusSettings, SpoolSettings};
use crate::deconv::{DebiasSettings, DeconvSettings};
use crate::detect::{BackgroundSettings, DetectSettings};
use crate::fetch::FetchSettings;
use crate::fits::ReadSettings;
use crate::joint::JointSettings;
use crate::network::NetworkSettings;
use crate::photometry::{ProfileSettings, RenormaliseSettings, StructureSettings};
use crate::psf::PsfSettings;
use crate::stamp::StampSettings;
use crate::telemetry::TelemetrySettings;

pub use load::{Loaded, SettingsError, load, load_from};

/// Everything that can be configured; each section is declared by the module it configures.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How exposures are read.
    pub read: ReadSettings,
    /// Which columns of a given catalogue are meant.
    pub catalog: CatalogColumns,
    /// How the sky is estimated.
    pub background: BackgroundSettings,
    /// How sources are found.
    pub detect: DetectSettings,
    /// How the PSF is fitted and judged.
    pub psf: PsfSettings,
    /// How stamps are cut.
    pub stamp: StampSettings,
    /// The Tikhonov step.
    pub deconv: DeconvSettings,
    /// Several bands at once.
    pub joint: JointSettings,
    /// The network and where it runs.
    pub network: NetworkSettings,
    /// The amplitude fit.
    pub renorm: RenormaliseSettings,
    /// The profile fit that total fluxes come from.
    pub profile: ProfileSettings,
    /// The debiasing of outputs.
    pub debias: DebiasSettings,
    /// The search for false structure.
    pub structure: StructureSettings,
    /// From when on a row is flagged.
    pub quality: QualitySettings,
    /// The calibration of fluxes and their errors.
    pub calibration: CalibrationSettings,
    /// What is written, and where.
    pub output: OutputSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// Metrics, probes and the page.
    pub http: HttpSettings,
    /// How the service works.
    pub serve: ServeSettings,
    /// The NATS server.
    pub bus: BusSettings,
    /// The spool directory.
    pub spool: SpoolSettings,
    /// Where pixels may come from.
    pub fetch: FetchSettings,
}

/// From when on a row is flagged.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// Reduced chi-square of the residual above which a row is flagged `RESIDUAL_STRUCTURE`.
    pub chi2_reduced: f64,
    /// Correlation of neighbouring residual pixels, in standard deviations of white noise, above which a row is flagged
    /// `RESIDUAL_STRUCTURE`.
    pub lag1_significance: f64,
    /// Share of false small-scale structure above which a row is flagged `FALSE_STRUCTURE`.
    pub false_structure: f64,
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self { chi2_reduced: 1.5, lag1_significance: 5.0, false_structure: 0.1 }
    }
}

/// How the service works.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Exposures in hand at a time.
    pub workers: usize,
    /// Seconds that an exposure may take.
    pub deadline_s: f64,
    /// Seconds in which to finish, or hand back, what is in hand when the service is told to stop.
    pub grace_s: u64,
    /// Room that must be left on the disk before work is taken, MiB.
    pub min_free_mib: u64,
    /// Where finished exposures are put besides the output directory, `s3://bucket/prefix`; empty: nowhere.
    pub upload: String,
    /// Exposures that the page remembers.
    pub keep: usize,
    /// Seconds of silence, while work waits, after which the connection is made anew.
    pub watchdog_s: u64,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            workers: 2,
            deadline_s: 900.0,
            grace_s: 60,
            min_free_mib: 1024,
            upload: String::new(),
            keep: 200,
            watchdog_s: 120,
        }
    }
}

/// What is written, and where.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputSettings {
    /// Folder below which each exposure gets a folder of its own.
    pub directory: std::path::PathBuf,
    /// Whether stamp cubes are written.
    pub stamps: bool,
    /// Whether pictures are written.
    pub pictures: bool,
    /// Objects shown on the picture sheet.
    pub sheet_objects: usize,
}

impl Default for OutputSettings {
    fn default() -> Self {
        Self { directory: "out".into(), stamps: true, pictures: true, sheet_objects: 12 }
    }
}

/// Where metrics, probes and the page are served.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port to listen on; empty: nothing is served. Anyone who reaches it reads everything: there is no login.
    pub listen: String,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".into() }
    }
}
