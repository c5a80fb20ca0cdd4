//! One exposure from its file to the archive.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::header::config_hash;
use super::pictures::Pictures;
use super::{
    Failure, Given, Inference, ObjectView, Stage, Timings, TruthReport, Watch, catalog_header, deconvolve, prepare,
};
use crate::archive::{self, ArchiveError, ExposurePaths, ExposureSummary, StampFile, StampPlanes, StampRecord};
use crate::catalog::{Catalog, CatalogHeader, Flags};
use crate::fits::{self, ExposureHandle, PlaneRef};
use crate::settings::Settings;
use crate::stamp;

/// What all exposures of a run share.
#[derive(Debug, Clone)]
pub struct Context {
    /// Configuration in force.
    pub settings: Settings,
    /// The network's thread; `None` where none is to run.
    pub inference: Option<Inference>,
    /// Given positions and PSF.
    pub given: Given,
    /// Truth table; without it one beside the exposure (`X.truth.fits`) is used if there is one.
    pub truth: Option<PathBuf>,
    /// What is known of the exposure besides its files.
    pub asked: Asked,
    /// Who follows the work.
    pub watch: Watch,
}

/// What is known of an exposure by whoever asks for it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Name of the exposure and of its folder; without it the file's.
    pub name: Option<String>,
    /// What is written into the catalogue as its source; without it the path of the file.
    pub source: Option<String>,
    /// Instrument, where the file does not say.
    pub instrument: Option<String>,
    /// What is to be noted in the catalogue.
    pub notes: Vec<String>,
    /// Plane of the sky level, image units, to be subtracted.
    pub background: Option<PlaneRef>,
}

impl Context {
    /// Name of the exposure's folder.
    fn name(&self, handle: &ExposureHandle) -> String {
        self.asked.name.clone().unwrap_or_else(|| archive_name(handle))
    }

    /// What is written as its source.
    fn source(&self, handle: &ExposureHandle) -> String {
        self.asked.source.clone().unwrap_or_else(|| handle.image.path.display().to_string())
    }

    /// Where its outputs lie.
    pub fn paths(&self, handle: &ExposureHandle) -> ExposurePaths {
        ExposurePaths::new(&self.settings.output.directory, &self.name(handle))
    }
}

/// A finished exposure.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its catalogue.
    pub catalog: Catalog,
    /// Its summary, as written.
    pub summary: ExposureSummary,
    /// Where everything lies.
    pub paths: ExposurePaths,
    /// Seconds per stage.
    pub timings: Timings,
    /// Comparison with the truth, where it is known.
    pub truth: Option<TruthReport>,
}

/// The name of an exposure's folder, known before it is read: the file's stem and, where a file holds several exposures, the
/// detector's name.
pub fn archive_name(handle: &ExposureHandle) -> String {
    let file = handle.image.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = [".gz", ".fz", ".fits", ".fit", ".fts"]
        .iter()
        .fold(file.as_str(), |name, ending| name.strip_suffix(ending).unwrap_or(name));
    if handle.name.is_empty() { stem.to_string() } else { format!("{stem}-{}", handle.name) }
}

/// Whether an earlier run finished this exposure with the same program, configuration and network.
///
/// A folder that another file filled is not done.
pub fn is_done(handle: &ExposureHandle, context: &Context) -> bool {
    finished(handle, context).is_some()
}

/// The summary of an earlier run that finished this exposure with the same program, configuration and network.
pub fn finished(handle: &ExposureHandle, context: &Context) -> Option<ExposureSummary> {
    let paths = context.paths(handle);
    let wanted = CatalogHeader {
        config_hash: Some(config_hash(&context.settings, &context.given)),
        network_sha: context.inference.as_ref().map(|i| i.identity().sha256.clone()),
        ..CatalogHeader::new(context.name(handle))
    };
    let source = context.source(handle);
    let summary = ExposureSummary::read(&paths).ok()??;
    let same = summary.header.source.as_deref() == Some(source.as_str());
    (same && summary.stale(paths.folder(), &wanted).is_none()).then_some(summary)
}

/// Reads, processes and archives one exposure. Its folder gets the summary last: where that is, everything is.
pub fn run(handle: &ExposureHandle, context: &Context) -> Result<Done, Failure> {
    let settings = &context.settings;
    let mut timings = Timings::watched(&context.watch);
    let name = context.name(handle);
    let exposure = timings.measure(Stage::Read, || read(handle, context, &name))?;
    context.watch.check(&name, Stage::Background)?;
    let mut field = prepare(&exposure, &context.given, settings, &mut timings)?;
    if let Some(inference) = &context.inference {
        let (trained, asked) = (inference.card().target.psf_fwhm, settings.deconv.target_fwhm);
        if !trained.holds(asked) {
            field.flags |= Flags::OUTSIDE_DOMAIN;
            field.notes.push(format!(
                "network {} was trained for a target FWHM of {trained} target pixels, not {asked:.2}: its outputs are not at the \
                 target asked for",
                inference.identity().name
            ));
        }
    }
    let identity = context.inference.as_ref().map(Inference::identity);
    let source = context.source(handle);
    let header = catalog_header(&exposure, &field, &source, identity, &context.given, settings);

    let archived = |error: ArchiveError| Failure::new(&name, Stage::Archive, &error);
    let paths = context.paths(handle);
    let _lock = paths.lock().map_err(archived)?;
    paths.prepare().map_err(archived)?;
    let mut stamps = StampFiles::create(&paths, &header, &field, settings).map_err(archived)?;
    let mut pictures = Pictures::new(&field, settings);
    let catalog =
        deconvolve(&exposure, &field, header, context.inference.as_ref(), settings, &mut timings, &mut |object| {
            pictures.object(&object);
            stamps.put(&object)
        })?;

    let truth_file = context.truth.as_deref().unwrap_or(&handle.image.path);
    let truth = TruthReport::compare(truth_file, &catalog).map_err(archived)?;
    let start = std::time::Instant::now();
    stamps.finish().map_err(archived)?;
    archive::write_catalog_parquet(&paths.catalog_parquet(), &catalog).map_err(archived)?;
    archive::write_catalog_fits(&paths.catalog_fits(), &catalog).map_err(archived)?;
    if field.psf_report.is_some() {
        fits::write_psf(&paths.psf_model(), &field.psf, &field.stars, field.psf_report.as_ref())
            .map_err(|error| Failure::new(&name, Stage::Archive, &error))?;
    }
    pictures.write(&paths, &exposure, &field, &catalog, truth.as_ref()).map_err(archived)?;
    timings.add(Stage::Archive, start.elapsed());
    let seconds: BTreeMap<String, f64> = timings.seconds().map(|(stage, s)| (stage.name().to_string(), s)).collect();
    let mut summary = ExposureSummary::new(&catalog, &paths, seconds).map_err(archived)?;
    let memory: serde_json::Map<String, serde_json::Value> =
        timings.peak_mib().map(|(stage, mib)| (stage.name().to_string(), mib.into())).collect();
    summary.more.insert("peak_memory_mib".into(), memory.into());
    if let Some(truth) = &truth
        && let Ok(value) = serde_json::to_value(truth)
    {
        summary.more.insert("truth".into(), value);
    }
    if let Some(drift) = super::calibrate::drift(&catalog.header, &catalog.rows) {
        summary.more.insert("calibration_drift".into(), drift.into());
    }
    summary.write(&paths).map_err(archived)?;
    Ok(Done { catalog, summary, paths, timings, truth })
}

/// The exposure in its files, with what the asker knows better.
fn read(handle: &ExposureHandle, context: &Context, name: &str) -> Result<crate::exposure::Exposure, Failure> {
    let (settings, asked) = (&context.settings.read, &context.asked);
    let failed = |error: fits::FitsError| Failure::new(name, Stage::Read, &error);
    let mut exposure = fits::read(handle, settings).map_err(failed)?;
    if let Some(name) = &asked.name {
        exposure.id.clone_from(name);
    }
    exposure.instrument = exposure.instrument.or_else(|| asked.instrument.clone());
    exposure.notes.extend(asked.notes.iter().cloned());
    if let Some(plane) = &asked.background {
        fits::subtract_plane(&mut exposure, plane, settings).map_err(failed)?;
    }
    Ok(exposure)
}

/// The stamp files of an exposure, one a stamp size.
struct StampFiles {
    files: BTreeMap<usize, StampFile>,
    /// Position of each source in its file.
    place: Vec<usize>,
}

impl StampFiles {
    fn create(
        paths: &ExposurePaths,
        header: &CatalogHeader,
        field: &super::Field,
        settings: &Settings,
    ) -> Result<Self, ArchiveError> {
        let mut ids: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        let mut place = Vec::with_capacity(field.detections.sources.len());
        if settings.output.stamps {
            for source in &field.detections.sources {
                let list = ids.entry(stamp::side_for(source, &settings.stamp)).or_default();
                place.push(list.len());
                list.push(source.id);
            }
        }
        let files = ids
            .into_iter()
            .map(|(side, ids)| Ok((side, StampFile::create(&paths.stamps(side), header, side, ids)?)))
            .collect::<Result<_, ArchiveError>>()?;
        Ok(Self { files, place })
    }

    fn put(&mut self, object: &ObjectView<'_>) -> Result<(), ArchiveError> {
        let stamp = &object.prepared.stamp;
        let (Some(&place), Some(file)) = (self.place.get(object.index), self.files.get_mut(&stamp.observed.nrows()))
        else {
            return Ok(());
        };
        let tikhonov = &object.prepared.deconvolved;
        let psf = super::object::centred_psf(&object.prepared.psf, tikhonov.image.nrows());
        let record = StampRecord {
            id: object.row.id,
            ra: object.row.ra,
            dec: object.row.dec,
            centre: stamp.centre,
            corner: (stamp.bounds.x0, stamp.bounds.y0),
            sigma: stamp.sigma,
            noise_sigma: tikhonov.noise_sigma,
            flags: object.row.flags,
        };
        let planes = StampPlanes {
            deconvolved: &object.measured.image,
            observed: &stamp.observed,
            psf: &psf,
            tikhonov: &tikhonov.image,
            residual: &object.measured.residual,
        };
        file.put(place, record, planes)
    }

    fn finish(self) -> Result<(), ArchiveError> {
        self.files.into_values().try_for_each(StampFile::finish)
    }
}
