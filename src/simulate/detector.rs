//! From light to counts: sky, photon and read noise, full pixels and their bleeding, defects, cosmic rays, variance and mask.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

use super::draw::{log_uniform, normal, uniform};
use super::exposure::{Plan, generator, stream};
use super::instrument::Layout;
use crate::exposure::{Exposure, VarianceOrigin};
use crate::image::{MaskPlane, Plane, mask};

impl Plan {
    /// Fills row `y` with electrons: what `light` (image units, no sky) and the sky give, with photon and read noise.
    /// Every row has random numbers of its own: rows may be filled in any order, by any thread.
    pub fn expose_row(&self, y: usize, light: &[f32], electrons: &mut [f32]) {
        let mut rng = generator(self.seed, stream::ROWS + y as u64);
        let size = (self.settings.nx, self.settings.ny);
        for (x, (light, out)) in light.iter().zip(electrons).enumerate() {
            let sky = self.instrument.sky_at(x as f64, y as f64, size);
            let mean = f64::from(*light) * self.instrument.gain + sky;
            *out = (photons(&mut rng, mean) + self.instrument.read_noise * normal(&mut rng)) as f32;
        }
    }

    /// Makes the exposure of `electrons`: bleeding, defects, cosmic rays, calibration, variance, mask.
    pub fn finish(&self, mut electrons: Plane, id: &str) -> Exposure {
        let instrument = &self.instrument;
        let (nx, ny) = (self.settings.nx, self.settings.ny);
        let mut bits = MaskPlane::zeros((ny, nx));
        let full = instrument.full_well as f32;
        for (mut column, mut flags) in electrons.columns_mut().into_iter().zip(bits.columns_mut()) {
            if column.iter().any(|v| *v > full) {
                let mut values = column.to_vec();
                let hit = bleed(&mut values, full);
                column.iter_mut().zip(values).for_each(|(c, v)| *c = v);
                flags.iter_mut().zip(hit).filter(|(_, h)| *h).for_each(|(f, _)| *f |= mask::SATURATED);
            }
        }
        let mut rng = generator(self.seed, stream::COSMIC_RAYS);
        self.cosmic_rays(&mut rng, &mut electrons, &mut bits);
        let mut rng = generator(self.seed, stream::DEFECTS);
        self.defects(&mut rng, &mut electrons, &mut bits);

        let gain = instrument.gain as f32;
        let read = (instrument.read_noise * instrument.read_noise) as f32;
        // as surveys do: from the counts themselves, the sources' own noise included
        let variance = electrons.mapv(|e| (e.max(1.0) + read) / (gain * gain));
        let residual = 0.1 * instrument.sky_sigma();
        let mut image = electrons;
        for ((y, x), v) in image.indexed_iter_mut() {
            let mut value = f64::from(*v) / instrument.gain;
            if instrument.sky_subtracted {
                value -= instrument.sky_at(x as f64, y as f64, (nx, ny)) / instrument.gain;
                value += residual * (x as f64 / nx as f64 - 0.5);
            }
            *v = value as f32;
        }
        Exposure {
            id: id.to_string(),
            image,
            variance,
            mask: bits,
            wcs: Some(self.wcs.clone()),
            zero_point: Some(instrument.zero_point),
            gain: Some(instrument.gain),
            saturation: Some(instrument.saturation()),
            band: Some(instrument.band.to_string()),
            exposure_time: Some(instrument.exposure_time),
            instrument: Some(instrument.name.to_string()),
            variance_origin: match self.settings.layout {
                Layout::Lsst => VarianceOrigin::Variance,
                Layout::Euclid | Layout::Generic => VarianceOrigin::Rms,
            },
            background_subtracted: Some(instrument.sky_subtracted),
            layout: match self.settings.layout {
                Layout::Lsst => "lsst-afw",
                Layout::Euclid => "euclid-vis",
                Layout::Generic => "mef",
            }
            .to_string(),
            pixel_scale_hint: Some(instrument.pixel_scale),
            notes: Vec::new(),
        }
    }

    /// Tracks of random length and direction; the mask knows of most of them, whole track by whole track.
    fn cosmic_rays(&self, rng: &mut ChaCha8Rng, electrons: &mut Plane, bits: &mut MaskPlane) {
        let (nx, ny) = (self.settings.nx, self.settings.ny);
        let expected = self.instrument.cosmic_rays * (nx * ny) as f64 / 1e6;
        let count = photons(rng, expected) as usize;
        for _ in 0..count {
            let known = rng.random_bool(self.settings.cosmic_rays_masked.clamp(0.0, 1.0));
            let (mut x, mut y) = (rng.random::<f64>() * nx as f64, rng.random::<f64>() * ny as f64);
            let angle = std::f64::consts::TAU * rng.random::<f64>();
            let length = log_uniform(rng, 1.0, 25.0);
            let charge = log_uniform(rng, 400.0, 6000.0);
            let steps = (2.0 * length).ceil() as usize;
            for _ in 0..steps {
                if let Some(pixel) = electrons.get_mut((y as usize, x as usize)).filter(|_| x >= 0.0 && y >= 0.0) {
                    *pixel += (0.5 * charge * uniform(rng, 0.6, 1.4)) as f32;
                    if known && let Some(b) = bits.get_mut((y as usize, x as usize)) {
                        *b |= mask::COSMIC_RAY;
                    }
                }
                x += 0.5 * angle.cos();
                y += 0.5 * angle.sin();
            }
        }
    }

    /// Bad columns and hot pixels, all of them known to the mask.
    fn defects(&self, rng: &mut ChaCha8Rng, electrons: &mut Plane, bits: &mut MaskPlane) {
        let (nx, ny) = (self.settings.nx, self.settings.ny);
        let area = (nx * ny) as f64 / (2048.0 * 2048.0);
        for _ in 0..(3.0 * nx as f64 / 2048.0).round() as usize {
            let (x, from) = (rng.random_range(0..nx), rng.random_range(0..ny));
            for y in from..ny {
                electrons[[y, x]] = (0.3 * self.instrument.sky) as f32;
                bits[[y, x]] |= mask::BAD;
            }
        }
        for _ in 0..(200.0 * area).round() as usize {
            let at = [rng.random_range(0..ny), rng.random_range(0..nx)];
            electrons[at] += log_uniform(rng, 1e3, 5e4) as f32;
            bits[at] |= mask::BAD;
        }
    }
}

/// A Poisson number; Gaussian where the two cannot be told apart.
pub(super) fn photons(rng: &mut impl Rng, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean > 200.0 {
        return (mean + mean.sqrt() * normal(rng)).max(0.0);
    }
    Poisson::new(mean).map_or(mean, |p| p.sample(rng))
}

/// Sends what is above `full` along the column, half up and half down, filling pixels on its way; marks the full ones.
fn bleed(column: &mut [f32], full: f32) -> Vec<bool> {
    let length = column.len();
    let mut hit = vec![false; length];
    let mut y = 0;
    while y < column.len() {
        if column[y] <= full {
            y += 1;
            continue;
        }
        let start = y;
        let mut excess = 0.0f32;
        while y < column.len() && column[y] > full {
            excess += column[y] - full;
            column[y] = full;
            hit[y] = true;
            y += 1;
        }
        let mut fill = |range: &mut dyn Iterator<Item = usize>, mut charge: f32| {
            for i in range {
                if charge <= 0.0 {
                    break;
                }
                // what is above full already has its own overflow
                let room = (full - column[i]).max(0.0).min(charge);
                column[i] += room;
                charge -= room;
                hit[i] |= column[i] >= full;
            }
        };
        fill(&mut (0..start).rev(), 0.5 * excess);
        fill(&mut (y..length), 0.5 * excess);
    }
    hit
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn bleeding_keeps_the_charge_and_fills_upwards_and_downwards() {
        let mut column = vec![10.0f32; 40];
        column[20] = 500.0;
        column[21] = 300.0;
        let before: f32 = column.iter().sum();
        let hit = bleed(&mut column, 100.0);
        assert!((column.iter().sum::<f32>() - before).abs() < 1e-3);
        assert!(column.iter().all(|v| *v <= 100.0));
        assert!(hit[20] && hit[21] && hit[18] && hit[23] && !hit[10] && !hit[30]);
    }

    #[test]
    fn photons_have_the_mean_and_variance_of_poisson() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for mean in [0.5, 20.0, 5000.0] {
            let n = 20_000;
            let values: Vec<f64> = (0..n).map(|_| photons(&mut rng, mean)).collect();
            let m = values.iter().sum::<f64>() / n as f64;
            let v = values.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n as f64;
            assert!((m - mean).abs() < 5.0 * (mean / n as f64).sqrt(), "{mean}: {m}");
            assert!((v / mean - 1.0).abs() < 0.06, "{mean}: {v}");
        }
    }
}
