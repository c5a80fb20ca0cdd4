//! What dealing with neighbours leaves of their light: windowed NMSE of the Tikhonov image of crowded objects, as a Markdown table.
//!
//! `cargo run --release --example neighbours [OBJECTS]`: exponential discs on 1024 x 1024 px of white noise, Moffat PSF of FWHM 4 px,
//! isophotes at 1.5 sigma of the noise-free scene; the objects counted have another object's isophote within 20 px of their centre.

mod shared;

use rand::{RngExt, SeedableRng};
use stillair::catalog::Flags;
use stillair::deconv::{DeconvSettings, TikhonovInput, Workspace};
use stillair::detect::{Detection, Detections};
use stillair::image::{MaskPlane, Plane};
use stillair::stamp::{NeighbourFill, StampInput, StampSettings, cut};

use shared::{Result, TARGET, centre_cut, disc, half_light, moffat, nmse};

const FIELD: usize = 1024;
const OWN: usize = 128;

struct Object {
    x: f64,
    y: f64,
    /// Corner of its own plane in the field.
    corner: (isize, isize),
    alone: Plane,
    truth: Plane,
    radius: f64,
}

/// Position angles are drawn below this, radians: all but a thousandth of half a turn.
const ANGLES: f64 = 157.0 / 50.0;

fn main() -> Result<()> {
    let count: usize = std::env::args().nth(1).map_or(Ok(700), |v| v.parse())?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut work = Workspace::default();
    let psf = moffat(63, 4.0);
    let mut objects = Vec::new();
    let mut clean = Plane::zeros((FIELD, FIELD));
    let mut brightest = Plane::zeros((FIELD, FIELD));
    let mut segmentation = ndarray::Array2::<i32>::zeros((FIELD, FIELD));
    for i in 0..count {
        let (x, y) = (rng.random_range(70.0..954.0), rng.random_range(70.0..954.0));
        let snr = 10.0 * 30f64.powf(rng.random_range(0.0..1.0));
        let sky = disc(OWN, rng.random_range(0.7..4.0), rng.random_range(0.0..0.5), rng.random_range(0.0..ANGLES))?;
        let centre = (64.0 + x - f64::round(x), 64.0 + y - f64::round(y));
        let seen = work.forward_model(&sky, &psf, centre, 1, TARGET)?;
        let flux = snr / seen.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let alone = seen * flux as f32;
        let corner = (f64::round(x) as isize - 64, f64::round(y) as isize - 64);
        let radius = half_light(&alone, centre.0, centre.1);
        for ((r, c), v) in alone.indexed_iter() {
            let (v_at, u) = (r as isize + corner.1, c as isize + corner.0);
            if v_at < 0 || u < 0 || v_at >= FIELD as isize || u >= FIELD as isize {
                continue;
            }
            let at = (v_at as usize, u as usize);
            clean[at] += v;
            if *v > brightest[at] {
                brightest[at] = *v;
                segmentation[at] = i as i32 + 1;
            }
        }
        objects.push(Object { x, y, corner, alone, truth: sky * flux as f32, radius });
    }
    for (label, v) in segmentation.iter_mut().zip(&clean) {
        if *v < 1.5 {
            *label = 0;
        }
    }
    let noise = Plane::from_shape_simple_fn((FIELD, FIELD), || rng.sample::<f32, _>(rand_distr::StandardNormal));
    let image = &clean + &noise;
    let sources: Vec<Detection> = objects
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let pixel = |v: f64| v.max(0.0) as usize;
            Detection {
                id: i as i64 + 1,
                x: o.x,
                y: o.y,
                flux: f64::from(o.alone.sum()),
                flux_err: 1.0,
                peak: 1.0,
                a: o.radius,
                b: o.radius,
                theta: 0.0,
                half_light_radius: o.radius,
                npix: 1,
                extent: (pixel(o.x), pixel(o.x), pixel(o.y), pixel(o.y)),
                flags: Flags::empty(),
            }
        })
        .collect();
    let (mask, rms) = (MaskPlane::zeros((FIELD, FIELD)), Plane::from_elem((FIELD, FIELD), 1.0));
    let detections = Detections { sources, segmentation };
    let empty =
        Detections { sources: detections.sources.clone(), segmentation: ndarray::Array2::zeros((FIELD, FIELD)) };
    let crowded: Vec<usize> = (0..count)
        .filter(|i| {
            let o = &objects[*i];
            let own = detections.segmentation[(o.y.round() as usize, o.x.round() as usize)] == *i as i32 + 1;
            own && detections
                .segmentation
                .indexed_iter()
                .any(|((r, c), l)| *l != 0 && *l != *i as i32 + 1 && (c as f64 - o.x).hypot(r as f64 - o.y) < 20.0)
        })
        .collect();
    println!("{} of {count} objects are crowded", crowded.len());
    println!("| neighbours | median NMSE | mean NMSE | 90th percentile |\n|---|---|---|---|");
    let mut cases: Vec<(String, Option<StampSettings>)> =
        vec![("none there".into(), None), ("left in".into(), Some(StampSettings::default()))];
    for neighbour_fill in [NeighbourFill::Sky, NeighbourFill::Opposite] {
        for grow in 0..5 {
            let settings = StampSettings { grow, neighbour_fill, ..Default::default() };
            cases.push((format!("{neighbour_fill:?}, grown by {grow}"), Some(settings)));
        }
    }
    for (name, settings) in cases {
        let mut values = Vec::new();
        for i in &crowded {
            let o = &objects[*i];
            let found = if name == "left in" { &empty } else { &detections };
            let input = StampInput { image: &image, mask: &mask, sky_rms: &rms, gain: None, detections: found };
            let mut stamp = cut(&input, *i, settings.as_ref().unwrap_or(&StampSettings::default()))?;
            if settings.is_none() {
                for ((r, c), v) in stamp.observed.indexed_iter_mut() {
                    let (y, x) = (r as isize + stamp.bounds.y0, c as isize + stamp.bounds.x0);
                    *v = o.alone[((y - o.corner.1) as usize, (x - o.corner.0) as usize)]
                        + noise[(y as usize, x as usize)];
                }
            }
            let n = stamp.observed.nrows();
            let got = work.tikhonov(
                &TikhonovInput {
                    observed: &stamp.observed,
                    psf: &psf,
                    centre: stamp.centre,
                    sigma: 1.0,
                    flux: f64::from(o.alone.sum()),
                    half_light_radius: o.radius,
                },
                1,
                &DeconvSettings::default(),
            )?;
            let truth = centre_cut(&o.truth, n);
            let middle = (n / 2) as f64;
            let width = 2.0 * half_light(&truth, middle, middle) / 2.354_82;
            let window = Plane::from_shape_fn((n, n), |(y, x)| {
                (-0.25 * ((x as f64 - middle).powi(2) + (y as f64 - middle).powi(2)) / width / width).exp() as f32
            });
            values.push(nmse(&got.image, &truth, &window));
        }
        values.sort_by(f64::total_cmp);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let at = |share: f64| values.get((share * values.len() as f64) as usize).copied().unwrap_or(f64::NAN);
        println!("| {name} | {:.4} | {mean:.4} | {:.4} |", at(0.5), at(0.9));
    }
    Ok(())
}
