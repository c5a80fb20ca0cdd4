//! One object: its four panels as a picture of any size, and a page with everything the catalogue says of it.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::site::{self, Site};
use super::{WebError, layout, words};
use crate::archive::{self, ArchiveError, ExposurePaths, ExposureSummary, StampReader};
use crate::catalog::flags::FLAG_TABLE;
use crate::catalog::{COLUMNS, CatalogHeader, CatalogRow, Unit, Value};
use crate::picture::{PanelObject, object_panels};

/// Side of a panel in the table, pixels.
pub(super) const THUMBNAIL: u32 = 72;
/// Side of a panel on a page of its own.
pub(super) const LARGE: u32 = 320;
/// Sides that can be asked for.
const SIDES: std::ops::RangeInclusive<u32> = 32..=512;
/// Detector pixels that are shown at least.
const LEAST_SHOWN: usize = 32;
/// What stands over the panels, left to right.
pub(super) const PANELS: [&str; 4] = ["observed", "Tikhonov", "deconvolved", "residual"];

#[derive(Debug, Deserialize)]
pub(super) struct Size {
    size: Option<u32>,
}

pub(super) async fn page_or_picture(
    State(site): State<Arc<Site>>,
    Path((name, object)): Path<(String, String)>,
    size: Result<Query<Size>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let paths = site.paths(&name)?;
    let no_object = || WebError::NoObject { exposure: name.clone(), object: object.chars().take(40).collect() };
    let wants_picture = object.strip_suffix(".png");
    let id: i64 = wants_picture.unwrap_or(&object).parse().map_err(|_| no_object())?;
    let missing = no_object();
    if wants_picture.is_none() {
        let most = site.app.limits.catalog_rows;
        let body = site.work(move || page(&paths, &name, id, most)).await?.ok_or(missing)?;
        return Ok(body.into_response());
    }
    let Query(Size { size }) = size.map_err(|error| WebError::BadRequest(error.body_text()))?;
    let side = size.unwrap_or(THUMBNAIL);
    if !SIDES.contains(&side) {
        let (least, most) = (SIDES.start(), SIDES.end());
        return Err(WebError::BadRequest(format!("A panel can be {least} to {most} pixels wide, not {side}.")));
    }
    let known = headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok()).map(str::to_string);
    let drawn = site.work(move || picture(&paths, id, side, known.as_deref())).await?;
    match drawn.ok_or(missing)? {
        Drawn::Same(tag) => {
            Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag), (CACHE_CONTROL, "no-cache".into())]).into_response())
        }
        Drawn::New(tag, png) => {
            let headers = [(CONTENT_TYPE, "image/png".to_string()), (ETAG, tag), (CACHE_CONTROL, "no-cache".into())];
            Ok((headers, png).into_response())
        }
    }
}

enum Drawn {
    /// The browser has it.
    Same(String),
    New(String, Vec<u8>),
}

/// The four panels of an object; `None` where it has no stamp. `known` is the tag of what the browser has.
fn picture(paths: &ExposurePaths, id: i64, side: u32, known: Option<&str>) -> Result<Option<Drawn>, WebError> {
    let Some(summary) = site::summary(paths)? else { return Ok(None) };
    for path in summary.files.iter().filter_map(|file| stamp_file(paths, &file.name)) {
        let metadata = std::fs::metadata(&path).map_err(|e| ArchiveError::io("read", &path, e))?;
        let modified = metadata.modified().ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
        let mut file = StampReader::open(&path)?;
        let Some(index) = file.find(id)? else { continue };
        let stamp = modified.map_or(0, |m| m.as_nanos());
        let tag = format!("\"{stamp:x}-{:x}-{index:x}-{side}\"", metadata.len());
        if known.is_some_and(|known| known.split(',').any(|k| k.trim().trim_start_matches("W/") == tag)) {
            return Ok(Some(Drawn::Same(tag)));
        }
        let (observed, tikhonov) = (file.plane("OBSERVED", index)?, file.plane("TIKHONOV", index)?);
        let (deconvolved, residual) = (file.plane("DECONVOLVED", index)?, file.plane("RESIDUAL", index)?);
        let object = PanelObject {
            observed: &observed,
            tikhonov: &tikhonov,
            deconvolved: &deconvolved,
            residual: &residual,
            sigma: file.number(index, "sigma")?,
            noise_sigma: file.number(index, "noise_sigma")?,
            centre: (file.number(index, "x_observed")?, file.number(index, "y_observed")?),
        };
        // stamps are cut with room around their object: its middle half shows it
        let shown = LEAST_SHOWN.max(observed.nrows() / 2);
        let picture = object_panels(&object, shown, side)?;
        return Ok(Some(Drawn::New(tag, picture.png()?)));
    }
    Ok(None)
}

/// The file if it holds stamps.
fn stamp_file(paths: &ExposurePaths, name: &str) -> Option<std::path::PathBuf> {
    let side = name.strip_prefix("stamps_")?.strip_suffix(".fits")?.parse().ok()?;
    Some(paths.stamps(side))
}

fn page(paths: &ExposurePaths, name: &str, id: i64, most: usize) -> Result<Option<Markup>, WebError> {
    let Some(summary) = site::summary(paths)? else { return Ok(None) };
    if summary.objects > most {
        return Err(too_long(&summary, most));
    }
    let catalog = archive::read_catalog_parquet(&paths.catalog_parquet())?;
    let Some(row) = catalog.rows.iter().find(|row| row.id == id) else { return Ok(None) };
    let root = "../../../";
    let body = html! {
        main {
            nav class="crumbs" aria-label="Where this page lies" {
                a href=(root) { "exposures" } " / " a href={ (root) "exposures/" (name) "#objects" } { (name) } " / object " (id)
            }
            h1 { "Object " (id) }
            @if row.stamp_size.is_some() {
                figure class="panels" {
                    div class="labels" aria-hidden="true" { @for panel in PANELS { span { (panel) } } }
                    img class="pixels" width=(4 * LARGE + 6) height=(LARGE)
                        src={ (root) "exposures/" (name) "/objects/" (id) ".png?size=" (LARGE) }
                        alt=(alt(row));
                    figcaption { (SCALES) }
                }
            } @else {
                p { "No stamp was cut for this object." }
            }
            (flags(row))
            (values(row, &catalog.header))
        }
    };
    Ok(Some(layout::document(&format!("Object {id} of {name}"), root, false, body)))
}

/// How the panels are coloured.
pub(super) const SCALES: &str = "The middle of the stamp, first row at the bottom; asinh scale from the noise to the brightest \
     pixel, the same for Tikhonov and deconvolved; residual from \u{2212}5 (blue) to +5 (red) standard deviations of the noise.";

/// The error for a catalogue that is too long to be shown.
pub(super) fn too_long(summary: &ExposureSummary, most: usize) -> WebError {
    WebError::BadRequest(format!(
        "The catalogue has {} objects, more than the {most} that are shown here: open its file.",
        summary.objects
    ))
}

/// The panels for those who do not see them.
pub(super) fn alt(row: &CatalogRow) -> String {
    format!(
        "Object {}, signal-to-noise ratio {}: observed, after the Tikhonov step, deconvolved, and residual",
        row.id,
        words::number(row.snr, 3)
    )
}

fn flags(row: &CatalogRow) -> Markup {
    let set: Vec<_> = FLAG_TABLE.iter().filter(|(bit, ..)| row.flags.bits() & (1 << bit) != 0).collect();
    html! {
        h2 { "Flags" }
        @if set.is_empty() {
            p { "None: nothing to report." }
        } @else {
            dl class="facts wide" {
                @for (_, name, meaning) in set { div { dt { (words::flag(name)) } dd { (meaning) } } }
            }
        }
    }
}

fn values(row: &CatalogRow, header: &CatalogHeader) -> Markup {
    html! {
        h2 { "Catalogue" }
        div class="scroll" tabindex="0" role="region" aria-label="Every column of the catalogue" {
            table class="values" {
                thead { tr { th scope="col" { "Column" } th scope="col" class="n" { "Value" } th scope="col" { "Unit" } th scope="col" { "Meaning" } } }
                tbody {
                    @for column in COLUMNS {
                        tr {
                            th scope="row" { code { (column.name) } }
                            td class="n" { (value((column.get)(row), column.unit)) }
                            td { (words::unit(header.units.text(column.unit))) }
                            td class="quiet" { (column.description) }
                        }
                    }
                }
            }
        }
    }
}

/// A value in as many digits as its column is good for.
pub(super) fn value(value: Value, unit: Unit) -> String {
    match value {
        Value::Float(v) => match unit {
            Unit::Degree => words::fixed(v, 6),
            Unit::Pixel => words::fixed(v, 2),
            Unit::Magnitude => words::fixed(v, 3),
            _ => words::number(v, 4),
        },
        Value::Integer(v) => v.to_string(),
        Value::Small(v) => v.map_or_else(|| words::NOTHING.into(), |v| v.to_string()),
        Value::Text(v) => v.map_or_else(|| words::NOTHING.into(), |v| v.to_string()),
    }
}
