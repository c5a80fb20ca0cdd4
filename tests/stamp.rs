//! Cutting stamps from images that are tiny, masked, crowded or broken.

use ndarray::Array2;
use proptest::prelude::*;
use stillair::catalog::Flags;
use stillair::detect::{Detection, Detections};
use stillair::image::{MaskPlane, Plane, mask};
use stillair::stamp::{StampError, StampInput, StampSettings, cut, stamp_size};

fn source(id: i64, x: f64, y: f64, r: f64, extent: (usize, usize, usize, usize)) -> Detection {
    Detection {
        id,
        x,
        y,
        flux: 100.0,
        flux_err: 1.0,
        peak: 10.0,
        a: r,
        b: r,
        theta: 0.0,
        half_light_radius: 1.2 * r,
        npix: 20,
        extent,
        flags: Flags::empty(),
    }
}

struct Scene {
    image: Plane,
    mask: MaskPlane,
    rms: Plane,
    detections: Detections,
}

impl Scene {
    /// Gaussian blobs (x, y, sigma, peak), each with the disc above 1.5 sky sigmas as its isophote; no noise.
    fn new(ny: usize, nx: usize, blobs: &[(f64, f64, f64, f64)]) -> Self {
        let mut image = Plane::zeros((ny, nx));
        let mut segmentation = Array2::<i32>::zeros((ny, nx));
        let mut sources = Vec::new();
        for (i, (bx, by, s, peak)) in blobs.iter().enumerate() {
            let radius = s * (2.0 * (peak / 0.75f64).ln()).max(0.0).sqrt();
            for ((y, x), v) in image.indexed_iter_mut() {
                let r2 = (x as f64 - bx).powi(2) + (y as f64 - by).powi(2);
                *v += (peak * (-0.5 * r2 / s / s).exp()) as f32;
                if r2 < radius * radius && segmentation[(y, x)] == 0 {
                    segmentation[(y, x)] = i as i32 + 1;
                }
            }
            let lo = |c: f64| (c - radius).max(0.0) as usize;
            let hi = |c: f64, n: usize| ((c + radius) as usize).min(n - 1);
            sources.push(source(i as i64 + 1, *bx, *by, *s, (lo(*bx), hi(*bx, nx), lo(*by), hi(*by, ny))));
        }
        Self {
            mask: MaskPlane::zeros((ny, nx)),
            rms: Plane::from_elem((ny, nx), 0.5),
            detections: Detections { sources, segmentation },
            image,
        }
    }

    fn input(&self) -> StampInput<'_> {
        StampInput {
            image: &self.image,
            mask: &self.mask,
            sky_rms: &self.rms,
            gain: Some(2.0),
            detections: &self.detections,
        }
    }
}

#[test]
fn a_lone_object_keeps_its_pixels_and_its_place() {
    let scene = Scene::new(150, 200, &[(100.3, 70.8, 3.0, 50.0)]);
    let stamp = cut(&scene.input(), 0, &StampSettings::default()).unwrap();
    assert_eq!(stamp.observed.dim(), (64, 64));
    assert!((stamp.centre.0 - 32.3).abs() < 1e-9 && (stamp.centre.1 - 31.8).abs() < 1e-9);
    assert_eq!((stamp.bounds.x0, stamp.bounds.y0), (68, 39));
    for ((y, x), v) in stamp.observed.indexed_iter() {
        assert_eq!(*v, scene.image[(y + 39, x + 68)]);
    }
    assert_eq!(stamp.flags, Flags::empty());
    assert_eq!((stamp.sigma, stamp.bad_fraction), (0.5, 0.0));
    assert!((stamp.weight[(0, 0)] - 4.0).abs() < 1e-3 && stamp.weight[(32, 32)] < 0.1);
}

#[test]
fn size_follows_the_reach() {
    let s = StampSettings::default();
    assert_eq!(stamp_size(26.0, &s), (64, false));
    assert_eq!(stamp_size(26.1, &s), (128, false));
    assert_eq!(stamp_size(58.1, &s), (128, true));
    let scene = Scene::new(300, 300, &[(150.0, 150.0, 12.0, 5.0)]);
    let stamp = cut(&scene.input(), 0, &s).unwrap();
    assert_eq!(stamp.observed.dim(), (128, 128));
    let scene = Scene::new(300, 300, &[(150.0, 150.0, 30.0, 5.0)]);
    assert!(cut(&scene.input(), 0, &s).unwrap().flags.contains(Flags::TRUNCATED));
}

#[test]
fn a_neighbour_is_masked_and_the_object_kept() {
    let alone = Scene::new(120, 120, &[(60.0, 60.0, 3.0, 20.0)]);
    let pair = Scene::new(120, 120, &[(60.0, 60.0, 3.0, 20.0), (79.0, 64.0, 3.0, 60.0)]);
    let want = cut(&alone.input(), 0, &StampSettings::default()).unwrap();
    let got = cut(&pair.input(), 0, &StampSettings::default()).unwrap();
    assert!(got.flags.contains(Flags::NEIGHBOUR) && !got.flags.contains(Flags::BLENDED));
    assert_eq!(got.weight[(36, 51)], 0.0);
    let error = (&got.observed - &want.observed).mapv(|v| v * v).sum().sqrt();
    assert!(error < 0.05 * want.observed.mapv(|v| v * v).sum().sqrt(), "{error}");
    // Isophotes that touch are a blend.
    let blend = Scene::new(120, 120, &[(60.0, 60.0, 3.0, 20.0), (70.0, 60.0, 3.0, 20.0)]);
    assert!(cut(&blend.input(), 0, &StampSettings::default()).unwrap().flags.contains(Flags::BLENDED));
}

#[test]
fn bad_pixels_are_bridged_and_carry_no_weight() {
    let mut scene = Scene::new(100, 100, &[(50.0, 50.0, 4.0, 20.0)]);
    let clean = scene.image.clone();
    for y in 0..100 {
        scene.mask[(y, 52)] = mask::BAD;
        scene.image[(y, 52)] = 1e6;
    }
    scene.mask[(48, 49)] = mask::SATURATED;
    scene.image[(47, 47)] = f32::NAN;
    let stamp = cut(&scene.input(), 0, &StampSettings::default()).unwrap();
    assert!(stamp.flags.contains(Flags::BAD_PIXELS | Flags::SATURATED));
    assert!(stamp.bad_fraction > 0.02 && stamp.bad_fraction < 0.1);
    for y in 0..64 {
        assert_eq!(stamp.weight[(y, 34)], 0.0);
        assert!((stamp.observed[(y, 34)] - clean[(y + 18, 52)]).abs() < 1.2);
    }
    assert!((stamp.observed[(29, 29)] - clean[(47, 47)]).abs() < 1.2);
}

#[test]
fn at_a_corner_the_outside_has_no_weight_and_no_step() {
    let scene = Scene::new(90, 80, &[(1.2, 88.7, 2.5, 10.0)]);
    let stamp = cut(&scene.input(), 0, &StampSettings::default()).unwrap();
    assert!(stamp.flags.contains(Flags::EDGE | Flags::BAD_PIXELS));
    assert!((stamp.bounds.x0, stamp.bounds.y0) == (-31, 57));
    assert_eq!(stamp.weight[(10, 10)], 0.0);
    assert!(stamp.observed[(32, 0)].abs() < 0.01);
    // From the last pixel inside to the first outside the fill goes on, it does not jump to the sky.
    assert!(stamp.observed[(32, 30)] > 0.5 * stamp.observed[(32, 31)]);
}

#[test]
fn what_cannot_be_cut_says_so() {
    let mut scene = Scene::new(40, 30, &[(15.0, 20.0, 2.0, 10.0)]);
    let settings = StampSettings::default();
    assert_eq!(cut(&scene.input(), 3, &settings).unwrap_err(), StampError::NoSuchSource { index: 3, count: 1 });
    assert!(matches!(
        cut(&scene.input(), 0, &StampSettings { small: 63, ..settings.clone() }),
        Err(StampError::Size { .. })
    ));
    scene.detections.sources[0].x = f64::NAN;
    assert!(matches!(cut(&scene.input(), 0, &settings), Err(StampError::Outside { .. })));
    scene.detections.sources[0].x = 30.0;
    assert!(matches!(cut(&scene.input(), 0, &settings), Err(StampError::Outside { nx: 30, .. })));
    scene.detections.sources[0].x = 15.0;
    scene.mask.fill(mask::COSMIC_RAY);
    assert_eq!(cut(&scene.input(), 0, &settings).unwrap_err(), StampError::NoPixels { id: 1 });
    scene.rms = Plane::zeros((3, 3));
    assert!(matches!(cut(&scene.input(), 0, &settings), Err(StampError::Shape { plane: "sky rms", .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_stamp_is_finite(
        ny in 1usize..90, nx in 1usize..70, fx in 0.0f64..1.0, fy in 0.0f64..1.0, gx in 0.0f64..1.0, s in 0.1f64..20.0, seed in any::<u64>(),
    ) {
        let (x, y) = (fx * (nx - 1) as f64, fy * (ny - 1) as f64);
        let mut scene = Scene::new(ny, nx, &[(x, y, s, 5.0), (gx * (nx - 1) as f64, y, 1.0, 50.0)]);
        let mut state = seed;
        for ((v, m), r) in scene.image.iter_mut().zip(&mut scene.mask).zip(&mut scene.rms) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 59 {
                0 => *v = f32::NAN,
                1 => *v = f32::INFINITY,
                2 => *m = mask::BAD,
                3 => *r = 0.0,
                4 => *r = f32::NAN,
                5 => *v = -1e30,
                _ => {}
            }
        }
        scene.detections.sources[0].half_light_radius = f64::NAN;
        if let Ok(stamp) = cut(&scene.input(), 0, &StampSettings::default()) {
            prop_assert!(stamp.observed.iter().all(|v| v.is_finite()));
            prop_assert!(stamp.weight.iter().all(|v| v.is_finite() && *v >= 0.0));
            prop_assert!(stamp.sigma > 0.0 && (0.0..=1.0).contains(&stamp.bad_fraction));
        }
    }
}
