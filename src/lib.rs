//! stillair takes the seeing out of survey exposures as they arrive.
//!
//! # The house
//!
//! Imports run downward only (`tests/layering.rs` keeps it so):
//!
//! | floor | rooms | may use |
//! |---|---|---|
//! | shell | [`cli`], [`daemon`], [`replay`], [`web`] | everything below |
//! | pipeline | [`pipeline`] | adapters, numerics |
//! | adapters | [`fits`], [`network`], [`archive`], [`picture`], [`fetch`], [`bus`], [`settings`], [`telemetry`], [`status`] | numerics |
//! | numerics | [`psf`], [`stamp`], [`joint`], [`deconv`], [`photometry`], [`detect`], [`simulate`], [`evaluate`], [`catalog`], [`event`], [`exposure`], [`sky`], [`fourier`], [`calibration`], [`image`], [`failure`] | lower numerics; no I/O, no clock, no threads of their own |
//!
//! # Conventions
//!
//! * Arrays are [`ndarray::Array2`] with axes (row = y, column = x); `f32` pixels, `f64` sums.
//! * Pixel coordinates inside the code are 0-based: the centre of the first pixel is `(0.0, 0.0)`.
//!   Catalogues and the command line speak FITS pixels (1-based); only `catalog`, `archive` and `cli` convert.
//! * Fluxes are in image units inside the numerics; the catalogue turns them into nJy where a zero point is known.

pub mod archive;
pub mod bus;
pub mod calibration;
pub mod catalog;
pub mod cli;
pub mod daemon;
pub mod deconv;
pub mod detect;
pub mod evaluate;
pub mod event;
pub mod exposure;
pub mod failure;
pub mod fetch;
pub mod fits;
pub mod fourier;
pub mod image;
pub mod joint;
pub mod network;
pub mod photometry;
pub mod picture;
pub mod pipeline;
pub mod psf;
pub mod replay;
pub mod settings;
pub mod simulate;
pub mod sky;
pub mod stamp;
pub mod status;
pub mod telemetry;
pub mod web;
