//! One field: rows and stamps beside their truth.

use super::output::{Output, StampIndex, Stamps, describe};
use super::truth_side::{TrueStamp, Truth, moments};
use super::{OutputSpec, ScoreError, ScoreSettings, ScoredField};
use crate::archive::{MeasuredTable, StampPlace};
use crate::catalog::Flags;
use crate::evaluate::{
    BlankRow, ImageScore, MeasuredRow, TruthRow, align, invented_structure, match_positions, score_image,
};
use crate::image::Plane;
use crate::image::stats::median_and_sigma;

/// Share of the rows (or of the true objects, if they are fewer) that must match for the truth to be that of the field.
const LEAST_SHARE: f64 = 0.05;
/// Relative difference up to which two targets are the same.
const SAME_TARGET: f64 = 0.01;

/// One matched object, for tables and pictures. Fluxes in nJy (image units without a zero point).
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectScore {
    /// Which field, by its output.
    pub output: String,
    /// Identifier in the truth.
    pub truth_id: i64,
    /// Identifier in the output; 0 where it has none.
    pub id: i64,
    /// Whether it is a star.
    pub star: bool,
    /// True signal-to-noise ratio.
    pub snr: f64,
    /// Truth and measurement side by side.
    pub truth: TruthRow,
    /// The row.
    pub measured: MeasuredRow,
    /// FWHM of the object at the target PSF, target pixels.
    pub fwhm: f64,
}

/// Stamps of one object for a picture; all but `observed` on the target grid, centred alike.
#[derive(Debug, Clone)]
pub struct ScoredStamp {
    /// Its numbers.
    pub object: ObjectScore,
    /// Observed stamp, detector grid, where the file has one.
    pub observed: Option<Plane>,
    /// Output on the pixels that the truth covers.
    pub output: Plane,
    /// Truth on the same pixels.
    pub truth: Plane,
    /// Object's position on them.
    pub centre: (f64, f64),
    /// Target pixels per detector pixel.
    pub factor: f64,
}

/// What came of a field.
pub(super) struct Scored {
    pub(super) truth: Vec<TruthRow>,
    pub(super) measured: Vec<MeasuredRow>,
    pub(super) blanks: Vec<BlankRow>,
    pub(super) objects: Vec<ObjectScore>,
    pub(super) stamps: Vec<ScoredStamp>,
    pub(super) description: ScoredField,
}

pub(super) fn score_field(spec: &OutputSpec, settings: &ScoreSettings) -> Result<Scored, ScoreError> {
    let mut output = Output::open(spec, settings)?;
    let truth_path = output.truth.clone().ok_or_else(|| ScoreError::NoTruth {
        output: spec.path.clone(),
        what: "none was given, and only the folder of an exposure says where it may be".into(),
    })?;
    let mut truth = Truth::open(&truth_path, &spec.path)?;
    let mut notes = std::mem::take(&mut output.notes);
    same_target(&output, &truth, &mut notes)?;

    let places: Vec<(StampIndex, StampPlace)> = output
        .stamps
        .iter()
        .enumerate()
        .flat_map(|(file, s)| s.file.places.iter().enumerate().map(move |(index, p)| (StampIndex { file, index }, *p)))
        .map(|(at, place)| (at, in_pixels(place, &truth)))
        .collect();
    let rows = Rows::new(&output, &truth, &places, settings, &mut notes)?;
    let mut measured = rows.measured;
    let mut true_rows: Vec<TruthRow> = truth
        .table
        .objects
        .iter()
        .map(|object| TruthRow {
            x: object.x,
            y: object.y,
            flux: object.flux * truth.flux_unit(),
            snr: object.snr,
            e: [f64::NAN; 2],
            size: f64::NAN,
            has_shape: !object.star,
        })
        .collect();

    let true_positions: Vec<(f64, f64)> = true_rows.iter().map(|t| (t.x, t.y)).collect();
    let positions: Vec<(f64, f64)> = measured.iter().map(|m| (m.x, m.y)).collect();
    let radius = settings.evaluate.match_radius;
    let pairs = match_positions(&true_positions, &positions, radius);
    let blank_pairs = blank_rows(&truth, &positions, &pairs.iter().map(|p| p.measured).collect::<Vec<_>>(), radius);
    let counted = measured.len() - blank_pairs.len();
    if pairs.is_empty() && blank_pairs.is_empty()
        || (pairs.len() as f64) < LEAST_SHARE * counted.min(true_rows.len()) as f64
    {
        return Err(ScoreError::NoMatch {
            output: spec.path.clone(),
            file: truth.path.clone(),
            matched: pairs.len(),
            measured: counted,
            truth: true_rows.len(),
            radius,
        });
    }

    if counted == 0 {
        // nothing but empty positions was asked for: no object can have been missed
        true_rows.clear();
    }
    let truth_scale = truth.cube().and_then(|c| c.pixel_scale()).unwrap_or(1.0);
    let factor = rows.factor;
    let (mut objects, mut sheet) = (Vec::new(), Vec::new());
    let wanted = chosen_for_sheet(
        &pairs.iter().map(|p| (p.truth, &true_rows, p.measured, &measured)).collect::<Vec<_>>(),
        settings,
    );
    let mut images = 0;
    for pair in &pairs {
        let (Some(true_row), Some(row)) = (true_rows.get_mut(pair.truth), measured.get_mut(pair.measured)) else {
            continue;
        };
        let stamp = truth.stamp(pair.truth)?;
        if let Some(m) = stamp.as_ref().and_then(|s| s.moments) {
            true_row.e = [m.e1, m.e2];
            true_row.size = (m.ixx + m.iyy) * truth_scale * truth_scale;
        }
        let mut kept = None;
        let at = rows.stamps.get(pair.measured).copied().flatten();
        if let (Some(stamp), Some(at)) = (&stamp, at) {
            kept =
                compare(&mut output.stamps, at, &places, stamp, &truth, (true_row, row), factor, &rows.fill, settings)?;
            images += usize::from(row.image.is_some());
        }
        let object = truth.table.objects.get(pair.truth);
        let score = ObjectScore {
            output: spec.path.display().to_string(),
            truth_id: object.map_or(0, |o| o.id),
            id: rows.ids.get(pair.measured).copied().unwrap_or(0),
            star: !true_row.has_shape,
            snr: true_row.snr,
            truth: *true_row,
            measured: *row,
            fwhm: stamp.as_ref().map_or(f64::NAN, |s| s.fwhm),
        };
        if let (Some((planes, at)), true) = (kept, wanted.contains(&pair.truth)) {
            let observed = observed(&mut output.stamps, at)?;
            sheet.push(ScoredStamp {
                object: score.clone(),
                observed,
                output: planes.output,
                truth: planes.truth,
                centre: planes.centre,
                factor,
            });
        }
        objects.push(score);
    }
    sheet.sort_by(|a, b| b.object.snr.total_cmp(&a.object.snr));

    let mut blanks = Vec::new();
    let mut is_blank = vec![false; measured.len()];
    for &index in &blank_pairs {
        let Some(row) = measured.get(index) else { continue };
        let peak_snr = match rows.stamps.get(index).copied().flatten() {
            Some(at) => peak(&mut output.stamps, at, &places)?,
            None => f64::NAN,
        };
        blanks.push(BlankRow { flux: row.flux, flux_err: row.flux_err, peak_snr });
        if let Some(slot) = is_blank.get_mut(index) {
            *slot = true;
        }
    }
    // what was asked for at an empty place is no false detection
    let measured: Vec<MeasuredRow> = measured.into_iter().zip(is_blank).filter(|(_, b)| !b).map(|(m, _)| m).collect();
    if truth.cube().is_none() {
        notes.push(
            "the truth has no stamps (simulate --truth-stamps SIZE): neither images nor shapes are compared".into(),
        );
    }
    let description = ScoredField {
        output: spec.path.display().to_string(),
        truth: truth.path.display().to_string(),
        columns: output.table.as_ref().map_or("the stamps' table alone".into(), |t| describe(&t.columns)),
        images,
        blanks: blanks.len(),
        target_fwhm: truth.cube().and_then(|c| c.target_fwhm()),
        target_scale: truth.cube().and_then(|c| c.pixel_scale()),
        notes,
    };
    Ok(Scored { truth: true_rows, measured, blanks, objects, stamps: sheet, description })
}

/// What the table does not say and the stamps do.
struct Fill {
    flux: bool,
    shape: bool,
}

/// The rows of an output, in nJy and 0-based pixels.
struct Rows {
    measured: Vec<MeasuredRow>,
    ids: Vec<i64>,
    stamps: Vec<Option<StampIndex>>,
    fill: Fill,
    /// Target pixels per detector pixel.
    factor: f64,
}

impl Rows {
    fn new(
        output: &Output,
        truth: &Truth,
        places: &[(StampIndex, StampPlace)],
        settings: &ScoreSettings,
        notes: &mut Vec<String>,
    ) -> Result<Self, ScoreError> {
        let nan = f64::NAN;
        let empty = MeasuredRow {
            x: nan,
            y: nan,
            flux: nan,
            flux_err: nan,
            e: [nan; 2],
            size: nan,
            psf_e: [nan; 2],
            flags: Flags::empty(),
            image: None,
            invented: None,
        };
        let fill = match &output.table {
            Some(table) => Fill { flux: !table.has("flux"), shape: !table.has("e1") },
            None => Fill { flux: true, shape: true },
        };
        if !output.stamps.is_empty() {
            for (fill, what) in [
                (fill.flux, "fluxes are the sums of the stamps, without errors"),
                (fill.shape, "ellipticities and sizes are adaptive moments of the stamps"),
            ] {
                if fill {
                    notes.push(format!("no column for it: {what}"));
                }
            }
        }
        // the true stamps' grid against the detector's: the truth's own table says what a detector pixel is
        let factor = truth.detector_scale().zip(truth.cube().and_then(|c| c.pixel_scale()));
        let factor = factor.map_or(1.0, |(detector, target)| (detector / target).round().max(1.0));
        let Some(table) = &output.table else {
            let measured = places.iter().map(|(_, p)| MeasuredRow { x: p.pixel.0, y: p.pixel.1, ..empty }).collect();
            let ids = places.iter().map(|(_, p)| p.id.unwrap_or(0)).collect();
            return Ok(Self { measured, ids, stamps: places.iter().map(|(at, _)| Some(*at)).collect(), fill, factor });
        };
        let positions = positions(output, table, truth)?;
        let unit = match table.flux_unit.as_deref().map(str::trim) {
            Some(unit) if unit.eq_ignore_ascii_case("njy") => 1.0,
            Some(_) => truth.nanojansky,
            None => {
                if table.has("flux") {
                    let taken = if settings.nanojansky { "nJy" } else { "image units" };
                    notes.push(format!("the fluxes' unit is not stated: taken to be {taken} (--flux-unit)"));
                }
                if settings.nanojansky { 1.0 } else { truth.nanojansky }
            }
        };
        let measured = positions
            .iter()
            .enumerate()
            .map(|(i, &(x, y))| {
                let number = |quantity| table.number(quantity, i);
                let size = number("size");
                let flags = number("flags");
                MeasuredRow {
                    x,
                    y,
                    flux: unit * number("flux"),
                    flux_err: unit * number("flux_err"),
                    e: [number("e1"), number("e2")],
                    size: if size.is_nan() { number("ixx") + number("iyy") } else { size },
                    psf_e: [number("psf_e1"), number("psf_e2")],
                    flags: if output.own_flags && flags >= 0.0 {
                        Flags::from_bits_retain(flags as u32)
                    } else {
                        Flags::empty()
                    },
                    ..empty
                }
            })
            .collect();
        let ids = table.ids.clone().unwrap_or_default();
        let stamps = output.stamps_of_rows(table, &positions, places);
        Ok(Self { measured, ids, stamps, fill, factor })
    }
}

fn positions(output: &Output, table: &MeasuredTable, truth: &Truth) -> Result<Vec<(f64, f64)>, ScoreError> {
    if table.has("x") {
        return Ok((0..table.rows).map(|i| (table.number("x", i), table.number("y", i))).collect());
    }
    let map = truth.sky.as_ref().ok_or_else(|| ScoreError::Missing {
        file: output.path.clone(),
        what: format!(
            "it has ra and dec only, and {} does not say where these lie in pixels: give x and y (--column x=NAME --column y=NAME)",
            truth.path.display()
        ),
    })?;
    Ok((0..table.rows).map(|i| map.pixel((table.number("ra", i), table.number("dec", i)))).collect())
}

/// The place with its pixel position, through the sky where it has no other.
fn in_pixels(place: StampPlace, truth: &Truth) -> StampPlace {
    let known = place.pixel.0.is_finite() && place.pixel.1.is_finite();
    match &truth.sky {
        Some(map) if !known => StampPlace { pixel: map.pixel(place.sky), ..place },
        _ => place,
    }
}

/// Rows at positions of the truth's list of blanks that are no object's.
fn blank_rows(truth: &Truth, positions: &[(f64, f64)], matched: &[usize], radius: f64) -> Vec<usize> {
    let blanks: Vec<(f64, f64)> = truth.table.blanks.iter().map(|b| (b.x, b.y)).collect();
    let pairs = match_positions(&blanks, positions, radius.min(0.5));
    pairs.into_iter().map(|p| p.measured).filter(|index| !matched.contains(index)).collect()
}

fn same_target(output: &Output, truth: &Truth, notes: &mut Vec<String>) -> Result<(), ScoreError> {
    let Some(cube) = truth.cube() else { return Ok(()) };
    for stamps in &output.stamps {
        let pairs = [
            ("FWHM", cube.target_fwhm(), stamps.image.target_fwhm()),
            ("pixel", cube.pixel_scale(), stamps.image.pixel_scale()),
        ];
        for (what, wanted, got) in pairs {
            match (wanted, got) {
                (Some(wanted), Some(got)) if (got / wanted - 1.0).abs() > SAME_TARGET => {
                    return Err(ScoreError::OtherTarget {
                        file: truth.path.clone(),
                        output: stamps.path.clone(),
                        truth_what: format!("{what} {wanted:.4} arcsec"),
                        output_what: format!("{got:.4} arcsec"),
                    });
                }
                (Some(wanted), None) => notes.push(format!(
                    "{}: no card of the target's {what}: taken to be the truth's, {wanted:.4} arcsec",
                    stamps.path.display()
                )),
                _ => {}
            }
        }
    }
    Ok(())
}

type Kept = Option<(crate::evaluate::Aligned, StampIndex)>;

/// Scores the image of a matched object, and fills in what its row does not say. `None` where its stamp cannot be compared.
#[allow(clippy::too_many_arguments)]
fn compare(
    stamps: &mut [Stamps],
    at: StampIndex,
    places: &[(StampIndex, StampPlace)],
    truth: &TrueStamp,
    field: &Truth,
    (true_row, row): (&TruthRow, &mut MeasuredRow),
    factor: f64,
    fill: &Fill,
    settings: &ScoreSettings,
) -> Result<Kept, ScoreError> {
    let Some((image, place, unit)) = read(stamps, at, places, field)? else { return Ok(None) };
    // where the true position falls in the output's stamp, whose reference pixel lies at the measured one
    let true_place = (
        place.reference.0 + (true_row.x - place.pixel.0) * factor,
        place.reference.1 + (true_row.y - place.pixel.1) * factor,
    );
    if fill.flux {
        row.flux = image.iter().map(|v| f64::from(*v)).sum();
    }
    if fill.shape
        && let Some(target) = field.target_fwhm_pixels()
        && let Some(m) = moments(&image, place.reference, target)
    {
        row.e = [m.e1, m.e2];
        let scale = field.cube().and_then(|c| c.pixel_scale()).unwrap_or(1.0);
        row.size = (m.ixx + m.iyy) * scale * scale;
    }
    // an object whose truth is empty (or beyond the stamp) has no image to compare
    let Ok(aligned) = align(&image, true_place, &truth.image, truth.centre) else { return Ok(None) };
    row.image = score_image(&aligned.output, &aligned.truth, aligned.centre, truth.fwhm)
        .ok()
        .map(|score| ImageScore { flux_error: flux_error(&image, true_row.flux), ..score });
    let noise = place.noise_sigma * unit;
    row.invented =
        invented_structure(&aligned.output, &aligned.truth, aligned.centre, truth.fwhm, noise, &settings.invented)
            .ok()
            .map(|found| found.invented > 0);
    Ok(Some((aligned, at)))
}

/// |sum - true flux| / |true flux|: the truth's own stamp may cut its wings.
fn flux_error(image: &Plane, flux: f64) -> f64 {
    let sum: f64 = image.iter().map(|v| f64::from(*v)).sum();
    (sum - flux).abs() / flux.abs()
}

/// A stamp in nJy, its place, and the unit it was multiplied with; `None` for one that holds no number.
fn read(
    stamps: &mut [Stamps],
    at: StampIndex,
    places: &[(StampIndex, StampPlace)],
    field: &Truth,
) -> Result<Option<(Plane, StampPlace, f64)>, ScoreError> {
    let place = places.iter().find(|(index, _)| index.file == at.file && index.index == at.index).map(|(_, p)| *p);
    let (Some(file), Some(place)) = (stamps.get_mut(at.file), place) else { return Ok(None) };
    let cube = file.image.clone();
    let unit = cube.to_nanojansky().unwrap_or(field.nanojansky);
    let mut image = file.file.plane(&cube, at.index)?;
    if image.iter().any(|v| !v.is_finite()) {
        return Ok(None);
    }
    image.mapv_inplace(|v| (f64::from(v) * unit) as f32);
    Ok(Some((image, place, unit)))
}

fn observed(stamps: &mut [Stamps], at: StampIndex) -> Result<Option<Plane>, ScoreError> {
    let Some(file) = stamps.get_mut(at.file) else { return Ok(None) };
    match file.observed.clone() {
        Some(cube) => Ok(Some(file.file.plane(&cube, at.index)?)),
        None => Ok(None),
    }
}

/// Highest pixel of an output over its noise: the one stated for its Tikhonov step, or else that of its own pixels.
fn peak(stamps: &mut [Stamps], at: StampIndex, places: &[(StampIndex, StampPlace)]) -> Result<f64, ScoreError> {
    let place = places.iter().find(|(index, _)| index.file == at.file && index.index == at.index).map(|(_, p)| *p);
    let (Some(file), Some(place)) = (stamps.get_mut(at.file), place) else { return Ok(f64::NAN) };
    let cube = file.image.clone();
    let image = file.file.plane(&cube, at.index)?;
    let own = median_and_sigma(&image).map_or(f64::NAN, |(_, s)| s);
    let noise = if place.noise_sigma > 0.0 { place.noise_sigma } else { own };
    Ok(f64::from(image.iter().copied().fold(f32::NEG_INFINITY, f32::max)) / noise)
}

/// Which true objects to show: galaxies that no flag speaks against, evenly in the logarithm of their signal-to-noise ratio.
fn chosen_for_sheet(
    pairs: &[(usize, &Vec<TruthRow>, usize, &Vec<MeasuredRow>)],
    settings: &ScoreSettings,
) -> Vec<usize> {
    let excluded = Flags::from_bits_retain(settings.evaluate.excluded_flags);
    let mut usable: Vec<(f64, usize)> = pairs
        .iter()
        .filter_map(|(t, truth, m, measured)| {
            let (true_row, row) = (truth.get(*t)?, measured.get(*m)?);
            let good = true_row.has_shape && true_row.snr >= 10.0 && !row.flags.intersects(excluded);
            good.then_some((true_row.snr, *t))
        })
        .collect();
    usable.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (Some(first), Some(last)) = (usable.first(), usable.last()) else { return Vec::new() };
    let (top, bottom) = (first.0.min(1000.0).ln(), last.0.ln());
    let mut chosen: Vec<usize> = Vec::new();
    for k in 0..settings.sheet {
        let wanted = top + (bottom - top) * k as f64 / (settings.sheet.max(2) - 1) as f64;
        let distance = |c: &&(f64, usize)| (c.0.ln() - wanted).abs();
        let free = usable.iter().filter(|c| !chosen.contains(&c.1));
        if let Some(best) = free.min_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.1.cmp(&b.1))) {
            chosen.push(best.1);
        }
    }
    chosen
}
