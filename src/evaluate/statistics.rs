//! Robust summaries and slopes through the origin.

use crate::image::stats::MAD_TO_SIGMA;

/// Median and spread of a sample; `None` values of an empty sample become NaN.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Centre {
    /// Values that are finite.
    pub count: usize,
    /// Median; NaN without values.
    pub median: f64,
    /// 1.4826 times the median absolute deviation; NaN without values.
    pub scatter: f64,
    /// Mean, outliers and all; NaN without values.
    pub mean: f64,
    /// Standard deviation, outliers and all; NaN with fewer than two values.
    pub std: f64,
}

impl Centre {
    /// Of the finite values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut finite: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let median = median(&mut finite);
        let mut deviations: Vec<f64> = finite.iter().map(|v| (v - median).abs()).collect();
        let n = finite.len() as f64;
        let mean = finite.iter().sum::<f64>() / n;
        let std = (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let std = if finite.len() > 1 { std } else { f64::NAN };
        Self { count: finite.len(), median, scatter: self::median(&mut deviations) * MAD_TO_SIGMA, mean, std }
    }

    /// Standard error of the median, of a sample that is normal in its middle: sqrt(pi / 2) scatter / sqrt(count).
    pub fn median_err(&self) -> f64 {
        (std::f64::consts::FRAC_PI_2 / self.count as f64).sqrt() * self.scatter
    }

    /// Standard error of the mean.
    pub fn mean_err(&self) -> f64 {
        self.std / (self.count as f64).sqrt()
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match (values.get(n / 2), n % 2) {
        (Some(&v), 1) => v,
        (Some(&v), _) => 0.5 * (v + values.get(n / 2 - 1).copied().unwrap_or(v)),
        (None, _) => f64::NAN,
    }
}

/// Root mean square of the finite values; NaN without any.
pub(super) fn rms(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().filter(|v| v.is_finite()).fold((0.0f64, 0usize), |(sum, count), v| (sum + v * v, count + 1));
    (sum / count as f64).sqrt()
}

/// A slope through the origin, with its error.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Slope {
    /// sum y . x / sum |x|^2; NaN without points or with x = 0 throughout.
    pub value: f64,
    /// Its standard deviation from the points' own scatter about the line (no equal errors assumed).
    pub error: f64,
    /// Points.
    pub count: usize,
}

impl Slope {
    /// Of two-component points (x, y) whose components are all finite.
    pub fn of(points: impl IntoIterator<Item = ([f64; 2], [f64; 2])>) -> Self {
        let finite: Vec<([f64; 2], [f64; 2])> =
            points.into_iter().filter(|(x, y)| x.iter().chain(y).all(|v| v.is_finite())).collect();
        let dot = |a: &[f64; 2], b: &[f64; 2]| a[0] * b[0] + a[1] * b[1];
        let norm: f64 = finite.iter().map(|(x, _)| dot(x, x)).sum();
        let value = finite.iter().map(|(x, y)| dot(y, x)).sum::<f64>() / norm;
        let spread: f64 = finite.iter().map(|(x, y)| dot(&[y[0] - value * x[0], y[1] - value * x[1]], x).powi(2)).sum();
        let n = finite.len() as f64;
        let error = if finite.len() > 1 { (spread * n / (n - 1.0)).sqrt() / norm } else { f64::NAN };
        Self { value, error, count: finite.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_scatter_ignore_what_is_not_finite() {
        let c = Centre::of([1.0, f64::NAN, 3.0, 2.0, f64::INFINITY, 4.0]);
        assert_eq!((c.count, c.median), (4, 2.5));
        assert!((c.scatter - MAD_TO_SIGMA).abs() < 1e-12);
        assert!(c.mean == 2.5 && (c.std - (5.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((c.mean_err() - c.std / 2.0).abs() < 1e-12 && (c.median_err() / c.scatter - 0.6267).abs() < 1e-4);
        assert!(Centre::of([1.0]).std.is_nan());
        assert!(Centre::of([]).median.is_nan() && Centre::of([]).scatter.is_nan());
    }

    #[test]
    fn a_slope_is_that_of_the_line() {
        let s = Slope::of([([1.0, 0.0], [0.5, 0.3]), ([0.0, 2.0], [-0.1, 1.0]), ([f64::NAN, 0.0], [9.0, 9.0])]);
        assert!((s.value - 0.5).abs() < 1e-12 && s.error.abs() < 1e-12 && s.count == 2);
        assert!(Slope::of([]).value.is_nan());
    }
}
