//! The frame of every page, and the headers that keep it in.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::object::PANELS;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// As [`logo`], in a colour of its own.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cg fill='%232f74c0'%3E\
                    %3Ccircle cx='16' cy='16' r='14' opacity='.2'/%3E%3Ccircle cx='16' cy='16' r='9' opacity='.4'/%3E\
                    %3Ccircle cx='16' cy='16' r='4'/%3E%3C/g%3E%3C/svg%3E";

/// Seconds after which a page loads itself again where scripts do not run.
const RELOAD_S: u32 = 10;

/// A page. `root` leads from it to the top ("" or "../"), so that all works below any path of a proxy; `moving` pages change while
/// they are looked at.
pub(super) fn document(title: &str, root: &str, moving: bool, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-root=(root) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " \u{b7} stillair" }
                @if moving {
                    noscript { meta http-equiv="refresh" content=(RELOAD_S); }
                }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#content" { "Skip to the content" }
                header class="top" {
                    a class="brand" href=(if root.is_empty() { "./" } else { root }) {
                        (logo()) span { "stillair" }
                    }
                    span class="motto" { "takes the seeing out of survey exposures, as they arrive" }
                    @if moving {
                        span class="link" id="link" role="status" hidden { }
                    }
                }
                div id="content" tabindex="-1" { (body) }
                dialog id="viewer" aria-label="Object, enlarged" {
                    form method="dialog" { button aria-label="Close" { "Close" } }
                    figure {
                        div class="labels" aria-hidden="true" { @for panel in PANELS { span { (panel) } } }
                        img alt="";
                        figcaption {}
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// A blurred disc and the point it came from.
fn logo() -> Markup {
    html! {
        svg class="logo" viewBox="0 0 32 32" aria-hidden="true" {
            circle cx="16" cy="16" r="14" fill="currentColor" opacity="0.12" {}
            circle cx="16" cy="16" r="9" fill="currentColor" opacity="0.22" {}
            circle cx="16" cy="16" r="3.2" fill="currentColor" {}
        }
    }
}

/// Scripts and styles by their hash, pictures and events from here, nothing else from anywhere.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::from_str(&policy).ok()
});

/// The headers of every answer.
pub(super) async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if let Some(policy) = POLICY.clone() {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let resource = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(resource, HeaderValue::from_static("same-origin"));
    // what is shown is the state of now, unless a route knows better
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
