//! Sections `[bus]` and `[spool]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// The NATS server, its streams, and how to prove who we are.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// Server, `nats://host:port` or `tls://host:port`, several separated by commas; empty: the spool directory is used instead.
    #[serde(serialize_with = "without_credentials")]
    pub url: String,
    /// User name.
    pub user: String,
    /// Password; better in a file or the environment.
    pub password: Secret,
    /// File that holds the password.
    pub password_file: PathBuf,
    /// Token.
    pub token: Secret,
    /// File that holds the token.
    pub token_file: PathBuf,
    /// Credentials file (JWT and nkey seed).
    pub credentials_file: PathBuf,
    /// File that holds an nkey seed.
    pub nkey_seed_file: PathBuf,
    /// Certificate authority of the server, PEM; empty: the system's.
    pub tls_ca_file: PathBuf,
    /// Certificate to show, PEM.
    pub tls_cert_file: PathBuf,
    /// Its key, PEM.
    pub tls_key_file: PathBuf,
    /// Whether to refuse servers without TLS.
    pub tls_required: bool,
    /// Stream of exposure events.
    pub exposures_stream: String,
    /// Their subject; wildcards allowed.
    pub exposures_subject: String,
    /// Durable consumer; every daemon that shares the work uses the same.
    pub consumer: String,
    /// Stream of catalogues.
    pub catalogs_stream: String,
    /// Subject of `catalog.ready` events.
    pub ready_subject: String,
    /// Subject of the rows.
    pub rows_subject: String,
    /// Stream of exposures that were given up.
    pub dead_letter_stream: String,
    /// Their subject.
    pub failed_subject: String,
    /// Subjects that events may ask answers on begin so; empty: none may.
    pub reply_prefix: String,
    /// How long the server waits for a sign of life before it delivers again, s.
    pub ack_wait_s: u64,
    /// Deliveries after which an exposure is given up.
    pub max_deliveries: u64,
    /// First pause before another try, s; doubled each time up to ten minutes.
    pub retry_s: u64,
    /// Whether missing streams and the consumer are created.
    pub provision: bool,
    /// How long the server remembers what has been published, s.
    pub duplicate_window_s: u64,
    /// Largest event, bytes.
    pub max_event_bytes: usize,
}

/// Addresses may hold credentials: they are not shown.
fn without_credentials<S: serde::Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&super::connect::shown(url))
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            user: String::new(),
            password: Secret::default(),
            password_file: PathBuf::new(),
            token: Secret::default(),
            token_file: PathBuf::new(),
            credentials_file: PathBuf::new(),
            nkey_seed_file: PathBuf::new(),
            tls_ca_file: PathBuf::new(),
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_required: false,
            exposures_stream: "STILLAIR_EXPOSURES".into(),
            exposures_subject: "stillair.exposure.available".into(),
            consumer: "stillair".into(),
            catalogs_stream: "STILLAIR_CATALOGS".into(),
            ready_subject: "stillair.catalog.ready".into(),
            rows_subject: "stillair.catalog.rows".into(),
            dead_letter_stream: "STILLAIR_DEAD_LETTERS".into(),
            failed_subject: "stillair.exposure.failed".into(),
            reply_prefix: String::new(),
            ack_wait_s: 30,
            max_deliveries: 10,
            retry_s: 5,
            provision: true,
            duplicate_window_s: 86_400,
            max_event_bytes: 262_144,
        }
    }
}

impl BusSettings {
    /// Pause before the delivery after this one: doubled each time, at most ten minutes.
    pub fn retry_delay(&self, attempt: u64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        Duration::from_secs(self.retry_s.saturating_mul(1 << doublings).min(600))
    }

    /// The servers without the credentials that may stand in their addresses.
    pub fn shown_url(&self) -> String {
        super::connect::shown(&self.url)
    }

    /// What is wrong with them, if anything.
    pub fn problem(&self) -> Option<String> {
        let ways = [
            ("user", !self.user.is_empty()),
            ("token", !self.token.is_empty() || !self.token_file.as_os_str().is_empty()),
            ("credentials_file", !self.credentials_file.as_os_str().is_empty()),
            ("nkey_seed_file", !self.nkey_seed_file.as_os_str().is_empty()),
        ];
        let used: Vec<&str> = ways.iter().filter(|(_, used)| *used).map(|(name, _)| *name).collect();
        if used.len() > 1 {
            return Some(format!("[bus] {} are alternatives: keep one", used.join(", ")));
        }
        if self.ack_wait_s < 1 || self.max_deliveries < 1 {
            return Some("[bus] ack_wait_s and max_deliveries must be at least 1".into());
        }
        if self.tls_cert_file.as_os_str().is_empty() != self.tls_key_file.as_os_str().is_empty() {
            return Some("[bus] tls_cert_file and tls_key_file belong together: give both or none".into());
        }
        None
    }
}

/// The spool directory: `incoming/` is watched, `done/` and `failed/` are filled.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolSettings {
    /// The directory.
    pub directory: PathBuf,
    /// Seconds between looks.
    pub poll_s: f64,
    /// A file that has changed within this many seconds is still being written.
    pub settle_s: f64,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { directory: "spool".into(), poll_s: 1.0, settle_s: 2.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_ten_minutes() {
        let settings = BusSettings::default();
        let pauses: Vec<u64> = [1, 2, 3, 8, 200].map(|attempt| settings.retry_delay(attempt).as_secs()).into();
        assert_eq!(pauses, [5, 10, 20, 600, 600]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings: BusSettings = toml::from_str("password = \"hunter2\"\nuser = \"me\"").unwrap();
        assert_eq!(settings.password.reveal(), "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!toml::to_string(&settings).unwrap().contains("hunter2"));
        let two: BusSettings = toml::from_str("token = \"t\"\nuser = \"me\"").unwrap();
        assert!(two.problem().unwrap().contains("alternatives"));
    }
}
