//! Archived fields: what to process, what is done already, several at a time.

mod discover;
mod run;

pub use discover::{ReplayError, discover};
pub use run::{Progress, Tally, run};
