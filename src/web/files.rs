//! Files of an exposure: those that its summary lists, and the summary itself.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use tokio::io::AsyncReadExt;

use super::WebError;
use super::site::{self, Site};

/// Bytes read at once.
const PIECE: usize = 64 << 10;

pub(super) async fn file(
    State(site): State<Arc<Site>>,
    Path((name, file)): Path<(String, String)>,
) -> Result<Response, WebError> {
    let paths = site.paths(&name)?;
    let no_file = || WebError::NoFile { exposure: name.clone(), file: file.chars().take(200).collect() };
    if !site::is_name(&file) {
        return Err(no_file());
    }
    let (exposure, wanted) = (name.clone(), file.clone());
    let path = site
        .work(move || {
            let summary = site::summary(&paths)?.ok_or(WebError::NoExposure(exposure))?;
            let listed = wanted == "summary.json" || summary.files.iter().any(|f| f.name == wanted);
            let path = paths.folder().join(wanted);
            // a link could lead anywhere
            let is_file = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
            Ok((listed && is_file).then_some(path))
        })
        .await?
        .ok_or_else(no_file)?;
    let gone = |_| no_file();
    let opened = tokio::fs::File::open(&path).await.map_err(gone)?;
    let length = opened.metadata().await.map_err(gone)?.len();
    let pieces = try_unfold(opened.take(length), |mut file| async move {
        let mut piece = vec![0; PIECE];
        let n = file.read(&mut piece).await?;
        piece.truncate(n);
        Ok::<_, std::io::Error>((n > 0).then(|| (Bytes::from(piece), file)))
    });
    let (kind, shown) = content_type(&file);
    let disposition = if shown { "inline".to_string() } else { format!("attachment; filename=\"{name}_{file}\"") };
    let headers = [
        (CONTENT_TYPE, kind.to_string()),
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_DISPOSITION, disposition),
        // the same name holds other bytes after the exposure was done again
        (CACHE_CONTROL, "no-cache".to_string()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// What a file is, and whether a browser shows it rather than saving it.
fn content_type(name: &str) -> (&'static str, bool) {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("png") => ("image/png", true),
        Some("json") => ("application/json", true),
        Some("fits" | "psf") => ("application/fits", false),
        Some("parquet") => ("application/vnd.apache.parquet", false),
        _ => ("application/octet-stream", false),
    }
}
