//! Picture sheets.
