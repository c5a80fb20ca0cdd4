//! The page at `/`: exposures as they arrive, how fast, what waits, what failed and why.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};
use time::OffsetDateTime;

use super::shelf::Shelved;
use super::site::{self, Site};
use super::{layout, words};
use crate::status::{ExposureRecord, State as Standing};

pub(super) async fn page(State(site): State<Arc<Site>>) -> Markup {
    let body = html! {
        main { div id="live" data-events="events" { (live(&site).await) } }
        footer {
            p {
                "stillair " (site.app.version) ", up since " (words::ago(site.app.started, OffsetDateTime::now_utc()))
                ". For machines: " a href="metrics" { "metrics" } ", " a href="livez" { "livez" } ", " a href="readyz" { "readyz" } "."
            }
        }
    };
    layout::document("Exposures", "", true, body)
}

/// The part that changes.
pub(super) async fn live(site: &Site) -> Markup {
    let status = &site.app.status;
    let now = OffsetDateTime::now_utc();
    let records = status.recent();
    let shelved = site.shelf.newest().await;
    let known: HashSet<&str> = records.iter().map(|r| r.name.as_str()).collect();
    let older = shelved.iter().filter(|s| !known.contains(s.name.as_str()));
    let older: Vec<&Shelved> = older.take(site.app.limits.exposures.saturating_sub(records.len())).collect();
    html! {
        h1 class="hidden" { "Exposures" }
        (readiness(site))
        div class="tiles" {
            (throughput(site))
            (last_hour(site))
            (queue(site))
        }
        section aria-label="Exposures" {
            h2 { "Exposures" }
            @if records.is_empty() && older.is_empty() {
                p class="quiet" { "None yet. They appear here as their events arrive." }
            } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Table of exposures" {
                    table class="exposures" {
                        thead { tr {
                            th scope="col" { "Exposure" }
                            th scope="col" { "State" }
                            th scope="col" { "Band" }
                            th scope="col" class="n" { "PSF FWHM" }
                            th scope="col" { "PSF" }
                            th scope="col" class="n" { "Objects" }
                            th scope="col" class="n" { "Flagged" }
                            th scope="col" class="n" { "Seconds" }
                            th scope="col" class="n" { "When" }
                        } }
                        tbody {
                            @for record in records.iter().take(site.app.limits.exposures) { (row(record, now)) }
                            @for old in older { (old_row(old, now)) }
                        }
                    }
                }
            }
        }
        (failures(site, now))
    }
}

fn readiness(site: &Site) -> Markup {
    let status = &site.app.status;
    let ready = status.ready();
    html! {
        section class="readiness" aria-label="Readiness" {
            span class={ "chip big " (if ready { "good" } else { "bad" }) } { (if ready { "ready" } else { "not ready" }) }
            @for (component, state) in status.readiness() {
                @match state {
                    Ok(()) => span class="chip good" { (component.name()) },
                    Err(reason) => span class="chip bad" { (component.name()) ": " (reason) },
                }
            }
            span class="quiet bus" { (site.app.bus) }
        }
    }
}

fn throughput(site: &Site) -> Markup {
    let status = &site.app.status;
    let rate = |per_minute: f64| match per_minute {
        many if many >= 1000.0 => words::count(many.round() as u64),
        few => words::number(few, 3),
    };
    html! {
        section class="tile" aria-label="Throughput" {
            h2 { "Throughput" }
            table class="rates" {
                thead { tr { th scope="col" { "last" } th scope="col" class="n" { "exposures/min" } th scope="col" class="n" { "objects/min" } } }
                tbody {
                    @for minutes in [1, 10, 60] {
                        @let done = status.throughput(minutes);
                        tr {
                            th scope="row" { (minutes) " min" }
                            td class="n" { (rate(done.exposures_per_minute)) }
                            td class="n" { (rate(done.objects_per_minute)) }
                        }
                    }
                }
            }
        }
    }
}

/// A bar a minute.
fn last_hour(site: &Site) -> Markup {
    let hour = site.app.status.last_hour();
    let most = hour.iter().copied().max().unwrap_or(0).max(1);
    html! {
        section class="tile" aria-label="Last hour" {
            h2 { "Exposures a minute, last hour" }
            svg class="spark" viewBox="0 0 60 16" preserveAspectRatio="none" role="img"
                aria-label={ "Exposures in each of the last 60 minutes, at most " (most) } {
                @for (minute, done) in hour.iter().enumerate() {
                    @let height = 0.4 + 15.6 * *done as f64 / most as f64;
                    rect x=(format!("{minute}.1")) y=(format!("{:.2}", 16.0 - height)) width="0.8" height=(format!("{height:.2}")) {}
                }
            }
            p class="ends" { span { "60 min ago" } span { "most " (most) } span { "now" } }
        }
    }
}

fn queue(site: &Site) -> Markup {
    let (busy, workers) = site.app.status.workers();
    let stamps = site.app.metrics.queue_depth.with_label_values(&["inference"]).get();
    html! {
        section class="tile" aria-label="Queue" {
            h2 { "Queue" }
            dl class="counts" {
                div { dt { "waiting" } dd id="pending" { (words::count(site.app.status.pending())) } }
                div { dt { "in hand" } dd { (busy) @if workers > 0 { span class="quiet" { " of " (workers) } } } }
                div { dt { "stamps for the network" } dd { (words::count(u64::try_from(stamps).unwrap_or(0))) } }
            }
        }
    }
}

fn row(record: &ExposureRecord, now: OffsetDateTime) -> Markup {
    let seconds: f64 = record
        .seconds
        .iter()
        .find(|(stage, _)| stage == "total")
        .map_or_else(|| record.seconds.iter().map(|(_, s)| s).sum(), |(_, s)| *s);
    let number = |n: Option<usize>| n.map_or_else(|| words::NOTHING.into(), |n| words::count(n as u64));
    html! {
        tr {
            th scope="row" { (link(&record.name)) @if record.attempt > 1 { span class="quiet" { " attempt " (record.attempt) } } }
            td class="state" {
                (state(&record.state))
                @if matches!(record.state, Standing::Retrying { .. } | Standing::Failed { .. }) { " " (story(&record.state, now)) }
            }
            td { (record.band.as_deref().unwrap_or(words::NOTHING)) }
            td class="n" { (arcsec(record.psf_fwhm_arcsec)) }
            td { @if let Some(verdict) = &record.psf_quality { (quality(verdict)) } @else { (words::NOTHING) } }
            td class="n" { (number(record.objects)) }
            td class="n" { (number(record.flagged)) }
            td class="n" { @if record.seconds.is_empty() { (words::NOTHING) } @else { (words::number(seconds, 3)) } }
            td class="n" { (words::ago(record.finished.unwrap_or(record.received), now)) }
        }
    }
}

fn old_row(old: &Shelved, now: OffsetDateTime) -> Markup {
    html! {
        tr {
            th scope="row" { (link(&old.name)) }
            td { (state(&Standing::Done)) }
            td { (old.band.as_deref().unwrap_or(words::NOTHING)) }
            td class="n" { (arcsec(old.psf_fwhm_arcsec)) }
            td { (quality(&old.psf_quality)) }
            td class="n" { (words::count(old.objects as u64)) }
            td class="n" { (old.flagged.map_or_else(|| words::NOTHING.into(), |n| words::count(n as u64))) }
            td class="n" { (words::number(old.seconds, 3)) }
            td class="n" { (words::ago(old.when(), now)) }
        }
    }
}

fn link(name: &str) -> Markup {
    html! {
        @if site::is_name(name) { a id={ "to-" (name) } href={ "exposures/" (name) } { (name) } } @else { (name) }
    }
}

fn arcsec(fwhm: Option<f64>) -> String {
    fwhm.map_or_else(|| words::NOTHING.into(), |f| format!("{f:.2}\u{2033}"))
}

/// How an exposure stands, in a word.
pub(super) fn state(state: &Standing) -> Markup {
    let (class, word) = match state {
        Standing::Working { stage } => ("busy", format!("{stage}\u{2026}")),
        Standing::Done => ("good", "done".into()),
        Standing::Retrying { .. } => ("warn", "retrying".into()),
        Standing::Failed { .. } => ("bad", "failed".into()),
    };
    html! { span class={ "chip " (class) } { (word) } }
}

/// What is to be said beside the word.
pub(super) fn story(state: &Standing, now: OffsetDateTime) -> Markup {
    match state {
        Standing::Working { stage } => html! { span class="quiet" { "In hand, stage " (stage) "." } },
        Standing::Done => html! {},
        Standing::Retrying { reason, at } => html! {
            span class="quiet" {
                (reason)
                @if *at > now { "; again in " (words::duration((*at - now).whole_seconds())) } @else { "; again any moment" }
            }
        },
        Standing::Failed { stage, kind, reason } => {
            html! { span class="quiet" { "Stage " (stage) ", " (kind.replace('_', " ")) ": " (reason) } }
        }
    }
}

/// The verdict on a PSF.
pub(super) fn quality(verdict: &str) -> Markup {
    let class = match verdict {
        "good" => "good",
        "failed" => "bad",
        "degraded" => "warn",
        _ => "plain",
    };
    html! { span class={ "chip " (class) } { (verdict) } }
}

fn failures(site: &Site, now: OffsetDateTime) -> Markup {
    let failures = site.app.status.failures();
    html! {
        @if !failures.is_empty() {
            section id="failures" aria-label="Failures" {
                h2 { "Failures" }
                div class="scroll" tabindex="0" role="region" aria-label="Table of failures" {
                    table class="failures" {
                        thead { tr {
                            th scope="col" { "Exposure" }
                            th scope="col" { "Stage" }
                            th scope="col" { "Kind" }
                            th scope="col" { "Reason" }
                            th scope="col" class="n" { "When" }
                        } }
                        tbody {
                            @for record in &failures {
                                @if let Standing::Failed { stage, kind, reason } = &record.state {
                                    tr {
                                        th scope="row" { (record.name) div class="quiet source" { (record.source) } }
                                        td { (stage) }
                                        td { (kind.replace('_', " ")) }
                                        td class="reason" { (reason) }
                                        td class="n" { (words::ago(record.finished.unwrap_or(record.received), now)) }
                                    }
                                }
                            }
                        }
                    }
                }
                p class="quiet" { "On the dead-letter stream, whole; " code { "stillair deadletter retry" } " gives them another chance." }
            }
        }
    }
}
