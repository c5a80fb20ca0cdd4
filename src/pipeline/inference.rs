//! One thread owns the network; everyone else sends it stamps and waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::failure::{Classify, FailureKind};
use crate::image::Plane;
use crate::network::{Card, Companions, Network, NetworkError, NetworkInput, NetworkSettings, ObjectError, Runtime};

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
    /// A call of the network failed, for every exposure in it.
    #[error(transparent)]
    Call(Arc<NetworkError>),
    /// The thread cannot be started.
    #[error("cannot start the inference thread: {0}")]
    Thread(std::io::Error),
    /// The network loads, but does not work.
    #[error("network {network}: the warm-up inference failed: {reason}; see `stillair models check`")]
    WarmUp {
        /// Its name.
        network: String,
        /// What came of it.
        reason: String,
    },
    /// The thread is gone.
    #[error("the inference thread has ended; this is a bug, please report it")]
    Gone,
}

impl Classify for InferenceError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Network(error) => error.kind(),
            Self::Call(error) => error.kind(),
            Self::Thread(_) => FailureKind::Transient,
            Self::WarmUp { .. } => FailureKind::BadInput,
            Self::Gone => FailureKind::Bug,
        }
    }
}

type Answer = Result<Vec<Result<Plane, ObjectError>>, Arc<NetworkError>>;

struct Request {
    inputs: Vec<NetworkInput>,
    reply: SyncSender<Answer>,
}

/// Told of the number of stamps of each call of the network.
type Observer = Arc<dyn Fn(usize) + Send + Sync>;

/// Exposures whose stamps may wait at a time: whoever prepares more is slowed down, not the memory filled up.
const WAITING: usize = 2;
/// How long a call that would not fill a batch waits for stamps of other exposures.
const GATHER: Duration = Duration::from_millis(3);

/// A handle to the inference thread; clones share it. The thread ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Inference {
    requests: SyncSender<Request>,
    identity: NetworkIdentity,
    card: Card,
    /// Stamps that wait or are worked on.
    stamps: Arc<AtomicUsize>,
}

impl Inference {
    /// Loads the network that the settings name, on a thread of its own; `None` where the settings say `none`.
    pub fn start(settings: &NetworkSettings) -> Result<Option<Self>, InferenceError> {
        Self::observed(settings, |_| {})
    }

    /// As [`Inference::start`]; `observer` is told of the number of stamps of each call of the network.
    pub fn observed(
        settings: &NetworkSettings,
        observer: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Option<Self>, InferenceError> {
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
        let (requests, inbox) = sync_channel::<Request>(WAITING);
        let observer: Observer = Arc::new(observer);
        std::thread::Builder::new()
            .name("inference".into())
            .spawn(move || serve(network, &inbox, &observer))
            .map_err(InferenceError::Thread)?;
        Ok(Some(Self { requests, identity, card, stamps: Arc::default() }))
    }

    /// Runs the network on a chunk of objects; each has its own result.
    pub fn run(&self, inputs: Vec<NetworkInput>) -> Result<Vec<Result<Plane, ObjectError>>, InferenceError> {
        let count = inputs.len();
        self.stamps.fetch_add(count, Ordering::Relaxed);
        let (reply, answer) = sync_channel(1);
        let sent = self.requests.send(Request { inputs, reply }).map_err(|_| InferenceError::Gone);
        let answered = sent.and_then(|()| answer.recv().map_err(|_| InferenceError::Gone));
        self.stamps.fetch_sub(count, Ordering::Relaxed);
        answered?.map_err(InferenceError::Call)
    }

    /// Stamps that wait or are worked on.
    pub fn waiting(&self) -> usize {
        self.stamps.load(Ordering::Relaxed)
    }

    /// Runs the network once on a star of this side (target pixels): the first real stamp costs no more than the next, and a network
    /// that gives nonsense is found out before an exposure is.
    pub fn warm_up(&self, side: usize) -> Result<(), InferenceError> {
        let centre = (side / 2) as f64;
        let star = Plane::from_shape_fn((side, side), |(j, i)| {
            let r2 = (j as f64 - centre).powi(2) + (i as f64 - centre).powi(2);
            (100.0 * (-r2 / 8.0).exp()) as f32
        });
        let psf = star.mapv(|v| v / star.sum());
        let companions =
            Companions { sharper: star.clone(), noise_sharper: 1.0, smoother: star.clone(), noise_smoother: 1.0 };
        let input = NetworkInput {
            observed: Some(star.clone()),
            tikhonov: star,
            psf,
            noise_sigma: 1.0,
            sky_sigma: 1.0,
            psf_fwhm: 4.0,
            target_fwhm: 2.0,
            companions: Some(companions),
        };
        match self.run(vec![input])?.pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                Err(InferenceError::WarmUp { network: self.identity.name.clone(), reason: error.to_string() })
            }
            None => Err(InferenceError::Gone),
        }
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

/// Answers requests; those that wait together share one call, so that batches are filled across exposures.
fn serve(mut network: Network, inbox: &Receiver<Request>, observer: &Observer) {
    let full = network.card().shape.batches.iter().copied().max().unwrap_or(1);
    while let Ok(first) = inbox.recv() {
        let mut inputs = first.inputs;
        let mut asked = vec![(inputs.len(), first.reply)];
        let patience = Instant::now() + GATHER;
        while asked.len() <= WAITING {
            let left = patience.saturating_duration_since(Instant::now());
            // A full batch waits for nobody.
            let next = if inputs.len() >= full { inbox.try_recv().ok() } else { inbox.recv_timeout(left).ok() };
            let Some(mut next) = next else { break };
            asked.push((next.inputs.len(), next.reply));
            inputs.append(&mut next.inputs);
        }
        observer(inputs.len());
        // A panic in the runtime is these exposures' failure, not the daemon's.
        let answers = catch_unwind(AssertUnwindSafe(|| network.run(&inputs)));
        let mut answers = match answers {
            Ok(Ok(answers)) => answers.into_iter(),
            Ok(Err(error)) => {
                refuse(asked, &Arc::new(error));
                continue;
            }
            Err(_) => {
                let card = network.card().name.clone();
                refuse(asked, &Arc::new(NetworkError::Panicked { network: card }));
                continue;
            }
        };
        for (count, reply) in asked {
            // Whoever asked may have given up: nothing is lost with the answer.
            let _ = reply.send(Ok(answers.by_ref().take(count).collect()));
        }
    }
}

fn refuse(asked: Vec<(usize, SyncSender<Answer>)>, error: &Arc<NetworkError>) {
    for (_, reply) in asked {
        let _ = reply.send(Err(error.clone()));
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
