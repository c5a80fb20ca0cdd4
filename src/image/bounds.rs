//! Boxes of whole pixels.

/// A box of whole pixels in a parent image; may lie partly or wholly outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBox {
    /// Column of the first pixel, 0-based.
    pub x0: isize,
    /// Row of the first pixel, 0-based.
    pub y0: isize,
    /// Number of columns.
    pub nx: usize,
    /// Number of rows.
    pub ny: usize,
}

impl PixelBox {
    /// A square box of `size` pixels whose pixel `size / 2` is the pixel nearest to `(x, y)`.
    pub fn centred(x: f64, y: f64, size: usize) -> Self {
        let half = (size / 2) as isize;
        Self { x0: x.round() as isize - half, y0: y.round() as isize - half, nx: size, ny: size }
    }

    /// Whether the whole-pixel position lies in the box.
    pub fn contains(&self, x: isize, y: isize) -> bool {
        x >= self.x0 && y >= self.y0 && x < self.x0 + self.nx as isize && y < self.y0 + self.ny as isize
    }

    /// The part of the box inside an image of `nx` columns and `ny` rows, as
    /// `(x_start, x_end, y_start, y_end)` in image pixels; `None` if there is none.
    pub fn clip(&self, nx: usize, ny: usize) -> Option<(usize, usize, usize, usize)> {
        let xs = self.x0.max(0);
        let ys = self.y0.max(0);
        let xe = (self.x0 + self.nx as isize).min(nx as isize);
        let ye = (self.y0 + self.ny as isize).min(ny as isize);
        (xs < xe && ys < ye).then_some((xs as usize, xe as usize, ys as usize, ye as usize))
    }
}
