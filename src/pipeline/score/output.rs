//! What is to be scored: a folder that the pipeline wrote, or a catalogue and stamps of whoever wrote them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{ScoreError, ScoreSettings};
use crate::archive::{Cube, ExposurePaths, ExposureSummary, MeasuredTable, StampCubes, StampPlace, truth_file};

/// Where to find the output of one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputSpec {
    /// A folder that `stillair process` wrote, a catalogue, or a stamp file.
    pub path: PathBuf,
    /// Stamp files, where `path` is a catalogue.
    pub stamps: Vec<PathBuf>,
    /// Truth; without it that of the exposure which the folder's summary names.
    pub truth: Option<PathBuf>,
}

/// A file of output stamps.
#[derive(Debug)]
pub(super) struct Stamps {
    pub(super) path: PathBuf,
    pub(super) file: StampCubes,
    pub(super) image: Cube,
    pub(super) observed: Option<Cube>,
}

/// Where a row's stamp is.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampIndex {
    pub(super) file: usize,
    pub(super) index: usize,
}

/// The output of one field, opened.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) path: PathBuf,
    pub(super) table: Option<MeasuredTable>,
    /// Whether the table's flags are stillair's.
    pub(super) own_flags: bool,
    pub(super) stamps: Vec<Stamps>,
    pub(super) truth: Option<PathBuf>,
    pub(super) notes: Vec<String>,
}

impl Output {
    pub(super) fn open(spec: &OutputSpec, settings: &ScoreSettings) -> Result<Self, ScoreError> {
        let missing = |what: &str| ScoreError::Missing { file: spec.path.clone(), what: what.into() };
        if !spec.path.exists() {
            return Err(missing("no such file or folder"));
        }
        let mut notes = Vec::new();
        let mut stamp_paths = spec.stamps.clone();
        let mut truth = spec.truth.clone();
        let mut table_path = None;
        if spec.path.is_dir() {
            let paths = ExposurePaths::new(
                spec.path.parent().unwrap_or(Path::new("")),
                &spec.path.file_name().unwrap_or_default().to_string_lossy(),
            );
            // another program's output may be laid out the same way, as CSV
            let catalogs = ["catalog.parquet", "catalog.fits", "catalog.csv"].map(|name| spec.path.join(name));
            let catalog = catalogs.into_iter().find(|p| p.exists());
            table_path = Some(catalog.ok_or_else(|| {
                missing(
                    "no catalog.parquet, .fits or .csv in this folder: give a folder of one exposure (OUT/EXPOSURE)",
                )
            })?);
            stamp_paths.extend(stamp_files(&spec.path));
            if truth.is_none() {
                truth = Some(truth_of(&paths, &spec.path)?);
            }
            if stamp_paths.is_empty() {
                notes.push(format!("{}: no stamps: images are not compared", spec.path.display()));
            }
        } else if is_stamp_file(&spec.path) {
            stamp_paths.push(spec.path.clone());
        } else {
            table_path = Some(spec.path.clone());
        }
        let table =
            table_path.map(|path| MeasuredTable::read(&path, &settings.columns, settings.first_pixel)).transpose()?;
        let own_flags = spec.path.is_dir() || settings.columns.contains_key("flags");
        let stamps = stamp_paths.iter().map(|path| open_stamps(path, settings)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { path: spec.path.clone(), table, own_flags, stamps, truth, notes })
    }

    /// The stamp of each row of the table: by identifier, else by position in the exposure (nearest within a pixel).
    pub(super) fn stamps_of_rows(
        &self,
        table: &MeasuredTable,
        pixels: &[(f64, f64)],
        places: &[(StampIndex, StampPlace)],
    ) -> Vec<Option<StampIndex>> {
        let by_id: HashMap<i64, StampIndex> = places.iter().filter_map(|(at, place)| Some((place.id?, *at))).collect();
        if let (Some(ids), false) = (&table.ids, by_id.is_empty()) {
            return ids.iter().map(|id| by_id.get(id).copied()).collect();
        }
        let stamp_pixels: Vec<(f64, f64)> = places.iter().map(|(_, place)| place.pixel).collect();
        let mut found = vec![None; pixels.len()];
        for pair in crate::evaluate::match_positions(pixels, &stamp_pixels, 1.0) {
            if let (Some(slot), Some((at, _))) = (found.get_mut(pair.truth), places.get(pair.measured)) {
                *slot = Some(*at);
            }
        }
        found
    }
}

/// Whether a file holds a cube of stamps.
fn is_stamp_file(path: &Path) -> bool {
    StampCubes::open(path).is_ok()
}

/// The stamp files of a folder, by name.
fn stamp_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = entries
        .filter(|p| {
            let name = p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("stamps_") && name.ends_with(".fits")
        })
        .collect();
    found.sort();
    found
}

fn open_stamps(path: &Path, settings: &ScoreSettings) -> Result<Stamps, ScoreError> {
    let file = StampCubes::open(path)?;
    let names: Vec<String> = file.cubes.iter().map(|c| c.name.clone()).collect();
    let named = file.cube(&settings.plane).cloned();
    // a bare cube needs no name
    let only = (file.cubes.len() == 1).then(|| file.cubes.first().cloned()).flatten();
    let image = named.or(only).ok_or_else(|| ScoreError::Missing {
        file: path.to_path_buf(),
        what: format!("no cube {}; there are {} (--plane)", settings.plane, names.join(", ")),
    })?;
    if file.places.len() != image.shape.0 {
        return Err(ScoreError::Missing {
            file: path.to_path_buf(),
            what: format!(
                "{} stamps in {} and a table of {} rows: a table with a row per stamp (id, x and y or ra and dec of the stamp's \
                 reference pixel, x0 and y0 of it in the stamp unless it is the middle one) must be in the file",
                image.shape.0,
                image.name,
                file.places.len()
            ),
        });
    }
    let observed = file.cube("OBSERVED").cloned();
    Ok(Stamps { path: path.to_path_buf(), file, image, observed })
}

/// The truth of the exposure that a folder was made from.
fn truth_of(paths: &ExposurePaths, folder: &Path) -> Result<PathBuf, ScoreError> {
    let none = |what: String| ScoreError::NoTruth { output: folder.to_path_buf(), what };
    let summary = ExposureSummary::read(paths)?.ok_or_else(|| none("the folder has no summary.json".into()))?;
    let source = summary.header.source.ok_or_else(|| none("its summary names no exposure".into()))?;
    let exposure = PathBuf::from(source.strip_prefix("file://").unwrap_or(&source));
    truth_file(&exposure).ok_or_else(|| {
        none(format!("no table TRUTH in its exposure {0} and no file of truth beside it", exposure.display()))
    })
}

/// What was taken from which column, for the reader of the report.
pub(super) fn describe(columns: &BTreeMap<&'static str, String>) -> String {
    let pairs: Vec<String> = columns
        .iter()
        .map(|(quantity, column)| if *quantity == column { column.clone() } else { format!("{quantity} = {column}") })
        .collect();
    pairs.join(", ")
}
