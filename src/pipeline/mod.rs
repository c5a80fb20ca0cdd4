//! From an exposure to a catalogue.
//!
//! [`prepare`] does what is done once an exposure (sky, sources, PSF), [`deconvolve`] what is done for every object, in
//! chunks, so that memory does not grow with the number of stamps; [`run`] puts reading before and the archive behind them.

pub mod calibrate;
mod crop;
mod deconvolve;
mod failure;
mod field;
mod given;
mod header;
mod inference;
mod job;
pub mod joint;
mod object;
mod pictures;
mod profiles;
mod row;
mod score;
mod timing;
mod truth;
mod watch;

pub use deconvolve::{ObjectView, deconvolve};
pub use failure::{Failure, Stage};
pub use field::{Field, Given, prepare};
pub use given::{GivenError, given_positions};
pub use header::catalog_header;
pub use header::config_hash;
pub use inference::{Inference, InferenceError, NetworkIdentity};
pub use job::{Asked, Context, Done, archive_name, finished, is_done, run};
pub use object::{Measured, ObjectError, Prepared};
pub use score::{ObjectScore, OutputSpec, ScoreError, ScoreSettings, ScoredField, ScoredStamp, Scores, UNSOUND, score};
pub use timing::Timings;
pub use truth::TruthReport;
pub use watch::Watch;
