//! Tables whose columns are made at run time, as Parquet.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt8Array,
};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::ArchiveError;
use crate::fits::{TableColumn, Values};

/// The columns (one value per row each) as the bytes of a Parquet file (zstd), with `unit`, `ucd` and `description` in the schema's metadata as
/// catalogues have them. NaN becomes null. `path` is for messages only.
pub fn table_parquet_bytes(path: &Path, columns: &[TableColumn]) -> Result<Vec<u8>, ArchiveError> {
    let parquet = |source| ArchiveError::Parquet { path: path.to_path_buf(), source };
    let arrow = |source| ArchiveError::Arrow { path: path.to_path_buf(), source };
    let arrays: Vec<ArrayRef> = columns.iter().map(array).collect();
    let fields: Vec<Field> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| {
            let mut metadata = HashMap::new();
            for (keys, text) in [
                (["unit", "ivoa:unit"].as_slice(), &column.unit),
                (["ucd", "ivoa:ucd"].as_slice(), &column.ucd),
                (["description"].as_slice(), &column.description),
            ] {
                if !text.is_empty() {
                    keys.iter().for_each(|key| {
                        metadata.insert((*key).to_string(), text.clone());
                    });
                }
            }
            Field::new(&column.name, array.data_type().clone(), true).with_metadata(metadata)
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(arrow)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).map_err(parquet)?;
    writer.write(&batch).map_err(parquet)?;
    writer.into_inner().map_err(parquet)
}

fn array(column: &TableColumn) -> ArrayRef {
    match &column.values {
        Values::Bool(v) => Arc::new(BooleanArray::from(v.clone())),
        Values::U8(v) => Arc::new(UInt8Array::from(v.clone())),
        Values::I16(v) => Arc::new(Int16Array::from(v.clone())),
        Values::I32(v) => Arc::new(Int32Array::from(v.clone())),
        Values::I64(v) => Arc::new(Int64Array::from(v.clone())),
        Values::F32(v) => Arc::new(Float32Array::from_iter(v.iter().map(|v| (!v.is_nan()).then_some(*v)))),
        Values::F64(v) => Arc::new(Float64Array::from_iter(v.iter().map(|v| (!v.is_nan()).then_some(*v)))),
        Values::Text(v) => Arc::new(StringArray::from_iter_values(v.iter())),
    }
}
