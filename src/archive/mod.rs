//! Catalogues, stamps and pictures on disk.
//!
//! Every file appears whole or not at all ([`atomic`]), and its bytes depend on the data alone.

pub mod atomic;
mod catalog_fits;
mod catalog_parquet;
mod error;
mod fits_cards;
pub mod npy;
mod table_meta;

pub use catalog_fits::{catalog_fits_bytes, read_catalog_fits, write_catalog_fits};
pub use catalog_parquet::{
    catalog_batch, catalog_parquet_bytes, catalog_schema, read_catalog_parquet, write_catalog_parquet,
};
pub use error::ArchiveError;
