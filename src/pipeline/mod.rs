//! From an exposure to a catalogue.

mod failure;
mod timing;

pub use failure::{Failure, Stage};
pub use timing::Timings;
