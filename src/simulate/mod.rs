//! Synthetic skies with truth: profiles, point spread functions, training stamps, exposures, injection of sources.
//!
//! Everything is drawn through Fourier space ([`grid`]): an object is a continuous function whose transform is known, so that the very
//! same object can be had as the detector sees it (convolved with the effective PSF, at any sub-pixel position) and as the target
//! Gaussian sees it (the truth). The room is pure: random numbers come from the caller's seed, threads from the caller.

pub mod blanks;
pub mod detector;
pub mod draw;
pub mod exposure;
pub mod field;
pub mod grid;
pub mod inject;
pub mod instrument;
pub mod optics;
pub mod population;
pub mod psf;
pub mod scene;
pub mod sersic;
pub mod sky_image;
pub mod special;
pub mod spiral;
pub mod stamps;
pub mod table;

pub use exposure::{ExposureSettings, Pictures, Plan};
pub use grid::Renderer;
pub use inject::inject;
pub use instrument::Layout;
pub use psf::Psf;
pub use scene::{Component, Scene};
pub use sky_image::{SkyImage, SkyImageError};
pub use table::Shear;
