//! Outputs on disk against the truth on disk: `stillair evaluate`. The comparison itself is [`crate::evaluate`].

mod error;
mod field;
mod output;
mod sky_map;
mod truth_side;

use std::collections::BTreeMap;

pub use error::ScoreError;
pub use field::{ObjectScore, ScoredStamp};
pub use output::OutputSpec;

use crate::catalog::Flags;
use crate::evaluate::{
    BlankReport, BlankRow, EvaluateSettings, FieldRows, InventedSettings, MeasuredRow, Report, TruthRow,
    evaluate_blanks, evaluate_fields,
};

/// Matched rows with any of these count in completeness only.
pub const UNSOUND: Flags = Flags::EDGE
    .union(Flags::BAD_PIXELS)
    .union(Flags::SATURATED)
    .union(Flags::BLENDED)
    .union(Flags::TRUNCATED)
    .union(Flags::FIT_FAILED);

/// How outputs are scored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreSettings {
    /// Matching, bins, flags that exclude.
    pub evaluate: EvaluateSettings,
    /// Column by quantity, over the names that are found by themselves.
    pub columns: BTreeMap<String, String>,
    /// Number of the first pixel in x and y; `None`: by the columns' names.
    pub first_pixel: Option<u8>,
    /// Unit of fluxes whose file states none: nJy (`true`) or image units.
    pub nanojansky: bool,
    /// Cube of the stamp files that is compared.
    pub plane: String,
    /// Standard deviations above which a pixel of an empty stamp is an invented object.
    pub blob_threshold: f64,
    /// What counts as invented structure.
    pub invented: InventedSettings,
    /// Objects whose stamps are kept for a picture.
    pub sheet: usize,
}

impl Default for ScoreSettings {
    fn default() -> Self {
        Self {
            evaluate: EvaluateSettings {
                snr_edges: vec![10.0, 30.0, 100.0, 300.0],
                excluded_flags: UNSOUND.bits(),
                ..EvaluateSettings::default()
            },
            columns: BTreeMap::new(),
            first_pixel: None,
            nanojansky: true,
            plane: "DECONVOLVED".into(),
            blob_threshold: 5.0,
            invented: InventedSettings::default(),
            sheet: 0,
        }
    }
}

/// The score of one or several fields together.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Scores {
    /// What was scored, and against which truth.
    pub fields: Vec<ScoredField>,
    /// The objects.
    pub report: Report,
    /// Empty positions, where the output has rows there.
    pub blanks: Option<BlankReport>,
    /// Matching, bins, flags that excluded.
    pub settings: EvaluateSettings,
    /// Flags that excluded, by name.
    pub excluded_flags: String,
    /// Cube that was compared.
    pub plane: String,
    /// Every matched object.
    #[serde(skip)]
    pub objects: Vec<ObjectScore>,
    /// Stamps kept for a picture.
    #[serde(skip)]
    pub stamps: Vec<ScoredStamp>,
}

/// What was scored.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ScoredField {
    /// The output.
    pub output: String,
    /// The truth.
    pub truth: String,
    /// Which columns were used, for what.
    pub columns: String,
    /// Images compared.
    pub images: usize,
    /// Empty positions with a row.
    pub blanks: usize,
    /// FWHM of the target PSF, arcsec; of the truth's stamps.
    pub target_fwhm: Option<f64>,
    /// Pixel of the target grid, arcsec; of the truth's stamps.
    pub target_scale: Option<f64>,
    /// What had to be assumed or left out.
    pub notes: Vec<String>,
}

/// Scores outputs, all together.
pub fn score(outputs: &[OutputSpec], settings: &ScoreSettings) -> Result<Scores, ScoreError> {
    let mut fields = Vec::new();
    let mut rows: Vec<(Vec<TruthRow>, Vec<MeasuredRow>)> = Vec::new();
    let mut blanks: Vec<BlankRow> = Vec::new();
    let (mut objects, mut stamps) = (Vec::new(), Vec::new());
    for spec in outputs {
        let scored = field::score_field(spec, settings)?;
        rows.push((scored.truth, scored.measured));
        blanks.extend(scored.blanks);
        objects.extend(scored.objects);
        stamps.extend(scored.stamps);
        fields.push(scored.description);
    }
    let field_rows: Vec<FieldRows<'_>> = rows.iter().map(|(truth, measured)| FieldRows { truth, measured }).collect();
    stamps.truncate(settings.sheet);
    Ok(Scores {
        fields,
        report: evaluate_fields(&field_rows, &settings.evaluate),
        blanks: (!blanks.is_empty()).then(|| evaluate_blanks(&blanks, settings.blob_threshold)),
        settings: settings.evaluate.clone(),
        excluded_flags: crate::catalog::text::flag_names(Flags::from_bits_retain(settings.evaluate.excluded_flags)),
        plane: settings.plane.clone(),
        objects,
        stamps,
    })
}
