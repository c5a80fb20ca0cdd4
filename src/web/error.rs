//! What can go wrong with a request, and the page that says so.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout;
use crate::archive::ArchiveError;
use crate::failure::{Classify, FailureKind};
use crate::picture::PictureError;

/// Why a request cannot be answered as it was meant.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The server cannot listen or accept.
    #[error("HTTP: {0}")]
    Listen(#[from] std::io::Error),
    /// No page of that name.
    #[error("There is no page \u{201c}{0}\u{201d}.")]
    NoPage(String),
    /// No exposure of that name.
    #[error(
        "There is no exposure \u{201c}{0}\u{201d} in the archive. It may not be done yet, or its name may be misspelt."
    )]
    NoExposure(String),
    /// The exposure has no such file.
    #[error("Exposure {exposure} has no file \u{201c}{file}\u{201d}.")]
    NoFile {
        /// The exposure.
        exposure: String,
        /// The file.
        file: String,
    },
    /// The exposure has no such object, or no stamp of it.
    #[error("Exposure {exposure} has no object \u{201c}{object}\u{201d} with a stamp.")]
    NoObject {
        /// The exposure.
        exposure: String,
        /// The object.
        object: String,
    },
    /// The address asks for something that cannot be.
    #[error("{0}")]
    BadRequest(String),
    /// Too many requests at once.
    #[error("The daemon is making other pages: try again in a moment.")]
    Busy,
    /// Too many live pages at once.
    #[error("Too many live pages are open: close one. This page still shows the state when it is loaded again.")]
    TooManyStreams,
    /// A file cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A picture cannot be made.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A fault of stillair.
    #[error("{0} (this is a fault of stillair)")]
    Broken(String),
}

impl Classify for WebError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Listen(_) | Self::Busy | Self::TooManyStreams => FailureKind::Transient,
            Self::Archive(error) => error.kind(),
            Self::Picture(error) => error.kind(),
            Self::Broken(_) => FailureKind::Bug,
            _ => FailureKind::BadInput,
        }
    }
}

impl WebError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPage(_) | Self::NoExposure(_) | Self::NoFile { .. } | Self::NoObject { .. } => {
                StatusCode::NOT_FOUND
            }
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
            Self::Listen(_) | Self::Archive(_) | Self::Picture(_) | Self::Broken(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(error = %self, "a page cannot be made");
        }
        let title = match status {
            StatusCode::NOT_FOUND => "Nothing here",
            StatusCode::BAD_REQUEST => "That cannot be shown",
            StatusCode::SERVICE_UNAVAILABLE => "Not right now",
            _ => "This page cannot be made",
        };
        let body = html! {
            main class="narrow" {
                h1 { (title) }
                p { (self) }
                // where the page lies is not known here: a path from the top
                p { a href="/" { "All exposures" } }
            }
        };
        let mut response = (status, layout::document(title, "/", false, body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("3"));
        }
        response
    }
}

/// For every address that is none of the routes.
pub(super) async fn no_such_page(uri: Uri) -> WebError {
    WebError::NoPage(uri.path().chars().take(200).collect())
}
