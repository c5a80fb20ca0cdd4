//! Smooth functions of detector position: Legendre polynomials of total order on a box.

/// The detector area over which a model varies; maps positions to [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Domain {
    /// Centre, 0-based pixels: column, row.
    pub centre: (f64, f64),
    /// Half the extent, pixels: along x, along y; positive.
    pub half: (f64, f64),
}

impl Domain {
    /// The whole of an image of `nx` columns and `ny` rows.
    pub fn image(nx: usize, ny: usize) -> Self {
        Self {
            centre: (0.5 * (nx as f64 - 1.0), 0.5 * (ny as f64 - 1.0)),
            half: (0.5 * nx.max(1) as f64, 0.5 * ny.max(1) as f64),
        }
    }

    /// Position in [-1, 1] x [-1, 1]; positions outside the box are held at its edge, because polynomials run away there.
    pub fn normalise(&self, x: f64, y: f64) -> (f64, f64) {
        (((x - self.centre.0) / self.half.0).clamp(-1.0, 1.0), ((y - self.centre.1) / self.half.1).clamp(-1.0, 1.0))
    }
}

/// Number of two-dimensional terms of total order up to `order`.
pub const fn term_count(order: usize) -> usize {
    (order + 1) * (order + 2) / 2
}

/// Products P_i(u) P_j(v) with i + j <= order, sorted by total order, so that a lower order is a prefix of a higher one.
pub fn legendre_terms(domain: &Domain, order: usize, x: f64, y: f64) -> Vec<f64> {
    let (u, v) = domain.normalise(x, y);
    let (pu, pv) = (legendre(order, u), legendre(order, v));
    let mut out = Vec::with_capacity(term_count(order));
    for total in 0..=order {
        for j in 0..=total {
            out.push(pu[total - j] * pv[j]);
        }
    }
    out
}

fn legendre(order: usize, u: f64) -> Vec<f64> {
    let mut p = vec![1.0];
    if order > 0 {
        p.push(u);
    }
    for k in 2..=order {
        let n = k as f64;
        p.push(((2.0 * n - 1.0) * u * p[k - 1] - (n - 1.0) * p[k - 2]) / n);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_order_is_a_prefix() {
        let domain = Domain::image(100, 60);
        let (a, b) = (legendre_terms(&domain, 2, 13.0, 40.0), legendre_terms(&domain, 4, 13.0, 40.0));
        assert_eq!(a.len(), term_count(2));
        assert_eq!(b.len(), term_count(4));
        assert_eq!(a[..], b[..a.len()]);
    }

    #[test]
    fn second_order_legendre() {
        let p = legendre(2, 0.5);
        assert!((p[2] - (-0.125)).abs() < 1e-15);
    }
}
