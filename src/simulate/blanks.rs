//! Positions where nothing is: what a pipeline says there, it made up.

use rand::RngExt;

use super::exposure::{Plan, generator, stream};
use crate::image::Plane;

/// A position without an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blank {
    /// Number, from [`FIRST_ID`] on.
    pub id: i64,
    /// Column, 0-based.
    pub x: f64,
    /// Row, 0-based.
    pub y: f64,
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
    /// Brightest true pixel within `radius`, in standard deviations of the sky noise.
    pub light: f64,
}

/// Number of the first blank: no object has it.
pub const FIRST_ID: i64 = 1_000_001;
/// Brightest true pixel that an empty position may have near it, standard deviations of the sky noise: what objects' wings add to
/// the flux of a point source there is a tenth of its error or less.
const LIGHT: f64 = 0.02;
/// Places tried for each one wanted.
const TRIES: usize = 400;

/// At most `count` positions at least `radius` pixels from any light above 2 % of the sky noise, 2 `radius` from each other and from
/// the image's sides; `light` is the image without sky and noise. Fewer where the field is too full.
pub fn blank_positions(plan: &Plan, light: &Plane, count: usize, radius: f64) -> Vec<Blank> {
    let (ny, nx) = light.dim();
    let mut rng = generator(plan.seed, stream::BLANKS);
    let sigma = plan.instrument.sky_sigma();
    let margin = 2.0 * radius;
    let (wide, high) = (nx as f64 - 1.0 - 2.0 * margin, ny as f64 - 1.0 - 2.0 * margin);
    let mut found: Vec<Blank> = Vec::with_capacity(count);
    if wide <= 0.0 || high <= 0.0 {
        return found;
    }
    for _ in 0..TRIES * count {
        if found.len() == count {
            break;
        }
        let (x, y) = (margin + wide * rng.random::<f64>(), margin + high * rng.random::<f64>());
        if found.iter().any(|b| (b.x - x).hypot(b.y - y) < 2.0 * radius) {
            continue;
        }
        let brightest = brightest_within(light, (x, y), radius) / sigma;
        if brightest <= LIGHT {
            let (ra, dec) = plan.wcs.pixel_to_sky(x, y);
            found.push(Blank { id: FIRST_ID + found.len() as i64, x, y, ra, dec, light: brightest });
        }
    }
    found
}

fn brightest_within(light: &Plane, (x, y): (f64, f64), radius: f64) -> f64 {
    let (ny, nx) = light.dim();
    let range = |c: f64, n: usize| {
        let from = (c - radius).floor().max(0.0) as usize;
        let to = ((c + radius).ceil().max(0.0) as usize + 1).min(n);
        from..to
    };
    let mut brightest = 0.0f64;
    for j in range(y, ny) {
        for i in range(x, nx) {
            if (i as f64 - x).hypot(j as f64 - y) <= radius {
                brightest = brightest.max(f64::from(light[(j, i)]).abs());
            }
        }
    }
    brightest
}

#[cfg(test)]
mod tests {
    use super::super::exposure::{ExposureSettings, paste};
    use super::super::grid::Renderer;
    use super::*;

    #[test]
    fn blanks_stand_apart_from_objects_and_from_each_other() {
        let settings = ExposureSettings { nx: 400, ny: 360, objects: 20, ..ExposureSettings::default() };
        let plan = Plan::new(&settings, 3).expect("a plan");
        let (mut light, mut renderer) = (plan.empty(), Renderer::new());
        for object in &plan.objects {
            let drawn = plan.draw(object, &mut renderer);
            paste(&mut light, &drawn.bounds, &drawn.pixels);
        }
        let radius = 10.0;
        let blanks = blank_positions(&plan, &light, 25, radius);
        assert!(blanks.len() > 5, "{}", blanks.len());
        assert_eq!(blanks, blank_positions(&plan, &light, 25, radius));
        for (i, b) in blanks.iter().enumerate() {
            assert!(b.light <= LIGHT && plan.objects.iter().all(|o| (o.x - b.x).hypot(o.y - b.y) > radius));
            assert!(blanks[..i].iter().all(|c| (c.x - b.x).hypot(c.y - b.y) >= 2.0 * radius));
        }
        assert!(blank_positions(&plan, &Plane::ones((360, 400)), 5, radius).is_empty());
    }
}
