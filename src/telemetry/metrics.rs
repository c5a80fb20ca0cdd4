//! Every metric of the daemon, declared once. Units are in the names; no label grows with exposures or objects.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::TelemetryError;
use crate::catalog::flags::FLAG_TABLE;

/// How an exposure's delivery ends.
pub const OUTCOMES: [&str; 4] = ["done", "failed", "retried", "duplicate"];
/// The stages an exposure goes through, reading its event first, and all of them together.
pub const STAGES: [&str; 13] = [
    "event",
    "fetch",
    "read",
    "background",
    "detect",
    "psf",
    "stamp",
    "tikhonov",
    "network",
    "renorm",
    "archive",
    "publish",
    "total",
];
/// Kinds of failure.
pub const FAILURE_KINDS: [&str; 5] = ["transient", "bad_input", "bug", "deadline", "deliveries"];
/// Where work waits: on the stream or in the spool, in hand, for the network.
pub const QUEUES: [&str; 3] = ["source", "working", "inference"];
/// Verdicts on a PSF model.
pub const QUALITIES: [&str; 4] = ["good", "degraded", "failed", "given"];
/// What must work before work is taken.
const COMPONENTS: [&str; 3] = ["bus", "network", "disk"];

/// Seconds: from a fast stage to an exposure at its deadline.
const STAGE_SECONDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];
/// Seconds: from an exposure that was waited for to one replayed a day later.
const AGE_SECONDS: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0];
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Arcsec: from space to a bad night.
const FWHM: [f64; 15] = [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0];
/// Relative size residual, either sign.
const SIZE_RESIDUAL: [f64; 13] = [-0.1, -0.05, -0.02, -0.01, -0.005, -0.002, 0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];

/// Every metric; clones share the values. A field is its metric's name without `stillair_`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Metrics {
    registry: Registry,
    /// Exposures by how their delivery ended, see [`OUTCOMES`].
    pub exposures_total: IntCounterVec,
    /// Failures by stage and kind, see [`STAGES`] and [`FAILURE_KINDS`].
    pub failures_total: IntCounterVec,
    /// Seconds of each stage, see [`STAGES`].
    pub stage_duration_seconds: HistogramVec,
    /// Objects in finished catalogues.
    pub objects_total: IntCounter,
    /// Objects with each row flag.
    pub objects_flagged_total: IntCounterVec,
    /// Stamps in each call of the network.
    pub batch_objects: Histogram,
    /// What waits where, see [`QUEUES`].
    pub queue_depth: IntGaugeVec,
    /// Deliveries of an event after its first.
    pub redeliveries_total: IntCounter,
    /// PSF at the image's centre, full width at half maximum.
    pub psf_fwhm_arcsec: Histogram,
    /// Median relative size residual of the reserved stars.
    pub psf_reserved_size_residual: Histogram,
    /// How far bright isolated objects of the last calibrated exposure have drifted from the calibration.
    pub calibration_drift: Gauge,
    /// Exposures processed with a calibration file that holds nothing for them.
    pub exposures_uncalibrated_total: IntCounter,
    /// Exposures by the verdict on their PSF model, see [`QUALITIES`].
    pub psf_quality_total: IntCounterVec,
    /// 1 for the network, device and runtime in use.
    pub inference_device_info: IntGaugeVec,
    /// 1 for the version that runs.
    pub build_info: IntGaugeVec,
    /// Whether the bus is connected.
    pub bus_connected: IntGauge,
    /// Times the connection to the bus came back.
    pub bus_reconnects_total: IntCounter,
    /// Whether each component works.
    pub ready: IntGaugeVec,
    /// Room left where the archive lies.
    pub disk_free_bytes: IntGauge,
    /// Time from the event to its published catalogue.
    pub event_age_seconds: Histogram,
    /// When the last exposure was done, seconds since 1970; 0 before the first.
    pub last_exposure_timestamp_seconds: Gauge,
}

/// Registers metrics under the common prefix.
struct Maker(Registry);

type Made<T> = Result<T, prometheus::Error>;

impl Maker {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, metric: C) -> Made<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("stillair")
    }

    fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.keep(IntCounter::with_opts(Self::opts(name, help))?)
    }

    /// With every combination of label values that is known before anything happened at 0.
    fn counters(&self, name: &str, help: &str, labels: &[(&str, &[&str])]) -> Made<IntCounterVec> {
        let names: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
        let counters = self.keep(IntCounterVec::new(Self::opts(name, help), &names)?)?;
        for values in combinations(labels) {
            counters.get_metric_with_label_values(&values)?;
        }
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.keep(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str], known: &[&str]) -> Made<IntGaugeVec> {
        let gauges = self.keep(IntGaugeVec::new(Self::opts(name, help), labels)?)?;
        for value in known {
            gauges.get_metric_with_label_values(&[value])?;
        }
        Ok(gauges)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Made<Histogram> {
        let opts = HistogramOpts::new(name, help).namespace("stillair").buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(opts)?)
    }
}

/// Every combination of one value a label.
fn combinations<'a>(labels: &[(&str, &[&'a str])]) -> Vec<Vec<&'a str>> {
    labels.iter().fold(vec![Vec::new()], |before, (_, values)| {
        let with = |start: &Vec<&'a str>| -> Vec<Vec<&'a str>> {
            values.iter().map(|value| start.iter().copied().chain([*value]).collect()).collect()
        };
        before.iter().flat_map(with).collect()
    })
}

impl Metrics {
    /// All metrics at zero, the process's own (`process_*`) among them.
    pub fn new() -> Result<Self, TelemetryError> {
        let make = Maker(Registry::new());
        let flags: Vec<&str> = FLAG_TABLE.iter().map(|(_, name, _)| *name).collect();
        let stage_seconds = HistogramOpts::new("stage_duration_seconds", "Seconds an exposure spent in each stage")
            .namespace("stillair")
            .buckets(STAGE_SECONDS.to_vec());
        let last = Opts::new(
            "last_exposure_timestamp_seconds",
            "When the last exposure was done, Unix time; 0 before the first",
        );
        let drift = Opts::new(
            "calibration_drift",
            "Last calibrated exposure: median of (flux - aperture flux) / flux of bright isolated objects, less its value when calibrated",
        );
        let metrics = Self {
            exposures_total: make.counters(
                "exposures_total",
                "Exposures by how their delivery ended",
                &[("outcome", &OUTCOMES)],
            )?,
            failures_total: make.counters(
                "failures_total",
                "Failures by stage and kind",
                &[("stage", &STAGES), ("kind", &FAILURE_KINDS)],
            )?,
            stage_duration_seconds: make.keep(HistogramVec::new(stage_seconds, &["stage"])?)?,
            objects_total: make.counter("objects_total", "Objects in finished catalogues")?,
            objects_flagged_total: make.counters(
                "objects_flagged_total",
                "Objects with each row flag",
                &[("flag", &flags)],
            )?,
            batch_objects: make.histogram("batch_objects", "Stamps in each call of the network", &BATCHES)?,
            queue_depth: make.gauges(
                "queue_depth",
                "What waits: exposures at the source, exposures in hand, stamps for the network",
                &["stage"],
                &QUEUES,
            )?,
            redeliveries_total: make.counter("redeliveries_total", "Deliveries of an event after its first")?,
            psf_fwhm_arcsec: make.histogram(
                "psf_fwhm_arcsec",
                "PSF at the image's centre, full width at half maximum",
                &FWHM,
            )?,
            psf_reserved_size_residual: make.histogram(
                "psf_reserved_size_residual",
                "Median relative size residual (star - model) / model of the reserved stars",
                &SIZE_RESIDUAL,
            )?,
            calibration_drift: make.keep(Gauge::with_opts(drift.namespace("stillair"))?)?,
            exposures_uncalibrated_total: make.counter(
                "exposures_uncalibrated_total",
                "Exposures processed with a calibration file that holds nothing for them",
            )?,
            psf_quality_total: make.counters(
                "psf_quality_total",
                "Exposures by the verdict on their PSF model",
                &[("quality", &QUALITIES)],
            )?,
            inference_device_info: make.gauges(
                "inference_device_info",
                "1 for the network, device and runtime in use",
                &["network", "device", "runtime"],
                &[],
            )?,
            build_info: make.gauges("build_info", "1 for the version that runs", &["version"], &[])?,
            bus_connected: make.gauge("bus_connected", "1 while the bus is connected")?,
            bus_reconnects_total: make.counter("bus_reconnects_total", "Times the connection to the bus came back")?,
            ready: make.gauges("ready", "1 while the component works", &["component"], &COMPONENTS)?,
            disk_free_bytes: make.gauge("disk_free_bytes", "Room left where the archive lies")?,
            event_age_seconds: make.histogram(
                "event_age_seconds",
                "Time from the event to its published catalogue",
                &AGE_SECONDS,
            )?,
            last_exposure_timestamp_seconds: make.keep(Gauge::with_opts(last.namespace("stillair"))?)?,
            registry: make.0,
        };
        for stage in STAGES {
            metrics.stage_duration_seconds.get_metric_with_label_values(&[stage])?;
        }
        metrics.build_info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// All metrics in Prometheus's text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// What [`Metrics::render`] gives: for the header `Content-Type`.
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn every_series_exists_before_anything_happened() {
        let text = Metrics::new().unwrap().render();
        for series in [
            "stillair_exposures_total{outcome=\"duplicate\"}",
            "stillair_failures_total{kind=\"bad_input\",stage=\"read\"}",
            "stillair_stage_duration_seconds_count{stage=\"publish\"}",
            "stillair_objects_total",
            "stillair_objects_flagged_total{flag=\"EDGE\"}",
            "stillair_batch_objects_count",
            "stillair_queue_depth{stage=\"inference\"}",
            "stillair_redeliveries_total",
            "stillair_psf_fwhm_arcsec_count",
            "stillair_psf_reserved_size_residual_count",
            "stillair_psf_quality_total{quality=\"degraded\"}",
            "stillair_calibration_drift",
            "stillair_exposures_uncalibrated_total",
            "stillair_bus_connected",
            "stillair_bus_reconnects_total",
            "stillair_ready{component=\"disk\"}",
            "stillair_disk_free_bytes",
            "stillair_event_age_seconds_count",
            "stillair_last_exposure_timestamp_seconds",
        ] {
            assert_eq!(value(&text, series), Some(0.0), "{series} in\n{text}");
        }
        assert_eq!(
            value(&text, concat!("stillair_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")),
            Some(1.0)
        );
        for (_, flag, _) in FLAG_TABLE {
            assert!(text.contains(&format!("flag=\"{flag}\"")), "{flag}");
        }
        assert!(text.contains("process_resident_memory_bytes") && text.contains("process_open_fds"));
        // declared although no series can be known
        assert!(!text.contains("stillair_inference_device_info{"));
    }

    #[test]
    fn the_number_of_series_is_known() {
        let metrics = Metrics::new().unwrap();
        let count = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
        let before = count(&metrics.render());
        for _ in 0..1000 {
            metrics.exposures_total.with_label_values(&["done"]).inc();
            metrics.failures_total.with_label_values(&["psf", "bug"]).inc();
            metrics.stage_duration_seconds.with_label_values(&["psf"]).observe(0.3);
        }
        assert_eq!(count(&metrics.render()), before);
        assert!(before < 500, "{before}");
        let text = metrics.render();
        assert_eq!(value(&text, "stillair_exposures_total{outcome=\"done\"}"), Some(1000.0));
    }

    #[test]
    fn clones_share_their_values() {
        let metrics = Metrics::new().unwrap();
        metrics.clone().objects_total.inc_by(7);
        assert_eq!(metrics.objects_total.get(), 7);
    }

    #[test]
    fn stages_are_those_of_the_pipeline() {
        for stage in crate::pipeline::Stage::ALL {
            assert!(STAGES.contains(&stage.name()), "{stage}");
        }
    }
}
