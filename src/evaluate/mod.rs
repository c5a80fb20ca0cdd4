//! Quality against truth.
