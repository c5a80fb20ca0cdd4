//! Catalogue rows, their columns (name, unit, UCD, description: declared once) and row flags.

pub mod columns;
pub mod flags;
pub mod header;
pub mod text;

pub use columns::{COLUMNS, CatalogRow, Column, Kind, Unit, Units, Value};
pub use flags::{Flags, common_flags};
pub use header::{Catalog, CatalogHeader, PsfSummary};
