//! Catalogues, stamps and pictures on disk.
//!
//! Every file appears whole or not at all ([`atomic`]), and its bytes depend on the data alone.

pub mod atomic;
mod calibration;
mod catalog_fits;
mod catalog_parquet;
mod error;
mod fits_cards;
mod given;
mod lock;
mod measured;
pub mod npy;
mod paths;
mod stamp_cubes;
mod stamp_reader;
mod stamps;
mod summary;
mod table_meta;
mod table_parquet;
mod table_source;
mod truth;

pub use calibration::{CalibrationSettings, LoadedCalibration, read_calibration, write_calibration};
pub use catalog_fits::{catalog_fits_bytes, read_catalog_fits, write_catalog_fits};
pub use catalog_parquet::{
    catalog_batch, catalog_parquet_bytes, catalog_schema, read_catalog_parquet, write_catalog_parquet,
};
pub use error::ArchiveError;
pub use given::{ACCEPTED, Accepted, CatalogColumns, GivenCatalog, GivenObject, given_markdown, read_given_catalog};
pub use lock::FolderLock;
pub use measured::{MeasuredTable, QUANTITIES, Quantity};
pub use paths::ExposurePaths;
pub use stamp_cubes::{Cube, StampCubes, StampPlace};
pub use stamp_reader::StampReader;
pub use stamps::{STAMP_CUBES, StampFile, StampPlanes, StampRecord};
pub use summary::{ExposureSummary, SUMMARY_VERSION, WrittenFile};
pub use table_parquet::table_parquet_bytes;
pub use truth::{BLANKS_HDU, Blank, TRUTH_HDU, TruthObject, TruthTable, read_truth, truth_file};
