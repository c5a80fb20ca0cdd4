//! Calibration by injection: simulated sources into real exposures, the whole pipeline over them, and laws from what comes out.
//!
//! [`inject_exposure`] does the first two, [`calibrate`] the third. `docs/calibration.md` says what is done and why.

mod inject;
mod laws;

pub use inject::{InjectError, InjectOptions, InjectedRow, InjectionRun, inject_exposure};
pub use laws::{bins, calibrate, drift, in_groups};
