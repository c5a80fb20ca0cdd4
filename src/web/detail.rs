//! One exposure: quality, pictures, files, objects.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use time::OffsetDateTime;

use super::object::{self, LARGE, PANELS, THUMBNAIL};
use super::site::{self, Site};
use super::table::{self, Choice, Only};
use super::{WebError, home, layout, words};
use crate::archive::{self, ExposurePaths, ExposureSummary};
use crate::catalog::columns::column;
use crate::catalog::flags::FLAG_TABLE;
use crate::catalog::{Catalog, CatalogHeader, CatalogRow, Column, common_flags};
use crate::status::{ExposureRecord, State as Standing};

/// From this page to the top.
const ROOT: &str = "../";
/// Columns of the table, beside the pictures and the flags.
const SHOWN: [&str; 8] = ["ra", "dec", "mag", "flux", "flux_err", "snr", "half_light_radius", "chi2_reduced"];
/// Heads of these columns: the catalogue's names are long.
const HEADS: [(&str, &str); 4] = [
    ("half_light_radius", "half\u{2011}light radius"),
    ("flux_err", "flux error"),
    ("snr", "S/N"),
    ("chi2_reduced", "\u{3c7}\u{b2}/\u{3bd}"),
];

pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    query: Result<Query<table::Query>, QueryRejection>,
) -> Result<Markup, WebError> {
    let paths = site.paths(&name)?;
    let Query(query) = query.map_err(|error| WebError::BadRequest(error.body_text()))?;
    let choice = Choice::new(&query)?;
    let record = site.app.status.find(&name);
    let limits = site.app.limits;
    let title = name.clone();
    let again = record.clone();
    let finished = site
        .work(move || {
            let Some(summary) = site::summary(&paths)? else { return Ok(None) };
            Ok(Some(finished(&name, &paths, &summary, &choice, again.as_ref(), limits)))
        })
        .await?;
    match (finished, record) {
        (Some(body), _) => Ok(layout::document(&title, ROOT, false, body)),
        (None, Some(record)) => {
            let moving = matches!(record.state, Standing::Working { .. } | Standing::Retrying { .. });
            Ok(layout::document(&title, ROOT, moving, unfinished(&record, moving)))
        }
        (None, None) => Err(WebError::NoExposure(title)),
    }
}

/// What is known of an exposure that has no catalogue yet, or will have none.
fn unfinished(record: &ExposureRecord, moving: bool) -> Markup {
    let now = OffsetDateTime::now_utc();
    html! {
        main class="narrow" {
            (crumbs(&record.name))
            h1 { (record.name) }
            div id=[moving.then_some("live")] {
                p { (home::state(&record.state)) " " (home::story(&record.state, now)) }
            }
            dl class="facts" {
                (fact("Source", &record.source))
                (fact("Band", record.band.as_deref().unwrap_or(words::NOTHING)))
                (fact("Attempt", &record.attempt.to_string()))
                div { dt { "Event came" } dd { (words::ago(record.received, now)) } }
            }
            @if !record.seconds.is_empty() { (stages(record.seconds.iter().map(|(stage, s)| (stage.as_str(), *s)))) }
            @if moving {
                p class="quiet" { "The catalogue appears here when it is done." }
            }
        }
    }
}

fn crumbs(name: &str) -> Markup {
    html! { nav class="crumbs" aria-label="Where this page lies" { a href=(ROOT) { "exposures" } " / " (name) } }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn finished(
    name: &str,
    paths: &ExposurePaths,
    summary: &ExposureSummary,
    choice: &Choice,
    record: Option<&ExposureRecord>,
    limits: super::Limits,
) -> Markup {
    let header = &summary.header;
    let base = format!("{ROOT}exposures/{name}");
    let has = |file: &str| summary.files.iter().any(|f| f.name == file);
    let catalog = if summary.objects > limits.catalog_rows {
        Err(object::too_long(summary, limits.catalog_rows))
    } else {
        archive::read_catalog_parquet(&paths.catalog_parquet()).map_err(WebError::from)
    };
    html! {
        main {
            (crumbs(name))
            h1 { (header.exposure) }
            nav class="parts" aria-label="On this page" {
                a href="#pictures" { "pictures" } a href="#objects" { "objects" } a href="#files" { "files" }
            }
            @if let Some(record) = record.filter(|r| r.state != Standing::Done) {
                p class="notice" { (home::state(&record.state)) " " (home::story(&record.state, OffsetDateTime::now_utc())) " What follows is from before." }
            }
            (facts(header, summary))
            @if !header.notes.is_empty() || header.psf.fallback.is_some() {
                section class="notes" aria-label="Notes" {
                    h2 { "Notes" }
                    ul {
                        @if let Some(fallback) = &header.psf.fallback { li { "PSF: " (fallback) } }
                        @for note in &header.notes { li { (note) } }
                    }
                }
            }
            section id="pictures" aria-label="Pictures" {
                h2 { "Pictures" }
                div class="pictures" {
                    @if has("sheet.png") {
                        (picture(&base, "sheet.png", "Objects before and after", "Objects over the range of signal-to-noise ratio: observed, PSF, Tikhonov, network, residual", true))
                    }
                    @if has("psf.png") {
                        (picture(&base, "psf.png", "PSF over the field", "Width of the PSF over the field as colour, its ellipticity as whiskers, and residuals of the stars", false))
                    }
                    @if has("stars.png") {
                        (picture(&base, "stars.png", "Star selection", "Half-light radius against magnitude, stars marked", false))
                    }
                    @if has("flux.png") {
                        (picture(&base, "flux.png", "Flux against truth", "Measured against true flux", false))
                    }
                }
            }
            section id="objects" aria-label="Objects" {
                h2 { "Objects" }
                @match catalog {
                    Ok(catalog) => (objects(&base, &catalog, choice, limits.page_rows)),
                    Err(error) => p class="notice" { (error) },
                }
            }
            section id="files" aria-label="Files and times" class="columns" {
                div {
                    h2 { "Files" }
                    (files(&base, summary))
                }
                div {
                    h2 { "Time" }
                    (stages(summary.seconds.iter().map(|(stage, s)| (stage.as_str(), *s))))
                }
            }
        }
    }
}

fn facts(header: &CatalogHeader, summary: &ExposureSummary) -> Markup {
    let psf = &header.psf;
    let optional = |v: Option<f64>, digits| v.map_or_else(|| words::NOTHING.to_string(), |v| words::number(v, digits));
    let width = |arcsec: Option<f64>, pixels: Option<f64>| match (arcsec, pixels) {
        (Some(a), Some(p)) => format!("{a:.2}\u{2033} ({p:.2} px)"),
        (Some(a), None) => format!("{a:.2}\u{2033}"),
        (None, Some(p)) => format!("{p:.2} px"),
        (None, None) => words::NOTHING.into(),
    };
    let text = |v: &Option<String>| v.clone().unwrap_or_else(|| words::NOTHING.into());
    let flagged = summary.flagged_objects.map(|n| format!(", {} flagged", words::count(n as u64))).unwrap_or_default();
    let target_pixels = header.target_fwhm_pixels / header.target_factor.max(1) as f64;
    html! {
        dl class="facts" {
            (fact("Objects", &format!("{}{flagged}", words::count(summary.objects as u64))))
            div { dt { "PSF" } dd { (width(psf.fwhm_arcsec, psf.fwhm_pixels)) " " (home::quality(&psf.quality)) } }
            (fact("Target PSF", &width(header.target_fwhm_arcsec, Some(target_pixels))))
            (fact("PSF stars", &format!("{} used, {} reserved, {} rejected", psf.stars_used, psf.stars_reserved, psf.stars_rejected)))
            (fact("Reserved stars: size residual", &format!("{} \u{b1} {}", optional(psf.reserved_size_residual, 2), optional(psf.reserved_size_scatter, 2))))
            (fact("Reserved stars: \u{3c7}\u{b2}/\u{3bd}", &optional(psf.reserved_chi2, 3)))
            (fact("Band", &text(&header.band)))
            (fact("Instrument", &text(&header.instrument)))
            (fact("Exposure time", &header.exposure_time.map_or_else(|| words::NOTHING.into(), |s| format!("{} s", words::number(s, 3)))))
            (fact("Image", &format!("{} \u{d7} {} px{}", header.columns, header.rows, header.pixel_scale.map(|s| format!(" of {s:.3}\u{2033}")).unwrap_or_default())))
            (fact("Zero point", &header.zero_point.map_or_else(|| "unknown: fluxes are in image units".into(), |z| format!("{z:.2} mag (AB)"))))
            (fact("Network", &match (&header.network, &header.inference) {
                (Some(network), Some(on)) => format!("{network}, on {on}"),
                (Some(network), None) => network.clone(),
                _ => "none: as the Tikhonov step".into(),
            }))
            (fact("Source", &text(&header.source)))
            (fact("Made by", &header.software))
        }
    }
}

fn picture(base: &str, file: &str, title: &str, alt: &str, tall: bool) -> Markup {
    let address = format!("{base}/files/{file}");
    html! {
        figure class=(if tall { "sheet" } else { "plot" }) {
            figcaption { (title) " " a class="quiet" href=(address) { "full size" } }
            @if tall {
                // long: scrolls by itself, with the keyboard too
                div class="scroll" tabindex="0" role="region" aria-label=(title) { img src=(address) alt=(alt) loading="lazy"; }
            } @else {
                a href=(address) { img src=(address) alt=(alt) loading="lazy"; }
            }
        }
    }
}

fn objects(base: &str, catalog: &Catalog, choice: &Choice, per_page: usize) -> Markup {
    let common = common_flags(&catalog.rows);
    let page = table::select(&catalog.rows, choice, common, per_page);
    let first = (page.page - 1) * per_page;
    let here = |change: &dyn Fn(&mut Choice)| {
        let mut other = *choice;
        other.page = 1;
        change(&mut other);
        other.address()
    };
    html! {
        (common_words(common))
        nav class="filters" aria-label="Which objects" {
            @for only in Only::EACH {
                @let current = choice.only == only && choice.flag.is_none();
                a class="chip" aria-current=[current.then_some("true")]
                    href=(here(&|c| { c.only = only; c.flag = None; })) { (only.name()) }
            }
            span class="quiet" { "or with one flag:" }
            @for (bit, name, meaning) in FLAG_TABLE {
                @let rows = catalog.rows.iter().filter(|r| r.flags.bits() & (1 << bit) != 0).count();
                @let flag = crate::catalog::Flags::from_bits_retain(1 << bit);
                @if rows > 0 && !common.contains(flag) {
                    a class="chip flag" title=(meaning) aria-current=[choice.flag.is_some_and(|(_, n)| n == *name).then_some("true")]
                        href=(here(&|c| { c.only = Only::All; c.flag = Some((flag, name)); })) { (words::flag(name)) " " span class="quiet" { (rows) } }
                }
            }
        }
        @if page.rows.is_empty() {
            p { "No object is like that." }
        } @else {
            p class="quiet" { (words::count(first as u64 + 1)) "\u{2013}" (words::count((first + page.rows.len()) as u64)) " of " (words::count(page.matching as u64)) ". A click on a head sorts, a click on a picture enlarges it." }
            div class="scroll" tabindex="0" role="region" aria-label="Table of objects" {
                table class="objects" {
                    thead {
                        tr {
                            (head(catalog, choice, column("id")))
                            th scope="col" class="thumbs" { @for panel in PANELS { span { (panel) } } }
                            @for name in SHOWN { (head(catalog, choice, column(name))) }
                            (head(catalog, choice, column("flags")))
                        }
                    }
                    tbody { @for row in &page.rows { (object_row(base, row, common)) } }
                }
            }
            p class="quiet" { (object::SCALES) }
            (pages(choice, &page))
        }
    }
}

/// Flags that every object has are said once.
fn common_words(common: crate::catalog::Flags) -> Markup {
    html! {
        @for (bit, name, meaning) in FLAG_TABLE {
            @if common.bits() & (1 << bit) != 0 {
                p class="notice" { "Every object: " strong { (words::flag(name)) } " \u{2013} " (meaning) "." }
            }
        }
    }
}

/// The head of a column: a link that sorts by it.
fn head(catalog: &Catalog, choice: &Choice, column: Option<&'static Column>) -> Markup {
    let Some(column) = column else { return html! {} };
    let current = column.name == choice.sort.name;
    let sorted = if choice.descending { "descending" } else { "ascending" };
    let title = HEADS.iter().find(|(name, _)| *name == column.name).map_or(column.name, |(_, head)| head);
    let unit = words::unit(catalog.header.units.text(column.unit));
    let numbers = column.name != "flags";
    html! {
        th scope="col" class=[numbers.then_some("n")] aria-sort=[current.then_some(sorted)] {
            a href=(choice.by(column).address()) title=(column.description) {
                (title)
                @if current { span aria-hidden="true" { (if choice.descending { " \u{25bc}" } else { " \u{25b2}" }) } }
            }
            @if !unit.is_empty() { span class="unit" { (unit) } }
        }
    }
}

fn object_row(base: &str, row: &CatalogRow, common: crate::catalog::Flags) -> Markup {
    let address = format!("{base}/objects/{}", row.id);
    let own = row.flags - common;
    html! {
        tr {
            th scope="row" class="n" { a href=(address) { (row.id) } }
            td class="thumbs" {
                @if row.stamp_size.is_some() {
                    a class="thumb" href=(address) data-large={ (address) ".png?size=" (LARGE) } {
                        img class="pixels" loading="lazy" width=(4 * THUMBNAIL + 6) height=(THUMBNAIL)
                            src={ (address) ".png?size=" (THUMBNAIL) } alt=(object::alt(row));
                    }
                } @else {
                    span class="quiet" { "no stamp" }
                }
            }
            @for name in SHOWN {
                @if let Some(column) = column(name) { td class="n" { (object::value((column.get)(row), column.unit)) } }
            }
            td class="flags" {
                @for (bit, name, meaning) in FLAG_TABLE {
                    @if own.bits() & (1 << bit) != 0 { span class="chip flag" title=(meaning) { (words::flag(name)) } " " }
                }
            }
        }
    }
}

fn pages(choice: &Choice, page: &table::Page<'_>) -> Markup {
    let to = |number: usize| Choice { page: number, ..*choice }.address();
    html! {
        @if page.pages > 1 {
            nav class="pages" aria-label="Pages of the table" {
                @if page.page > 1 {
                    a href=(to(1)) { "First" }
                    a rel="prev" href=(to(page.page - 1)) { "Previous" }
                }
                span aria-current="page" { "Page " (page.page) " of " (page.pages) }
                @if page.page < page.pages {
                    a rel="next" href=(to(page.page + 1)) { "Next" }
                    a href=(to(page.pages)) { "Last" }
                }
            }
        }
    }
}

/// What each file of an exposure is.
fn meaning(file: &str) -> &'static str {
    match file {
        "catalog.fits" => "catalogue, FITS table",
        "catalog.parquet" => "catalogue, Parquet",
        "model.psf" => "PSF model, in PSFEx's format",
        "sheet.png" => "objects before and after",
        "psf.png" => "PSF over the field",
        "stars.png" => "star selection",
        "flux.png" => "flux against truth",
        stamps if stamps.starts_with("stamps_") => "stamps: observed, Tikhonov, deconvolved, PSF, residual",
        _ => "",
    }
}

fn files(base: &str, summary: &ExposureSummary) -> Markup {
    html! {
        table class="files" {
            thead { tr { th scope="col" { "File" } th scope="col" { "What" } th scope="col" class="n" { "Size" } } }
            tbody {
                @for file in &summary.files {
                    tr {
                        th scope="row" {
                            @if site::is_name(&file.name) { a href={ (base) "/files/" (file.name) } { (file.name) } }
                            @else { (file.name) }
                        }
                        td { (meaning(&file.name)) }
                        td class="n" { (words::bytes(file.bytes)) }
                    }
                }
                tr {
                    th scope="row" { a href={ (base) "/files/summary.json" } { "summary.json" } }
                    td { "all of the above in numbers" }
                    td class="n" {}
                }
            }
        }
    }
}

/// Seconds of each stage as bars.
fn stages<'a>(seconds: impl Iterator<Item = (&'a str, f64)>) -> Markup {
    let mut stages: Vec<(&str, f64)> = seconds.filter(|(stage, s)| *stage != "total" && s.is_finite()).collect();
    let place = |stage: &str| crate::telemetry::STAGES.iter().position(|s| *s == stage).unwrap_or(usize::MAX);
    stages.sort_by_key(|(stage, _)| place(stage));
    let longest = stages.iter().map(|(_, s)| *s).fold(1e-9, f64::max);
    let total: f64 = stages.iter().map(|(_, s)| s).sum();
    html! {
        table class="stages" {
            thead { tr { th scope="col" { "Stage" } th scope="col" class="n" { "Seconds" } th { } } }
            tbody {
                @for (stage, s) in &stages {
                    tr {
                        th scope="row" { (stage) }
                        td class="n" { (words::fixed(*s, 2)) }
                        td {
                            svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" class="bar" {
                                rect width=(format!("{:.1}", 100.0 * s / longest)) height="8" {}
                            }
                        }
                    }
                }
            }
            tfoot { tr { th scope="row" { "all" } td class="n" { (words::fixed(total, 2)) } td {} } }
        }
    }
}
