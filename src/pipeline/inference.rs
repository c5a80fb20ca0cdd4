//! One thread owns the network; everyone else sends it stamps and waits.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::failure::{Classify, FailureKind};
use crate::image::Plane;
use crate::network::{Card, Network, NetworkError, NetworkInput, NetworkSettings, ObjectError, Runtime};

/// What is written of the network into catalogues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIdentity {
    /// Folder name.
    pub name: String,
    /// SHA-256 of the ONNX file.
    pub sha256: String,
    /// Device and runtime.
    pub inference: String,
}

/// Why no network can be used.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The network or its runtime.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The thread cannot be started.
    #[error("cannot start the inference thread: {0}")]
    Thread(std::io::Error),
    /// The thread is gone.
    #[error("the inference thread has ended; this is a bug, please report it")]
    Gone,
}

impl Classify for InferenceError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Network(error) => error.kind(),
            Self::Thread(_) => FailureKind::Transient,
            Self::Gone => FailureKind::Bug,
        }
    }
}

type Answer = Result<Vec<Result<Plane, ObjectError>>, NetworkError>;

struct Request {
    inputs: Vec<NetworkInput>,
    reply: SyncSender<Answer>,
}

/// A handle to the inference thread; clones share it. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Inference {
    requests: SyncSender<Request>,
    identity: NetworkIdentity,
    card: Card,
}

impl Inference {
    /// Loads the network that the settings name, on a thread of its own; `None` where the settings say `none`.
    pub fn start(settings: &NetworkSettings) -> Result<Option<Self>, InferenceError> {
        if settings.name == "none" {
            return Ok(None);
        }
        let runtime = Runtime::load(&settings.runtime)?;
        let network = Network::load(&settings.model_folder(), &runtime, settings)?;
        let identity = NetworkIdentity {
            name: file_name(&settings.model_folder()),
            sha256: network.card().sha256.clone(),
            inference: format!("{}, {}", network.device(), file_name(runtime.path())),
        };
        let card = network.card().clone();
        // One request waits while one is worked on: whoever prepares stamps is slowed down, not the memory filled up.
        let (requests, inbox) = sync_channel::<Request>(1);
        std::thread::Builder::new()
            .name("inference".into())
            .spawn(move || serve(network, &inbox))
            .map_err(InferenceError::Thread)?;
        Ok(Some(Self { requests, identity, card }))
    }

    /// Runs the network on a chunk of objects; each has its own result.
    pub fn run(&self, inputs: Vec<NetworkInput>) -> Result<Vec<Result<Plane, ObjectError>>, InferenceError> {
        let (reply, answer) = sync_channel(1);
        self.requests.send(Request { inputs, reply }).map_err(|_| InferenceError::Gone)?;
        Ok(answer.recv().map_err(|_| InferenceError::Gone)??)
    }

    /// The network's name, hash and device.
    pub fn identity(&self) -> &NetworkIdentity {
        &self.identity
    }

    /// The network's card.
    pub fn card(&self) -> &Card {
        &self.card
    }
}

fn serve(mut network: Network, inbox: &Receiver<Request>) {
    while let Ok(Request { inputs, reply }) = inbox.recv() {
        // Whoever asked may have given up: nothing is lost with the answer.
        let _ = reply.send(network.run(&inputs));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
