//! Where an observation's pixels lie on the target grid.

/// A map with whole entries, and the offset.
pub(super) type WholeMap = ([[i64; 2]; 2], (f64, f64));

/// An affine map of pixel positions (column, row; 0-based): `matrix (x, y) + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// `[[du/dx, du/dy], [dv/dx, dv/dy]]`.
    pub matrix: [[f64; 2]; 2],
    /// Where (0, 0) goes.
    pub offset: (f64, f64),
}

impl Affine {
    /// The map that changes nothing.
    pub const IDENTITY: Self = Self { matrix: [[1.0, 0.0], [0.0, 1.0]], offset: (0.0, 0.0) };

    /// Where a position goes.
    pub fn apply(&self, x: f64, y: f64) -> (f64, f64) {
        let [[a, b], [c, d]] = self.matrix;
        (a * x + b * y + self.offset.0, c * x + d * y + self.offset.1)
    }

    /// Change of area: target pixels covered by one pixel.
    pub fn area(&self) -> f64 {
        let [[a, b], [c, d]] = self.matrix;
        (a * d - b * c).abs()
    }

    /// The map back; `None` for one without area.
    pub fn inverse(&self) -> Option<Self> {
        let [[a, b], [c, d]] = self.matrix;
        let det = a * d - b * c;
        if !(det.is_finite() && det.abs() > 1e-12) {
            return None;
        }
        let matrix = [[d / det, -b / det], [-c / det, a / det]];
        let back = Self { matrix, offset: (0.0, 0.0) }.apply(self.offset.0, self.offset.1);
        Some(Self { matrix, offset: (-back.0, -back.1) })
    }

    /// Whether every position of a plane (ny, nx) lies within `tolerance` of a whole pixel plus a common fraction; then the map with
    /// whole entries, and the fraction.
    pub(super) fn whole(&self, (ny, nx): (usize, usize), tolerance: f64) -> Option<WholeMap> {
        let side = ny.max(nx) as f64;
        let mut whole = [[0i64; 2]; 2];
        for (out, row) in whole.iter_mut().zip(self.matrix) {
            for (o, v) in out.iter_mut().zip(row) {
                let near = v.round();
                if (v - near).abs() * side > tolerance {
                    return None;
                }
                *o = near as i64;
            }
        }
        let [[a, b], [c, d]] = whole;
        (a * d - b * c != 0).then_some((whole, self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let map = Affine { matrix: [[1.7, -0.4], [0.3, 2.1]], offset: (5.0, -3.0) };
        let back = map.inverse().unwrap();
        let (u, v) = map.apply(3.0, 4.0);
        let (x, y) = back.apply(u, v);
        assert!((x - 3.0).abs() < 1e-12 && (y - 4.0).abs() < 1e-12);
        assert!((map.area() * back.area() - 1.0).abs() < 1e-12);
        assert!(Affine { matrix: [[1.0, 2.0], [2.0, 4.0]], offset: (0.0, 0.0) }.inverse().is_none());
    }

    #[test]
    fn whole_maps_are_told_from_turned_ones() {
        let flip = Affine { matrix: [[0.0, 2.0], [-2.0, 0.0]], offset: (0.3, 61.7) };
        assert_eq!(flip.whole((32, 32), 1e-3).map(|w| w.0), Some([[0, 2], [-2, 0]]));
        let turned = Affine { matrix: [[2.0, 0.01], [-0.01, 2.0]], offset: (0.3, 1.7) };
        assert!(turned.whole((32, 32), 1e-3).is_none());
    }
}
