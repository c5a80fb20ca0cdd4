//! An open FITS file: its HDUs, their cards, and their pixels as arrays. Plain, tile-compressed and gzipped files alike.
//!
//! Everything is decoded by `fits-well`, which is safe Rust: a corrupt file gives an error, never a crash.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use fits_well::FitsReader;
use fits_well::header::{RecordView, Value};
use fits_well::image::Data;
use fits_well::io::{Hdu, StreamSource};
use ndarray::Array2;

use super::error::{FitsError, hdu_label};
use crate::image::Plane;
use crate::sky::{CardValue, Cards};

/// No compressed image holds more pixels than this in a byte: gzip reaches 1000 bytes per byte.
const MAX_PIXELS_PER_BYTE: u64 = 16_384;

/// Where bytes come from: a file, or memory for a gzipped one.
pub(super) trait Input: Read + Seek + Send {}
impl<T: Read + Seek + Send> Input for T {}

/// What kind of HDU, as far as reading goes.
#[derive(Debug, Clone, PartialEq)]
pub enum HduContent {
    /// An image, plain or tile-compressed: axis lengths, NAXIS1 first.
    Image(Vec<usize>),
    /// A binary table.
    Table,
    /// Neither, or nothing.
    Other,
}

/// One HDU without its data.
#[derive(Debug, Clone)]
pub struct HduInfo {
    /// Position in the file; the primary is 0.
    pub index: usize,
    /// EXTNAME, trimmed; empty if none.
    pub name: String,
    /// EXTVER, 1 if none.
    pub version: i64,
    /// What it holds.
    pub content: HduContent,
    /// Its own cards (not the primary's).
    pub cards: Cards,
}

impl HduInfo {
    /// As messages name it.
    pub fn label(&self) -> String {
        hdu_label(self.index, &self.name)
    }

    /// (columns, rows) of an image of two axes; further axes of length 1 are allowed.
    pub fn image_size(&self) -> Option<(usize, usize)> {
        match &self.content {
            HduContent::Image(axes) => match axes.as_slice() {
                [nx, ny, rest @ ..] if rest.iter().all(|&n| n == 1) => Some((*nx, *ny)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An open FITS file.
pub struct FitsFile {
    /// Name in messages.
    path: String,
    reader: FitsReader<StreamSource<Box<dyn Input>>>,
    hdus: Vec<HduInfo>,
    length: u64,
    /// Whether the file ends within the first block of a header.
    cut_off: bool,
}

impl std::fmt::Debug for FitsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitsFile").field("path", &self.path).field("hdus", &self.hdus.len()).finish()
    }
}

impl FitsFile {
    /// Opens a file and reads its headers. A gzipped file is inflated into memory, at most `max_bytes` of it.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, FitsError> {
        let name = path.display().to_string();
        let io = |action| {
            let path = name.clone();
            move |source| FitsError::Io { path, action, source }
        };
        let mut file = File::open(path).map_err(io("open"))?;
        let length = file.metadata().map_err(io("read"))?.len();
        let mut magic = [0_u8; 2];
        let is_gzip = length > 2 && {
            file.read_exact(&mut magic).map_err(io("read"))?;
            file.rewind().map_err(io("read"))?;
            magic == [0x1f, 0x8b]
        };
        if !is_gzip {
            return Self::from_input(name, Box::new(BufReader::new(file)), length);
        }
        let mut bytes = Vec::new();
        let mut inflated = flate2::read::MultiGzDecoder::new(BufReader::new(file)).take(max_bytes.saturating_add(1));
        inflated.read_to_end(&mut bytes).map_err(|error| FitsError::Corrupt {
            path: name.clone(),
            hdu: "gzip stream".into(),
            reason: error.to_string(),
        })?;
        if bytes.len() as u64 > max_bytes {
            return Err(FitsError::Unusable {
                path: name,
                hdu: "gzip stream".into(),
                problem: format!("inflates to more than {max_bytes} bytes"),
                remedy: "inflate the file first, or raise max_gzip_bytes in [read]".into(),
            });
        }
        Self::from_bytes(&name, bytes)
    }

    /// Reads a file held in memory; `name` stands for it in messages.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, FitsError> {
        let length = bytes.len() as u64;
        Self::from_input(name.to_string(), Box::new(Cursor::new(bytes)), length)
    }

    fn from_input(path: String, mut input: Box<dyn Input>, length: u64) -> Result<Self, FitsError> {
        let not_fits = |reason: String| FitsError::NotFits { path: path.clone(), reason };
        if length == 0 {
            return Err(not_fits("the file is empty".into()));
        }
        let cut_off = ends_in_a_header(&mut input, length).map_err(|source| FitsError::Io {
            path: path.clone(),
            action: "read",
            source,
        })?;
        let reader = FitsReader::open(input).map_err(|error| not_fits(error.to_string()))?;
        if reader.hdus().is_empty() {
            let reason = reader.scan_defect().map_or_else(|| "no header".to_string(), ToString::to_string);
            return Err(not_fits(reason));
        }
        let hdus = reader.hdus().iter().map(hdu_info).collect();
        Ok(Self { path, reader, hdus, length, cut_off })
    }

    /// Name in messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The HDUs, in order.
    pub fn hdus(&self) -> &[HduInfo] {
        &self.hdus
    }

    /// Why the headers after the last HDU could not be read, if any could not: the file is damaged there.
    pub fn defect(&self) -> Option<String> {
        let cut_off = || self.cut_off.then(|| "the file is cut off within a header".to_string());
        self.reader.scan_defect().map(ToString::to_string).or_else(cut_off)
    }

    /// The HDU at a position.
    pub fn hdu(&self, index: usize) -> Result<&HduInfo, FitsError> {
        self.hdus.get(index).ok_or_else(|| self.missing(&format!("HDU {index}")))
    }

    /// The first HDU of this EXTNAME, upper and lower case alike.
    pub fn find(&self, name: &str) -> Option<&HduInfo> {
        self.hdus.iter().find(|hdu| hdu.name.eq_ignore_ascii_case(name.trim()))
    }

    /// The HDU a setting or event names: `NAME`, `NAME,VERSION`, or a number (0 = primary).
    pub fn select(&self, wanted: &str) -> Result<&HduInfo, FitsError> {
        let wanted = wanted.trim();
        if let Ok(index) = wanted.parse::<usize>() {
            return self.hdu(index);
        }
        let found = match wanted.rsplit_once(',') {
            Some((name, version)) => {
                let version: i64 = version.trim().parse().map_err(|_| self.missing(&format!("HDU {wanted}")))?;
                self.hdus.iter().find(|hdu| hdu.name.eq_ignore_ascii_case(name.trim()) && hdu.version == version)
            }
            None => self.find(wanted),
        };
        found.ok_or_else(|| self.missing(&format!("HDU named {wanted}")))
    }

    /// The error for an HDU that is not there.
    pub fn missing(&self, wanted: &str) -> FitsError {
        const SHOWN: usize = 12;
        let mut present: Vec<String> = self.hdus.iter().take(SHOWN).map(HduInfo::label).collect();
        if self.hdus.len() > SHOWN {
            present.push(format!("and {} more", self.hdus.len() - SHOWN));
        }
        let mut present = present.join(", ");
        if let Some(defect) = self.defect() {
            present.push_str(&format!(" (what follows is damaged: {defect})"));
        }
        FitsError::MissingHdu { path: self.path.clone(), wanted: wanted.to_string(), present }
    }

    /// An HDU's cards with the primary's behind them.
    pub fn cards(&self, index: usize) -> Result<Cards, FitsError> {
        let mut cards = self.hdu(index)?.cards.clone();
        if index > 0
            && let Some(primary) = self.hdus.first()
        {
            cards.inherit(&primary.cards);
        }
        Ok(cards)
    }

    /// Pixels as f32 with BSCALE and BZERO applied; BLANK, NaN and compressed nulls are NaN.
    pub fn read_plane(&mut self, index: usize, max_pixels: u64) -> Result<Plane, FitsError> {
        let (nx, ny) = self.check_size(index, max_pixels)?;
        let at = self.whereabouts(index);
        let mut pixels: Vec<f32> = Vec::new();
        self.reader
            .image(index)
            .and_then(|mut image| image.physical_into(.., &mut pixels))
            .map_err(|error| at.failure(&error))?;
        self.shaped(index, (nx, ny), pixels)
    }

    /// Pixels as whole numbers (mask planes), bits above 63 lost; negative values keep their bit pattern.
    pub fn read_bits(&mut self, index: usize, max_pixels: u64) -> Result<Array2<u64>, FitsError> {
        let (nx, ny) = self.check_size(index, max_pixels)?;
        let at = self.whereabouts(index);
        let corrupt = |error: fits_well::FitsError| at.failure(&error);
        let mut image = self.reader.image(index).map_err(corrupt)?;
        let scaling = image.metadata().scaling;
        let whole = scaling.bscale == 1.0 && scaling.bzero.fract() == 0.0;
        let pixels: Vec<u64> = if whole {
            let zero = scaling.bzero as i128;
            let blank = scaling.blank;
            // A BLANK mask pixel says nothing is known of it: all bits, so every plane counts.
            let bits = |value: i64| {
                if blank == Some(value) { u64::MAX } else { (i128::from(value) + zero) as u64 }
            };
            match image.read(..).map_err(corrupt)?.into_samples() {
                Data::U8(values) => values.into_iter().map(|v| bits(i64::from(v))).collect(),
                Data::I16(values) => values.into_iter().map(|v| bits(i64::from(v))).collect(),
                Data::I32(values) => values.into_iter().map(|v| bits(i64::from(v))).collect(),
                Data::I64(values) => values.into_iter().map(bits).collect(),
                Data::F32(values) => values.into_iter().map(|v| v as u64).collect(),
                Data::F64(values) => values.into_iter().map(|v| v as u64).collect(),
            }
        } else {
            let mut values: Vec<f64> = Vec::new();
            image.physical_into(.., &mut values).map_err(corrupt)?;
            values.into_iter().map(|v| v as u64).collect()
        };
        self.shaped(index, (nx, ny), pixels)
    }

    /// The table machinery of [`super::table`] reads through this.
    pub(super) fn reader_mut(&mut self) -> &mut FitsReader<StreamSource<Box<dyn Input>>> {
        &mut self.reader
    }

    /// What is needed to report a failure while the reader is borrowed.
    pub(super) fn whereabouts(&self, index: usize) -> Whereabouts {
        Whereabouts {
            path: self.path.clone(),
            hdu: self.hdus.get(index).map(HduInfo::label).unwrap_or_default(),
            promised: self.reader.hdus().get(index).map_or(0, |hdu| hdu.data_bytes),
            length: self.length,
        }
    }

    fn shaped<T>(&self, index: usize, (nx, ny): (usize, usize), pixels: Vec<T>) -> Result<Array2<T>, FitsError> {
        let count = pixels.len();
        Array2::from_shape_vec((ny, nx), pixels).map_err(|_| FitsError::Corrupt {
            path: self.path.clone(),
            hdu: self.hdus.get(index).map(HduInfo::label).unwrap_or_default(),
            reason: format!("{count} pixels where {nx} x {ny} are promised"),
        })
    }

    /// Size of a two-axis image, refused before any memory is taken if it cannot be there or exceeds the limit.
    pub fn check_size(&self, index: usize, max_pixels: u64) -> Result<(usize, usize), FitsError> {
        let hdu = self.hdu(index)?;
        let unusable = |problem: String, remedy: &str| FitsError::Unusable {
            path: self.path.clone(),
            hdu: hdu.label(),
            problem,
            remedy: remedy.to_string(),
        };
        let HduContent::Image(axes) = &hdu.content else {
            return Err(unusable("holds no image".into(), "name the HDU that holds the image in [read]"));
        };
        let Some((nx, ny)) = hdu.image_size() else {
            let shape = axes.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            let problem = format!("an image of {} axes ({shape}), two are needed", axes.len());
            return Err(unusable(problem, "give a two-dimensional image; split a cube into its planes"));
        };
        let pixels = (nx as u64).saturating_mul(ny as u64);
        if pixels == 0 {
            return Err(unusable(format!("{nx} x {ny} pixels"), "give an image that holds pixels"));
        }
        if pixels > max_pixels {
            let problem = format!("{nx} x {ny} pixels, more than the {max_pixels} allowed");
            return Err(unusable(problem, "cut the image, or raise max_pixels in [read]"));
        }
        // What a plain image promises is held against the file when it is read; a compressed one can promise anything.
        let stored = self.reader.hdus().get(index).map_or(0, |hdu| hdu.data_bytes);
        if pixels > stored.saturating_mul(MAX_PIXELS_PER_BYTE) {
            let problem = format!("{nx} x {ny} pixels claimed, {stored} bytes of data there");
            return Err(unusable(problem, "the header is damaged; fetch the file again"));
        }
        Ok((nx, ny))
    }
}

/// Whether the last, incomplete block of the input begins an extension's header. The standard lets a file end in an
/// incomplete block of anything else, and readers ignore it.
fn ends_in_a_header(input: &mut Box<dyn Input>, length: u64) -> std::io::Result<bool> {
    const BLOCK: u64 = 2880;
    let rest = length % BLOCK;
    let mut start = [0_u8; 8];
    let begins = rest > 8 && length > BLOCK && {
        input.seek(SeekFrom::Start(length - rest))?;
        input.read_exact(&mut start)?;
        &start == b"XTENSION"
    };
    input.rewind()?;
    Ok(begins)
}

/// File and HDU of a read, for its error.
pub(super) struct Whereabouts {
    path: String,
    hdu: String,
    promised: u64,
    length: u64,
}

impl Whereabouts {
    pub(super) fn failure(&self, error: &fits_well::FitsError) -> FitsError {
        let (path, hdu) = (self.path.clone(), self.hdu.clone());
        match error {
            fits_well::FitsError::UnexpectedEof => {
                FitsError::Truncated { path, hdu, promised: self.promised, length: self.length }
            }
            other => FitsError::Corrupt { path, hdu, reason: other.to_string() },
        }
    }
}

fn hdu_info(hdu: &Hdu) -> HduInfo {
    let cards = cards_of(hdu);
    let content = if hdu.is_image() {
        hdu.image_metadata().map_or(HduContent::Other, |meta| HduContent::Image(meta.shape.to_vec()))
    } else if hdu.table_schema().is_ok() {
        HduContent::Table
    } else {
        HduContent::Other
    };
    HduInfo {
        index: hdu.index,
        name: cards.text("EXTNAME").unwrap_or_default(),
        version: cards.integer("EXTVER").unwrap_or(1),
        content,
        cards,
    }
}

fn cards_of(hdu: &Hdu) -> Cards {
    let mut cards = Cards::new();
    for record in hdu.header.iter() {
        let (name, value, comment) = match record {
            RecordView::Valued { keyword, value, comment } => (keyword.as_str().to_string(), value, comment),
            RecordView::Hierarch { name, value, comment } => (name.as_str().to_string(), value, comment),
            _ => continue,
        };
        let value = match value {
            Value::Logical(value) => CardValue::Logical(*value),
            Value::Real(value) => CardValue::Real(*value),
            Value::Text(text) => CardValue::Text(text.trim_end().to_string()),
            Value::Integer(_) => match value.as_integer() {
                Ok(Some(number)) => CardValue::Integer(number),
                _ => continue,
            },
            _ => continue,
        };
        cards.push(&name, value, comment.unwrap_or_default());
    }
    cards
}
