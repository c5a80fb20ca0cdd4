//! A connection that comes back by itself.

use std::path::Path;
use std::time::Duration;

use async_nats::{ConnectOptions, Event};
use tokio::sync::watch;

use super::{BusError, BusSettings};

/// State of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Whether there is one now.
    pub connected: bool,
    /// How often it came back.
    pub reconnects: u64,
    /// The last thing that went wrong.
    pub trouble: Option<String>,
}

/// Connects; the receiver tells how the connection fares. A server that is away at the start is waited for (`patient`), one that
/// refuses our credentials is not.
pub async fn connect(
    settings: &BusSettings,
    patient: bool,
) -> Result<(async_nats::Client, watch::Receiver<Link>), BusError> {
    if let Some(problem) = settings.problem() {
        return Err(BusError::Settings(problem));
    }
    let (state, link) = watch::channel(Link::default());
    let mut options = authenticated(settings)
        .await?
        .name("stillair")
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(10)))
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let doubled = 100_u64.saturating_mul(1 << attempt.min(6));
            Duration::from_millis(doubled.min(4000))
        })
        .event_callback(move |event| {
            state.send_modify(|link| note(link, &event));
            async {}
        });
    if !settings.tls_ca_file.as_os_str().is_empty() {
        options = options.add_root_certificates(settings.tls_ca_file.clone());
    }
    if !settings.tls_cert_file.as_os_str().is_empty() {
        options = options.add_client_certificate(settings.tls_cert_file.clone(), settings.tls_key_file.clone());
    }
    if settings.tls_required {
        options = options.require_tls(true);
    }
    if patient {
        options = options.retry_on_initial_connect();
    }
    let servers: Vec<&str> = settings.url.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
    let client = options
        .connect(servers)
        .await
        .map_err(|error| BusError::Connect { url: shown(&settings.url), reason: describe(&error) })?;
    Ok((client, link))
}

fn note(link: &mut Link, event: &Event) {
    match event {
        Event::Connected => {
            // The first connection is no reconnection.
            link.reconnects += u64::from(link.trouble.is_some());
            link.connected = true;
        }
        Event::Disconnected | Event::Closed => {
            link.connected = false;
            link.trouble = Some(event.to_string());
        }
        Event::ClientError(_) | Event::ServerError(_) => link.trouble = Some(event.to_string()),
        _ => {}
    }
}

/// Server addresses without the credentials that may be in them.
pub(super) fn shown(url: &str) -> String {
    let without = |url: &str| match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or(rest)),
        None => url.rsplit('@').next().unwrap_or(url).to_string(),
    };
    url.split(',').map(|one| without(one.trim())).collect::<Vec<_>>().join(", ")
}

fn describe(error: &async_nats::ConnectError) -> String {
    use async_nats::ConnectErrorKind as Kind;
    let hint = match error.kind() {
        Kind::Authentication | Kind::AuthorizationViolation => {
            "; check user and password, token, credentials_file or nkey_seed_file in [bus]"
        }
        Kind::Tls => "; check tls_ca_file, tls_cert_file and tls_key_file in [bus]",
        Kind::Dns | Kind::Io | Kind::TimedOut => "; is the server running, and [bus] url right?",
        _ => "",
    };
    format!("{error}{hint}")
}

async fn authenticated(settings: &BusSettings) -> Result<ConnectOptions, BusError> {
    let options = ConnectOptions::new();
    let given = |path: &Path| !path.as_os_str().is_empty();
    if !settings.user.is_empty() {
        let password = match given(&settings.password_file) {
            true => secret_file("password_file", &settings.password_file)?,
            false => settings.password.reveal().to_string(),
        };
        return Ok(options.user_and_password(settings.user.clone(), password));
    }
    if given(&settings.token_file) {
        return Ok(options.token(secret_file("token_file", &settings.token_file)?));
    }
    if !settings.token.is_empty() {
        return Ok(options.token(settings.token.reveal().to_string()));
    }
    if given(&settings.nkey_seed_file) {
        return Ok(options.nkey(secret_file("nkey_seed_file", &settings.nkey_seed_file)?));
    }
    if given(&settings.credentials_file) {
        let path = &settings.credentials_file;
        return options.credentials_file(path).await.map_err(|source| BusError::SecretFile {
            key: "credentials_file",
            path: path.clone(),
            source,
        });
    }
    Ok(options)
}

fn secret_file(key: &'static str, path: &Path) -> Result<String, BusError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_string()),
        Err(source) => Err(BusError::SecretFile { key, path: path.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_not_shown() {
        assert_eq!(shown("nats://me:secret@host:4222, tls://b"), "nats://host:4222, tls://b");
        assert_eq!(shown("token@host:1"), "host:1");
    }
}
