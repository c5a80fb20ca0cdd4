//! Columns and flags in words: for the terminal and for `docs/catalogue.md`.

use std::fmt::Write as _;

use super::columns::{COLUMNS, Unit};
use super::flags::FLAG_TABLE;

/// A column's unit in words, with what it depends on.
fn unit_in_words(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "",
        Unit::Degree => "deg",
        Unit::Pixel => "pixel",
        Unit::Flux => "nJy (1)",
        Unit::Magnitude => "mag (AB)",
        Unit::Angle => "arcsec (2)",
        Unit::Area => "arcsec^2 (2)",
    }
}

/// The columns as a text table for the terminal.
pub fn columns_text() -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{:<21} {:<8} {:<13} {:<29} meaning", "column", "type", "unit", "UCD");
    for c in COLUMNS {
        let _ = writeln!(
            out,
            "{:<21} {:<8} {:<13} {:<29} {}",
            c.name,
            c.kind.name(),
            unit_in_words(c.unit),
            c.ucd,
            c.description
        );
    }
    out.push_str("(1) image units where no zero point is known (flag NO_ZERO_POINT)\n(2) pixels where no pixel scale is known (flag NO_WCS)\n");
    out
}

/// The row flags as a text table for the terminal.
pub fn flags_text() -> String {
    let mut out = format!("{:>3} {:>8} {:<19} meaning\n", "bit", "value", "flag");
    for (bit, name, meaning) in FLAG_TABLE {
        let _ = writeln!(out, "{bit:>3} {:>8} {name:<19} {meaning}", 1_u32 << bit);
    }
    out
}

/// The names of the flags set in a value, joined by commas; empty for 0.
pub fn flag_names(flags: super::Flags) -> String {
    let names: Vec<&str> =
        FLAG_TABLE.iter().filter(|(bit, ..)| flags.bits() & (1 << bit) != 0).map(|(_, name, _)| *name).collect();
    names.join(",")
}

/// `docs/catalogue.md`, whole.
pub fn catalogue_markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n## Columns\n\n| column | type | unit | UCD | meaning |\n|---|---|---|---|---|\n");
    for c in COLUMNS {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            c.name,
            c.kind.name(),
            unit_in_words(c.unit),
            c.ucd,
            c.description.replace('<', "&lt;")
        );
    }
    out.push_str(AFTER_COLUMNS);
    out.push_str(
        "\n## Flags\n\n`flags` is the sum of the values of the flags that are set; 0 means nothing to report.\n\n",
    );
    out.push_str("| bit | value | flag | meaning |\n|---|---|---|---|\n");
    for (bit, name, meaning) in FLAG_TABLE {
        let _ = writeln!(out, "| {bit} | {} | `{name}` | {meaning} |", 1_u32 << bit);
    }
    out.push_str(FILES);
    out
}

const INTRODUCTION: &str = "\
# The catalogue and its files

<!-- Written from the tables in src/catalog: change them there, then run
     STILLAIR_WRITE_DOCS=1 cargo test --test archive documentation -->

`stillair process` leaves one folder per exposure: `OUT/<exposure>/`. The catalogue lies there twice, as `catalog.parquet` and
`catalog.fits`, with the same columns, units, UCDs and descriptions. `stillair columns` and `stillair flags` print the two tables below.
";

const AFTER_COLUMNS: &str = "
(1) Image units where no zero point is known: the row then carries `NO_ZERO_POINT`, and the unit in the file is the image's own (`adu`,
`electron`) or none. (2) Pixels, or pixels squared, where no pixel scale is known (`NO_WCS`).

**Positions** `x`, `y` are FITS pixels: the centre of the first pixel is 1, as in SExtractor, DS9 and TOPCAT. The command line speaks the same.
Inside the code, and in `x0`, `y0` of the stamps' table, pixels count from 0.

**Shapes** are in the detector's frame: x along columns, y along rows. They are those of the image as seen with the target PSF, which is not
removed: subtract its second moments (those of a round Gaussian of the header's target FWHM) for the sky's own.

**Missing values** are NaN in FITS and null in Parquet; missing text is blank and null; a missing `stamp_size` is -1 (`TNULL`) and null.
";

const FILES: &str = r#"
## Reading it

```python
from astropy.table import QTable, Table
QTable.read("catalog.fits")["flux"]           # with units: nJy
Table.read("catalog.fits").meta               # what is known of the exposure
QTable.read("catalog.parquet")                # the same
import pandas
pandas.read_parquet("catalog.parquet")
import json, pyarrow.parquet
schema = pyarrow.parquet.read_schema("catalog.parquet")
schema.field("flux").metadata                 # unit, UCD, description
json.loads(schema.metadata[b"stillair"])      # what is known of the exposure
```

TOPCAT opens both; the Parquet file holds a VOTable header (the VOParquet convention), so units, UCDs and descriptions appear there too.

## What is said of the exposure

The same entries stand in the FITS header of the table and, as JSON, in the Parquet file metadata under `stillair`.

| FITS card | JSON entry | meaning |
|---|---|---|
| `EXPOSURE` | `exposure` | name of the exposure |
| `SRCFILE` | `source` | input file or URI |
| `LAYOUT` | `layout` | layout it was read as |
| `INSTRUME` | `instrument` | instrument |
| `FILTER` | `band` | band |
| `EXPTIME` | `exposure_time` | exposure time, seconds |
| `IMNAXIS1`, `IMNAXIS2` | `columns`, `rows` | image size, pixels |
| `IMGZERO` | `zero_point` | AB magnitude of one image unit of flux in the input |
| `PIXSCALE` | `pixel_scale` | detector pixel scale, arcsec |
| `FLUXUNIT`, `SIZEUNIT` | `units` | units of the columns that depend on the two above |
| `TGTFWPIX`, `TGTFWHM`, `TGTFACT` | `target_...` | FWHM of the target PSF in target pixels and in arcsec, target pixels per detector pixel |
| `PSFFWPIX`, `PSFFWHM`, `PSFE1`, `PSFE2` | `psf` | PSF at the image's centre: FWHM in pixels and in arcsec, ellipticity |
| `PSFORDER`, `PSFNUSED`, `PSFNRES`, `PSFNREJ` | `psf` | order over the field; stars used, reserved, rejected |
| `PSFRSIZE`, `PSFSSIZE`, `PSFRE1`, `PSFRE2`, `PSFCHI2` | `psf` | reserved stars: size residual and its scatter, ellipticity residuals, reduced chi-square |
| `PSFQUAL`, `PSFFALL` | `psf` | verdict, fallback |
| `NETWORK`, `NETSHA`, `NETDEV` | `network`, `network_sha`, `inference` | the network, its SHA-256, where it ran |
| `CALSHA`, `CALC0`, `CALC1`, `CALC2`, `CALA1`, `CALA2`, `CALB1`, `CALB2`, `CALSKY` | `calibration` | the calibration file's SHA-256, its law and the sky noise it counts in (`docs/calibration.md`); left out where none is applied |
| `CREATOR`, `CATVERS`, `CFGHASH` | `software`, `catalog_version`, `config_hash` | program, version of this layout, SHA-256 of the configuration |
| `NOTEn` | `notes` | what had to be assumed or left out |
| `FLAGn`, `FLAGMn` | - | name and meaning of flag bit n |

`summary.json` holds the same header, the counts (objects, rows with each flag), the seconds of each stage and the list of files. It is written
last: where it is, the exposure is done, and `stillair replay` skips it unless the configuration, the network or the program have changed.
Every file is written under a temporary name and renamed when it is whole.

Nothing in the catalogue and stamp files depends on when or how fast they were made: the same input, configuration and machine give the same bytes.

## Stamps

`stamps_64.fits`, `stamps_128.fits`: one file per stamp size n (detector pixels), five 3-D images of shape (N, rows, columns), float32, flux per pixel,
and a table. With a target grid s times finer than the detector (card `TGTFACT`, s = 1 by default):

| HDU | sides | what |
|---|---|---|
| `DECONVOLVED` | n s | final image at the target PSF, scaled to the observed pixels |
| `OBSERVED` | n | stamp as observed, sky and neighbours subtracted |
| `PSF` | n s | effective PSF on the target grid, unit sum, centred on pixel (n s / 2, n s / 2) counted from 0 |
| `TIKHONOV` | n s | result of the Tikhonov step |
| `RESIDUAL` | n | observed minus the re-convolved final image |
| `STAMPS` | - | table of N rows in the same order |

`OBSERVED` and `RESIDUAL` stay on the detector's grid, which is where the data are: pixels are never interpolated. Each image's card `PIXSCALE` is
its own pixel scale, and `PIXFACT` says how many of its pixels make a detector pixel along an axis. The object's centre lies exactly on pixel
(n s / 2, n s / 2) of `DECONVOLVED`, `TIKHONOV` and `PSF`; in `OBSERVED` and `RESIDUAL` it lies at `x_observed`, `y_observed`.

Cards of each image: `MAGZERO` (31.4 = nJy; absent with no zero point), `TGTFWHM` (arcsec), `PIXSCALE` (arcsec), `PIXFACT`, `TGTFWPIX` (FWHM of the
target PSF in pixels of that image) and `BUNIT`; `TGTFWHM` and `PIXSCALE` are absent where no pixel scale is known. The primary header holds the
same for `DECONVOLVED`, the detector's scale as `DETSCALE`, and what is said of the exposure. A stamp that could not be made is NaN throughout.
Table `STAMPS`:

| column | unit | meaning |
|---|---|---|
| `id` | | object identifier, as in the catalogue |
| `ra`, `dec` | deg | of the reference pixel |
| `x0`, `y0` | pixel | reference pixel in `DECONVOLVED`, counted from 0 |
| `pixel_scale` | arcsec | of `DECONVOLVED` |
| `x_observed`, `y_observed` | pixel | object's centre in `OBSERVED`, counted from 0 |
| `x_corner`, `y_corner` | pixel | FITS pixel of the exposure under the first pixel of `OBSERVED` |
| `sigma` | flux unit | white-noise standard deviation per pixel of `OBSERVED` |
| `noise_sigma` | flux unit | standard deviation per pixel of the noise in `TIKHONOV` |
| `flags` | | as in the catalogue |

## Pictures

| file | what |
|---|---|
| `sheet.png` | objects over the range of signal-to-noise ratio: observed, PSF, Tikhonov, network, residual over noise |
| `psf.png` | PSF over the field: FWHM as colour, ellipticity as whiskers; residuals of the used and the reserved stars |
| `stars.png` | star selection: half-light radius against magnitude |
| `flux.png` | flux against truth, where an exposure comes with its truth |

## Giving a catalogue

`--catalog C` takes the objects from a catalogue instead of detecting them: a FITS table (in any HDU, SExtractor's FITS_LDAC too), Parquet, or text
(CSV, ECSV, SExtractor's ASCII_HEAD). Its columns are found by their usual names, or named under `[catalog]` in the configuration:

| | names, first match wins, upper and lower case are the same |
|---|---|
"#;
