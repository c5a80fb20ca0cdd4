//! PSFs given as pixels: PSFEx tables, grids and single stamps, interpolated by a windowed sinc.

/// How tabulated pixels vary over the detector.
#[derive(Debug, Clone, PartialEq)]
pub enum Variation {
    /// PSFEx: sum of images times monomials u^i v^j, i + j <= degree, j outer, i inner; u = (x - zero) / scale.
    Polynomial {
        /// Degree.
        degree: usize,
        /// (POLZERO, POLSCAL) of x and y, for 0-based pixels.
        x: (f64, f64),
        /// See `x`.
        y: (f64, f64),
    },
    /// One image per 0-based position; the four nearest are averaged with weights 1 / distance^2.
    Scattered(Vec<(f64, f64)>),
}

/// A tabulated effective PSF.
#[derive(Debug, Clone, PartialEq)]
pub struct Tabulated {
    /// Detector pixels per sample.
    pub step: f64,
    /// Columns and rows of each image; the centre is sample (width / 2, height / 2).
    pub size: (usize, usize),
    /// Images, each `size.0 * size.1`, row-major.
    pub images: Vec<f64>,
    /// Variation over the detector.
    pub variation: Variation,
}

/// Monomials in PSFEx's order.
pub fn psfex_terms(degree: usize, u: f64, v: f64) -> Vec<f64> {
    let mut out = Vec::new();
    for j in 0..=degree {
        for i in 0..=degree - j {
            out.push(u.powi(i as i32) * v.powi(j as i32));
        }
    }
    out
}

/// Half widths of the interpolating kernel in samples. PSFEx tables mean what PSFEx's own resampling (`vignet.h`: Lanczos-3) and
/// GalSim's `DES_PSFEx` make of them; a stamp at its own sampling has no such convention and gets a sharper kernel.
const LANCZOS_PSFEX: f64 = 3.0;
/// See [`LANCZOS_PSFEX`].
const LANCZOS_STAMP: f64 = 11.0;

fn kernel(x: f64, width: f64) -> f64 {
    if x.abs() < 1e-9 {
        return 1.0;
    }
    if x.abs() >= width {
        return 0.0;
    }
    let p = std::f64::consts::PI * x;
    width * p.sin() * (p / width).sin() / (p * p)
}

/// Weights of the `n` samples for each of the wanted sample positions, rows normalised over the infinite comb.
fn weights(n: usize, wanted: &[f64], width: f64) -> Vec<Vec<f64>> {
    wanted
        .iter()
        .map(|&p| {
            let first = (p - width).ceil() as i64;
            let last = (p + width).floor() as i64;
            let norm: f64 = (first..=last).map(|k| kernel(p - k as f64, width)).sum();
            (0..n).map(|k| kernel(p - k as f64, width) / norm).collect()
        })
        .collect()
}

impl Tabulated {
    /// The image at a 0-based position.
    fn image_at(&self, x: f64, y: f64) -> Vec<f64> {
        let n = self.size.0 * self.size.1;
        let mut out = vec![0.0; n];
        let mut add = |image: usize, w: f64| {
            if let Some(values) = self.images.get(image * n..(image + 1) * n) {
                for (o, v) in out.iter_mut().zip(values) {
                    *o += w * v;
                }
            }
        };
        match &self.variation {
            Variation::Polynomial { degree, x: px, y: py } => {
                for (k, t) in psfex_terms(*degree, (x - px.0) / px.1, (y - py.0) / py.1).into_iter().enumerate() {
                    add(k, t);
                }
            }
            Variation::Scattered(positions) => {
                let mut near: Vec<(f64, usize)> =
                    positions.iter().enumerate().map(|(k, p)| ((p.0 - x).powi(2) + (p.1 - y).powi(2), k)).collect();
                near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                near.truncate(4);
                let total: f64 = near.iter().map(|(d, _)| 1.0 / (d + 1.0)).sum();
                for (d, k) in near {
                    add(k, 1.0 / (d + 1.0) / total);
                }
            }
        }
        out
    }

    /// Values on an odd square of `size` samples, `oversample` per detector pixel, centred on the table's centre; not normalised.
    pub(super) fn render(&self, x: f64, y: f64, size: usize, oversample: usize) -> Vec<f64> {
        let image = self.image_at(x, y);
        let half = (size / 2) as f64;
        let wanted = |n: usize| -> Vec<f64> {
            (0..size).map(|k| (n / 2) as f64 + (k as f64 - half) / oversample as f64 / self.step).collect()
        };
        let (nx, ny) = self.size;
        let width = match self.variation {
            Variation::Polynomial { .. } => LANCZOS_PSFEX,
            Variation::Scattered(_) => LANCZOS_STAMP,
        };
        let (wx, wy) = (weights(nx, &wanted(nx), width), weights(ny, &wanted(ny), width));
        // Along x first.
        let mut rows = vec![0.0; ny * size];
        for j in 0..ny {
            for (i, w) in wx.iter().enumerate() {
                rows[j * size + i] = super::linalg::dot(w, &image[j * nx..(j + 1) * nx]);
            }
        }
        let mut out = vec![0.0; size * size];
        for (j, w) in wy.iter().enumerate() {
            for (k, f) in w.iter().enumerate() {
                if *f != 0.0 {
                    for i in 0..size {
                        out[j * size + i] += f * rows[k * size + i];
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_at_its_own_sampling_comes_back() {
        let images: Vec<f64> = (0..25).map(|k| f64::from(k) * 0.1).collect();
        let t = Tabulated {
            step: 1.0,
            size: (5, 5),
            images: images.clone(),
            variation: Variation::Scattered(vec![(0.0, 0.0)]),
        };
        let out = t.render(3.0, 4.0, 5, 1);
        assert!(out.iter().zip(&images).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn psfex_order_is_y_outer() {
        assert_eq!(psfex_terms(2, 2.0, 3.0), vec![1.0, 2.0, 4.0, 3.0, 6.0, 9.0]);
    }
}
