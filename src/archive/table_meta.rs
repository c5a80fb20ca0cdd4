//! Column descriptions inside Parquet in the two ways astronomers' tools look for them: a VOTable without data (VOParquet 1.0, read by
//! TOPCAT and astropy) and astropy's own YAML.

use std::fmt::Write as _;

use crate::catalog::{COLUMNS, CatalogHeader, CatalogRow, Column, Kind, Value};

/// The header's entries worth showing in a table browser: (name, value).
fn entries(header: &CatalogHeader) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(map)) = serde_json::to_value(header) else { return Vec::new() };
    let mut out = Vec::new();
    for (key, value) in map {
        match value {
            serde_json::Value::Object(inner) => {
                out.extend(inner.iter().filter_map(|(k, v)| Some((format!("{key}_{k}"), plain(v)?))));
            }
            other => out.extend(plain(&other).map(|v| (key, v))),
        }
    }
    out
}

fn plain(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(s) => Some(s.clone()),
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(plain).collect();
            (!items.is_empty()).then(|| items.join("; "))
        }
        other => Some(other.to_string()),
    }
}

/// A VOTable document with the columns' declarations and no data.
pub fn votable_xml(header: &CatalogHeader, rows: &[CatalogRow]) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<VOTABLE version=\"1.4\" xmlns=\"http://www.ivoa.net/xml/VOTable/v1.3\">\n<RESOURCE type=\"results\">\n",
    );
    let _ = writeln!(xml, "<TABLE name=\"{}\" nrows=\"{}\">", escape(&header.exposure), rows.len());
    for (name, value) in entries(header) {
        let _ = writeln!(
            xml,
            "<PARAM name=\"{}\" datatype=\"char\" arraysize=\"*\" value=\"{}\"/>",
            escape(&name),
            escape(&value)
        );
    }
    for c in COLUMNS {
        let unit = header.units.text(c.unit);
        let datatype = match c.kind {
            Kind::Float => "datatype=\"double\"".to_string(),
            Kind::Integer => "datatype=\"long\"".to_string(),
            Kind::Small => "datatype=\"int\"".to_string(),
            // a fixed width, not "*": astropy cannot join the latter to the Parquet column
            Kind::Text => format!("datatype=\"char\" arraysize=\"{}\"", text_width(c, rows)),
        };
        let unit = if unit.is_empty() { String::new() } else { format!(" unit=\"{}\"", escape(unit)) };
        let _ = writeln!(
            xml,
            "<FIELD name=\"{}\" {datatype} ucd=\"{}\"{unit}><DESCRIPTION>{}</DESCRIPTION></FIELD>",
            c.name,
            c.ucd,
            escape(c.description)
        );
    }
    xml.push_str("</TABLE>\n</RESOURCE>\n</VOTABLE>\n");
    xml
}

/// Characters of the longest text in a column, at least 1.
pub fn text_width(column: &Column, rows: &[CatalogRow]) -> usize {
    let widths = rows.iter().map(|row| match (column.get)(row) {
        Value::Text(Some(text)) => text.chars().count(),
        _ => 0,
    });
    widths.max().unwrap_or(0).max(1)
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .flat_map(|c| match c {
            '&' => "&amp;".chars().collect::<Vec<_>>(),
            '<' => "&lt;".chars().collect(),
            '>' => "&gt;".chars().collect(),
            '"' => "&quot;".chars().collect(),
            other => vec![other],
        })
        .collect()
}

/// The YAML that astropy's Parquet reader takes units and descriptions from.
pub fn astropy_yaml(header: &CatalogHeader) -> String {
    let mut yaml = String::from("datatype:\n");
    for c in COLUMNS {
        let unit = header.units.text(c.unit);
        let datatype = if c.kind == Kind::Text { "string" } else { c.kind.name() };
        let unit = if unit.is_empty() { String::new() } else { format!("unit: {}, ", quote(unit)) };
        let _ = writeln!(
            yaml,
            "- {{name: {}, {unit}datatype: {datatype}, description: {}, meta: !!omap [{{ucd: {}}}]}}",
            c.name,
            quote(c.description),
            quote(c.ucd)
        );
    }
    yaml.push_str("meta: !!omap\n");
    for (name, value) in entries(header) {
        let _ = writeln!(yaml, "- {{{name}: {}}}", quote(&value));
    }
    yaml
}

/// A YAML double-quoted scalar: JSON strings are valid ones.
fn quote(text: &str) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}
