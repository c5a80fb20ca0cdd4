//! What a URI means.

use std::path::PathBuf;

use url::Url;

use super::FetchError;

/// A place that files can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    File(PathBuf),
    /// An object in an S3 bucket.
    S3 {
        /// Bucket.
        bucket: String,
        /// Key.
        key: String,
    },
    /// On a web server.
    Http {
        /// Scheme, host and port.
        base: String,
        /// `host:port`.
        host: String,
        /// Path, percent-decoded, without the leading slash.
        path: String,
    },
    /// An object of a JetStream object store.
    NatsObject {
        /// Bucket.
        bucket: String,
        /// Name.
        name: String,
    },
}

/// Reads a URI. Credentials, queries and fragments are refused: they would end up in catalogues and logs.
pub fn locate(uri: &str) -> Result<Location, FetchError> {
    let refuse = |reason: &str| FetchError::Scheme { uri: uri.to_string(), reason: reason.to_string() };
    let known = "use file:, s3:, http:, https: or nats-object:";
    let url = Url::parse(uri).map_err(|error| refuse(&format!("not a URI ({error}); {known}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has a user name or password in it; put credentials into the configuration"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("has a query or fragment; percent-encode ? and # if they belong to the name"));
    }
    let decoded = |path: &str| {
        percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .map(|text| text.trim_start_matches('/').to_string())
            .ok()
            .filter(|text| !text.is_empty() && !text.contains('\0'))
            .ok_or_else(|| refuse("names no file"))
    };
    match url.scheme() {
        "file" => {
            let path = url.to_file_path().map_err(|()| refuse("has a host; write file:///absolute/path"))?;
            Ok(Location::File(path))
        }
        "s3" => {
            let bucket = url.host_str().ok_or_else(|| refuse("write s3://bucket/key"))?;
            Ok(Location::S3 { bucket: bucket.to_string(), key: decoded(url.path())? })
        }
        "http" | "https" => {
            let host = url.host_str().ok_or_else(|| refuse("has no host"))?;
            let port = url.port_or_known_default().ok_or_else(|| refuse("has no port"))?;
            Ok(Location::Http {
                base: format!("{}://{host}:{port}", url.scheme()),
                host: format!("{host}:{port}"),
                path: decoded(url.path())?,
            })
        }
        "nats-object" => {
            // nats-object:bucket/name and nats-object://bucket/name
            let whole = match url.host_str() {
                Some(bucket) => format!("{bucket}/{}", decoded(url.path())?),
                None => decoded(url.path())?,
            };
            match whole.split_once('/') {
                Some((bucket, name)) if !bucket.is_empty() && !name.is_empty() => {
                    Ok(Location::NatsObject { bucket: bucket.to_string(), name: name.to_string() })
                }
                _ => Err(refuse("write nats-object://bucket/name")),
            }
        }
        other => Err(refuse(&format!("scheme {other}: is not served; {known}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_read() {
        assert_eq!(locate("file:///a/b%20c.fits").unwrap(), Location::File("/a/b c.fits".into()));
        assert_eq!(locate("file:/a/b.fits").unwrap(), Location::File("/a/b.fits".into()));
        assert_eq!(
            locate("s3://lsst/2026/a.fits").unwrap(),
            Location::S3 { bucket: "lsst".into(), key: "2026/a.fits".into() }
        );
        assert_eq!(
            locate("https://h.example/x/a.fits").unwrap(),
            Location::Http {
                base: "https://h.example:443".into(),
                host: "h.example:443".into(),
                path: "x/a.fits".into()
            }
        );
        for uri in ["nats-object:b/x/a.fits", "nats-object://b/x/a.fits"] {
            assert_eq!(
                locate(uri).unwrap(),
                Location::NatsObject { bucket: "b".into(), name: "x/a.fits".into() },
                "{uri}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (uri, reason) in [
            ("/a/b.fits", "not a URI"),
            ("gopher://a/b", "gopher"),
            ("file://host/a", "host"),
            ("http://me:secret@host/a", "password"),
            ("http://host/a?token=1", "query"),
            ("http://host/", "names no file"),
            ("nats-object:only", "bucket/name"),
        ] {
            let message = locate(uri).unwrap_err().to_string();
            assert!(message.contains(reason), "{uri}: {message}");
        }
    }
}
