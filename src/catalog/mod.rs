//! Catalogue rows, their columns (name, unit, UCD, description: declared once) and row flags.

pub mod flags;

pub use flags::Flags;
