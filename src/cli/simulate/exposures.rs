//! Simulated exposures as FITS files, each with its truth beside it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::Array3;
use rayon::prelude::*;

use super::{CliError, SimulateArgs, Target, WORK, failed, galaxies, make_folder, progress};
use crate::archive::BLANKS_HDU;
use crate::deconv::DeconvSettings;
use crate::fits::{ExtraHdu, TableColumn, Values, WriteLayout, write_exposure, write_hdus};
use crate::image::mask;
use crate::simulate::blanks::{Blank, blank_positions};
use crate::simulate::draw::Kind;
use crate::simulate::exposure::{Drawn, TruthObject, paste};
use crate::simulate::{ExposureSettings, Layout, Pictures, Plan};
use crate::sky::Cards;

/// Objects drawn in one go, before they are added to the image in their order.
const BATCH: usize = 256;
/// True PSFs are given on a square grid of this many positions along each axis.
const PSF_GRID: usize = 10;
/// Side of the true PSFs, detector pixels (odd).
const PSF_SIDE: usize = 41;
/// Distance of empty positions from any light, in FWHM of the PSF.
const BLANK_RADIUS: f64 = 3.0;

pub(super) fn run(args: &SimulateArgs, deconv: &DeconvSettings) -> Result<(), CliError> {
    let settings = settings(args)?;
    if args.count == 0 {
        return Err(CliError::Usage("--count 0: nothing to do, give at least 1".into()));
    }
    let instrument = settings.layout.instrument();
    let target = args.target(instrument.pixel_scale, deconv)?;
    let pictures = match &args.galaxies {
        Some(file) => galaxies::read(file, args.galaxies_share)?,
        None => Pictures::default(),
    };
    make_folder(args)?;
    for k in 0..args.count {
        one(args, &settings, args.seed.wrapping_add(k as u64), target, &pictures)?;
    }
    Ok(())
}

/// What the arguments ask for.
fn settings(args: &SimulateArgs) -> Result<ExposureSettings, CliError> {
    let usage = |text: String| Err(CliError::Usage(text));
    let (nx, ny) = match &args.size {
        None => (2048, 2048),
        Some(text) => {
            let parts: Vec<Option<usize>> = text.split(',').map(|p| p.trim().parse().ok()).collect();
            match parts.as_slice() {
                [Some(nx), Some(ny)] => (*nx, *ny),
                _ => {
                    return usage(format!("--size {text}: give two whole numbers, columns and rows: --size 2048,2048"));
                }
            }
        }
    };
    if !(64..=16_384).contains(&nx) || !(64..=16_384).contains(&ny) {
        return usage(format!("--size {nx},{ny}: exposures have 64 to 16384 columns and rows"));
    }
    if let Some(stars) = args.stars.filter(|s| *s > args.objects) {
        return usage(format!("--stars {stars}: there are only {} objects; raise --objects", args.objects));
    }
    if !(0.0..=1.0).contains(&args.cosmic_rays_masked) {
        return usage(format!("--cosmic-rays-masked {}: a share lies between 0 and 1", args.cosmic_rays_masked));
    }
    if let Some(size) = args.truth_stamps.filter(|n| !(16..=256).contains(n) || n % 2 == 1) {
        return usage(format!("--truth-stamps {size}: stamps have an even side of 16 to 256 pixels"));
    }
    Ok(ExposureSettings {
        layout: args.layout.into(),
        nx,
        ny,
        objects: args.objects,
        stars: args.stars,
        cosmic_rays_masked: args.cosmic_rays_masked,
    })
}

/// An object, what came of drawing it, and whether its core is saturated.
struct Placed<'a> {
    object: &'a TruthObject,
    snr: f64,
    peak: f64,
    psf_fwhm: f64,
    saturated: bool,
}

fn one(
    args: &SimulateArgs,
    settings: &ExposureSettings,
    seed: u64,
    target: Target,
    pictures: &Pictures,
) -> Result<(), CliError> {
    let started = Instant::now();
    let plan = Plan::with_pictures(settings, seed, pictures).map_err(failed)?;
    let (name, layout) = match settings.layout {
        Layout::Lsst => ("lsst", WriteLayout::LsstAfw),
        Layout::Euclid => ("euclid", WriteLayout::EuclidVis),
        Layout::Generic => ("generic", WriteLayout::Generic),
    };
    let id = format!("{name}-{seed}");

    let bar = progress(plan.objects.len(), "objects");
    let mut light = plan.empty();
    let mut placed = Vec::with_capacity(plan.objects.len());
    for batch in plan.objects.chunks(BATCH) {
        let drawn: Vec<Drawn> =
            batch.par_iter().map(|o| WORK.with_borrow_mut(|(renderer, _)| plan.draw(o, renderer))).collect();
        // added in order: sums do not depend on who was first
        for (object, drawn) in batch.iter().zip(drawn) {
            paste(&mut light, &drawn.bounds, &drawn.pixels);
            let Drawn { snr, peak, psf_fwhm, .. } = drawn;
            placed.push(Placed { object, snr, peak, psf_fwhm, saturated: false });
        }
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();

    let widest = placed.iter().map(|p| p.psf_fwhm).fold(0.0, f64::max);
    let blanks = blank_positions(&plan, &light, args.blanks, BLANK_RADIUS * widest.max(1.0));
    if blanks.len() < args.blanks {
        eprintln!(
            "stillair: {id}: only {} of {} empty positions found: the field is full; take fewer --objects",
            blanks.len(),
            args.blanks
        );
    }
    let mut electrons = plan.empty();
    let columns = settings.nx;
    if let (Some(light), Some(electrons)) = (light.as_slice(), electrons.as_slice_mut()) {
        electrons
            .par_chunks_mut(columns)
            .zip(light.par_chunks(columns))
            .enumerate()
            .for_each(|(y, (row, light))| plan.expose_row(y, light, row));
    }
    let exposure = plan.finish(electrons, &id);
    for p in &mut placed {
        let at = (p.object.y.round().max(0.0) as usize, p.object.x.round().max(0.0) as usize);
        p.saturated = exposure.mask.get(at).is_some_and(|bits| bits & mask::SATURATED != 0);
    }

    let path = args.out.join(format!("{id}.fits"));
    let truth_path = args.out.join(format!("{id}.truth.fits"));
    // the truth first: whoever watches the folder finds it there when the exposure appears
    let truth = truth_hdus(&plan, &placed, &blanks, args.truth_stamps, target);
    let mut cards = Cards::new();
    cards.push("EXPID", id.as_str(), "exposure");
    cards.push("SIMSEED", i64::try_from(seed).unwrap_or(i64::MAX), "seed of the simulation");
    whole(&truth_path, |p| write_hdus(p, &cards, &truth))?;
    if !blanks.is_empty() {
        whole(&args.out.join(format!("{id}.blanks.csv")), |p| std::fs::write(p, blanks_csv(&blanks)))?;
    }
    whole(&path, |p| write_exposure(p, &exposure, layout, &[]))?;
    let stars = plan.objects.iter().filter(|o| o.kind == Kind::Star).count();
    say!(
        "{}: {} x {} pixels, {} objects ({stars} stars, {} with a saturated centre), truth in {}; {:.1} s",
        path.display(),
        settings.nx,
        settings.ny,
        plan.objects.len(),
        placed.iter().filter(|p| p.saturated && p.object.kind == Kind::Star).count(),
        truth_path.display(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Writes under another name and renames, so that no half-written file is ever found.
fn whole<E: std::fmt::Display>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), CliError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let done = write(&partial).map_err(failed).and_then(|()| {
        std::fs::rename(&partial, path).map_err(|e| failed(format!("cannot write {}: {e}", path.display())))
    });
    if done.is_err() {
        // the error is already told; a leftover is only untidy
        let _ = std::fs::remove_file(&partial);
    }
    done
}

fn blanks_csv(blanks: &[Blank]) -> String {
    let mut text = String::from("id,x,y,ra,dec\n");
    for b in blanks {
        text.push_str(&format!("{},{:.4},{:.4},{:.8},{:.8}\n", b.id, b.x + 1.0, b.y + 1.0, b.ra, b.dec));
    }
    text
}

fn blanks_hdu(blanks: &[Blank]) -> ExtraHdu {
    let reals = |f: &dyn Fn(&Blank) -> f64| Values::F64(blanks.iter().map(f).collect());
    let columns = vec![
        TableColumn::new("id", Values::I64(blanks.iter().map(|b| b.id).collect())).description("number"),
        TableColumn::new("x", reals(&|b| b.x + 1.0)).unit("pix").description("column, FITS pixels (first = 1)"),
        TableColumn::new("y", reals(&|b| b.y + 1.0)).unit("pix").description("row, FITS pixels (first = 1)"),
        TableColumn::new("ra", reals(&|b| b.ra)).unit("deg").description("right ascension, ICRS"),
        TableColumn::new("dec", reals(&|b| b.dec)).unit("deg").description("declination, ICRS"),
        TableColumn::new("light", reals(&|b| b.light)).description("brightest true pixel near it, sky noise = 1"),
    ];
    ExtraHdu::Table { name: BLANKS_HDU.into(), columns, cards: Cards::new() }
}

fn truth_hdus(
    plan: &Plan,
    placed: &[Placed],
    blanks: &[Blank],
    truth_stamps: Option<usize>,
    target: Target,
) -> Vec<ExtraHdu> {
    let mut hdus =
        vec![ExtraHdu::Table { name: "TRUTH".into(), columns: truth_columns(plan, placed), cards: truth_cards(plan) }];
    hdus.extend(psf_hdus(plan));
    if !blanks.is_empty() {
        hdus.push(blanks_hdu(blanks));
    }
    if let Some(size) = truth_stamps {
        let Target { factor, fwhm } = target;
        let side = size * factor;
        let stamps: Vec<_> = plan
            .objects
            .par_iter()
            .map(|o| WORK.with_borrow_mut(|(renderer, _)| plan.truth_stamp(o, size, factor, fwhm, renderer)))
            .collect();
        let mut cube = Array3::zeros((stamps.len(), side, side));
        for (mut plane, stamp) in cube.outer_iter_mut().zip(&stamps) {
            plane.assign(stamp);
        }
        let mut cards = Cards::new();
        cards.push("BUNIT", unit(plan), "flux per target pixel");
        cards.push("MAGZERO", plan.instrument.zero_point, "[mag] AB magnitude of one unit");
        cards.push("TGTFWHM", fwhm * plan.instrument.pixel_scale / factor as f64, "[arcsec] target PSF");
        cards.push("PIXSCALE", plan.instrument.pixel_scale / factor as f64, "[arcsec] target pixel");
        hdus.push(ExtraHdu::Cube { name: "TRUTH_STAMPS".into(), cube, cards });
    }
    hdus
}

/// Unit of the image.
fn unit(plan: &Plan) -> &'static str {
    match plan.settings.layout {
        Layout::Lsst => "nJy",
        Layout::Euclid | Layout::Generic => "adu",
    }
}

fn truth_cards(plan: &Plan) -> Cards {
    let instrument = &plan.instrument;
    let mut cards = Cards::new();
    cards.push("SKYSIGMA", instrument.sky_sigma(), "sky noise per pixel, image units");
    cards.push("MAGZERO", instrument.zero_point, "[mag] AB magnitude of one image unit");
    cards.push("GAIN", instrument.gain, "electrons per image unit");
    cards.push("MAGLIM", plan.limiting_magnitude(), "[mag] point source of SNR 5");
    cards.push("PIXSCALE", instrument.pixel_scale, "[arcsec] pixel scale");
    cards
}

fn truth_columns(plan: &Plan, placed: &[Placed]) -> Vec<TableColumn> {
    let instrument = &plan.instrument;
    let to_njy = 10f64.powf(0.4 * (31.4 - instrument.zero_point));
    let reals = |f: &dyn Fn(&Placed) -> f64| Values::F64(placed.iter().map(f).collect());
    let shapes: Vec<(f64, f64, f64)> = placed
        .par_iter()
        .map(|p| {
            let (e1, e2) = p.object.scene.moments().ellipticity();
            (p.object.scene.half_light_radius(), e1, e2)
        })
        .collect();
    let shape = |f: &dyn Fn(&(f64, f64, f64)) -> f64| Values::F64(shapes.iter().map(f).collect());
    let column = |name: &str, values: Values, unit: &str, ucd: &str, description: &str| {
        TableColumn::new(name, values).unit(unit).ucd(ucd).description(description)
    };
    vec![
        column("id", Values::I64(placed.iter().map(|p| p.object.id).collect()), "", "meta.id;meta.main", "number"),
        column("x", reals(&|p| p.object.x + 1.0), "pix", "pos.cartesian.x", "column, FITS pixels (first = 1)"),
        column("y", reals(&|p| p.object.y + 1.0), "pix", "pos.cartesian.y", "row, FITS pixels (first = 1)"),
        column("ra", reals(&|p| p.object.ra), "deg", "pos.eq.ra", "right ascension, ICRS"),
        column("dec", reals(&|p| p.object.dec), "deg", "pos.eq.dec", "declination, ICRS"),
        column("flux", reals(&|p| p.object.flux * to_njy), "nJy", "phot.flux", "total flux"),
        column("flux_image", reals(&|p| p.object.flux), unit(plan), "phot.flux", "total flux in image units"),
        column("mag", reals(&|p| instrument.magnitude(p.object.flux)), "mag", "phot.mag", "AB magnitude"),
        column("snr", reals(&|p| p.snr), "", "stat.snr", "matched filter against the sky noise: sqrt(sum m^2) / sigma"),
        column("peak", reals(&|p| p.peak), unit(plan), "phot.flux;stat.max", "brightest pixel without noise and sky"),
        column(
            "half_light_radius",
            shape(&|s| s.0),
            "pix",
            "phys.angSize",
            "radius of the circle with half of the light, before the PSF",
        ),
        column("e1", shape(&|s| s.1), "", "phys.angSize", "(Qxx - Qyy) / (Qxx + Qyy) before the PSF, pixel axes"),
        column("e2", shape(&|s| s.2), "", "phys.angSize", "2 Qxy / (Qxx + Qyy) before the PSF, pixel axes"),
        column("n", reals(&|p| p.object.index), "", "", "Sersic index; 0 unless the object is one profile"),
        column(
            "star",
            Values::I32(placed.iter().map(|p| i32::from(p.object.kind == Kind::Star)).collect()),
            "",
            "",
            "1 = star",
        ),
        column(
            "kind",
            Values::Text(placed.iter().map(|p| p.object.kind.name().into()).collect()),
            "",
            "src.class",
            "what it is",
        ),
        column(
            "saturated",
            Values::I32(placed.iter().map(|p| i32::from(p.saturated)).collect()),
            "",
            "",
            "1 = the pixel under its centre is saturated",
        ),
        column("psf_fwhm", reals(&|p| p.psf_fwhm), "pix", "instr.det.psf", "FWHM of the effective PSF, azimuthal mean"),
    ]
}

/// Positions over the field, and the effective PSF there (pixel response in, unit sum), on the detector's pixels and, for Euclid's
/// undersampled PSF, two and three times finer.
fn psf_hdus(plan: &Plan) -> Vec<ExtraHdu> {
    let at = |i: usize, n: usize| (i as f64 + 0.5) / PSF_GRID as f64 * n as f64 - 0.5;
    let positions: Vec<(f64, f64)> = (0..PSF_GRID * PSF_GRID)
        .map(|i| (at(i % PSF_GRID, plan.settings.nx), at(i / PSF_GRID, plan.settings.ny)))
        .collect();
    let reals = |f: &dyn Fn(&(f64, f64)) -> f64| Values::F64(positions.iter().map(f).collect());
    let columns = vec![
        TableColumn::new("x", reals(&|p| p.0 + 1.0)).unit("pix").description("column, FITS pixels (first = 1)"),
        TableColumn::new("y", reals(&|p| p.1 + 1.0)).unit("pix").description("row, FITS pixels (first = 1)"),
    ];
    let mut hdus = vec![ExtraHdu::Table { name: "PSFPOS".into(), columns, cards: Cards::new() }];
    let finest = if plan.settings.layout == Layout::Euclid { 3 } else { 1 };
    for oversample in 1..=finest {
        let side = PSF_SIDE * oversample + (oversample + 1) % 2;
        let planes: Vec<_> = positions
            .par_iter()
            .map(|(x, y)| {
                WORK.with_borrow_mut(|(renderer, _)| plan.psf.at(*x, *y).effective(renderer, side, oversample))
            })
            .collect();
        let mut cube = Array3::zeros((planes.len(), side, side));
        for (mut to, plane) in cube.outer_iter_mut().zip(&planes) {
            to.assign(plane);
        }
        let mut cards = Cards::new();
        cards.push("OVERSAMP", oversample as i64, "samples per detector pixel");
        let name = if oversample == 1 { "PSF".to_string() } else { format!("PSF_{oversample}X") };
        hdus.push(ExtraHdu::Cube { name, cube, cards });
    }
    hdus
}
