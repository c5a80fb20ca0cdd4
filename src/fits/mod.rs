//! FITS in and out.
