//! The catalogue as Arrow columns and as a Parquet file.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::ArchiveError;
use super::atomic::write_file;
use super::table_meta::{astropy_yaml, text_width, votable_xml};
use crate::catalog::{COLUMNS, Catalog, CatalogHeader, CatalogRow, Column, Kind, Units, Value};

/// Key of the exposure's header (JSON) in the Parquet file metadata.
pub const HEADER_KEY: &str = "stillair";

/// The Arrow schema: every column with `unit`, `ucd` and `description` (and the IVOA names for the first two) in its metadata.
pub fn catalog_schema(units: &Units) -> Schema {
    Schema::new(COLUMNS.iter().map(|c| field(c, units)).collect::<Vec<_>>())
}

fn field(column: &Column, units: &Units) -> Field {
    let data_type = match column.kind {
        Kind::Float => DataType::Float64,
        Kind::Integer => DataType::Int64,
        Kind::Small => DataType::Int32,
        Kind::Text => DataType::Utf8,
    };
    let unit = units.text(column.unit);
    let mut metadata = HashMap::from([
        ("ucd".to_string(), column.ucd.to_string()),
        ("ivoa:ucd".to_string(), column.ucd.to_string()),
        ("description".to_string(), column.description.to_string()),
    ]);
    if !unit.is_empty() {
        metadata.insert("unit".to_string(), unit.to_string());
        metadata.insert("ivoa:unit".to_string(), unit.to_string());
    }
    Field::new(column.name, data_type, column.kind != Kind::Integer).with_metadata(metadata)
}

/// The rows as one Arrow batch (also what goes out as Arrow IPC). NaN becomes null.
pub fn catalog_batch(rows: &[CatalogRow], units: &Units) -> Result<RecordBatch, arrow::error::ArrowError> {
    let arrays = COLUMNS.iter().map(|c| array(c, rows)).collect();
    RecordBatch::try_new(Arc::new(catalog_schema(units)), arrays)
}

fn array(column: &Column, rows: &[CatalogRow]) -> ArrayRef {
    let values = rows.iter().map(column.get);
    match column.kind {
        Kind::Float => Arc::new(Float64Array::from_iter(values.map(|v| match v {
            Value::Float(v) if !v.is_nan() => Some(v),
            _ => None,
        }))),
        Kind::Integer => Arc::new(Int64Array::from_iter(values.map(|v| match v {
            Value::Integer(v) => Some(v),
            _ => None,
        }))),
        Kind::Small => Arc::new(Int32Array::from_iter(values.map(|v| match v {
            Value::Small(v) => v,
            _ => None,
        }))),
        Kind::Text => Arc::new(StringArray::from_iter(values.map(|v| match v {
            Value::Text(v) => v,
            _ => None,
        }))),
    }
}

/// Writes the catalogue, atomically.
pub fn write_catalog_parquet(path: &Path, catalog: &Catalog) -> Result<(), ArchiveError> {
    write_file(path, &catalog_parquet_bytes(path, catalog)?)
}

/// The catalogue as the bytes of a Parquet file (zstd). `path` is for messages only.
pub fn catalog_parquet_bytes(path: &Path, catalog: &Catalog) -> Result<Vec<u8>, ArchiveError> {
    let parquet = |source| ArchiveError::Parquet { path: path.to_path_buf(), source };
    let batch = catalog_batch(&catalog.rows, &catalog.header.units)
        .map_err(|source| ArchiveError::Arrow { path: path.to_path_buf(), source })?;
    let header = serde_json::to_string(&catalog.header)
        .map_err(|e| ArchiveError::Misuse { path: path.to_path_buf(), what: e.to_string() })?;
    // pyarrow, pandas and astropy look in the Arrow schema; TOPCAT and readers without Arrow in the file's own metadata
    let mut in_schema = HashMap::from([
        (HEADER_KEY.to_string(), header.clone()),
        ("table_meta_yaml".to_string(), astropy_yaml(&catalog.header)),
    ]);
    for column in COLUMNS.iter().filter(|c| c.kind == Kind::Text) {
        // astropy asks for the width of every text column
        in_schema.insert(format!("table::len::{}", column.name), text_width(column, &catalog.rows).to_string());
    }
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(in_schema));
    let batch = RecordBatch::try_new(schema, batch.columns().to_vec())
        .map_err(|source| ArchiveError::Arrow { path: path.to_path_buf(), source })?;
    let metadata = vec![
        KeyValue::new(HEADER_KEY.to_string(), header),
        KeyValue::new("IVOA.VOTable-Parquet.version".to_string(), "1.0".to_string()),
        KeyValue::new("IVOA.VOTable-Parquet.content".to_string(), votable_xml(&catalog.header, &catalog.rows)),
    ];
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(metadata))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(parquet)?;
    writer.write(&batch).map_err(parquet)?;
    writer.into_inner().map_err(parquet)
}

/// Reads a Parquet catalogue that stillair wrote, header and all.
pub fn read_catalog_parquet(path: &Path) -> Result<Catalog, ArchiveError> {
    let parquet = |source| ArchiveError::Parquet { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(|e| ArchiveError::io("read", path, e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
    let pairs = builder.metadata().file_metadata().key_value_metadata();
    let json = pairs.and_then(|all| all.iter().find(|kv| kv.key == HEADER_KEY)).and_then(|kv| kv.value.as_deref());
    let json = json.ok_or_else(|| {
        ArchiveError::content(
            path,
            format!("no entry `{HEADER_KEY}` in the file metadata: not a catalogue of stillair"),
        )
    })?;
    let header: CatalogHeader = serde_json::from_str(json)
        .map_err(|e| ArchiveError::content(path, format!("file metadata `{HEADER_KEY}` cannot be read: {e}")))?;
    let mut rows = Vec::new();
    for batch in builder.build().map_err(parquet)? {
        let batch = batch.map_err(|source| ArchiveError::content(path, source.to_string()))?;
        let start = rows.len();
        rows.extend((0..batch.num_rows()).map(|_| CatalogRow::empty(0)));
        for column in COLUMNS {
            let Some(array) = batch.column_by_name(column.name) else { continue };
            if !fill(column, array, rows.get_mut(start..).unwrap_or_default()) {
                return Err(ArchiveError::content(
                    path,
                    format!("column {} is {}, expected {}", column.name, array.data_type(), column.kind.name()),
                ));
            }
        }
    }
    Ok(Catalog { header, rows })
}

/// Puts one column into the rows; false if it is of another type.
fn fill(column: &Column, array: &ArrayRef, rows: &mut [CatalogRow]) -> bool {
    let any = array.as_any();
    match column.kind {
        Kind::Float => any.downcast_ref::<Float64Array>().map(|a| {
            rows.iter_mut().zip(a).for_each(|(r, v)| (column.set)(r, Value::Float(v.unwrap_or(f64::NAN))));
        }),
        Kind::Integer => any.downcast_ref::<Int64Array>().map(|a| {
            rows.iter_mut().zip(a).for_each(|(r, v)| (column.set)(r, Value::Integer(v.unwrap_or(0))));
        }),
        Kind::Small => any
            .downcast_ref::<Int32Array>()
            .map(|a| rows.iter_mut().zip(a).for_each(|(r, v)| (column.set)(r, Value::Small(v)))),
        Kind::Text => any
            .downcast_ref::<StringArray>()
            .map(|a| rows.iter_mut().zip(a).for_each(|(r, v)| (column.set)(r, Value::Text(v.map(Arc::from))))),
    }
    .is_some()
}
