//! Every picture from made-up data. `STILLAIR_SHOW_PICTURES=DIR` keeps them for looking at.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::*;
use crate::catalog::{CatalogRow, Flags};
use crate::image::Plane;

fn keep(name: &str, picture: &Picture) {
    if let Some(folder) = std::env::var_os("STILLAIR_SHOW_PICTURES") {
        std::fs::write(std::path::Path::new(&folder).join(name), picture.png().unwrap()).unwrap();
    }
}

/// Share of pixels that are not white.
fn inked(picture: &Picture) -> f64 {
    let all = picture.pixels.pixels();
    let total = all.len() as f64;
    picture.pixels.pixels().filter(|p| p.0 != [255, 255, 255]).count() as f64 / total
}

fn gaussian(n: usize, (cx, cy): (f64, f64), sigma: f64, q: f64, angle: f64, flux: f64) -> Plane {
    let (sin, cos) = angle.sin_cos();
    let norm = flux / (std::f64::consts::TAU * sigma * sigma * q);
    Plane::from_shape_fn((n, n), |(r, c)| {
        let (x, y) = (c as f64 - cx, r as f64 - cy);
        let (u, v) = (x * cos + y * sin, (y * cos - x * sin) / q);
        (norm * (-0.5 * (u * u + v * v) / (sigma * sigma)).exp()) as f32
    })
}

fn noise(n: usize, sigma: f64, rng: &mut ChaCha8Rng) -> Plane {
    let normal = Normal::new(0.0, sigma).unwrap();
    Plane::from_shape_fn((n, n), |_| normal.sample(rng) as f32)
}

#[test]
fn sheet_of_objects() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let n = 64;
    let mut made = Vec::new();
    for (i, snr) in [800.0, 210.0, 80.0, 31.0, 12.0, 6.0].into_iter().enumerate() {
        let flux = snr * 120.0;
        let (q, angle) = (0.4 + 0.1 * i as f64, i as f64);
        let sharp =
            gaussian(n, (32.0, 32.0), 3.0, q, angle, flux * 0.8) + gaussian(n, (32.0, 32.0), 1.0, 1.0, 0.0, flux * 0.2);
        let observed = gaussian(n, (32.3, 31.8), 3.6, 0.5 + 0.5 * q, angle, flux) + noise(n, 10.0, &mut rng);
        let tikhonov = &sharp + &noise(n, 14.0, &mut rng);
        let mut row = CatalogRow::empty(1000 + 37 * i as i64);
        (row.snr, row.flux, row.flux_err, row.mag, row.mag_err) =
            (snr, flux, flux / snr, 31.4 - 2.5 * flux.log10(), 1.09 / snr);
        (row.x, row.y, row.psf_fwhm, row.half_light_radius, row.lambda, row.chi2_reduced) =
            (1034.2, 88.1, 0.81, 0.62, 0.0031, 1.03);
        row.stamp_size = Some(64);
        if i == 3 {
            row.flags = Flags::NEIGHBOUR | Flags::BLENDED;
        }
        if i == 5 {
            row.flags = Flags::all();
        }
        made.push((
            row,
            observed,
            gaussian(n, (32.0, 32.0), 1.7, 0.95, 0.3, 1.0),
            tikhonov,
            sharp,
            noise(n, 10.0, &mut rng),
        ));
    }
    let objects: Vec<SheetObject<'_>> = made
        .iter()
        .map(|(row, observed, psf, tikhonov, deconvolved, residual)| SheetObject {
            row,
            observed,
            psf,
            tikhonov,
            deconvolved,
            residual,
            sigma: 10.0,
            noise_sigma: 14.0,
            centre: (32.3, 31.8),
        })
        .collect();
    let texts = SheetTexts {
        exposure: "lsst-0042 R22_S11".into(),
        subtitle: "LSSTCam, r band; PSF FWHM 0.81\u{2033} (4.05 px), target 0.40\u{2033}; 2 914 objects".into(),
        flux_unit: "nJy".into(),
        pixel_unit: "nJy".into(),
        network: "xdense-tikhonet".into(),
        pixel_scale: Some(0.2),
        factor: 1,
    };
    let picture = object_sheet(&objects, &texts).unwrap();
    keep("sheet.png", &picture);
    assert!(inked(&picture) > 0.4);
    assert_eq!(picture, object_sheet(&objects, &texts).unwrap(), "same data, same picture");
    keep("sheet_empty.png", &object_sheet(&[], &texts).unwrap());
}

#[test]
fn chosen_objects_span_the_range_of_snr() {
    let rows: Vec<CatalogRow> = (0..500)
        .map(|i| {
            let mut row = CatalogRow::empty(i);
            row.snr = 5.0 * (1.0 + i as f64 / 10.0).powf(1.5);
            row.stamp_size = (i % 7 != 0).then_some(64);
            row
        })
        .collect();
    let chosen = choose_objects(&rows, 8);
    assert_eq!(chosen.len(), 8);
    assert!(chosen.windows(2).all(|w| rows[w[0]].snr > rows[w[1]].snr));
    assert!(rows[chosen[0]].snr > 1500.0 && rows[chosen[7]].snr < 7.0);
    assert!(chosen.iter().all(|i| rows[*i].stamp_size.is_some()));
    assert_eq!(choose_objects(&rows[..3], 8).len(), 2);
    assert!(choose_objects(&[], 8).is_empty());
}

fn model(x: f64, y: f64) -> PsfPoint {
    let (u, v) = (x / 2048.0 - 0.5, y / 1500.0 - 0.5);
    PsfPoint { x, y, fwhm: 4.0 + 0.3 * u + 0.4 * v * v, e1: 0.02 + 0.05 * u, e2: 0.04 * v - 0.01 }
}

#[test]
fn psf_over_the_field() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let grid: Vec<PsfPoint> = (0..9)
        .flat_map(|j| {
            (0..12).map(move |i| model((f64::from(i) + 0.5) / 12.0 * 2048.0, (f64::from(j) + 0.5) / 9.0 * 1500.0))
        })
        .collect();
    let stars = (0..140)
        .map(|i| {
            let at = model(rng.random_range(0.0..2047.0), rng.random_range(0.0..1499.0));
            let mag = rng.random_range(17.5..22.5);
            let s = 10_f64.powf(0.2 * (mag - 21.0));
            let mut measured = at;
            measured.fwhm *= 1.0 + 0.008 * s * normal.sample(&mut rng);
            measured.e1 += 0.006 * s * normal.sample(&mut rng);
            measured.e2 += 0.006 * s * normal.sample(&mut rng);
            let status = match i % 10 {
                0 | 1 => StarStatus::Reserved,
                2 => StarStatus::Rejected,
                _ => StarStatus::Used,
            };
            StarPoint { measured, model: at, mag, status }
        })
        .collect();
    let map = PsfMap {
        exposure: "lsst-0042 R22_S11".into(),
        subtitle: "PSF FWHM 0.81\u{2033} (4.05 px), order 2, quality good; reserved stars: size +0.04 \u{b1} 0.61 %"
            .into(),
        columns: 2048,
        rows: 1500,
        pixel_scale: Some(0.2),
        calibrated: true,
        grid,
        grid_columns: 12,
        stars,
    };
    let picture = psf_map(&map).unwrap();
    keep("psf.png", &picture);
    assert!(inked(&picture) > 0.2);
    let bare = PsfMap { stars: Vec::new(), pixel_scale: None, columns: 300, rows: 900, ..map };
    keep("psf_bare.png", &psf_map(&bare).unwrap());
    psf_map(&PsfMap::default()).unwrap();
}

#[test]
fn flux_and_truth() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let points: Vec<FluxPoint> = (0..1800)
        .map(|i| {
            let snr = 10_f64.powf(rng.random_range(0.6..3.0));
            let truth = 20.0 * snr;
            let bias = 1.0 - 0.2 / snr;
            let wild = if i % 40 == 0 { 9.0 } else { 1.0 };
            FluxPoint {
                truth,
                flux: truth * bias + wild * 20.0 * normal.sample(&mut rng),
                flux_err: 20.0,
                snr,
                flagged: i % 9 == 0,
            }
        })
        .collect();
    let texts =
        FluxTexts { exposure: "lsst-0042".into(), subtitle: "1 800 of 2 000 objects matched within 1\u{2033}".into() };
    let picture = flux_against_truth(&points, &texts).unwrap();
    keep("flux.png", &picture);
    assert!(inked(&picture) > 0.1);
    flux_against_truth(&[], &texts).unwrap();
    let bad = FluxPoint { truth: f64::NAN, flux: f64::NAN, flux_err: 0.0, snr: f64::INFINITY, flagged: false };
    flux_against_truth(&[bad], &texts).unwrap();
}

#[test]
fn star_selection_diagram() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let points = (0..2500)
        .map(|i| {
            let star = i % 8 == 0;
            let mag: f64 = if star { rng.random_range(17.0..25.0) } else { 25.5 - 4.0 * rng.random::<f64>().powi(2) };
            let s = 0.02 * 10_f64.powf(0.25 * (mag - 20.0));
            let radius = 2.3 + s * normal.sample(&mut rng) + if star { 0.0 } else { 2.0 * rng.random::<f64>() };
            let status = (star && mag < 22.5).then_some(match i % 5 {
                0 => StarStatus::Reserved,
                1 if i % 3 == 0 => StarStatus::Rejected,
                _ => StarStatus::Used,
            });
            StarDiagramPoint { mag, half_light_radius: radius, status }
        })
        .collect();
    let diagram = StarDiagram {
        exposure: "lsst-0042 R22_S11".into(),
        subtitle: "star locus at 0.46\u{2033}".into(),
        pixel_scale: Some(0.2),
        calibrated: true,
        locus: Some((2.15, 2.45)),
        points,
    };
    let picture = star_selection(&diagram).unwrap();
    keep("stars.png", &picture);
    assert!(inked(&picture) > 0.05);
    star_selection(&StarDiagram::default()).unwrap();
}

#[test]
fn png_starts_as_png() {
    let picture = star_selection(&StarDiagram::default()).unwrap();
    assert!(picture.png().unwrap().starts_with(&[0x89, b'P', b'N', b'G']));
}
