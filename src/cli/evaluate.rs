//! `stillair evaluate OUTPUT…`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::archive::{self, QUANTITIES};
use crate::catalog::Flags;
use crate::evaluate::{EvaluateSettings, render_blanks, render_groups};
use crate::picture::{ScorePoint, ScoreTexts, TruthObject, score_picture, truth_sheet};
use crate::pipeline::{self, ObjectScore, OutputSpec, ScoreSettings, ScoredStamp, Scores};

/// Score outputs against the truth: completeness, fluxes and pulls, shapes, sizes, PSF leakage, images, empty positions
#[derive(Debug, Clone, clap::Args)]
pub struct EvaluateArgs {
    /// Folders that `stillair process` wrote (OUT/EXPOSURE), catalogues (FITS, Parquet, CSV), or stamp files; all are summed up together
    #[arg(required = true, value_name = "OUTPUT")]
    outputs: Vec<PathBuf>,
    /// Truth that `stillair simulate` wrote, one for all or one per OUTPUT in their order; a folder's own exposure is looked at without
    #[arg(long, value_name = "FILE")]
    truth: Vec<PathBuf>,
    /// Stamp files that belong to OUTPUT, where that is a catalogue (one OUTPUT only): cubes with a table of id, x, y or ra, dec, x0, y0
    #[arg(long, value_name = "FILE")]
    stamps: Vec<PathBuf>,
    /// Cube of the stamp files to compare with the truth: DECONVOLVED, TIKHONOV, .. (a file of one cube needs no name)
    #[arg(long, value_name = "NAME", default_value = "DECONVOLVED")]
    plane: String,
    /// Take a column for a quantity (x, y, ra, dec, id, flux, flux_err, e1, e2, size, ixx, iyy, psf_e1, psf_e2, flags)
    #[arg(long, value_name = "QUANTITY=COLUMN")]
    column: Vec<String>,
    /// Number of the first pixel in x and y: 1 (FITS, SExtractor) or 0 (numpy); by the columns' names if not given
    #[arg(long, value_name = "0|1")]
    first_pixel: Option<u8>,
    /// Unit of fluxes whose file states none
    #[arg(long, value_enum, default_value_t = FluxUnit::Njy)]
    flux_unit: FluxUnit,
    /// Largest distance between a true and a measured position, detector pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 2.0)]
    match_radius: f64,
    /// Edges of the bins in true signal-to-noise ratio
    #[arg(long, value_name = "SNR,..", default_value = "10,30,100,300")]
    snr: String,
    /// Flags whose rows count in completeness only, by name; "none" lets every row count [default: EDGE,BAD_PIXELS,SATURATED,BLENDED,TRUNCATED,FIT_FAILED]
    #[arg(long, value_name = "FLAG,..")]
    exclude: Option<String>,
    /// Standard deviations above which a pixel of an empty position counts as an invented object
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0)]
    blob_threshold: f64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every matched object as CSV: truth and measurement side by side
    #[arg(long, value_name = "FILE")]
    objects: Option<PathBuf>,
    /// Draw scores.png (scores over the signal-to-noise ratio) and objects.png (objects beside their truth) into a folder
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// Objects in the picture beside their truth.
const SHEET: usize = 10;

/// Units of fluxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FluxUnit {
    /// Nanojansky
    Njy,
    /// The exposure's own, by the truth's zero point
    Image,
}

/// Scores the outputs and writes what was asked for.
pub fn run(args: &EvaluateArgs) -> Result<(), CliError> {
    let settings = settings(args)?;
    let specs = specs(args)?;
    let scores = pipeline::score(&specs, &settings).map_err(|error| CliError::Failed(error.to_string()))?;
    print(&scores);
    if let Some(path) = &args.json {
        let json =
            serde_json::to_vec_pretty(&scores).map_err(|e| CliError::Failed(format!("cannot write JSON: {e}")))?;
        write(path, &json)?;
    }
    if let Some(path) = &args.objects {
        write(path, objects_csv(&scores.objects).as_bytes())?;
    }
    if let Some(folder) = &args.pictures {
        pictures(folder, &scores)?;
    }
    Ok(())
}

fn pictures(folder: &Path, scores: &Scores) -> Result<(), CliError> {
    std::fs::create_dir_all(folder)
        .map_err(|e| CliError::Failed(format!("cannot make the folder {}: {e}", folder.display())))?;
    let names: Vec<&str> = scores.fields.iter().map(|f| f.output.as_str()).collect();
    let target = scores.fields.iter().find_map(|f| Some((f.target_fwhm?, f.target_scale?)));
    let target = target.map_or(String::new(), |(fwhm, scale)| {
        format!(", target FWHM {fwhm:.3}\u{2033} on {scale:.3}\u{2033}, {}", scores.plane)
    });
    let texts = ScoreTexts {
        title: names.first().map_or(String::new(), |first| match names.len() {
            1 => (*first).to_string(),
            n => format!("{first} and {} more", n - 1),
        }),
        subtitle: format!("{} of {} true objects matched{target}", scores.report.matched, scores.report.truth),
    };
    let excluded = Flags::from_bits_retain(scores.settings.excluded_flags);
    let points: Vec<ScorePoint> =
        scores.objects.iter().filter(|o| !o.measured.flags.intersects(excluded)).map(point).collect();
    let sheet: Vec<TruthObject<'_>> = scores.stamps.iter().map(truth_object).collect();
    for (name, picture) in
        [("scores.png", score_picture(&points, &texts)), ("objects.png", truth_sheet(&sheet, &texts))]
    {
        let bytes = picture.and_then(|p| p.png()).map_err(|e| CliError::Failed(e.to_string()))?;
        write(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn point(o: &ObjectScore) -> ScorePoint {
    let (t, m) = (&o.truth, &o.measured);
    ScorePoint {
        snr: o.snr,
        flux_bias: (m.flux - t.flux) / t.flux,
        pull: (m.flux - t.flux) / m.flux_err,
        nmse: m.image.map_or(f64::NAN, |i| i.nmse),
        ellipticity_error: (m.e[0] - t.e[0]).hypot(m.e[1] - t.e[1]),
        star: o.star,
    }
}

fn truth_object(stamp: &ScoredStamp) -> TruthObject<'_> {
    let o = &stamp.object;
    let (nmse, ssim) = o.measured.image.map_or((f64::NAN, f64::NAN), |i| (i.nmse, i.ssim_object));
    let fwhm = if o.fwhm.is_finite() { o.fwhm } else { 8.0 };
    TruthObject {
        words: vec![
            format!("{}", o.truth_id),
            format!("true S/N {:.0}", o.snr),
            format!("flux {:+.1} %", 100.0 * (o.measured.flux / o.truth.flux - 1.0)),
            format!("NMSE {nmse:.3}"),
            format!("SSIM {ssim:.3}"),
            format!("FWHM {fwhm:.1} px"),
        ],
        observed: stamp.observed.as_ref(),
        output: &stamp.output,
        truth: &stamp.truth,
        centre: stamp.centre,
        shown: ((6.0 * fwhm) as usize).clamp(32, 96),
        factor: stamp.factor,
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    archive::atomic::write_file(path, bytes).map_err(|error| CliError::Failed(error.to_string()))
}

fn usage<T>(text: String) -> Result<T, CliError> {
    Err(CliError::Usage(text))
}

fn settings(args: &EvaluateArgs) -> Result<ScoreSettings, CliError> {
    let mut columns = BTreeMap::new();
    for pair in &args.column {
        let Some((quantity, column)) = pair.split_once('=') else {
            let names: Vec<&str> = QUANTITIES.iter().map(|q| q.name).collect();
            return usage(format!(
                "--column {pair}: write QUANTITY=COLUMN, a QUANTITY being id, x, y, ra, dec, {}",
                names.join(", ")
            ));
        };
        columns.insert(quantity.trim().to_string(), column.trim().to_string());
    }
    if let Some(first) = args.first_pixel.filter(|f| *f > 1) {
        return usage(format!("--first-pixel {first}: it is 0 or 1"));
    }
    for (option, value) in [("--match-radius", args.match_radius), ("--blob-threshold", args.blob_threshold)] {
        if !(value > 0.0 && value.is_finite()) {
            return usage(format!("{option} {value}: it must be a positive number"));
        }
    }
    let edges: Vec<f64> = args.snr.split(',').map(|p| p.trim().parse().unwrap_or(f64::NAN)).collect();
    if edges.iter().any(|e| !e.is_finite()) || edges.windows(2).any(|w| w[0] >= w[1]) {
        return usage(format!("--snr {}: give rising numbers, as in 10,30,100,300", args.snr));
    }
    let defaults = ScoreSettings::default();
    let excluded = match args.exclude.as_deref().map(str::trim) {
        None => defaults.evaluate.excluded_flags,
        Some("none" | "") => 0,
        Some(names) => {
            let mut flags = Flags::empty();
            for name in names.split(',').map(str::trim) {
                flags |= Flags::from_name(&name.to_ascii_uppercase()).ok_or_else(|| {
                    CliError::Usage(format!("--exclude {name}: no such flag; `stillair flags` lists them"))
                })?;
            }
            flags.bits()
        }
    };
    Ok(ScoreSettings {
        evaluate: EvaluateSettings {
            match_radius: args.match_radius,
            snr_edges: edges,
            excluded_flags: excluded,
            ..defaults.evaluate
        },
        columns,
        first_pixel: args.first_pixel,
        nanojansky: args.flux_unit == FluxUnit::Njy,
        plane: args.plane.clone(),
        blob_threshold: args.blob_threshold,
        sheet: if args.pictures.is_some() { SHEET } else { 0 },
        ..defaults
    })
}

fn specs(args: &EvaluateArgs) -> Result<Vec<OutputSpec>, CliError> {
    if !args.stamps.is_empty() && args.outputs.len() > 1 {
        return usage(
            "--stamps belongs to one OUTPUT: score several one at a time, or give the folders of exposures".into(),
        );
    }
    if args.truth.len() > 1 && args.truth.len() != args.outputs.len() {
        return usage(format!(
            "{} files with --truth for {} outputs: give one for all, or one for each in their order",
            args.truth.len(),
            args.outputs.len()
        ));
    }
    let truth = |i: usize| args.truth.get(i).or(args.truth.first()).cloned();
    let spec =
        |(i, path): (usize, &PathBuf)| OutputSpec { path: path.clone(), stamps: args.stamps.clone(), truth: truth(i) };
    Ok(args.outputs.iter().enumerate().map(spec).collect())
}

fn print(scores: &Scores) {
    for field in &scores.fields {
        say!("{}", field.output);
        say!("  truth    {}", field.truth);
        say!("  columns  {}", field.columns);
        match (field.target_fwhm, field.target_scale) {
            (Some(fwhm), Some(scale)) => {
                say!(
                    "  images   {} compared ({}), target FWHM {fwhm:.3} arcsec on {scale:.3} arcsec",
                    field.images,
                    scores.plane
                );
            }
            _ => say!("  images   none compared"),
        }
        for note in &field.notes {
            say!("  note     {note}");
        }
    }
    if scores.report.matched > 0 {
        say_text!("\n{}", render_groups(&scores.report));
        let excluded = &scores.excluded_flags;
        say!("\nLeft out for their flags: {}", if excluded.is_empty() { "none" } else { excluded });
    }
    if let Some(blanks) = &scores.blanks {
        say_text!("\n{}", render_blanks(blanks));
    }
}

/// Columns of the table of objects: truth first; fluxes in nJy (image units without a zero point), sizes in arcsec^2.
const OBJECTS_HEAD: &str = "output,truth_id,id,star,snr,x_true,y_true,flux_true,e1_true,e2_true,size_true,fwhm_pixels,x,y,flux,flux_err,\
                            e1,e2,size,psf_e1,psf_e2,flags,nmse,ssim,ssim_object,flux_error,invented\n";

fn objects_csv(objects: &[ObjectScore]) -> String {
    let mut text = String::from(OBJECTS_HEAD);
    for o in objects {
        let (t, m) = (&o.truth, &o.measured);
        let image = m.image.map_or([f64::NAN; 4], |i| [i.nmse, i.ssim, i.ssim_object, i.flux_error]);
        let output = if o.output.contains([',', '"']) { format!("{:?}", o.output) } else { o.output.clone() };
        // writing to a String cannot fail
        let _ = writeln!(
            text,
            "{output},{},{},{},{:.4},{:.4},{:.4},{:.6e},{:.6},{:.6},{:.6e},{:.4},{:.4},{:.4},{:.6e},{:.6e},{:.6},{:.6},{:.6e},{:.5},{:.5},{},{:.6},{:.6},{:.6},{:.6},{}",
            o.truth_id,
            o.id,
            u8::from(o.star),
            o.snr,
            t.x + 1.0,
            t.y + 1.0,
            t.flux,
            t.e[0],
            t.e[1],
            t.size,
            o.fwhm,
            m.x + 1.0,
            m.y + 1.0,
            m.flux,
            m.flux_err,
            m.e[0],
            m.e[1],
            m.size,
            m.psf_e[0],
            m.psf_e[1],
            m.flags.bits(),
            image[0],
            image[1],
            image[2],
            image[3],
            m.invented.map_or("", |i| if i { "1" } else { "0" }),
        );
    }
    text
}
