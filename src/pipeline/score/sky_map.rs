//! From the sky to the exposure's pixels, learnt from a truth table that knows both: for outputs that give ra and dec alone.

use crate::sky::Wcs;

/// Largest distance that a true position may lie off the map, pixels.
const TOLERANCE: f64 = 0.05;

/// A place known both ways: (ra, dec) in degrees, (x, y) in pixels.
pub type Place = ((f64, f64), (f64, f64));

/// Tangent-plane coordinates about a centre and an affine map from there to pixels.
#[derive(Debug, Clone)]
pub struct SkyMap {
    tangent: Wcs,
    /// Pixel = `affine` (xi, eta, 1), a row for the column x and one for the row y.
    affine: [[f64; 3]; 2],
}

impl SkyMap {
    /// From places known both ways. `None` with fewer than four, or where a tangent plane does not
    /// describe them.
    pub fn fit(places: &[Place]) -> Option<Self> {
        let finite = |p: &&Place| p.0.0.is_finite() && p.0.1.is_finite() && p.1.0.is_finite() && p.1.1.is_finite();
        let places: Vec<_> = places.iter().filter(finite).copied().collect();
        let centre = places.first()?.0;
        // one "pixel" of this plane is an arcsecond
        let step = 1.0 / 3600.0;
        let tangent = Wcs::tan(centre, (0.0, 0.0), [[step, 0.0], [0.0, step]]).ok()?;
        let mut normal = [[0.0f64; 3]; 3];
        let mut right = [[0.0f64; 3]; 2];
        let mut flat = Vec::with_capacity(places.len());
        for (sky, pixel) in &places {
            let (xi, eta) = tangent.sky_to_pixel(sky.0, sky.1)?;
            let row = [xi, eta, 1.0];
            for (a, line) in row.iter().zip(normal.iter_mut()) {
                for (b, cell) in row.iter().zip(line.iter_mut()) {
                    *cell += a * b;
                }
            }
            for (value, line) in [pixel.0, pixel.1].into_iter().zip(right.iter_mut()) {
                for (a, cell) in row.iter().zip(line.iter_mut()) {
                    *cell += a * value;
                }
            }
            flat.push((row, *pixel));
        }
        if flat.len() < 4 {
            return None;
        }
        let affine = [solve(normal, right[0])?, solve(normal, right[1])?];
        let map = Self { tangent, affine };
        let fits = flat.iter().all(|(row, pixel)| {
            let (x, y) = map.apply(*row);
            (x - pixel.0).hypot(y - pixel.1) < TOLERANCE
        });
        fits.then_some(map)
    }

    fn apply(&self, row: [f64; 3]) -> (f64, f64) {
        let dot = |line: &[f64; 3]| line.iter().zip(&row).map(|(a, b)| a * b).sum();
        (dot(&self.affine[0]), dot(&self.affine[1]))
    }

    /// Pixel of a place on the sky; NaN where it has none.
    pub fn pixel(&self, (ra, dec): (f64, f64)) -> (f64, f64) {
        match self.tangent.sky_to_pixel(ra, dec) {
            Some((xi, eta)) => self.apply([xi, eta, 1.0]),
            None => (f64::NAN, f64::NAN),
        }
    }
}

/// Solves a symmetric system of three by Cramer's rule; `None` where it is singular.
fn solve(m: [[f64; 3]; 3], b: [f64; 3]) -> Option<[f64; 3]> {
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(&m);
    let scale = m[0][0] * m[1][1] * m[2][2];
    if !(whole.abs() > 1e-12 * scale.abs()) {
        return None;
    }
    let mut out = [0.0; 3];
    for (k, slot) in out.iter_mut().enumerate() {
        let mut replaced = m;
        for (line, value) in replaced.iter_mut().zip(b) {
            line[k] = value;
        }
        *slot = det(&replaced) / whole;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tangent_plane_is_learnt_from_a_few_places() {
        let step = 0.2 / 3600.0;
        let wcs = Wcs::tan((150.1, -30.2), (1023.5, 900.0), [[-step, 0.1 * step], [0.1 * step, step]]).unwrap();
        let places: Vec<_> = [(10.0, 20.0), (2000.0, 50.0), (1000.0, 1800.0), (40.0, 1500.0), (700.0, 300.0)]
            .into_iter()
            .map(|(x, y)| (wcs.pixel_to_sky(x, y), (x, y)))
            .collect();
        let map = SkyMap::fit(&places).unwrap();
        let (x, y) = map.pixel(wcs.pixel_to_sky(1500.25, 1200.75));
        assert!((x - 1500.25).abs() < 1e-3 && (y - 1200.75).abs() < 1e-3, "{x} {y}");
        assert!(SkyMap::fit(&places[..3]).is_none());
        let mut wrong = places;
        wrong[2].1.0 += 5.0;
        assert!(SkyMap::fit(&wrong).is_none());
    }
}
