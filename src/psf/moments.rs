//! Adaptive moments: Gaussian-weighted, the weight matched to the object (Bernstein & Jarvis 2002, AJ 123, 583, section 3;
//! Hirata & Seljak 2003, MNRAS 343, 459), as in GalSim's HSM.

/// Result of [`adaptive_moments`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Centroid: column and row, 0-based pixels of the stamp.
    pub centre: (f64, f64),
    /// Covariance of the matched Gaussian: xx, yy, xy, square pixels.
    pub covariance: (f64, f64, f64),
    /// Flux of the matched Gaussian, image units.
    pub flux: f64,
}

impl Moments {
    /// Size T = xx + yy, square pixels.
    pub fn size(&self) -> f64 {
        self.covariance.0 + self.covariance.1
    }

    /// Distortion (e1, e2) = (xx - yy, 2 xy) / T.
    pub fn distortion(&self) -> (f64, f64) {
        let t = self.size();
        ((self.covariance.0 - self.covariance.1) / t, 2.0 * self.covariance.2 / t)
    }
}

/// Smallest variance of the weight along an axis, square pixels.
const NARROWEST: f64 = 0.4;

/// Adaptive moments of a row-major stamp of `nx` columns, from a starting centre and Gaussian sigma (pixels).
/// Pixels whose `usable` is false are left out. `None` where the iteration leaves the stamp or does not converge.
pub fn adaptive_moments(
    pixels: &[f64],
    usable: Option<&[bool]>,
    nx: usize,
    start: (f64, f64),
    sigma: f64,
    tolerance: f64,
) -> Option<Moments> {
    let ny = pixels.len() / nx.max(1);
    let (mut cx, mut cy) = start;
    let (mut xx, mut yy, mut xy) = (sigma * sigma, sigma * sigma, 0.0);
    for iteration in 0..100 {
        let det = xx * yy - xy * xy;
        if !(det > 0.01 && xx < (nx * nx) as f64 && yy < (ny * ny) as f64) {
            return None;
        }
        let (ixx, iyy, ixy) = (yy / det, xx / det, -xy / det);
        let (rx, ry) = (4.0 * xx.sqrt(), 4.0 * yy.sqrt());
        let (x0, x1) = ((cx - rx).ceil().max(0.0) as usize, ((cx + rx).floor().min(nx as f64 - 1.0)).max(0.0) as usize);
        let (y0, y1) = ((cy - ry).ceil().max(0.0) as usize, ((cy + ry).floor().min(ny as f64 - 1.0)).max(0.0) as usize);
        let mut sums = [0.0f64; 6];
        for j in y0..=y1 {
            let dy = j as f64 - cy;
            for i in x0..=x1 {
                let p = j * nx + i;
                if usable.is_some_and(|u| !u[p]) {
                    continue;
                }
                let dx = i as f64 - cx;
                let rho = ixx * dx * dx + iyy * dy * dy + 2.0 * ixy * dx * dy;
                if rho > 16.0 {
                    continue;
                }
                let w = pixels[p] * (-0.5 * rho).exp();
                sums[0] += w;
                sums[1] += w * dx;
                sums[2] += w * dy;
                sums[3] += w * dx * dx;
                sums[4] += w * dy * dy;
                sums[5] += w * dx * dy;
            }
        }
        if !(sums[0] > 0.0) {
            return None;
        }
        // A Gaussian times its own weight has half its covariance and a quarter-shifted centroid: steps are doubled.
        let (mx, my) = (sums[1] / sums[0], sums[2] / sums[0]);
        // Weights narrower than a pixel see one pixel only and collapse.
        let floor = |v: f64| v.max(NARROWEST);
        let (nxx, nyy, nxy) = (floor(2.0 * sums[3] / sums[0]), floor(2.0 * sums[4] / sums[0]), 2.0 * sums[5] / sums[0]);
        let change = (2.0 * mx.abs())
            .max(2.0 * my.abs())
            .max((nxx - xx).abs() / xx)
            .max((nyy - yy).abs() / yy)
            .max((nxy - xy).abs() / (xx * yy).sqrt());
        cx += (2.0 * mx).clamp(-1.0, 1.0);
        cy += (2.0 * my).clamp(-1.0, 1.0);
        let limit = |new: f64, old: f64| new.clamp(0.4 * old, 2.5 * old);
        (xx, yy) = (limit(nxx, xx), limit(nyy, yy));
        xy = nxy.clamp(-0.95 * (xx * yy).sqrt(), 0.95 * (xx * yy).sqrt());
        let flux = 2.0 * sums[0];
        if (cx - start.0).abs() > 4.0 * sigma.max(1.0) || (cy - start.1).abs() > 4.0 * sigma.max(1.0) {
            return None;
        }
        if iteration > 0 && change < tolerance {
            return Some(Moments { centre: (cx, cy), covariance: (xx, yy, xy), flux });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_elliptical_gaussian() {
        let (n, cx, cy, xx, yy, xy) = (41usize, 20.3, 19.6, 9.0, 6.0, 1.5);
        let det = xx * yy - xy * xy;
        let pixels: Vec<f64> = (0..n * n)
            .map(|p| {
                let (dx, dy) = ((p % n) as f64 - cx, (p / n) as f64 - cy);
                (-0.5 * (yy * dx * dx + xx * dy * dy - 2.0 * xy * dx * dy) / det).exp()
            })
            .collect();
        let m = adaptive_moments(&pixels, None, n, (20.0, 20.0), 2.0, 1e-8).expect("converges");
        assert!((m.centre.0 - cx).abs() < 1e-4 && (m.centre.1 - cy).abs() < 1e-4);
        assert!((m.size() / (xx + yy) - 1.0).abs() < 3e-3);
        assert!((m.distortion().0 - 0.2).abs() < 2e-3 && (m.distortion().1 - 0.2).abs() < 2e-3);
    }

    #[test]
    fn blank_stamp_has_no_moments() {
        assert!(adaptive_moments(&[0.0; 81], None, 9, (4.0, 4.0), 1.5, 1e-6).is_none());
    }
}
