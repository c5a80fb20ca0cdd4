//! Binary tables: columns in, columns out.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use fits_well::FitsWriter;
use fits_well::header::Header;
use fits_well::table::{Builder, CharacterField, ColumnData, Storage, WriteColumn};

use super::error::FitsError;
use super::file::{FitsFile, HduContent};
use super::write::header_of;
use crate::sky::Cards;

/// Values of one column, one (or `width`) per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `L`.
    Bool(Vec<bool>),
    /// `B`.
    U8(Vec<u8>),
    /// `I`.
    I16(Vec<i16>),
    /// `J`.
    I32(Vec<i32>),
    /// `K`.
    I64(Vec<i64>),
    /// `E`; NaN where undefined.
    F32(Vec<f32>),
    /// `D`; NaN where undefined.
    F64(Vec<f64>),
    /// `A`, as wide as the longest string; ASCII only.
    Text(Vec<String>),
}

/// One column to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct TableColumn {
    /// TTYPE.
    pub name: String,
    /// Values, row after row.
    pub values: Values,
    /// Values per row (a vector column when above 1; strings always 1).
    pub width: usize,
    /// TUNIT, empty if none.
    pub unit: String,
    /// TUCD (IVOA UCD1+), empty if none.
    pub ucd: String,
    /// TDISP, empty if none.
    pub display: String,
    /// TCOMM: what the column holds, one sentence, ASCII; empty if none.
    pub description: String,
}

impl TableColumn {
    /// A column of one value per row without unit or description.
    pub fn new(name: &str, values: Values) -> Self {
        Self {
            name: name.to_string(),
            values,
            width: 1,
            unit: String::new(),
            ucd: String::new(),
            display: String::new(),
            description: String::new(),
        }
    }

    /// With this unit (TUNIT).
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = unit.to_string();
        self
    }

    /// With this UCD (TUCD).
    #[must_use]
    pub fn ucd(mut self, ucd: &str) -> Self {
        self.ucd = ucd.to_string();
        self
    }

    /// With this display format (TDISP).
    #[must_use]
    pub fn display(mut self, display: &str) -> Self {
        self.display = display.to_string();
        self
    }

    /// With this description (TCOMM).
    #[must_use]
    pub fn description(mut self, description: &str) -> Self {
        self.description = description.to_string();
        self
    }

    /// As a vector column of `width` values per row.
    #[must_use]
    pub fn width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    fn write_column(&self) -> fits_well::Result<WriteColumn> {
        let name = self.name.as_str();
        let data = match &self.values {
            Values::Text(strings) => {
                let ascii: Vec<String> = strings.iter().map(|text| ascii(text)).collect();
                let longest = ascii.iter().map(String::len).max().unwrap_or(1).max(1);
                return WriteColumn::characters(name, ascii.iter().map(String::as_str), longest)
                    .map(|column| self.with_unit(column));
            }
            Values::Bool(values) => ColumnData::Logical(values.iter().map(|&v| Some(v)).collect()),
            Values::U8(values) => ColumnData::U8(values.clone()),
            Values::I16(values) => ColumnData::I16(values.clone()),
            Values::I32(values) => ColumnData::I32(values.clone()),
            Values::I64(values) => ColumnData::I64(values.clone()),
            Values::F32(values) => ColumnData::F32(values.clone()),
            Values::F64(values) => ColumnData::F64(values.clone()),
        };
        Ok(self.with_unit(WriteColumn::fixed(name, data, self.width)))
    }

    fn with_unit(&self, column: WriteColumn) -> WriteColumn {
        if self.unit.is_empty() { column } else { column.with_unit(self.unit.as_str()) }
    }
}

/// FITS strings are ASCII: anything else becomes `?`.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect()
}

/// Appends a table HDU named `name` with further `cards` to an open writer.
pub fn write_table_hdu<W: Write>(
    writer: &mut FitsWriter<W>,
    path: &str,
    name: &str,
    columns: &[TableColumn],
    cards: &Cards,
) -> Result<(), FitsError> {
    let unwritable = |error: fits_well::FitsError| unwritable(path, error);
    let mut builder = Builder::new();
    let mut header: Header = header_of(path, cards)?;
    header.set("EXTNAME", name).map_err(unwritable)?;
    for (i, column) in columns.iter().enumerate() {
        builder.push(column.write_column().map_err(unwritable)?).map_err(unwritable)?;
        for (root, text) in [("TDISP", &column.display), ("TUCD", &column.ucd), ("TCOMM", &column.description)] {
            if !text.is_empty() {
                header.set(format!("{root}{}", i + 1), ascii(text)).map_err(unwritable)?;
            }
        }
    }
    writer.write_table(&builder, Some(&header)).map_err(unwritable)
}

/// Writes a file that holds one table in HDU 1.
pub fn write_table(path: &Path, name: &str, columns: &[TableColumn], cards: &Cards) -> Result<(), FitsError> {
    let label = path.display().to_string();
    let io = |action| {
        let path = label.clone();
        move |source| FitsError::Io { path, action, source }
    };
    let file = File::create(path).map_err(io("create"))?;
    let mut writer = FitsWriter::new(BufWriter::new(file));
    write_table_hdu(&mut writer, &label, name, columns, cards)?;
    writer.into_inner().flush().map_err(io("write"))
}

pub(super) fn unwritable(path: &str, error: fits_well::FitsError) -> FitsError {
    match error {
        fits_well::FitsError::Io(source) => FitsError::Io { path: path.to_string(), action: "write", source },
        other => FitsError::Unwritable { path: path.to_string(), reason: other.to_string() },
    }
}

/// A binary table read from a file; columns are decoded when asked for.
#[derive(Debug)]
pub struct Table {
    path: String,
    hdu: String,
    inner: fits_well::table::Table,
    /// The HDU's cards.
    pub cards: Cards,
}

impl FitsFile {
    /// The table in an HDU.
    pub fn read_table(&mut self, index: usize) -> Result<Table, FitsError> {
        let info = self.hdu(index)?;
        let (hdu, cards) = (info.label(), info.cards.clone());
        if info.content != HduContent::Table {
            return Err(FitsError::Unusable {
                path: self.path().to_string(),
                hdu,
                problem: "holds no binary table".into(),
                remedy: "name the HDU that holds the table".into(),
            });
        }
        let at = self.whereabouts(index);
        let inner = self.reader_mut().read_table(index).map_err(|error| at.failure(&error))?;
        Ok(Table { path: self.path().to_string(), hdu, inner, cards })
    }

    /// The first binary table of the file.
    pub fn first_table(&mut self) -> Result<Table, FitsError> {
        let index = self.hdus().iter().find(|hdu| hdu.content == HduContent::Table).map(|hdu| hdu.index);
        let index = index.ok_or_else(|| self.missing("binary table"))?;
        self.read_table(index)
    }
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.inner.schema().row_count()
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> Vec<String> {
        let names = self.inner.schema().columns.iter();
        names.map(|column| column.name().ok().flatten().unwrap_or_default().to_string()).collect()
    }

    /// The first of several names (upper and lower case alike) the table has a column of.
    pub fn first_of<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let present = self.names();
        names.iter().copied().find(|name| present.iter().any(|p| p.eq_ignore_ascii_case(name)))
    }

    /// A numeric column as f64, its scaling applied and undefined values NaN; row after row for a vector column.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        let mut values: Vec<f64> = Vec::new();
        column.physical_into(&mut values).map_err(|error| self.corrupt(error))?;
        Ok(values)
    }

    /// A column of whole numbers, or of numbers that are whole, exact to 64 bits.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        let mut data = ColumnData::U8(Vec::new());
        column.raw_into(&mut data).map_err(|error| self.corrupt(error))?;
        let descriptor = column.descriptor();
        let zero = descriptor.tzero().map_err(|error| self.corrupt(error))?;
        let scale = descriptor.tscale().map_err(|error| self.corrupt(error))?;
        if zero == 0.0 && scale == 1.0 {
            match data {
                ColumnData::U8(values) => return Ok(values.into_iter().map(i64::from).collect()),
                ColumnData::I16(values) => return Ok(values.into_iter().map(i64::from).collect()),
                ColumnData::I32(values) => return Ok(values.into_iter().map(i64::from).collect()),
                ColumnData::I64(values) => return Ok(values),
                ColumnData::Logical(values) => {
                    return Ok(values.into_iter().map(|v| i64::from(v == Some(true))).collect());
                }
                _ => {}
            }
        }
        let values = self.numbers(name)?;
        if let Some(bad) = values.iter().find(|v| v.fract() != 0.0 || v.abs() > 9.0e15) {
            return Err(FitsError::Corrupt {
                path: self.path.clone(),
                hdu: self.hdu.clone(),
                reason: format!("column {name} holds {bad}, whole numbers are needed"),
            });
        }
        Ok(values.into_iter().map(|v| v as i64).collect())
    }

    /// A string column, trailing blanks removed; numbers are spelt out.
    pub fn strings(&self, name: &str) -> Result<Vec<String>, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        let mut data = ColumnData::U8(Vec::new());
        column.raw_into(&mut data).map_err(|error| self.corrupt(error))?;
        match data {
            ColumnData::Character(bytes) => {
                let width = column.descriptor().tform.repeat();
                if width == 0 {
                    return Ok(vec![String::new(); self.rows()]);
                }
                let field =
                    |bytes| String::from_utf8_lossy(CharacterField::new(bytes).members()).trim_end().to_string();
                Ok(bytes.chunks(width).map(field).collect())
            }
            ColumnData::F32(_) | ColumnData::F64(_) => {
                Ok(self.numbers(name)?.into_iter().map(|v| v.to_string()).collect())
            }
            _ => Ok(self.integers(name)?.into_iter().map(|v| v.to_string()).collect()),
        }
    }

    /// Values per row of a column (1 for a scalar, the string's width for a string).
    pub fn width(&self, name: &str) -> Result<usize, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        match column.descriptor().tform.storage() {
            Storage::Fixed => Ok(column.descriptor().tform.repeat()),
            _ => Ok(0),
        }
    }

    /// Shape of a vector column's cell (TDIM), fastest axis first; its plain width where there is no TDIM.
    pub fn dimensions(&self, name: &str) -> Result<Vec<usize>, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        let shape = column.descriptor().tdim().map_err(|error| self.corrupt(error))?;
        Ok(shape.map_or_else(|| vec![column.descriptor().tform.repeat()], <[usize]>::to_vec))
    }

    /// TUNIT of a column, empty if none.
    pub fn unit(&self, name: &str) -> Result<String, FitsError> {
        let column = self.inner.column(self.position(name)?).map_err(|error| self.corrupt(error))?;
        let unit = column.descriptor().unit().map_err(|error| self.corrupt(error))?;
        Ok(unit.unwrap_or_default().to_string())
    }

    /// The error for a column that is not there.
    pub fn missing(&self, wanted: &str) -> FitsError {
        FitsError::MissingColumn {
            path: self.path.clone(),
            hdu: self.hdu.clone(),
            wanted: wanted.to_string(),
            present: self.names().join(", "),
        }
    }

    fn position(&self, name: &str) -> Result<usize, FitsError> {
        let names = self.names();
        let exact = names.iter().position(|present| present == name);
        exact
            .or_else(|| names.iter().position(|present| present.eq_ignore_ascii_case(name)))
            .ok_or_else(|| self.missing(name))
    }

    fn corrupt(&self, error: fits_well::FitsError) -> FitsError {
        FitsError::Corrupt { path: self.path.clone(), hdu: self.hdu.clone(), reason: error.to_string() }
    }
}
