//! Quality against truth: images (NMSE, SSIM), catalogues (completeness, fluxes, shapes, sizes, PSF leakage) and
//! empty positions. Plain functions on planes and rows; the caller reads the files.
//!
//! Definitions follow the papers' protocol: ellipticity e1 = (Qxx - Qyy) / (Qxx + Qyy), e2 = 2 Qxy / (Qxx + Qyy),
//! size Qxx + Qyy, leakage C_psf = sum e_out . e_psf / sum |e_psf|^2 (0 is right), correlation
//! C_true = sum e_out . e_true / sum |e_true|^2 (1 is right).

mod align;
mod blanks;
mod image;
mod invented;
mod matching;
mod report;
mod statistics;
mod table;

pub use align::{Aligned, align, fwhm_of_area, shifted, upsampled};
pub use blanks::{BlankReport, BlankRow, evaluate_blanks};
pub use image::{ImageError, ImageScore, gaussian_window, nmse, score_image, ssim};
pub use invented::{Invented, InventedSettings, invented_structure};
pub use matching::{Match, match_positions};
pub use report::{Bin, EvaluateSettings, FieldRows, Group, MeasuredRow, Report, TruthRow, evaluate, evaluate_fields};
pub use statistics::{Centre, Slope};
pub use table::{render, render_blanks, render_groups};
