//! `stillair serve`: the service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CliError;
use crate::bus::{self, Publisher, Source, Spool};
use crate::daemon::Daemon;
use crate::fetch::{Fetcher, Staging};
use crate::pipeline::Inference;
use crate::settings::{self, Settings};
use crate::status::{Component, Status};
use crate::telemetry::{self, Metrics, Telemetry};
use crate::web::{self, App, Limits};

/// Run as a service: take exposures from NATS (or a spool directory), publish deconvolved catalogues, lose nothing
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// NATS server, instead of [bus] url
    #[arg(long, value_name = "URL")]
    bus: Option<String>,
    /// Spool directory, instead of [spool] directory
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Output folder, instead of [output] directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Address of the page, metrics and probes, instead of [http] listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Calibration file made by `stillair calibrate`, instead of [calibration] file
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

impl ServeArgs {
    fn apply(&self, settings: &mut Settings) -> Result<(), CliError> {
        if let Some(url) = &self.bus {
            settings.bus.url.clone_from(url);
        }
        if let Some(directory) = &self.spool {
            settings.spool.directory.clone_from(directory);
        }
        if let Some(directory) = &self.out {
            settings.output.directory.clone_from(directory);
        }
        if let Some(listen) = &self.listen {
            settings.http.listen.clone_from(listen);
        }
        if let Some(file) = &self.calibration {
            settings.calibration.load_other(file).map_err(|error| CliError::Config(error.to_string()))?;
        }
        Ok(())
    }
}

/// Serves until it is told to stop.
pub fn run(args: &ServeArgs, config: Option<&Path>, log: Option<&str>) -> Result<(), CliError> {
    let mut settings = settings::load(config)?.settings;
    args.apply(&mut settings)?;
    if let Some(log) = log {
        settings.telemetry.log = log.to_string();
    }
    check(&settings)?;
    let telemetry = telemetry::init(&settings.telemetry).map_err(|error| CliError::Config(error.to_string()))?;
    log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("service")
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("cannot start threads: {error}")))?;
    let served = runtime.block_on(serve(args, config, settings, &telemetry));
    // A computation that does not end at its next stage is not waited for: it has answered for nothing.
    runtime.shutdown_timeout(Duration::from_secs(1));
    telemetry.shutdown();
    served
}

/// What can be found wrong before anything is started.
fn check(settings: &Settings) -> Result<(), CliError> {
    if let Some(problem) = settings.bus.problem() {
        return Err(CliError::Config(problem));
    }
    let upload = &settings.serve.upload;
    if !upload.is_empty()
        && !matches!(crate::fetch::locate(&format!("{upload}/x")), Ok(crate::fetch::Location::S3 { .. }))
    {
        return Err(CliError::Config(format!("[serve] upload = {upload:?}: write s3://bucket/prefix")));
    }
    if settings.serve.workers == 0 {
        return Err(CliError::Config("[serve] workers must be at least 1".into()));
    }
    Ok(())
}

/// Panics go into the log like everything else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic (this is a bug, please report it): {text}");
    }));
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

async fn serve(
    args: &ServeArgs,
    config: Option<&Path>,
    settings: Settings,
    telemetry: &Telemetry,
) -> Result<(), CliError> {
    let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
    let signals = Signals::new()?;
    let metrics = Metrics::new().map_err(failed)?;
    let status = Status::new(settings.serve.keep);
    for component in Component::ALL {
        status.set(component, Err("starting".into()));
    }
    let listener = match settings.http.listen.as_str() {
        "" => None,
        address => Some(tokio::net::TcpListener::bind(address).await.map_err(|error| {
            CliError::Failed(format!("[http] listen = {address:?}: {error}; choose another port, or \"\" for none"))
        })?),
    };

    let inference = start_network(&settings, &metrics).await?;
    status.set(Component::Network, Ok(()));

    let swept = Staging::sweep(&settings.fetch.staging_folder());
    if swept > 0 {
        tracing::info!(folders = swept, "removed what a killed process left in the staging folder");
    }
    let mut client = None;
    let mut link = None;
    let mut roots = Vec::new();
    let mut context = None;
    let (source, publisher, about) = if settings.bus.url.is_empty() {
        let spool = Spool::open(&settings.spool).map_err(failed)?;
        roots.push(spool.folder().to_path_buf());
        let about = format!("spool {}", spool.folder().display());
        (Source::Spool(spool.clone()), Publisher::Spool(spool), about)
    } else {
        let (connected, state) = bus::connect(&settings.bus, true).await.map_err(failed)?;
        let jetstream = async_nats::jetstream::new(connected.clone());
        client = Some(connected);
        link = Some(state);
        context = Some(jetstream.clone());
        let about = format!("NATS {}", settings.bus.shown_url());
        let source = Source::Jet(Box::new(bus::JetSource::new(jetstream.clone(), &settings.bus)));
        (source, Publisher::Jet { context: jetstream, settings: Box::new(settings.bus.clone()) }, about)
    };
    let fetcher =
        Fetcher::new(&settings.fetch, &roots, context).map_err(|error| CliError::Config(error.to_string()))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        source = about,
        archive = %settings.output.directory.display(),
        network = inference.as_ref().map(|i| i.identity().name.as_str()).unwrap_or("none"),
        device = inference.as_ref().map(|i| i.identity().inference.as_str()).unwrap_or("none"),
        page = listener.as_ref().and_then(|l| l.local_addr().ok()).map(|a| format!("http://{a}/")).unwrap_or_default(),
        "serving"
    );
    let daemon = Daemon {
        settings: Arc::new(RwLock::new(Arc::new(settings))),
        inference,
        source,
        publisher,
        fetcher,
        status,
        metrics,
        tracer: telemetry.tracer(),
        link,
        client,
        stop: stop.clone(),
        abandon: abandon.clone(),
    };
    let page_stops = CancellationToken::new();
    let page = listener.map(|listener| tokio::spawn(page(listener, daemon.clone(), about, page_stops.clone())));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let reload = Reload { args, config, telemetry, daemon: daemon.clone() };
    let watcher = signals.watch(reload, stop, abandon);
    let work = daemon.run();
    tokio::pin!(work);
    let result = tokio::select! {
        result = &mut work => result,
        () = watcher => {
            tracing::warn!("the grace time is over: what is still in hand will be delivered again");
            Ok(())
        }
    };
    page_stops.cancel();
    if let Some(page) = page {
        let _ = tokio::time::timeout(Duration::from_secs(2), page).await;
    }
    tracing::info!("stopped");
    result.map_err(failed)
}

/// Loads the network, and runs it once: a service that cannot deconvolve does not start.
async fn start_network(settings: &Settings, metrics: &Metrics) -> Result<Option<Inference>, CliError> {
    let (network, deconv, batches) = (settings.network.clone(), settings.deconv.clone(), metrics.batch_objects.clone());
    let smallest = settings.stamp.small;
    let loaded = tokio::task::spawn_blocking(move || {
        let inference = Inference::observed(&network, move |stamps| batches.observe(stamps as f64))?;
        if let Some(inference) = &inference {
            inference.warm_up(smallest * deconv.factor.max(1))?;
        }
        Ok::<_, crate::pipeline::InferenceError>(inference)
    });
    let inference = loaded.await.map_err(failed)?.map_err(failed)?;
    if let Some(inference) = &inference {
        let identity = inference.identity();
        let (device, runtime) = identity.inference.split_once(", ").unwrap_or((&identity.inference, ""));
        metrics.inference_device_info.with_label_values(&[identity.name.as_str(), device, runtime]).set(1);
    }
    Ok(inference)
}

/// What a reload needs.
struct Reload<'a> {
    args: &'a ServeArgs,
    config: Option<&'a Path>,
    telemetry: &'a Telemetry,
    daemon: Daemon,
}

impl Reload<'_> {
    /// Log level and thresholds; anything else that changed is named.
    fn run(&self) {
        let mut settings = match settings::load(self.config) {
            Ok(loaded) => loaded.settings,
            Err(error) => return tracing::error!(%error, "not reloaded: the old configuration stays in force"),
        };
        if let Err(error) = self.args.apply(&mut settings) {
            return tracing::error!(%error, "not reloaded: the old configuration stays in force");
        }
        if let Err(error) = self.telemetry.reload_log(&settings.telemetry.log) {
            tracing::error!(%error, "the log filter stays as it is");
        }
        let ignored = self.daemon.reload(&settings);
        if ignored.is_empty() {
            tracing::info!("log filter and thresholds reloaded");
        } else {
            tracing::warn!(
                sections = ignored.join(", "),
                "log filter and thresholds reloaded; these sections need a restart"
            );
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            hangup: signal(SignalKind::hangup()).map_err(failed)?,
        })
    }

    /// Returns only when the grace time is over.
    async fn watch(mut self, reload: Reload<'_>, stop: CancellationToken, abandon: CancellationToken) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload.run(),
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        let grace = Duration::from_secs(reload.daemon.settings().serve.grace_s);
        tracing::info!(?grace, "told to stop: no more work is taken, what is in hand is finished");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        stop.cancel();
        // The last part of the grace time is for handing back what cannot be finished.
        let handing_back = (grace / 4).min(Duration::from_secs(10));
        tokio::select! {
            () = tokio::time::sleep(grace - handing_back) => {}
            _ = self.terminate.recv() => tracing::warn!("told again: what is in hand is handed back"),
            _ = self.interrupt.recv() => tracing::warn!("told again: what is in hand is handed back"),
        }
        abandon.cancel();
        tokio::time::sleep(handing_back).await;
    }
}

/// The page, metrics and probes.
async fn page(listener: tokio::net::TcpListener, daemon: Daemon, about: String, stop: CancellationToken) {
    let app = App {
        archive: daemon.archive(),
        status: daemon.status,
        metrics: daemon.metrics,
        bus: about,
        version: env!("CARGO_PKG_VERSION").into(),
        started: time::OffsetDateTime::now_utc(),
        limits: Limits::default(),
    };
    if let Err(error) = web::serve(listener, app, async move { stop.cancelled().await }).await {
        tracing::error!(%error, "the page is no longer served");
    }
}
