//! A joint catalogue, its stamps and its picture on disk.

use std::path::{Path, PathBuf};

use ndarray::Array3;

use super::{BandPlan, JointExposure, JointObject, ObjectFailure, SkySource, Target};
use crate::archive::{ArchiveError, atomic, table_parquet_bytes};
use crate::catalog::Flags;
use crate::catalog::text::flag_names;
use crate::fits::{ExtraHdu, FitsError, TableColumn, Values, write_hdus};
use crate::image::Plane;
use crate::photometry::{self, NANOJANSKY_ZERO_POINT};
use crate::picture::{BandRow, band_sheet};
use crate::sky::Cards;

/// Where the files of a joint run lie.
#[derive(Debug, Clone)]
pub struct JointPaths {
    folder: PathBuf,
}

impl JointPaths {
    /// Below `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The catalogue as FITS.
    pub fn catalog_fits(&self) -> PathBuf {
        self.folder.join("joint.fits")
    }

    /// The catalogue as Parquet.
    pub fn catalog_parquet(&self) -> PathBuf {
        self.folder.join("joint.parquet")
    }

    /// Stamps of one size.
    pub fn stamps(&self, side: usize) -> PathBuf {
        self.folder.join(format!("joint_stamps_{side}.fits"))
    }

    /// The picture.
    pub fn sheet(&self) -> PathBuf {
        self.folder.join("joint.png")
    }

    /// The summary.
    pub fn summary(&self) -> PathBuf {
        self.folder.join("summary.json")
    }
}

/// Everything a run has to say of one field.
#[derive(Debug)]
pub struct Results<'a> {
    /// The exposures.
    pub exposures: &'a [JointExposure],
    /// The objects, in the order of `objects`.
    pub sources: &'a [SkySource],
    /// Bands and shares.
    pub plan: &'a BandPlan,
    /// The grid.
    pub target: &'a Target,
    /// Results.
    pub objects: &'a [Result<JointObject, ObjectFailure>],
    /// Whether fluxes are nJy.
    pub calibrated: bool,
}

/// A band's name as part of a column's: letters, digits and `_`.
fn column_name(band: &str) -> String {
    band.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The catalogue's columns.
fn columns(r: &Results) -> Vec<TableColumn> {
    let objects = || r.objects.iter().map(|o| o.as_ref().ok());
    let floats = |f: &dyn Fn(&JointObject) -> f64| Values::F64(objects().map(|o| o.map_or(f64::NAN, f)).collect());
    let flux_unit = if r.calibrated { "nJy" } else { "" };
    let mut out = vec![
        TableColumn::new("id", Values::I64(r.sources.iter().map(|s| s.id).collect()))
            .ucd("meta.id;meta.main")
            .description("object identifier: order of detection, or the given catalogue's"),
        TableColumn::new("ra", Values::F64(r.sources.iter().map(|s| s.ra).collect()))
            .unit("deg")
            .ucd("pos.eq.ra;meta.main")
            .description("right ascension of the object's centre"),
        TableColumn::new("dec", Values::F64(r.sources.iter().map(|s| s.dec).collect()))
            .unit("deg")
            .ucd("pos.eq.dec;meta.main")
            .description("declination of the object's centre"),
    ];
    let flux_of = |o: &JointObject, b: usize| o.bands[b].as_ref().map(|m| m.flux);
    for (b, band) in r.plan.bands.iter().enumerate() {
        let name = column_name(band);
        let of = |f: &dyn Fn(&crate::joint::BandFlux) -> f64| floats(&|o| flux_of(o, b).as_ref().map_or(f64::NAN, f));
        out.push(
            TableColumn::new(&format!("flux_{name}"), of(&|f| f.flux))
                .unit(flux_unit)
                .ucd("phot.flux.density")
                .description(&format!(
                    "total flux in band {band}: maximum-likelihood amplitude times the sum of the joint image"
                )),
        );
        out.push(
            TableColumn::new(&format!("flux_err_{name}"), of(&|f| f.flux_err))
                .unit(flux_unit)
                .ucd("stat.error;phot.flux.density")
                .description(&format!("standard error of flux_{name}")),
        );
        if r.calibrated {
            let magnitude =
                |f: &crate::joint::BandFlux| photometry::ab_magnitude(f.flux, f.flux_err, NANOJANSKY_ZERO_POINT);
            out.push(
                TableColumn::new(&format!("mag_{name}"), of(&|f| magnitude(f).map_or(f64::NAN, |m| m.0)))
                    .unit("mag")
                    .ucd("phot.mag")
                    .description(&format!("AB magnitude of flux_{name}")),
            );
        }
        out.push(
            TableColumn::new(&format!("amplitude_{name}"), of(&|f| f.amplitude))
                .ucd("stat.fit.param")
                .description(&format!("factor that brings the joint image to the pixels observed in band {band}")),
        );
        out.push(
            TableColumn::new(&format!("chi2_{name}"), of(&|f| f.chi2_reduced))
                .ucd("stat.fit.chi2")
                .description(&format!("chi-square per pixel of the exposures of band {band}")),
        );
    }
    for (b, pair) in r.plan.bands.windows(2).enumerate() {
        let colour = |o: &JointObject| match (flux_of(o, b), flux_of(o, b + 1)) {
            (Some(blue), Some(red)) if blue.flux > 0.0 && red.flux > 0.0 => -2.5 * (blue.flux / red.flux).log10(),
            _ => f64::NAN,
        };
        let error = |o: &JointObject| match (flux_of(o, b), flux_of(o, b + 1)) {
            (Some(blue), Some(red)) if blue.flux > 0.0 && red.flux > 0.0 => {
                2.5 / std::f64::consts::LN_10 * (blue.flux_err / blue.flux).hypot(red.flux_err / red.flux)
            }
            _ => f64::NAN,
        };
        let name = format!("{}_{}", column_name(&pair[0]), column_name(&pair[1]));
        let meaning = format!("colour {} - {}", pair[0], pair[1]);
        out.push(
            TableColumn::new(&format!("colour_{name}"), floats(&colour))
                .unit("mag")
                .ucd("phot.color")
                .description(&meaning),
        );
        out.push(
            TableColumn::new(&format!("colour_err_{name}"), floats(&error))
                .unit("mag")
                .ucd("stat.error;phot.color")
                .description(&format!("standard error of {meaning}")),
        );
    }
    let shape = |f: &dyn Fn(&photometry::SkyMoments) -> f64| floats(&|o| o.shape.as_ref().map_or(f64::NAN, f));
    let all = "of all bands together, as seen with the target PSF";
    for (name, unit, ucd, values, meaning) in [
        ("ixx", "arcsec**2", "src.morph.param", shape(&|s| s.ixx), format!("second moment along east {all}")),
        ("iyy", "arcsec**2", "src.morph.param", shape(&|s| s.iyy), format!("second moment along north {all}")),
        ("ixy", "arcsec**2", "src.morph.param", shape(&|s| s.ixy), format!("mixed second moment {all}")),
        ("e1", "", "src.ellipticity", shape(&|s| s.e1), "ellipticity (ixx - iyy) / (ixx + iyy), east and north".into()),
        ("e1_err", "", "stat.error;src.ellipticity", shape(&|s| s.errors[3]), "standard error of e1".into()),
        ("e2", "", "src.ellipticity", shape(&|s| s.e2), "ellipticity 2 ixy / (ixx + iyy), east and north".into()),
        ("e2_err", "", "stat.error;src.ellipticity", shape(&|s| s.errors[4]), "standard error of e2".into()),
        ("snr", "", "stat.snr", floats(&|o| o.snr), "signal-to-noise ratio of all bands together".into()),
        (
            "chi2_reduced",
            "",
            "stat.fit.chi2",
            floats(&|o| o.chi2_reduced),
            "chi-square per pixel over all exposures".into(),
        ),
        (
            "wide_scaling",
            "",
            "arith.factor",
            floats(&|o| o.wide_scaling),
            "factor on the wide band's shares that its flux here asked for; missing without a wide band".into(),
        ),
    ] {
        out.push(TableColumn::new(name, values).unit(unit).ucd(ucd).description(&meaning));
    }
    let bands = |o: &JointObject| -> String {
        r.plan
            .bands
            .iter()
            .zip(&o.bands)
            .filter(|(_, m)| m.is_some())
            .map(|(b, _)| b.as_str())
            .collect::<Vec<_>>()
            .join(",")
    };
    let used = |o: &JointObject| -> String {
        o.used.iter().map(|i| r.exposures[*i].exposure.id.as_str()).collect::<Vec<_>>().join(",")
    };
    out.push(
        TableColumn::new("bands", Values::Text(objects().map(|o| o.map_or(String::new(), bands)).collect()))
            .ucd("instr.bandpass")
            .description("bands used at the object"),
    );
    out.push(
        TableColumn::new("exposures", Values::Text(objects().map(|o| o.map_or(String::new(), used)).collect()))
            .ucd("meta.id")
            .description("exposures used at the object"),
    );
    out.push(
        TableColumn::new("stamp_size", Values::I32(objects().map(|o| o.map_or(-1, |o| o.side as i32)).collect()))
            .unit("pixel")
            .ucd("meta.number")
            .description(
                "side of the object's target grid: it lies in joint_stamps_<side>.fits; -1 where there is none",
            ),
    );
    let failed = Flags::FIT_FAILED | Flags::BAND_MISSING;
    out.push(
        TableColumn::new(
            "flags",
            Values::I32(objects().map(|o| o.map_or(failed, |o| o.flags).bits() as i32).collect()),
        )
        .ucd("meta.code.qual")
        .description("sum of the row flags; 0 means nothing to report"),
    );
    out
}

/// Writes catalogue, stamps, picture and, last, the summary. `more` goes into the summary.
pub fn write(
    paths: &JointPaths,
    r: &Results,
    sheet_objects: usize,
    more: serde_json::Map<String, serde_json::Value>,
) -> Result<(), ArchiveError> {
    std::fs::create_dir_all(paths.folder()).map_err(|e| ArchiveError::io("create the folder", paths.folder(), e))?;
    let summary = paths.summary();
    if summary.exists() {
        std::fs::remove_file(&summary).map_err(|e| ArchiveError::io("remove", &summary, e))?;
    }
    let mut cards = Cards::new();
    cards.push("TGTFWHM", r.target.fwhm * r.target.scale, "[arcsec] FWHM of the target PSF");
    cards.push("PIXSCALE", r.target.scale, "[arcsec] target pixel");
    if r.calibrated {
        cards.push("MAGZERO", NANOJANSKY_ZERO_POINT, "[mag] AB zero point of the fluxes (31.4: nJy)");
    }
    let columns = columns(r);
    let hdus = [ExtraHdu::Table { name: "JOINT".into(), columns: columns.clone(), cards: cards.clone() }];
    finished(&paths.catalog_fits(), |path| write_hdus(path, &Cards::new(), &hdus))?;
    let parquet = paths.catalog_parquet();
    atomic::write_file(&parquet, &table_parquet_bytes(&parquet, &columns)?)?;
    stamps(paths, r, &cards)?;
    picture(paths, r, sheet_objects)?;
    let failures: Vec<String> =
        r.sources.iter().zip(r.objects).filter_map(|(s, o)| Some(format!("{}: {}", s.id, o.as_ref().err()?))).collect();
    let mut flagged = std::collections::BTreeMap::new();
    for o in r.objects.iter().flatten() {
        for name in flag_names(o.flags).split(',').filter(|n| !n.is_empty()) {
            *flagged.entry(name.to_string()).or_insert(0usize) += 1;
        }
    }
    let mut map = serde_json::Map::new();
    map.insert("objects".into(), r.sources.len().into());
    map.insert("failed".into(), failures.len().into());
    map.insert("failures".into(), failures.into_iter().take(100).collect::<Vec<_>>().into());
    map.insert("bands".into(), r.plan.bands.clone().into());
    map.insert("notes".into(), r.plan.notes.clone().into());
    map.insert("flagged".into(), serde_json::to_value(flagged).unwrap_or_default());
    map.insert("target_scale_arcsec".into(), r.target.scale.into());
    map.insert("target_fwhm_arcsec".into(), (r.target.fwhm * r.target.scale).into());
    map.extend(more);
    let text = serde_json::to_string_pretty(&serde_json::Value::Object(map))
        .map_err(|e| ArchiveError::Misuse { path: summary.clone(), what: e.to_string() })?;
    atomic::write_file(&summary, text.as_bytes())
}

/// Writes under another name first, so that a file is there whole or not at all.
fn finished(path: &Path, make: impl FnOnce(&Path) -> Result<(), FitsError>) -> Result<(), ArchiveError> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let done = make(&partial)
        .map_err(ArchiveError::from)
        .and_then(|()| std::fs::rename(&partial, path).map_err(|e| ArchiveError::io("write", path, e)));
    if done.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    done
}

/// One cube of (objects, rows, columns) per band, for each side of the grid; NaN where a band was not used.
fn stamps(paths: &JointPaths, r: &Results, cards: &Cards) -> Result<(), ArchiveError> {
    let mut sides: Vec<usize> = r.objects.iter().flatten().map(|o| o.side).collect();
    sides.sort_unstable();
    sides.dedup();
    for side in sides {
        let mine: Vec<(&SkySource, &JointObject)> = r
            .sources
            .iter()
            .zip(r.objects)
            .filter_map(|(s, o)| Some((s, o.as_ref().ok().filter(|o| o.side == side)?)))
            .collect();
        let mut hdus = Vec::new();
        for (b, band) in r.plan.bands.iter().enumerate() {
            let mut cube = Array3::from_elem((mine.len(), side, side), f32::NAN);
            for (mut slice, (_, o)) in cube.outer_iter_mut().zip(&mine) {
                if let Some(m) = &o.bands[b] {
                    slice.assign(&m.image);
                }
            }
            hdus.push(ExtraHdu::Cube { name: column_name(band).to_uppercase(), cube, cards: cards.clone() });
        }
        let number = |f: &dyn Fn(&SkySource) -> f64| Values::F64(mine.iter().map(|(s, _)| f(s)).collect());
        let middle = (side / 2) as f64;
        let columns = vec![
            TableColumn::new("id", Values::I64(mine.iter().map(|(s, _)| s.id).collect())),
            TableColumn::new("ra", number(&|s| s.ra)).unit("deg"),
            TableColumn::new("dec", number(&|s| s.dec)).unit("deg"),
            TableColumn::new("x0", number(&|_| middle))
                .unit("pixel")
                .description("column of the object's centre, from 0"),
            TableColumn::new("y0", number(&|_| middle)).unit("pixel").description("row of the object's centre, from 0"),
            TableColumn::new("pixel_scale", number(&|_| r.target.scale)).unit("arcsec"),
        ];
        hdus.push(ExtraHdu::Table { name: "STAMPS".into(), columns, cards: Cards::new() });
        finished(&paths.stamps(side), |path| write_hdus(path, cards, &hdus))?;
    }
    Ok(())
}

/// The brightest objects, one row each: every band, then three bands as colours.
fn picture(paths: &JointPaths, r: &Results, count: usize) -> Result<(), ArchiveError> {
    let mut order: Vec<usize> =
        (0..r.objects.len()).filter(|i| r.objects[*i].as_ref().is_ok_and(|o| o.snr.is_finite())).collect();
    let snr = |i: usize| r.objects[i].as_ref().map_or(0.0, |o| o.snr);
    order.sort_by(|a, b| snr(*b).total_cmp(&snr(*a)));
    let rows: Vec<BandRow> = order
        .iter()
        .take(count)
        .filter_map(|i| {
            let o = r.objects[*i].as_ref().ok()?;
            let images: Vec<Option<&Plane>> = o.bands.iter().map(|m| m.as_ref().map(|m| &m.image)).collect();
            Some(BandRow { label: format!("{}  SNR {:.0}", r.sources[*i].id, o.snr), images })
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let png = band_sheet(&rows, &r.plan.bands).and_then(|p| p.png());
    let path = paths.sheet();
    let png = png.map_err(|e| ArchiveError::Misuse { path: path.clone(), what: e.to_string() })?;
    atomic::write_file(&path, &png)
}
