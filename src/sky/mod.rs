//! World coordinates: header cards in, sky positions out. TAN, TAN-SIP and TPV (SCAMP's TAN + PV included).

mod cards;
mod wcs;

pub use cards::{Card, CardValue, Cards};
pub use wcs::{SkyError, Wcs};
