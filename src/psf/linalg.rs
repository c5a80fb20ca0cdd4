//! Small dense symmetric systems: Cholesky on row-major matrices.

/// Dot product with eight independent sums, so that the compiler can use vector registers.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (mut ca, mut cb) = (a.chunks_exact(8), b.chunks_exact(8));
    for (x, y) in (&mut ca).zip(&mut cb) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    let tail: f64 = ca.remainder().iter().zip(cb.remainder()).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + tail
}

/// Lower Cholesky factor of a symmetric positive definite matrix, row-major.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factorises the `n` x `n` matrix (only its lower triangle is read); `None` if it is not positive definite.
    pub(super) fn new(n: usize, mut matrix: Vec<f64>) -> Option<Self> {
        debug_assert_eq!(matrix.len(), n * n);
        for i in 0..n {
            let (above, rest) = matrix.split_at_mut(i * n);
            let row = &mut rest[..n];
            for j in 0..i {
                let other = &above[j * n..j * n + j + 1];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            if !(pivot.is_finite() && pivot > 0.0) {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        Some(Self { n, lower: matrix })
    }

    /// Solves L z = b in place.
    pub(super) fn forward(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.lower[i * self.n..i * self.n + i + 1];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// Solves A x = b in place.
    pub(super) fn solve(&self, b: &mut [f64]) {
        self.forward(b);
        for i in (0..self.n).rev() {
            let row = &self.lower[i * self.n..i * self.n + i + 1];
            b[i] /= row[i];
            let v = b[i];
            for (x, l) in b[..i].iter_mut().zip(row) {
                *x -= l * v;
            }
        }
    }

    /// ln det A.
    pub(super) fn ln_det(&self) -> f64 {
        (0..self.n).map(|i| 2.0 * self.lower[i * self.n + i].ln()).sum()
    }

    /// A^-1, row-major.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        let mut out = vec![0.0; n * n];
        for i in 0..n {
            let row = &mut out[i * n..(i + 1) * n];
            row[i] = 1.0;
            self.solve(row);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_inverts() {
        let a = vec![4.0, 1.0, 0.5, 1.0, 3.0, 0.2, 0.5, 0.2, 2.0];
        let c = Cholesky::new(3, a.clone()).expect("positive definite");
        let mut b = vec![1.0, 2.0, 3.0];
        c.solve(&mut b);
        for i in 0..3 {
            let back: f64 = (0..3).map(|j| a[3 * i + j] * b[j]).sum();
            assert!((back - (i + 1) as f64).abs() < 1e-12);
        }
        let inv = c.inverse();
        let one: f64 = (0..3).map(|j| a[j] * inv[3 * j]).sum();
        assert!((one - 1.0).abs() < 1e-12);
        assert!(Cholesky::new(2, vec![1.0, 2.0, 2.0, 1.0]).is_none());
    }
}
