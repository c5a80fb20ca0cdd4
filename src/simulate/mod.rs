//! Synthetic exposures with truth.
