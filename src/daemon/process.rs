//! The blocking part: from files on this machine to the archive.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Trouble, TroubleKind};
use crate::archive::{CatalogColumns, ExposurePaths, ExposureSummary, read_catalog_parquet, read_given_catalog};
use crate::catalog::Catalog;
use crate::event::{
    CloudEvent, DataFiles, DataRef, EXPOSURE_AVAILABLE, ExposureAvailable, ExposureEvent, HduRef, Identity,
};
use crate::failure::Classify;
use crate::fits::{self, ExposureHandle, FitsError, NoiseKind, PlaneRef, ReadSettings};
use crate::pipeline::{self, Asked, Context, Given, Inference, Watch, given_positions};
use crate::settings::Settings;

/// Instrument of exposures that come as a file without an event.
const LOCAL: &str = "local";

/// The files of an event, on this machine.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub image: PathBuf,
    pub noise: Option<(NoiseKind, PathBuf)>,
    pub mask: Option<PathBuf>,
    pub background: Option<PathBuf>,
    pub catalog: Option<PathBuf>,
    pub psf: Option<PathBuf>,
}

/// An exposure in the archive.
#[derive(Debug, Clone)]
pub(super) struct Processed {
    pub catalog: Catalog,
    pub summary: ExposureSummary,
    pub paths: ExposurePaths,
    /// (stage, seconds).
    pub seconds: Vec<(String, f64)>,
    /// Whether an earlier delivery did the work.
    pub earlier: bool,
}

/// Name of an exposure in the archive: that of the file where there was no event.
pub(super) fn archive_name(identity: &Identity) -> String {
    if identity.instrument == LOCAL { identity.exposure_id.clone() } else { identity.archive_name() }
}

/// Processes the exposure of an event, unless the archive holds it already. `source` is what the catalogue says it was made from.
pub(super) fn process(
    event: &ExposureEvent,
    local: &Local,
    settings: &Settings,
    inference: Option<Inference>,
    source: &str,
    watch: &Watch,
) -> Result<Processed, Trouble> {
    let data = &event.event.data;
    let mut settings = settings.clone();
    known_better(&mut settings.read, data);
    let handle = handle(data, local, &settings.read)?;
    let given = given(data, local, &handle, &settings)?;
    let background = match (&local.background, &data.data.background) {
        (Some(path), Some(file)) => Some(plane(path, file, &handle, &settings.read)?),
        _ => None,
    };
    let context = Context {
        settings,
        inference,
        given,
        truth: None,
        asked: Asked {
            name: Some(archive_name(&data.identity)),
            source: Some(source.to_string()),
            instrument: Some(data.identity.instrument.clone()).filter(|name| name != LOCAL),
            notes: event.notes.clone(),
            background,
        },
        watch: watch.clone(),
    };
    let paths = context.paths(&handle);
    if let Some(summary) = pipeline::finished(&handle, &context) {
        let catalog =
            read_catalog_parquet(&paths.catalog_parquet()).map_err(|error| Trouble::new("archive", &error))?;
        return Ok(Processed { catalog, summary, paths, seconds: Vec::new(), earlier: true });
    }
    let done = pipeline::run(&handle, &context)?;
    let seconds = done.timings.seconds().map(|(stage, s)| (stage.name().to_string(), s)).collect();
    Ok(Processed { catalog: done.catalog, summary: done.summary, paths: done.paths, seconds, earlier: false })
}

/// What the event knows better than the configuration and the headers.
fn known_better(read: &mut ReadSettings, data: &ExposureAvailable) {
    let calibration = &data.calibration;
    read.zero_point = calibration.zero_point_ab.or(read.zero_point);
    read.gain = calibration.gain.or(read.gain);
    read.saturation = calibration.saturation.or(read.saturation);
    read.pixel_scale = calibration.pixel_scale.or(read.pixel_scale);
    read.background_subtracted = calibration.background_subtracted.or(read.background_subtracted);
    if let Some(band) = &data.observation.band {
        read.band = Some(band.clone());
    }
    if let Some(hdu) = &data.data.image.hdu {
        read.image_hdu = Some(hdu.to_string());
    }
    for plane in &data.data.bad_mask_planes {
        read.mask_planes.insert(plane.clone(), "BAD".into());
    }
}

/// The exposure within the image's file, and where its other planes lie.
fn handle(data: &ExposureAvailable, local: &Local, read: &ReadSettings) -> Result<ExposureHandle, Trouble> {
    let failed = |error: FitsError| Trouble::new("read", &error);
    let mut handles = fits::list_exposures(&local.image, read).map_err(failed)?;
    let names: Vec<String> = handles.iter().map(|handle| handle.name.clone()).collect();
    let wanted = match (handles.len(), &data.identity.detector) {
        (1, _) => Some(0),
        (_, Some(detector)) => names.iter().position(|name| name == detector),
        _ => None,
    };
    let Some(wanted) = wanted else {
        let shown: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
        return Err(Trouble {
            stage: "read",
            kind: TroubleKind::BadInput,
            reason: format!(
                "{} holds {} exposures ({}); say which by data.image.hdu or identity.detector",
                data.data.image.uri,
                names.len(),
                shown.join(", ")
            ),
        });
    };
    let mut handle = handles.swap_remove(wanted);
    let noise = [&data.data.variance, &data.data.rms, &data.data.weight].into_iter().flatten().next();
    if let (Some((kind, path)), Some(file)) = (&local.noise, noise) {
        handle.noise = Some((*kind, plane(path, file, &handle, read)?));
    }
    if let (Some(path), Some(file)) = (&local.mask, &data.data.mask) {
        handle.mask = Some(plane(path, file, &handle, read)?);
    }
    Ok(handle)
}

/// A plane of a file that the event names.
fn plane(path: &Path, file: &DataRef, image: &ExposureHandle, read: &ReadSettings) -> Result<PlaneRef, Trouble> {
    let hdu = file.hdu.as_ref().map(ToString::to_string);
    fits::plane_in(path, hdu.as_deref(), image, read).map_err(|error| Trouble::new("read", &error))
}

/// The catalogue and PSF that the event brings along.
fn given(
    data: &ExposureAvailable,
    local: &Local,
    handle: &ExposureHandle,
    settings: &Settings,
) -> Result<Given, Trouble> {
    fn read<E: std::error::Error + Classify>(error: E) -> Trouble {
        Trouble::new("read", &error)
    }
    let mut given = Given::default();
    let mut fingerprint = String::new();
    if let (Some(path), Some(asked)) = (&local.catalog, &data.catalog) {
        let columns = columns(&settings.catalog, &asked.columns)?;
        let catalog = read_given_catalog(path, &columns).map_err(read)?;
        let exposure = fits::read(handle, &settings.read).map_err(read)?;
        given.positions = Some(given_positions(&catalog, exposure.wcs.as_ref()).map_err(read)?);
        fingerprint.push_str(&format!("catalog {} {:?}\n", hash(path), asked.columns));
    }
    if let (Some(path), Some(asked)) = (&local.psf, &data.psf) {
        given.psf = Some(fits::read_psf(path, asked.row.map(|row| row.to_string()).as_deref()).map_err(read)?);
        fingerprint.push_str(&format!("psf {} {:?}\n", hash(path), asked.row));
    }
    given.fingerprint = (!fingerprint.is_empty()).then_some(fingerprint);
    Ok(given)
}

/// The configured columns, with those that the event names instead.
fn columns(
    configured: &CatalogColumns,
    named: &std::collections::BTreeMap<String, String>,
) -> Result<CatalogColumns, Trouble> {
    let bug = |error: &dyn std::fmt::Display| Trouble {
        stage: "event",
        kind: TroubleKind::BadInput,
        reason: format!("data.catalog.columns: {error}"),
    };
    let mut table = toml::Table::try_from(configured).map_err(|error| bug(&error))?;
    for (ours, theirs) in named {
        table.insert(ours.clone(), toml::Value::String(theirs.clone()));
    }
    table.try_into().map_err(|error: toml::de::Error| bug(&error.message()))
}

fn hash(path: &Path) -> String {
    std::fs::read(path).map(|bytes| hex::encode(Sha256::digest(bytes))).unwrap_or_default()
}

/// Events for the exposures of a file that came without one: (event, further files that belong to it).
pub fn events_of_file(path: &Path, read: &ReadSettings) -> Result<Vec<(ExposureEvent, Vec<PathBuf>)>, FitsError> {
    let handles = fits::list_exposures(path, read)?;
    Ok(handles
        .iter()
        .map(|handle| {
            let noise = handle.noise.as_ref().map(|(_, plane)| plane.path.clone());
            let mask = handle.mask.as_ref().map(|plane| plane.path.clone());
            let companions = noise.into_iter().chain(mask).filter(|other| other != path).collect();
            (event_of(handle), companions)
        })
        .collect())
}

/// An event for an exposure on this machine.
fn event_of(handle: &ExposureHandle) -> ExposureEvent {
    let file = |plane: &PlaneRef| DataRef {
        uri: url::Url::from_file_path(plane.path.canonicalize().unwrap_or_else(|_| plane.path.clone()))
            .map_or_else(|()| plane.path.display().to_string(), String::from),
        hdu: u32::try_from(plane.hdu).ok().map(HduRef::Number),
        ..DataRef::default()
    };
    let other = |plane: &PlaneRef| (plane.path != handle.image.path).then(|| file(plane));
    let noise = |kind: NoiseKind| match &handle.noise {
        Some((found, plane)) if *found == kind => other(plane),
        _ => None,
    };
    let stem = pipeline::archive_name(handle);
    let data = ExposureAvailable {
        identity: Identity {
            instrument: LOCAL.into(),
            exposure_id: stem.clone(),
            detector: (!handle.name.is_empty()).then(|| handle.name.clone()),
            version: 1,
            ..Identity::default()
        },
        data: DataFiles {
            format: Some(handle.layout.name().into()),
            image: file(&handle.image),
            variance: noise(NoiseKind::Variance),
            rms: noise(NoiseKind::Rms),
            weight: noise(NoiseKind::Weight),
            mask: handle.mask.as_ref().and_then(other),
            ..DataFiles::default()
        },
        ..ExposureAvailable::default()
    };
    let subject = data.identity.key();
    ExposureEvent {
        event: CloudEvent::new(EXPOSURE_AVAILABLE, "/stillair/replay", subject.clone(), &subject, data),
        notes: Vec::new(),
    }
}
