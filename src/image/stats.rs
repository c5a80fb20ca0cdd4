//! Robust statistics over finite values.

/// 1.4826 = 1 / Phi^-1(3/4): turns a median absolute deviation into a standard deviation for Gaussian noise.
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// Median of the values (the mean of the middle two for an even count); reorders `values`. `None` if empty.
/// NaNs must have been removed.
pub fn median_in_place(values: &mut [f32]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (low, mid, _) = values.select_nth_unstable_by(n / 2, f32::total_cmp);
    let mid = f64::from(*mid);
    if n % 2 == 1 {
        return Some(mid);
    }
    let below = low.iter().copied().max_by(f32::total_cmp)?;
    Some(0.5 * (mid + f64::from(below)))
}

/// Median and 1.4826 * median absolute deviation of the finite values. `None` if there are none.
pub fn median_and_sigma<'a>(values: impl IntoIterator<Item = &'a f32>) -> Option<(f64, f64)> {
    let mut finite: Vec<f32> = values.into_iter().copied().filter(|v| v.is_finite()).collect();
    let median = median_in_place(&mut finite)?;
    for v in &mut finite {
        *v = (f64::from(*v) - median).abs() as f32;
    }
    let mad = median_in_place(&mut finite)?;
    Some((median, mad * MAD_TO_SIGMA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_even_and_odd_counts() {
        assert_eq!(median_in_place(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median_in_place(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median_in_place(&mut []), None);
    }

    #[test]
    fn sigma_ignores_nan_and_an_outlier() {
        let values = [1.0, 2.0, 3.0, 4.0, f32::NAN, 1e9];
        let (median, sigma) = median_and_sigma(&values).expect("finite values");
        assert_eq!(median, 3.0);
        assert!((sigma - MAD_TO_SIGMA).abs() < 1e-12);
    }
}
