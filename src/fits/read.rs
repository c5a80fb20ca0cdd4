//! From a handle to an exposure.

use ndarray::Array2;

use super::error::FitsError;
use super::file::FitsFile;
use super::layout::{ExposureHandle, Layout, PlaneRef, open};
use super::masks::{MaskDialect, scheme, translate};
use super::settings::ReadSettings;
use super::{metadata, noise};
use crate::exposure::Exposure;
use crate::image::{MaskPlane, Plane, mask};
use crate::sky::{Cards, SkyError, Wcs};

/// Smallest side of an image that is read, pixels.
pub const MIN_SIDE: usize = 32;

/// Reads one exposure.
pub fn read(handle: &ExposureHandle, settings: &ReadSettings) -> Result<Exposure, FitsError> {
    let mut file = open(&handle.image.path, settings)?;
    read_with(&mut file, handle, settings)
}

/// Reads the planes of an exposure through the open file of its image; other files are opened as needed.
pub fn read_with(file: &mut FitsFile, handle: &ExposureHandle, settings: &ReadSettings) -> Result<Exposure, FitsError> {
    let hdu = handle.image.hdu;
    let mut image = file.read_plane(hdu, settings.max_pixels)?;
    let label = file.hdu(hdu)?.label();
    let unusable = |problem: String, remedy: &str| FitsError::Unusable {
        path: handle.image.path.display().to_string(),
        hdu: label.clone(),
        problem,
        remedy: remedy.to_string(),
    };
    let (ny, nx) = image.dim();
    if nx.min(ny) < MIN_SIDE {
        let problem = format!("{nx} x {ny} pixels, at least {MIN_SIDE} a side are needed");
        return Err(unusable(problem, "give a larger cut-out"));
    }
    let damage = file.defect();
    if let Some(reason) = &damage
        && (handle.noise.is_none() || handle.mask.is_none())
    {
        // The plane that seems to be missing may be what is damaged.
        let behind = file.hdus().last().map(super::file::HduInfo::label).unwrap_or_default();
        return Err(FitsError::Corrupt {
            path: file.path().to_string(),
            hdu: format!("behind {behind}"),
            reason: reason.clone(),
        });
    }
    let cards = file.cards(hdu)?;
    let mut notes = Vec::new();
    let mut mask = blank_bad_pixels(&mut image);
    if mask.iter().all(|bits| bits & mask::NO_DATA != 0) {
        return Err(unusable("every pixel is NaN, infinite or BLANK".into(), "give an image that holds data"));
    }
    let meta = metadata::read(&cards, handle.layout.is_euclid());
    notes.extend(meta.notes.iter().cloned());
    let saturation = settings.saturation.or(meta.saturation);
    match &handle.mask {
        Some(plane) => {
            let (bits, mask_cards) = mask_plane(file, handle, plane, settings)?;
            let dialect = match handle.layout {
                Layout::EuclidVis => MaskDialect::EuclidVis,
                Layout::Decam => MaskDialect::Decam,
                _ => MaskDialect::Named,
            };
            let scheme = scheme(&mask_cards, dialect, &settings.mask_planes, &mut notes)?;
            check_shape(plane, bits.dim(), (ny, nx), file, handle)?;
            mask.zip_mut_with(&translate(&bits, &scheme), |ours, theirs| *ours |= theirs);
        }
        None => {
            notes.push("no mask plane: only missing and saturated pixels are masked".into());
            if let Some(level) = saturation {
                for (bits, &value) in mask.iter_mut().zip(&image) {
                    if f64::from(value) >= level {
                        *bits |= mask::SATURATED;
                    }
                }
            }
        }
    }
    let given = match &handle.noise {
        Some((kind, plane)) => {
            let values = noise_plane(file, handle, plane, settings)?;
            check_shape(plane, values.dim(), (ny, nx), file, handle)?;
            Some((*kind, values))
        }
        None => None,
    };
    let gain = settings.gain.or(meta.gain);
    let noise = noise::variance(&image, &mut mask, given, gain)
        .ok_or_else(|| unusable("a constant image without a usable noise plane".into(), "give a variance plane"))?;
    notes.extend(noise.notes);
    let wcs = match Wcs::from_cards(&wcs_source(file, hdu)?) {
        Ok(wcs) => Some(wcs),
        Err(SkyError::NotCelestial(..)) => {
            notes.push("no world coordinates in the header".into());
            None
        }
        Err(error) => {
            notes.push(format!("world coordinates not usable: {error}"));
            None
        }
    };
    let zero_point = match settings.zero_point.or(meta.zero_point) {
        Some(zero_point) => Some(zero_point),
        None if handle.layout == Layout::LsstAfw => photo_calib(file, &mut notes),
        None => None,
    };
    if zero_point.is_none() {
        notes.push("no zero point in the header: fluxes stay in image units (set [read] zero_point)".into());
    }
    if let Some(defect) = damage {
        notes.push(format!("the file is damaged behind its last readable HDU: {defect}"));
    }
    Ok(Exposure {
        id: identity(handle, meta.exposure, meta.detector),
        image,
        variance: noise.variance,
        mask,
        wcs,
        zero_point,
        gain,
        saturation,
        band: settings.band.clone().or(meta.band),
        exposure_time: meta.exposure_time,
        instrument: meta.instrument,
        variance_origin: noise.origin,
        background_subtracted: settings
            .background_subtracted
            .or(meta.background_subtracted)
            .or(usual_background(handle.layout)),
        layout: handle.layout.name().to_string(),
        pixel_scale_hint: settings.pixel_scale.or(meta.pixel_scale),
        notes,
    })
}

/// Subtracts a plane of the sky level (image units, the image's shape) from an exposure.
pub fn subtract_plane(exposure: &mut Exposure, plane: &PlaneRef, settings: &ReadSettings) -> Result<(), FitsError> {
    let mut file = open(&plane.path, settings)?;
    let level = file.read_plane(plane.hdu, settings.max_pixels)?;
    let ((ny, nx), (image_ny, image_nx)) = (level.dim(), exposure.image.dim());
    if (ny, nx) != (image_ny, image_nx) {
        let hdu = file.hdu(plane.hdu)?.label();
        return Err(FitsError::ShapeMismatch {
            path: plane.path.display().to_string(),
            hdu,
            nx,
            ny,
            image_nx,
            image_ny,
        });
    }
    // Where the level is not known, what is left of the sky is estimated with the rest.
    exposure.image.zip_mut_with(&level, |pixel, &sky| *pixel -= if sky.is_finite() { sky } else { 0.0 });
    exposure.background_subtracted = Some(true);
    Ok(())
}

/// Sets NaN and infinite pixels to 0 and gives the mask that marks them.
fn blank_bad_pixels(image: &mut Plane) -> MaskPlane {
    let mut mask = MaskPlane::zeros(image.dim());
    for (value, bits) in image.iter_mut().zip(mask.iter_mut()) {
        if !value.is_finite() {
            *value = 0.0;
            *bits = mask::NO_DATA;
        }
    }
    mask
}

fn mask_plane(
    file: &mut FitsFile,
    handle: &ExposureHandle,
    plane: &PlaneRef,
    settings: &ReadSettings,
) -> Result<(Array2<u64>, Cards), FitsError> {
    if plane.path == handle.image.path {
        return Ok((file.read_bits(plane.hdu, settings.max_pixels)?, file.cards(plane.hdu)?));
    }
    let mut other = open(&plane.path, settings)?;
    Ok((other.read_bits(plane.hdu, settings.max_pixels)?, other.cards(plane.hdu)?))
}

fn noise_plane(
    file: &mut FitsFile,
    handle: &ExposureHandle,
    plane: &PlaneRef,
    settings: &ReadSettings,
) -> Result<Plane, FitsError> {
    if plane.path == handle.image.path {
        return file.read_plane(plane.hdu, settings.max_pixels);
    }
    open(&plane.path, settings)?.read_plane(plane.hdu, settings.max_pixels)
}

fn check_shape(
    plane: &PlaneRef,
    (ny, nx): (usize, usize),
    (image_ny, image_nx): (usize, usize),
    file: &FitsFile,
    handle: &ExposureHandle,
) -> Result<(), FitsError> {
    if (ny, nx) == (image_ny, image_nx) {
        return Ok(());
    }
    let hdu = match plane.path == handle.image.path {
        true => file.hdu(plane.hdu)?.label(),
        false => format!("HDU {}", plane.hdu),
    };
    Err(FitsError::ShapeMismatch { path: plane.path.display().to_string(), hdu, nx, ny, image_nx, image_ny })
}

/// An extension's own WCS cards; the primary's only where the extension has none, for mixed descriptions contradict.
fn wcs_source(file: &FitsFile, hdu: usize) -> Result<Cards, FitsError> {
    let own = &file.hdu(hdu)?.cards;
    if own.get("CTYPE1").is_some() { Ok(own.clone()) } else { file.cards(hdu) }
}

/// What is known of the sky level by the layout alone.
fn usual_background(layout: Layout) -> Option<bool> {
    match layout {
        Layout::EuclidVis | Layout::EuclidNisp | Layout::Decam => Some(false),
        Layout::EuclidMer | Layout::LsstImages => Some(true),
        _ => None,
    }
}

/// AB zero point from the PhotoCalib in an afw archive: `calibrationMean` is nJy per image unit.
fn photo_calib(file: &mut FitsFile, notes: &mut Vec<String>) -> Option<f64> {
    let hdu = file
        .hdus()
        .iter()
        .find(|hdu| {
            hdu.name.eq_ignore_ascii_case("PhotoCalib") || hdu.cards.text("AR_NAME").as_deref() == Some("PhotoCalib")
        })?
        .index;
    let table = file.read_table(hdu).ok()?;
    let mean = table.numbers("calibrationMean").ok()?.first().copied().filter(|mean| *mean > 0.0)?;
    if table.integers("isConstant").is_ok_and(|flags| flags.first() == Some(&0)) {
        notes.push("the photometric calibration varies over the detector; its mean is used".into());
    }
    Some(31.4 - 2.5 * mean.log10())
}

/// The header's name of the exposure, else the file's; then the detector, else the plane group's name.
fn identity(handle: &ExposureHandle, exposure: Option<String>, detector: Option<String>) -> String {
    let name = handle.image.path.file_name().and_then(|name| name.to_str()).unwrap_or("exposure");
    let stem = name.trim_end_matches(".gz").trim_end_matches(".fz").trim_end_matches(".fits");
    let part = detector.or_else(|| (!handle.name.is_empty()).then(|| handle.name.clone()));
    let exposure = exposure.unwrap_or_else(|| stem.to_string());
    part.map_or(exposure.clone(), |part| format!("{exposure}-{part}"))
}
