//! What goes wrong with networks.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};

/// Why a network cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No ONNX Runtime library was found.
    #[error(
        "ONNX Runtime's shared library was not found; looked at {looked}. Run `make setup`, which fetches it into runtime/, or set network.runtime or ORT_DYLIB_PATH to the library"
    )]
    RuntimeMissing {
        /// Places looked at.
        looked: String,
    },
    /// A library was found and cannot be loaded.
    #[error(
        "ONNX Runtime at {path} cannot be loaded: {reason}. Run `make setup` for the version that fits, or set network.runtime to another library"
    )]
    RuntimeUnusable {
        /// Library.
        path: PathBuf,
        /// The loader's reason.
        reason: String,
    },
    /// One process holds one library.
    #[error("ONNX Runtime is already loaded from {loaded}; a process cannot load {asked} as well")]
    RuntimeAlreadyLoaded {
        /// Library in use.
        loaded: PathBuf,
        /// Library asked for.
        asked: PathBuf,
    },
    /// The folder of networks, a card or a model file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// File or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The card is no card.
    #[error("{path}: {reason}")]
    Card {
        /// Card.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The model file is another one than the card's.
    #[error(
        "{path}: sha256 is {found}, the card says {expected}; the file was changed or damaged: restore it, or put its hash into the card if the change is meant"
    )]
    Hash {
        /// Model file.
        path: PathBuf,
        /// From the card.
        expected: String,
        /// Of the file.
        found: String,
    },
    /// The model does not fit its card.
    #[error("{path}: {what}: expected {expected}, found {found}; {remedy}")]
    Mismatch {
        /// Model file.
        path: PathBuf,
        /// Which input or output, and what of it.
        what: String,
        /// From the card.
        expected: String,
        /// In the model.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// ONNX Runtime refuses the model.
    #[error("{path}: ONNX Runtime refuses the model: {reason}")]
    Refused {
        /// Model file.
        path: PathBuf,
        /// ONNX Runtime's reason.
        reason: String,
    },
    /// The device asked for cannot be used.
    #[error(
        "network.device = \"{device}\" cannot be used: {reason}; install the GPU build of ONNX Runtime with its CUDA libraries, or set network.device to \"cpu\" or \"auto\""
    )]
    Device {
        /// Device asked for.
        device: String,
        /// ONNX Runtime's reason.
        reason: String,
    },
    /// The runtime or our use of it is broken.
    #[error("network {network}: inference panicked; this is a bug, please report it with the log")]
    Panicked {
        /// Network.
        network: String,
    },
    /// A batch failed as a whole.
    #[error("network {network} failed on a batch of {batch} stamps of {side} x {side}: {reason}")]
    Run {
        /// Network.
        network: String,
        /// Stamps in the batch.
        batch: usize,
        /// Side, target pixels.
        side: usize,
        /// ONNX Runtime's reason.
        reason: String,
    },
}

impl Classify for NetworkError {
    fn kind(&self) -> FailureKind {
        match self {
            // Memory may be there again later; everything else stays as it is.
            Self::Run { .. } => FailureKind::Transient,
            Self::Panicked { .. } => FailureKind::Bug,
            _ => FailureKind::BadInput,
        }
    }
}

/// Why one object has no network output; the others of its batch are not touched.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectError {
    /// The planes do not fit the card or each other.
    #[error("{plane} has shape ({ny}, {nx}), expected {expected}")]
    Shape {
        /// Which plane.
        plane: &'static str,
        /// Rows.
        ny: usize,
        /// Columns.
        nx: usize,
        /// What the card asks for.
        expected: String,
    },
    /// The input holds NaN or infinities, or has no scale.
    #[error("input is not finite: {0}")]
    Input(&'static str),
    /// The network made NaN or infinities of a finite input.
    #[error("network output holds {0} pixels that are NaN or infinite")]
    NotFinite(usize),
}

impl Classify for ObjectError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}
