//! What galaxies' profiles have in common.
//!
//! The shares of [`COMPONENTS`] Gaussians were fitted (non-negative, the flux given) to the noiseless images of 1,623 simulated galaxies
//! (`stillair simulate --layout lsst`, seeds 131 and 132: Sersic profiles of index 0.5 to 4, bulges with discs, spirals, irregulars), the
//! unit component having the adaptive moments of the galaxy behind a Gaussian PSF of 0.78 arcsec, less the PSF's. Neither mean nor scatter
//! depends much on the size in units of the PSF (`docs/photometry.md`).

use std::sync::LazyLock;

use nalgebra::{Matrix6, SymmetricEigen};

/// Gaussians in the mixture.
pub const COMPONENTS: usize = 6;

/// Variance of each component in units of the unit component's; the first is a point.
pub const SCALES: [f64; COMPONENTS] = [0.0, 0.2, 1.0, 3.0, 9.0, 27.0];

/// Mean share of the flux in each component.
pub const SHARES_MEAN: [f64; COMPONENTS] = [0.0543, 0.1412, 0.4939, 0.2358, 0.0531, 0.0217];

/// Covariance of the shares; its rows add up to 0.
#[rustfmt::skip]
const SHARES_COVARIANCE: [[f64; COMPONENTS]; COMPONENTS] = [
    [ 0.00617, -0.00249, -0.00751,  0.00329,  0.00073, -0.00019],
    [-0.00249,  0.01826, -0.02798,  0.00615,  0.00361,  0.00245],
    [-0.00751, -0.02798,  0.08227, -0.02885, -0.01110, -0.00684],
    [ 0.00329,  0.00615, -0.02885,  0.01966, -0.00051,  0.00026],
    [ 0.00073,  0.00361, -0.01110, -0.00051,  0.00675,  0.00051],
    [-0.00019,  0.00245, -0.00684,  0.00026,  0.00051,  0.00381],
];

/// Independent modes of the shares: variance and direction, largest first. Each direction moves flux between components and adds none.
pub(super) fn share_modes() -> &'static [(f64, [f64; COMPONENTS])] {
    static MODES: LazyLock<Vec<(f64, [f64; COMPONENTS])>> = LazyLock::new(|| {
        // The projection takes the rounding of the printed covariance off.
        let mean = |f: &dyn Fn(usize) -> f64| (0..COMPONENTS).map(f).sum::<f64>() / COMPONENTS as f64;
        let rows: Vec<f64> = (0..COMPONENTS).map(|i| mean(&|j| SHARES_COVARIANCE[i][j])).collect();
        let all = mean(&|i| rows[i]);
        let eigen = SymmetricEigen::new(Matrix6::from_fn(|i, j| {
            0.5 * (SHARES_COVARIANCE[i][j] + SHARES_COVARIANCE[j][i]) - rows[i] - rows[j] + all
        }));
        let mut modes: Vec<(f64, [f64; COMPONENTS])> = (0..COMPONENTS)
            .filter(|&i| eigen.eigenvalues[i] > 1e-4)
            .map(|i| (eigen.eigenvalues[i], std::array::from_fn(|k| eigen.eigenvectors[(k, i)])))
            .collect();
        modes.sort_by(|l, r| r.0.total_cmp(&l.0));
        // The sign of an eigenvector is the algorithm's whim.
        for (_, mode) in &mut modes {
            let largest = mode.iter().copied().fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
            if largest < 0.0 {
                mode.iter_mut().for_each(|v| *v = -*v);
            }
        }
        modes
    });
    &MODES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_move_flux_and_add_none() {
        assert!((SHARES_MEAN.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let modes = share_modes();
        assert_eq!(modes.len(), COMPONENTS - 1);
        let mut trace = 0.0;
        for (variance, mode) in modes {
            assert!(mode.iter().sum::<f64>().abs() < 1e-9);
            assert!((mode.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-9);
            trace += variance;
        }
        let wanted: f64 = (0..COMPONENTS).map(|i| SHARES_COVARIANCE[i][i]).sum();
        assert!((trace - wanted).abs() < 1e-4, "{trace} {wanted}");
    }
}
