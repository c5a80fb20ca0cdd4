//! Other objects' light in a stamp.

use super::Pixel;

/// What was found of other objects.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    /// Another object has pixels in the stamp.
    pub any: bool,
    /// Another object's isophote touches this one's.
    pub touching: bool,
}

/// Marks the pixels of other objects, their isophotes grown by `grow` pixels (never into this object's own).
pub(super) fn mark(pixels: &mut ndarray::Array2<Pixel>, labels: &ndarray::Array2<i32>, own: i32, grow: usize) -> Found {
    let (ny, nx) = labels.dim();
    let mut found = Found::default();
    for ((y, x), label) in labels.indexed_iter() {
        if *label == 0 || *label == own {
            continue;
        }
        found.any = true;
        for v in y.saturating_sub(grow.max(1))..(y + grow.max(1) + 1).min(ny) {
            for u in x.saturating_sub(grow.max(1))..(x + grow.max(1) + 1).min(nx) {
                let near = labels[(v, u)];
                if near == own {
                    found.touching |= v.abs_diff(y) <= 1 && u.abs_diff(x) <= 1;
                } else if (near == *label || grow > 0) && pixels[(v, u)] == Pixel::Good {
                    pixels[(v, u)] = Pixel::Neighbour;
                }
            }
        }
    }
    found
}
