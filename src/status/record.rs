//! What is remembered of one exposure.

use time::OffsetDateTime;

/// Bytes kept of any text: reasons and URIs come from outside.
const LONGEST: usize = 2000;
/// Stages of which seconds are kept.
const STAGES: usize = 32;

/// How an exposure stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// In hand.
    Working {
        /// Where it is.
        stage: String,
    },
    /// Catalogue written and published.
    Done,
    /// Failed for now.
    Retrying {
        /// Why.
        reason: String,
        /// When it is to be tried again.
        at: OffsetDateTime,
    },
    /// Given up: it is on the dead-letter stream.
    Failed {
        /// Where.
        stage: String,
        /// Kind of failure, as in the metric `stillair_failures_total`.
        kind: String,
        /// Why.
        reason: String,
    },
}

/// What is remembered of one exposure.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureRecord {
    /// Instrument, exposure, detector, version: what makes it one and the same.
    pub key: String,
    /// Its folder in the archive.
    pub name: String,
    /// URI it is read from.
    pub source: String,
    /// Band.
    pub band: Option<String>,
    /// When its event came.
    pub received: OffsetDateTime,
    /// When it was done or given up.
    pub finished: Option<OffsetDateTime>,
    /// Deliveries so far, this one included.
    pub attempt: u64,
    /// How it stands.
    pub state: State,
    /// Rows of its catalogue.
    pub objects: Option<usize>,
    /// Rows with a flag.
    pub flagged: Option<usize>,
    /// (stage, seconds).
    pub seconds: Vec<(String, f64)>,
    /// PSF at the image's centre: full width at half maximum, arcsec.
    pub psf_fwhm_arcsec: Option<f64>,
    /// Verdict on the PSF model.
    pub psf_quality: Option<String>,
}

impl ExposureRecord {
    /// An exposure that has just come, nothing known of its content.
    pub fn new(key: impl Into<String>, name: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            name: name.into(),
            source: source.into(),
            band: None,
            received: OffsetDateTime::now_utc(),
            finished: None,
            attempt: 1,
            state: State::Working { stage: "fetch".into() },
            objects: None,
            flagged: None,
            seconds: Vec::new(),
            psf_fwhm_arcsec: None,
            psf_quality: None,
        }
    }

    /// Cuts what is too long to be kept. The key stays whole: it is compared.
    pub(super) fn bound(&mut self) {
        for text in [&mut self.name, &mut self.source] {
            shorten(text);
        }
        for text in [&mut self.band, &mut self.psf_quality].into_iter().flatten() {
            shorten(text);
        }
        match &mut self.state {
            State::Working { stage } => shorten(stage),
            State::Done => {}
            State::Retrying { reason, .. } => shorten(reason),
            State::Failed { stage, kind, reason } => [stage, kind, reason].into_iter().for_each(shorten),
        }
        self.seconds.truncate(STAGES);
        self.seconds.iter_mut().for_each(|(stage, _)| shorten(stage));
    }
}

/// A text of bounded length.
pub(super) fn bounded(mut text: String) -> String {
    shorten(&mut text);
    text
}

fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('\u{2026}');
        text.shrink_to_fit();
    }
}
