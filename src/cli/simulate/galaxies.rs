//! Pictures of real galaxies out of a FITS file.

use std::path::Path;
use std::sync::Arc;

use super::{CliError, failed};
use crate::fits::FitsFile;
use crate::simulate::{Pictures, SkyImage};

/// Largest file read into memory where it is gzipped, bytes.
const MAX_BYTES: u64 = 1 << 31;
/// Most pixels of a picture.
const MAX_PIXELS: u64 = 1 << 24;

/// Reads every GALx with its PSFx; pictures that nothing stands out of are left out with a word on standard error.
pub(super) fn read(path: &Path, share: f64) -> Result<Pictures, CliError> {
    if !(0.0..=1.0).contains(&share) {
        return Err(CliError::Usage(format!("--galaxies-share {share}: a share lies between 0 and 1")));
    }
    let wrong = |what: String| CliError::Failed(format!("{}: {what}", path.display()));
    let mut file = FitsFile::open(path, MAX_BYTES).map_err(failed)?;
    let named: Vec<(String, usize)> = file
        .hdus()
        .iter()
        .filter_map(|hdu| Some((hdu.name.to_ascii_uppercase().strip_prefix("GAL")?.to_string(), hdu.index)))
        .collect();
    let mut galaxies = Vec::with_capacity(named.len());
    let mut left_out = 0;
    for (number, index) in &named {
        let psf_name = format!("PSF{number}");
        let psf_index = file.find(&psf_name).ok_or_else(|| wrong(format!("GAL{number} has no {psf_name}")))?.index;
        let picture = file.read_plane(*index, MAX_PIXELS).map_err(failed)?;
        let psf = file.read_plane(psf_index, MAX_PIXELS).map_err(failed)?;
        match SkyImage::new(&picture, &psf) {
            Ok(image) => galaxies.push(Arc::new(image)),
            Err(error) => {
                left_out += 1;
                eprintln!("stillair: {}: GAL{number} is left out: {error}", path.display());
            }
        }
    }
    if galaxies.is_empty() {
        return Err(wrong(format!("no usable picture: {} HDUs GAL*, {left_out} of them left out", named.len())));
    }
    let pixel_scale = pixel_scale(&mut file).ok_or_else(|| {
        wrong("the pictures' pixel scale is not stated (column pixel_scale_arcsec of CATALOG, or card PIXSCALE)".into())
    })?;
    Ok(Pictures { galaxies, pixel_scale, share })
}

/// One scale for all pictures.
fn pixel_scale(file: &mut FitsFile) -> Option<f64> {
    let card = file.cards(0).ok().and_then(|cards| cards.real("PIXSCALE"));
    let scale = match card {
        Some(scale) => scale,
        None => {
            let index = file.find("CATALOG")?.index;
            *file.read_table(index).ok()?.numbers("pixel_scale_arcsec").ok()?.first()?
        }
    };
    (scale > 0.0 && scale.is_finite()).then_some(scale)
}
