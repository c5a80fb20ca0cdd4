//! Accelerated proximal gradient, and the Lipschitz constants it needs.

use super::JointError;

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Steps taken.
    pub steps: usize,
    /// Bound of what is still missing from the optimum, in the objective's units.
    pub gap: f64,
    /// Whether that bound came below what was asked for.
    pub converged: bool,
}

/// Largest eigenvalue of a symmetric positive operator by power iteration, 5 % added: the true Lipschitz constant of its quadratic form's gradient.
/// The start holds every frequency and both signs.
pub fn lipschitz(
    length: usize,
    mut apply: impl FnMut(&[f64]) -> Result<Vec<f64>, JointError>,
) -> Result<f64, JointError> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut v: Vec<f64> = (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        })
        .collect();
    let mut last = 0.0;
    for _ in 0..200 {
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Ok(0.0);
        }
        v.iter_mut().for_each(|v| *v /= norm);
        v = apply(&v)?;
        let value = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if (value - last).abs() < 2e-3 * value {
            return Ok(1.05 * value);
        }
        last = value;
    }
    Ok(1.1 * last)
}

/// Minimises `f(u)` over `u >= lower`: `gradient` of `f`, its Lipschitz constant, and the constant `convexity` of its strong convexity.
///
/// FISTA (Beck & Teboulle 2009, SIAM J. Imaging Sci. 2, 183) with the gradient restart of O'Donoghue & Candes (2015, Found. Comput.
/// Math. 15, 715). The gradient mapping `G = L (u - u+)` bounds what is missing, `f(u+) - min f <= |G|^2 / (2 convexity)`, and the search ends
/// where that is below `gap`.
pub fn accelerated(
    start: Vec<f64>,
    lower: &[f64],
    (convexity, lipschitz): (f64, f64),
    gap: f64,
    most_steps: usize,
    mut gradient: impl FnMut(&[f64]) -> Result<Vec<f64>, JointError>,
) -> Result<(Vec<f64>, Search), JointError> {
    let mut u = start;
    u.iter_mut().zip(lower).for_each(|(u, l)| *u = u.max(*l));
    let mut ahead = u.clone();
    let mut t = 1.0f64;
    let mut search = Search { steps: 0, gap: f64::INFINITY, converged: false };
    while search.steps < most_steps {
        search.steps += 1;
        let slope = gradient(&ahead)?;
        let next: Vec<f64> =
            ahead.iter().zip(&slope).zip(lower).map(|((z, g), l)| (z - g / lipschitz).max(*l)).collect();
        let (mut turn, mut moved) = (0.0, 0.0);
        for ((z, n), u) in ahead.iter().zip(&next).zip(&u) {
            turn += (z - n) * (n - u);
            moved += (z - n).powi(2);
        }
        search.gap = 0.5 * lipschitz * lipschitz * moved / convexity;
        if turn > 0.0 {
            t = 1.0;
        }
        let t_next = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
        let momentum = (t - 1.0) / t_next;
        for ((z, n), u) in ahead.iter_mut().zip(&next).zip(&u) {
            *z = n + momentum * (n - u);
        }
        t = t_next;
        u = next;
        if search.gap <= gap {
            search.converged = true;
            break;
        }
    }
    Ok((u, search))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_constant_and_the_constrained_minimum() {
        // f(u) = sum 0.5 h_i (u_i - a_i)^2, whose minimum over u >= l is max(a, l)
        let h = [1.0, 4.0, 100.0, 9.0];
        let a = [3.0, -2.0, 0.5, -0.1];
        let apply = |v: &[f64]| Ok(v.iter().zip(h).map(|(v, h)| v * h).collect());
        let l = lipschitz(4, apply).unwrap();
        assert!((100.0..=110.0).contains(&l), "{l}");
        let lower = [0.0, -1.0, 0.0, -1.0];
        let gradient = |u: &[f64]| Ok(u.iter().zip(h).zip(a).map(|((u, h), a)| h * (u - a)).collect());
        let (u, search) = accelerated(vec![1.0; 4], &lower, (1.0, l), 1e-14, 5000, gradient).unwrap();
        assert!(search.converged && search.steps < 1000, "{search:?}");
        for (u, want) in u.iter().zip([3.0, -1.0, 0.5, -0.1]) {
            assert!((u - want).abs() < 1e-6, "{u} {want}");
        }
    }
}
