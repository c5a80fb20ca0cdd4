//! Pixel arrays, pixel boxes, mask planes and robust statistics.

mod bounds;
pub mod mask;
pub mod stats;

pub use bounds::PixelBox;

/// A plane of pixels, axes (row = y, column = x).
pub type Plane = ndarray::Array2<f32>;

/// A plane of mask bits (see [`mask`]), axes (row = y, column = x).
pub type MaskPlane = ndarray::Array2<u16>;
