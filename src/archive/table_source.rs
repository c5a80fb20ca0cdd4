//! Tables that others wrote, column by column: FITS, Parquet, text. The kind of file is told by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ArchiveError;
use super::catalog_fits::MAX_TABLE_BYTES;
use crate::fits::{FitsFile, HduContent, Table};

/// An open table.
pub struct TableSource {
    path: PathBuf,
    names: Vec<String>,
    rows: usize,
    data: Data,
}

enum Data {
    Fits(Box<Table>),
    Parquet { batches: Vec<RecordBatch> },
    Text { cells: Vec<Vec<String>> },
}

/// Most rows of a catalogue of one exposure: a crowded 4k image has some 10^5 objects.
const MAX_ROWS: usize = 2_000_000;
/// Largest catalogue as text, bytes: it is read into memory.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Refuses what claims too many rows, before memory is taken for them where the format tells.
fn bounded(path: &Path, rows: usize) -> Result<(), ArchiveError> {
    if rows <= MAX_ROWS {
        return Ok(());
    }
    let what =
        format!("{rows} rows, at most {MAX_ROWS} are read: give the part of the catalogue that lies in the exposure");
    Err(ArchiveError::content(path, what))
}

impl TableSource {
    /// Opens a table. Of several tables in a FITS file the first is taken whose column names `wanted` likes; if it likes none,
    /// the first.
    pub fn open(path: &Path, wanted: impl Fn(&[String]) -> bool) -> Result<Self, ArchiveError> {
        let io = |e| ArchiveError::io("read", path, e);
        let mut magic = Vec::new();
        File::open(path).map_err(io)?.take(9).read_to_end(&mut magic).map_err(io)?;
        if magic.starts_with(b"SIMPLE  =") || magic.starts_with(&[0x1f, 0x8b]) {
            Self::open_fits(path, wanted)
        } else if magic.starts_with(b"PAR1") {
            Self::open_parquet(path)
        } else if magic.starts_with(b"<?xml") || magic.starts_with(b"<VOTABLE") {
            Err(ArchiveError::content(path, "VOTables are not read: save it as FITS, Parquet or CSV (TOPCAT can)"))
        } else {
            Self::open_text(path)
        }
    }

    fn open_fits(path: &Path, wanted: impl Fn(&[String]) -> bool) -> Result<Self, ArchiveError> {
        let mut file = FitsFile::open(path, MAX_TABLE_BYTES)?;
        let tables: Vec<usize> =
            file.hdus().iter().filter(|h| h.content == HduContent::Table).map(|h| h.index).collect();
        let mut chosen: Option<Table> = None;
        for index in tables {
            let claimed = file.hdu(index)?.cards.integer("NAXIS2").unwrap_or(0);
            bounded(path, usize::try_from(claimed).unwrap_or(0))?;
            let table = file.read_table(index)?;
            let liked = wanted(&table.names());
            if liked || chosen.is_none() {
                chosen = Some(table);
            }
            if liked {
                break;
            }
        }
        let table = chosen.ok_or_else(|| ArchiveError::content(path, "no binary table in this FITS file"))?;
        Ok(Self {
            path: path.to_path_buf(),
            names: table.names(),
            rows: table.rows(),
            data: Data::Fits(Box::new(table)),
        })
    }

    fn open_parquet(path: &Path) -> Result<Self, ArchiveError> {
        let parquet = |source| ArchiveError::Parquet { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(|e| ArchiveError::io("read", path, e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
        bounded(path, usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX))?;
        let names = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
        let batches: Vec<RecordBatch> = builder
            .build()
            .map_err(parquet)?
            .collect::<Result<_, _>>()
            .map_err(|e| ArchiveError::content(path, e.to_string()))?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        Ok(Self { path: path.to_path_buf(), names, rows, data: Data::Parquet { batches } })
    }

    fn open_text(path: &Path) -> Result<Self, ArchiveError> {
        let length = std::fs::metadata(path).map_err(|e| ArchiveError::io("read", path, e))?.len();
        if length > MAX_TEXT_BYTES {
            let what = format!("{length} bytes of text, at most {MAX_TEXT_BYTES} are read: save it as Parquet or FITS");
            return Err(ArchiveError::content(path, what));
        }
        let bytes = std::fs::read(path).map_err(|e| ArchiveError::io("read", path, e))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            ArchiveError::content(path, "neither FITS, Parquet nor text: give the catalogue as one of these")
        })?;
        let (names, body, separator) = text_layout(text);
        let mut cells: Vec<Vec<String>> = Vec::new();
        match separator {
            Some(separator) => {
                let mut reader = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .delimiter(separator)
                    .comment(Some(b'#'))
                    .trim(csv::Trim::All)
                    .from_reader(body.as_bytes());
                for record in reader.records() {
                    let record =
                        record.map_err(|e| ArchiveError::content(path, format!("not a table of text: {e}")))?;
                    cells.push(record.iter().map(str::to_string).collect());
                }
            }
            None => {
                for line in body.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
                    cells.push(line.split_whitespace().map(|c| c.trim_matches('"').to_string()).collect());
                }
            }
        }
        let names = names.unwrap_or_else(|| if cells.is_empty() { Vec::new() } else { cells.remove(0) });
        if let Some(i) = cells.iter().position(|row| row.len() < names.len()) {
            return Err(ArchiveError::content(path, format!("row {} has fewer cells than there are columns", i + 1)));
        }
        bounded(path, cells.len())?;
        Ok(Self { path: path.to_path_buf(), names, rows: cells.len(), data: Data::Text { cells } })
    }

    /// Names of the columns, in file order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A column as numbers; missing values are NaN.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, ArchiveError> {
        match &self.data {
            Data::Fits(table) => {
                let values = table.numbers(name)?;
                if values.len() != self.rows {
                    return Err(ArchiveError::content(
                        &self.path,
                        format!("column {name} holds several numbers per row"),
                    ));
                }
                Ok(values)
            }
            Data::Parquet { batches } => {
                let mut values = Vec::with_capacity(self.rows);
                for batch in batches {
                    let array = batch
                        .column_by_name(name)
                        .ok_or_else(|| ArchiveError::content(&self.path, format!("no column {name}")))?;
                    values.extend(arrow_numbers(array).ok_or(ArchiveError::content(
                        &self.path,
                        format!("column {name} holds {}, not numbers", array.data_type()),
                    ))?);
                }
                Ok(values)
            }
            Data::Text { cells } => {
                let column = text_column(&self.names, cells, name);
                let mut values = Vec::with_capacity(self.rows);
                for (i, cell) in column.into_iter().enumerate() {
                    let value = match cell.to_ascii_lowercase().as_str() {
                        "" | "nan" | "null" | "none" | "--" => Some(f64::NAN),
                        other => other.parse().ok(),
                    };
                    values.push(value.ok_or_else(|| {
                        ArchiveError::content(
                            &self.path,
                            format!("`{cell}` in column {name}, row {} is not a number", i + 1),
                        )
                    })?);
                }
                Ok(values)
            }
        }
    }

    /// A column of angles in degrees; turned from radians where the column's unit says so.
    pub fn degrees(&self, name: &str) -> Result<Vec<f64>, ArchiveError> {
        let unit = self.unit(name);
        let mut values = self.numbers(name)?;
        if unit.is_some_and(|u| u.trim().to_ascii_lowercase().starts_with("rad")) {
            values.iter_mut().for_each(|v| *v = v.to_degrees());
        }
        Ok(values)
    }

    /// The unit that the file states of a column.
    pub fn unit(&self, name: &str) -> Option<String> {
        let position = self.names.iter().position(|n| n == name)?;
        match &self.data {
            Data::Fits(table) => table.unit(name).ok(),
            Data::Parquet { batches } => {
                let schema = batches.first()?.schema();
                let metadata = schema.field(position).metadata();
                metadata.get("unit").or_else(|| metadata.get("ivoa:unit")).cloned()
            }
            Data::Text { .. } => None,
        }
    }

    /// A column as whole numbers, exact to 64 bits; `None` if any value is not a whole number.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, ArchiveError> {
        let text = |cells: Vec<String>| cells.iter().map(|c| c.trim().parse().ok()).collect::<Option<Vec<i64>>>();
        match &self.data {
            // an error here means that the column holds something else; text that spells whole numbers will do
            Data::Fits(table) => match table.integers(name) {
                Ok(values) => Ok((values.len() == self.rows).then_some(values)),
                Err(_) => Ok(table.strings(name).ok().and_then(text)),
            },
            Data::Parquet { batches } => {
                let mut values = Vec::with_capacity(self.rows);
                for batch in batches {
                    let Some(part) = batch.column_by_name(name).and_then(|a| arrow_integers(a)) else {
                        return Ok(None);
                    };
                    values.extend(part);
                }
                Ok(Some(values))
            }
            Data::Text { cells } => {
                Ok(text(text_column(&self.names, cells, name).into_iter().map(str::to_string).collect()))
            }
        }
    }
}

fn whole(values: Vec<f64>) -> Option<Vec<i64>> {
    values.iter().map(|v| (v.fract() == 0.0 && v.abs() < 9.0e15).then_some(*v as i64)).collect()
}

fn text_column<'a>(names: &[String], cells: &'a [Vec<String>], name: &str) -> Vec<&'a str> {
    let position = names.iter().position(|n| n == name).unwrap_or(usize::MAX);
    cells.iter().map(|row| row.get(position).map_or("", String::as_str)).collect()
}

/// How a text table is laid out: names where comments hold them (SExtractor), the rest, and the separator (`None`: blanks).
fn text_layout(text: &str) -> (Option<Vec<String>>, &str, Option<u8>) {
    let numbered: Vec<String> = text
        .lines()
        .take_while(|l| l.starts_with('#'))
        .filter_map(|l| {
            let mut words = l.trim_start_matches('#').split_whitespace();
            words.next()?.parse::<usize>().ok()?;
            words.next().map(str::to_string)
        })
        .collect();
    if !numbered.is_empty() {
        return (Some(numbered), text, None);
    }
    let header = text.lines().find(|l| !l.starts_with('#') && !l.trim().is_empty()).unwrap_or("");
    let separator = [b',', b';', b'\t', b'|'].into_iter().find(|s| header.as_bytes().contains(s));
    (None, text, separator)
}

fn arrow_numbers(array: &dyn Array) -> Option<Vec<f64>> {
    macro_rules! numbers {
        ($type:ty) => {
            array.as_primitive_opt::<$type>()?.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect()
        };
    }
    Some(match array.data_type() {
        DataType::Float64 => numbers!(Float64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int8 => numbers!(Int8Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt8 => numbers!(UInt8Type),
        _ => return None,
    })
}

fn arrow_integers(array: &dyn Array) -> Option<Vec<i64>> {
    macro_rules! integers {
        ($type:ty) => {
            array.as_primitive_opt::<$type>()?.iter().map(|v| i64::try_from(v?).ok()).collect()
        };
    }
    match array.data_type() {
        DataType::Int64 => integers!(Int64Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::Float64 | DataType::Float32 => whole(arrow_numbers(array)?),
        DataType::Utf8 => array.as_string_opt::<i32>()?.iter().map(|v| v?.trim().parse().ok()).collect(),
        DataType::LargeUtf8 => array.as_string_opt::<i64>()?.iter().map(|v| v?.trim().parse().ok()).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod row_limit {
    use super::*;

    #[test]
    fn a_catalogue_that_claims_too_many_rows_is_refused() {
        assert!(bounded(Path::new("a.fits"), MAX_ROWS).is_ok());
        let message = bounded(Path::new("a.fits"), MAX_ROWS + 1).unwrap_err().to_string();
        assert!(message.contains("a.fits") && message.contains("2000001 rows"), "{message}");
    }
}
