//! What is done at a stamp's sides before a transform that takes it for periodic.

use std::f64::consts::PI;

/// One axis of a taper: 1 inside, falling as half a cosine towards 0 over the outermost `width` pixels of each end.
/// The sky has been subtracted, so that falling to 0 is falling to the sky.
pub fn cosine_taper(n: usize, width: usize) -> Vec<f32> {
    let width = width.min(n / 2);
    (0..n)
        .map(|i| {
            let from_edge = i.min(n - 1 - i);
            if from_edge >= width {
                1.0
            } else {
                (0.5 - 0.5 * (PI * (from_edge as f64 + 0.5) / width as f64).cos()) as f32
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taper_is_symmetric_rises_and_leaves_the_inside_alone() {
        let t = cosine_taper(16, 4);
        assert!(t.iter().eq(t.iter().rev()));
        assert!(t[..5].windows(2).all(|w| w[0] < w[1] || w[1] == 1.0));
        assert!(t[4..12].iter().all(|v| *v == 1.0) && t[0] > 0.0 && t[0] < 0.1);
        assert!(cosine_taper(5, 0).iter().all(|v| *v == 1.0));
        assert!(cosine_taper(0, 3).is_empty());
    }
}
