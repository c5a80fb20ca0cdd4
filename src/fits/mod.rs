//! FITS in and out: exposures of several surveys, binary tables, and the writer of simulated exposures.
//!
//! All decoding and encoding is done by the `fits-well` crate (safe Rust); its results are held against astropy's in
//! `tests/reading.rs`.

mod error;
mod file;
mod layout;
mod masks;
mod metadata;
mod noise;
mod psf_files;
mod psf_positions;
mod read;
mod settings;
pub mod table;
pub mod write;

pub use error::{FitsError, hdu_label};
pub use file::{FitsFile, HduContent, HduInfo};
pub use layout::{ExposureHandle, Layout, NoiseKind, PlaneRef, is_companion, list_exposures, list_in, plane_in};
pub use psf_files::{PsfFileError, read_psf, write_psf};
pub use psf_positions::{read_positions, split_spec};
pub use read::{MIN_SIDE, read, read_with, subtract_plane};
pub use settings::{Companions, ReadSettings};
pub use table::{Table, TableColumn, Values, write_table};
pub use write::{ExtraHdu, WriteLayout, write_exposure, write_hdus};
