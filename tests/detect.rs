//! Background and detection against SExtractor's own maps and catalogue, and against the Python package sep.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use proptest::prelude::*;
use stillair::catalog::Flags;
use stillair::detect::{
    BackgroundSettings, CatalogPosition, DetectError, DetectKernel, DetectSettings, background, detect, from_catalog,
};
use stillair::failure::{Classify, FailureKind};
use stillair::image::{MaskPlane, Plane, mask, stats::median_and_sigma};

fn read(path: &Path) -> Plane {
    let mut file = fitsio::FitsFile::open(path).expect("FITS file");
    let hdu = file.primary_hdu().expect("primary HDU");
    let fitsio::hdu::HduInfo::ImageInfo { shape, .. } = &hdu.info else { panic!("not an image") };
    let shape = (shape[0], shape[1]);
    let pixels: Vec<f32> = hdu.read_image(&mut file).expect("pixels");
    Plane::from_shape_vec(shape, pixels).expect("shape")
}

fn unmasked(image: &Plane) -> MaskPlane {
    MaskPlane::zeros(image.dim())
}

/// A flat sky of deterministic noise (a hash, roughly uniform, standard deviation `sigma`).
fn noise((ny, nx): (usize, usize), sigma: f32) -> Plane {
    Plane::from_shape_fn((ny, nx), |(y, x)| {
        let mut h = (y as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (x as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        h ^= h >> 29;
        h = h.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h ^= h >> 32;
        ((h % 10_000) as f32 / 10_000.0 - 0.5) * 12f32.sqrt() * sigma
    })
}

fn add_gaussian(image: &mut Plane, x: f64, y: f64, flux: f64, sigma: f64) {
    for ((row, column), v) in image.indexed_iter_mut() {
        let r2 = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
        *v += (flux / (std::f64::consts::TAU * sigma * sigma) * (-0.5 * r2 / (sigma * sigma)).exp()) as f32;
    }
}

#[derive(serde::Deserialize)]
struct Scene {
    global_level: f64,
    global_rms: f64,
    points: Vec<Point>,
    sources: Vec<Source>,
}

#[derive(serde::Deserialize)]
struct Point {
    row: usize,
    column: usize,
    level: f64,
    rms: f64,
}

#[derive(serde::Deserialize)]
struct Source {
    x: f64,
    y: f64,
    xwin: f64,
    ywin: f64,
    a: f64,
    b: f64,
    theta: f64,
    npix: usize,
    peak: f64,
    flux: f64,
    flux_err: f64,
    half_light_radius: f64,
    flag: i32,
    label: (usize, usize),
}

fn scene() -> (Plane, MaskPlane, Scene) {
    let image = read(&common::golden("detect/scene.fits"));
    let mask = image.mapv(|v| if v == 5000.0 { mask::BAD } else { 0 });
    let json = std::fs::read_to_string(common::golden("detect/scene.json")).expect("golden values");
    (image, mask, serde_json::from_str(&json).expect("golden JSON"))
}

#[test]
fn background_and_sources_agree_with_python_sep() {
    let (image, mask, golden) = scene();
    let settings = BackgroundSettings { mesh: 50, ..Default::default() };
    let sky = background(&image, &mask, &settings).expect("background");
    assert!((sky.global_level - golden.global_level).abs() < 0.02, "{} {}", sky.global_level, golden.global_level);
    assert!((sky.global_rms - golden.global_rms).abs() < 0.02);
    for p in &golden.points {
        assert!((f64::from(sky.level[(p.row, p.column)]) - p.level).abs() < 0.05);
        assert!((f64::from(sky.rms[(p.row, p.column)]) - p.rms).abs() < 0.05);
    }
    let found = detect(&(&image - &sky.level), &sky.rms, &mask, &DetectSettings::default()).expect("sources");
    assert_eq!(found.sources.len(), golden.sources.len());
    for (i, (s, g)) in found.sources.iter().zip(&golden.sources).enumerate() {
        let near = |ours: f64, theirs: f64, tolerance: f64, what: &str| {
            assert!((ours - theirs).abs() <= tolerance, "source {i} {what}: {ours} against {theirs}");
        };
        assert_eq!(s.id, i as i64 + 1);
        assert_eq!(found.segmentation[(g.label.1, g.label.0)], i as i32 + 1);
        // A windowed centroid that has left the object's own pixels is replaced by the barycentre.
        let barycentre = (s.x - g.x).hypot(s.y - g.y);
        let windowed = (s.x - g.xwin).hypot(s.y - g.ywin);
        assert!(barycentre.min(windowed) < 0.02, "source {i}: {} {} against {} {}", s.x, s.y, g.xwin, g.ywin);
        near(s.npix as f64, g.npix as f64, 1.0 + 0.02 * g.npix as f64, "npix");
        near(s.peak, g.peak, 0.1, "peak");
        near(s.a, g.a, 0.02 * g.a, "a");
        near(s.b, g.b, 0.02 * g.b, "b");
        if g.a > 1.1 * g.b {
            near((2.0 * (s.theta - g.theta)).cos(), 1.0, 2e-3, "theta");
        }
        near(s.flux, g.flux, 0.01 * g.flux.abs() + 0.1 * g.flux_err, "flux");
        near(s.flux_err, g.flux_err, 0.02 * g.flux_err, "flux error");
        near(s.half_light_radius, g.half_light_radius, 0.02, "half-light radius");
        assert_eq!(s.flags.contains(Flags::BLENDED), g.flag & 1 != 0);
    }
    assert!(golden.sources.iter().any(|g| g.flag & 1 != 0), "the scene should hold a blend");
}

#[test]
fn sky_agrees_with_sextractors_maps() {
    let Some(path) = common::real_data("emmi_crop_sextractor/image.fits") else { return };
    let folder = path.parent().expect("folder");
    let (image, level, rms) = (read(&path), read(&folder.join("back.fits")), read(&folder.join("rms.fits")));
    let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
    for (ours, theirs, what) in [(&sky.level, &level, "level"), (&sky.rms, &rms, "rms")] {
        let worst = ours.iter().zip(theirs).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0f32, f32::max);
        assert!(worst < 0.01, "{what} differs by {worst}");
    }
}

#[test]
fn sources_agree_with_sextractors_catalogue() {
    let Some(path) = common::real_data("emmi_crop_sextractor/image.fits") else { return };
    let image = read(&path);
    let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
    let subtracted = &image - &sky.level;
    let settings = DetectSettings { kron_min_radius: 0.0, ..Default::default() };
    let found = detect(&subtracted, &sky.rms, &unmasked(&image), &settings).expect("sources");
    let text = std::fs::read_to_string(path.with_file_name("image.cat")).expect("catalogue");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.split_whitespace().map(|v| v.parse().expect("number")).collect())
        .collect();
    let mut compared = 0;
    let mut ratios = Vec::new();
    for row in &rows {
        let (x, y, xwin, ywin) = (row[1] - 1.0, row[2] - 1.0, row[3] - 1.0, row[4] - 1.0);
        let flags = row[row.len() - 1] as i32;
        let nearest = found
            .sources
            .iter()
            .min_by(|l, r| (l.x - xwin).hypot(l.y - ywin).total_cmp(&(r.x - xwin).hypot(r.y - ywin)))
            .expect("sources");
        // Clean sources whose own window agrees with their barycentre: elsewhere a neighbour decides.
        if flags != 0 || (x - xwin).hypot(y - ywin) > 0.2 || row[15] < 20.0 * row[16] {
            continue;
        }
        compared += 1;
        let distance = (nearest.x - xwin).hypot(nearest.y - ywin);
        assert!(distance < 0.1, "{distance} px at {xwin} {ywin}");
        // SExtractor fills neighbours' pixels from the mirrored side, SEP with the aperture's mean.
        ratios.push((nearest.flux / row[15]) as f32);
    }
    assert!(compared >= 8, "only {compared} clean sources of {}", rows.len());
    let (median, scatter) = median_and_sigma(&ratios).expect("ratios");
    assert!((median - 1.0).abs() < 0.005 && scatter < 0.02, "flux ratio {median} +- {scatter}");
    let all = found.sources.len() as f64;
    assert!((all / rows.len() as f64 - 1.0).abs() < 0.1, "{all} sources against {}", rows.len());
}

#[test]
fn a_real_exposure_with_its_sky_in_gives_about_as_many_sources_as_sextractor() {
    let Some(path) = common::real_data("emmi_ntt/galaxies.fits") else { return };
    let image = read(&path);
    let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
    assert!((sky.global_level - 6846.0).abs() < 20.0, "{}", sky.global_level);
    let settings = DetectSettings { threshold: 3.0, ..Default::default() };
    let found = detect(&(&image - &sky.level), &sky.rms, &unmasked(&image), &settings).expect("sources");
    let count = found.sources.len();
    // source-extractor galaxies.fits with its default.sex, default.conv, -DETECT_THRESH 3 -DETECT_MINAREA 5 finds 477.
    assert!(count.abs_diff(477) <= 10, "{count} sources");
    assert!(found.sources.iter().all(|s| s.x.is_finite() && s.y.is_finite() && s.half_light_radius > 0.0));
}

#[test]
fn an_image_smaller_than_a_mesh_and_not_square() {
    for shape in [(17, 40), (40, 17), (9, 9), (200, 20), (20, 200), (1, 500), (500, 1), (2, 2), (1, 1), (65, 129)] {
        let image = noise(shape, 2.0).mapv_into(|v| v + 100.0);
        let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
        assert_eq!(sky.level.dim(), shape);
        assert!((sky.global_level - 100.0).abs() < 4.0, "{shape:?}: {}", sky.global_level);
        assert!(sky.level.iter().chain(&sky.rms).all(|v| v.is_finite()));
        match detect(&(&image - &sky.level), &sky.rms, &unmasked(&image), &DetectSettings::default()) {
            Ok(found) => assert_eq!(found.segmentation.dim(), shape),
            Err(e) => {
                assert_eq!(e, DetectError::NoNoise, "{shape:?}");
                assert_eq!(image.len(), 1);
            }
        }
    }
}

#[test]
fn positions_in_a_wide_image_do_not_swap_axes() {
    let mut image = noise((60, 150), 1.0);
    add_gaussian(&mut image, 120.3, 20.7, 3000.0, 1.8);
    let rms = Plane::from_elem(image.dim(), 1.0);
    let found = detect(&image, &rms, &unmasked(&image), &DetectSettings::default()).expect("sources");
    let best = found.sources.iter().max_by(|l, r| l.flux.total_cmp(&r.flux)).expect("a source");
    assert!((best.x - 120.3).abs() < 0.05 && (best.y - 20.7).abs() < 0.05, "{} {}", best.x, best.y);
    assert!((best.flux - 3000.0).abs() < 5.0 * best.flux_err, "{} +- {}", best.flux, best.flux_err);
    assert!((best.half_light_radius - 1.8 * 1.17741).abs() < 0.15, "{}", best.half_light_radius);
    assert!(best.extent.0 <= 120 && best.extent.1 >= 120 && best.extent.2 <= 21 && best.extent.3 >= 21);
}

#[test]
fn flags_say_saturated_bad_and_edge() {
    let mut image = noise((80, 80), 1.0);
    for (x, y) in [(20.0, 20.0), (60.0, 20.0), (20.0, 60.0), (79.0, 60.0)] {
        add_gaussian(&mut image, x, y, 2000.0, 2.0);
    }
    let mut m = unmasked(&image);
    m[(20, 20)] = mask::SATURATED;
    m[(20, 60)] = mask::COSMIC_RAY;
    let rms = Plane::from_elem(image.dim(), 1.0);
    let found = detect(&image, &rms, &m, &DetectSettings::default()).expect("sources");
    let at = |x: f64, y: f64| {
        let s = found.sources.iter().find(|s| (s.x - x).hypot(s.y - y) < 2.0).expect("source");
        s.flags & (Flags::SATURATED | Flags::BAD_PIXELS | Flags::EDGE)
    };
    assert_eq!(at(20.0, 20.0), Flags::SATURATED);
    assert_eq!(at(60.0, 20.0), Flags::BAD_PIXELS);
    assert_eq!(at(20.0, 60.0), Flags::empty());
    assert_eq!(at(78.5, 60.0), Flags::EDGE);
}

#[test]
fn bad_input_is_refused_by_name() {
    let image = noise((50, 50), 1.0);
    let rms = Plane::from_elem(image.dim(), 1.0);
    let all_bad = MaskPlane::from_elem(image.dim(), mask::NO_DATA);
    let settings = DetectSettings::default();
    let pixels = image.len();
    assert_eq!(
        background(&image, &all_bad, &BackgroundSettings::default()).err(),
        Some(DetectError::AllMasked { pixels })
    );
    assert_eq!(detect(&image, &rms, &all_bad, &settings).err(), Some(DetectError::AllMasked { pixels }));
    assert_eq!(detect(&image, &Plane::zeros((50, 50)), &unmasked(&image), &settings).err(), Some(DetectError::NoNoise));
    let nan = Plane::from_elem((50, 50), f32::NAN);
    assert_eq!(detect(&nan, &rms, &unmasked(&image), &settings).err(), Some(DetectError::AllMasked { pixels }));
    let error = detect(&image, &Plane::zeros((50, 49)), &unmasked(&image), &settings).expect_err("shapes differ");
    assert!(error.to_string().contains("rms") && error.kind() == FailureKind::BadInput);
    assert!(matches!(
        detect(&Plane::zeros((0, 5)), &Plane::zeros((0, 5)), &MaskPlane::zeros((0, 5)), &settings),
        Err(DetectError::EmptyImage { .. })
    ));
    for broken in [
        DetectSettings { threshold: f64::NAN, ..Default::default() },
        DetectSettings { min_area: 0, ..Default::default() },
        DetectSettings { deblend_contrast: 2.0, ..Default::default() },
        DetectSettings { kernel: DetectKernel::Gaussian { fwhm: -1.0 }, ..Default::default() },
    ] {
        assert!(matches!(detect(&image, &rms, &unmasked(&image), &broken), Err(DetectError::BadSetting { .. })));
    }
}

#[test]
fn a_constant_image_has_a_sky_and_nothing_to_detect() {
    let image = Plane::from_elem((100, 130), 42.0);
    let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
    assert!(sky.level.iter().all(|v| (v - 42.0).abs() < 1e-5));
    assert_eq!(sky.global_rms, 0.0);
    let result = detect(&(&image - &sky.level), &sky.rms, &unmasked(&image), &DetectSettings::default());
    assert_eq!(result.err(), Some(DetectError::NoNoise));
}

#[test]
fn a_mostly_masked_image_still_has_its_own_sky() {
    let image = noise((128, 128), 3.0).mapv_into(|v| v + 500.0);
    let m = MaskPlane::from_shape_fn((128, 128), |(y, x)| if (x + y) % 3 == 0 { 0 } else { mask::BAD });
    let sky = background(&image, &m, &BackgroundSettings::default()).expect("background");
    assert!(sky.constant);
    assert!((sky.global_level - 500.0).abs() < 0.5 && (sky.global_rms - 3.0).abs() < 1.5);
}

#[test]
fn a_faint_noise_on_a_bright_sky_is_measured() {
    let image = noise((256, 256), 1.0).mapv_into(|v| v + 60_000.0);
    let sky = background(&image, &unmasked(&image), &BackgroundSettings::default()).expect("background");
    assert!((sky.global_rms - 1.0).abs() < 0.1, "{}", sky.global_rms);
}

#[test]
fn a_crowded_field_does_not_overflow() {
    // Every pixel above the threshold at once, in an image larger than the ordinary pixel stack.
    let image = noise((1100, 1100), 1.0).mapv_into(|v| v + 100.0);
    let rms = Plane::from_elem(image.dim(), 1.0);
    let settings = DetectSettings { deblend_contrast: 1.0, deblend_levels: 1, clean: 0.0, ..Default::default() };
    let found = detect(&image, &rms, &unmasked(&image), &settings).expect("sources");
    assert_eq!(found.sources.len(), 1);
    assert_eq!(found.sources[0].npix, 1100 * 1100);
    // Thousands of peaks in one isophote: more than SEP's own limit of 1,024.
    let mut image = Plane::from_elem((400, 400), 10.0);
    for y in (4..396).step_by(7) {
        for x in (4..396).step_by(7) {
            image[(y, x)] += 400.0;
            for (dy, dx) in [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)] {
                image[((y as isize + dy) as usize, (x as isize + dx) as usize)] += 150.0;
            }
        }
    }
    let rms = Plane::from_elem(image.dim(), 1.0);
    let settings = DetectSettings { deblend_contrast: 1e-5, ..Default::default() };
    let found = detect(&image, &rms, &unmasked(&image), &settings).expect("sources");
    assert_eq!(found.sources.len(), 56 * 56);
    assert!(found.sources.iter().all(|s| s.flags.contains(Flags::BLENDED)));
}

#[test]
fn many_threads_find_the_same() {
    let (image, mask, _) = scene();
    let sky = background(&image, &mask, &BackgroundSettings::default()).expect("background");
    let subtracted = &image - &sky.level;
    let once = detect(&subtracted, &sky.rms, &mask, &DetectSettings::default()).expect("sources");
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| detect(&subtracted, &sky.rms, &mask, &DetectSettings::default()).expect("sources")))
            .collect();
        for handle in handles {
            let again = handle.join().expect("thread");
            assert_eq!(again.sources, once.sources);
            assert_eq!(again.segmentation, once.segmentation);
        }
    });
}

#[test]
fn catalogue_positions_keep_their_ids_and_none_is_lost() {
    let mut image = noise((100, 140), 1.0);
    add_gaussian(&mut image, 30.4, 30.2, 4000.0, 2.0);
    add_gaussian(&mut image, 100.0, 60.0, 4000.0, 2.0);
    add_gaussian(&mut image, 60.0, 80.0, 4000.0, 2.0);
    let rms = Plane::from_elem(image.dim(), 1.0);
    let given = [
        CatalogPosition { id: 900, x: 30.4, y: 30.2 },
        CatalogPosition { id: 7, x: -3.0, y: 10.0 },
        CatalogPosition { id: 12, x: 97.5, y: 60.0 },
        CatalogPosition { id: 13, x: 102.5, y: 60.0 },
        CatalogPosition { id: -5, x: 120.0, y: 10.0 },
        CatalogPosition { id: 8, x: f64::NAN, y: 10.0 },
        CatalogPosition { id: 9, x: 139.7, y: 10.0 },
    ];
    let result = from_catalog(&given, &image, &rms, &unmasked(&image), &DetectSettings::default()).expect("sources");
    let ids: Vec<i64> = result.detections.sources.iter().map(|s| s.id).collect();
    assert_eq!(ids, [900, 12, 13, -5]);
    assert_eq!(result.outside.iter().map(|p| p.id).collect::<Vec<_>>(), [7, 8, 9]);
    let (first, left, right, nothing) = (
        &result.detections.sources[0],
        &result.detections.sources[1],
        &result.detections.sources[2],
        &result.detections.sources[3],
    );
    assert_eq!((first.x, first.y), (30.4, 30.2));
    assert!((first.flux - 4000.0).abs() < 5.0 * first.flux_err);
    assert!(left.flags.contains(Flags::BLENDED) && right.flags.contains(Flags::BLENDED));
    assert_eq!(result.detections.segmentation[(60, 98)], 2);
    assert_eq!(result.detections.segmentation[(60, 102)], 3);
    assert_eq!(nothing.npix, 0);
    assert!(nothing.flux.abs() < 5.0 * nothing.flux_err, "{} +- {}", nothing.flux, nothing.flux_err);
    assert_eq!((result.unseen, result.detections.segmentation[(80, 60)]), (1, -1));
    assert!(result.uncatalogued >= 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Brightening image and noise together changes no position and scales every flux.
    #[test]
    fn sources_scale_with_the_image_units(factor in 0.01f32..1000.0) {
        let (image, mask, _) = scene();
        let sky = background(&image, &mask, &BackgroundSettings::default()).expect("background");
        let subtracted = &image - &sky.level;
        let one = detect(&subtracted, &sky.rms, &mask, &DetectSettings::default()).expect("sources");
        let other = detect(&(&subtracted * factor), &(&sky.rms * factor), &mask, &DetectSettings::default()).expect("sources");
        // A pixel exactly at the threshold may fall on either side in single precision.
        prop_assert!(one.sources.len().abs_diff(other.sources.len()) <= 1);
        if one.sources.len() == other.sources.len() {
            for (a, b) in one.sources.iter().zip(&other.sources) {
                prop_assert!((a.x - b.x).hypot(a.y - b.y) < 0.05);
                prop_assert!((b.flux / (a.flux * f64::from(factor)) - 1.0).abs() < 0.02);
            }
        }
    }
}
