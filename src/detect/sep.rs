//! The SEP library's C core (Barbary 2016, after SExtractor) behind safe functions. The only unsafe code of this room.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_short, c_void};
use std::sync::{Once, PoisonError, RwLock};

use super::DetectError;

/// Pixels above the threshold that an ordinary extraction may hold at a time. SEP writes its whole stack before it starts
/// (36 bytes a pixel), so this is not simply the image's size.
const PIXEL_STACK: usize = 1_000_000;

/// Peaks per deblending level. SEP indexes its tables with this process-wide number while it runs and keeps indices in
/// 16 bits: it is set once, before the first extraction, and never again.
const SUB_OBJECTS: c_int = 16_384;

/// The pixel stack's size is process-wide and read at the start of an extraction: ordinary extractions share the lock,
/// the rare one that needs a larger stack takes it alone and puts the size back.
static STACK_SIZE: RwLock<()> = RwLock::new(());
static LIMITS: Once = Once::new();

/// Noise of a pixel that no threshold can be passed in.
pub const UNUSABLE_RMS: f32 = 1e30;

const MEMORY_ALLOC_ERROR: c_int = 1;
const PIXSTACK_FULL: c_int = 2;
const DEBLEND_OVERFLOW: c_int = 7;

/// Object shares its isophote with another one.
pub const OBJ_MERGED: i16 = sep_sys::SEP_OBJ_MERGED;
/// Object touches the image's border.
pub const OBJ_TRUNC: i16 = sep_sys::SEP_OBJ_TRUNC;
/// Aperture reaches over the image's border.
pub const APER_TRUNC: i16 = sep_sys::SEP_APER_TRUNC;
/// No usable pixel in the aperture.
pub const APER_ALLMASKED: i16 = sep_sys::SEP_APER_ALLMASKED;

/// An image of `width` x `height` pixels, row by row, as SEP sees it; every slice holds `width * height` values.
#[derive(Clone, Copy)]
pub struct SepImage<'a> {
    data: &'a [f32],
    rms: Option<&'a [f32]>,
    mask: &'a [u8],
    labels: Option<&'a [i32]>,
    width: usize,
    height: usize,
}

impl<'a> SepImage<'a> {
    /// Checks the lengths: everything unsafe below relies on them.
    pub fn new(
        data: &'a [f32],
        rms: Option<&'a [f32]>,
        mask: &'a [u8],
        (height, width): (usize, usize),
    ) -> Result<Self, DetectError> {
        let n = width * height;
        if n == 0 {
            return Err(DetectError::EmptyImage { rows: height, columns: width });
        }
        if data.len() != n || mask.len() != n || rms.is_some_and(|r| r.len() != n) {
            return Err(DetectError::Sep { step: "SepImage::new", message: "planes of different lengths".into() });
        }
        Ok(Self { data, rms, mask, labels: None, width, height })
    }

    /// The same image with a segmentation map: apertures then leave out pixels of other sources.
    pub fn with_labels(self, labels: &'a [i32]) -> Result<Self, DetectError> {
        if labels.len() != self.data.len() {
            return Err(DetectError::Sep { step: "with_labels", message: "labels of another length".into() });
        }
        Ok(Self { labels: Some(labels), ..self })
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    fn raw(&self) -> sep_sys::sep_image {
        sep_sys::sep_image {
            data: self.data.as_ptr().cast::<c_void>(),
            noise: self.rms.map_or(std::ptr::null(), |r| r.as_ptr().cast::<c_void>()),
            mask: self.mask.as_ptr().cast::<c_void>(),
            segmap: self.labels.map_or(std::ptr::null(), |l| l.as_ptr().cast::<c_void>()),
            dtype: sep_sys::SEP_TFLOAT,
            ndtype: sep_sys::SEP_TFLOAT,
            mdtype: sep_sys::SEP_TBYTE,
            sdtype: sep_sys::SEP_TINT,
            w: self.width as i64,
            h: self.height as i64,
            noise_type: if self.rms.is_some() { sep_sys::SEP_NOISE_STDDEV } else { sep_sys::SEP_NOISE_NONE },
            ..Default::default()
        }
    }
}

/// Level and rms planes with their global values.
pub struct RawBackground {
    pub level: Vec<f32>,
    pub rms: Vec<f32>,
    pub global_level: f32,
    pub global_rms: f32,
}

/// Background from meshes of `mesh` = (width, height) pixels.
pub fn background(
    image: &SepImage,
    mesh: (usize, usize),
    filter: usize,
    filter_threshold: f64,
) -> Result<RawBackground, DetectError> {
    let raw = image.raw();
    let mut bkg: *mut sep_sys::sep_bkg = std::ptr::null_mut();
    let mut level = vec![0.0f32; image.data.len()];
    let mut rms = vec![0.0f32; image.data.len()];
    // SAFETY: `raw` points into slices of w * h values that outlive the calls (`SepImage::new`); the mesh sides are at
    // least 1; SEP returns either a status or a background of the image's size, freed here exactly once; `level` and
    // `rms` hold w * h floats.
    unsafe {
        let f = filter as i64;
        check(
            sep_sys::sep_background(&raw, mesh.0.max(1) as i64, mesh.1.max(1) as i64, f, f, filter_threshold, &mut bkg),
            "sep_background",
        )?;
        let status_level = sep_sys::sep_bkg_array(bkg, level.as_mut_ptr().cast(), sep_sys::SEP_TFLOAT);
        let status_rms = sep_sys::sep_bkg_rmsarray(bkg, rms.as_mut_ptr().cast(), sep_sys::SEP_TFLOAT);
        let (global_level, global_rms) = (sep_sys::sep_bkg_global(bkg), sep_sys::sep_bkg_globalrms(bkg));
        sep_sys::sep_bkg_free(bkg);
        check(status_level, "sep_bkg_array")?;
        check(status_rms, "sep_bkg_rmsarray")?;
        Ok(RawBackground { level, rms, global_level, global_rms })
    }
}

/// What to extract.
pub struct ExtractOptions {
    pub threshold: f32,
    pub min_area: usize,
    /// Kernel weights row by row, and the kernel's side.
    pub kernel: Option<(Vec<f32>, usize)>,
    pub deblend_levels: usize,
    pub deblend_contrast: f64,
    pub clean: f64,
}

/// One extracted object.
#[derive(Debug, Clone)]
pub struct RawObject {
    pub x: f64,
    pub y: f64,
    pub a: f64,
    pub b: f64,
    pub theta: f64,
    pub peak: f64,
    pub flag: i16,
    pub extent: (usize, usize, usize, usize),
    /// Pixels, as indices into the image row by row.
    pub pixels: Vec<usize>,
}

/// Sources above `threshold` times the rms plane. The mask is not looked at: unusable pixels must hold 0 and [`UNUSABLE_RMS`].
/// (SEP does the same to masked pixels, except to the first rows under its kernel, and reads one mask value too many in
/// each row.)
pub fn extract(image: &SepImage, options: &ExtractOptions) -> Result<Vec<RawObject>, DetectError> {
    LIMITS.call_once(|| {
        // SAFETY: plain setters; nothing has been extracted yet, and nobody else in this program sets them.
        unsafe {
            sep_sys::sep_set_sub_object_limit(SUB_OBJECTS);
            sep_sys::sep_set_extract_pixstack(PIXEL_STACK);
        }
    });
    {
        let _shared = STACK_SIZE.read().unwrap_or_else(PoisonError::into_inner);
        match extract_once(image, options) {
            Err(status) if status == PIXSTACK_FULL && image.data.len() > PIXEL_STACK => {}
            other => return other.map_err(|status| failure(status, "sep_extract")),
        }
    }
    let _alone = STACK_SIZE.write().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: plain setters, alone under the lock.
    unsafe { sep_sys::sep_set_extract_pixstack(image.data.len() + 16) };
    let result = extract_once(image, options);
    // SAFETY: as above.
    unsafe { sep_sys::sep_set_extract_pixstack(PIXEL_STACK) };
    result.map_err(|status| failure(status, "sep_extract"))
}

fn extract_once(image: &SepImage, options: &ExtractOptions) -> Result<Vec<RawObject>, c_int> {
    let raw = sep_sys::sep_image { mask: std::ptr::null(), ..image.raw() };
    let (kernel, side) = match &options.kernel {
        Some((weights, side)) => (weights.as_ptr(), *side as i64),
        None => (std::ptr::null(), 0),
    };
    let mut catalog: *mut sep_sys::sep_catalog = std::ptr::null_mut();
    // SAFETY: `raw` points into slices of w * h values that outlive the call; the kernel holds side * side weights
    // (`DetectSettings::kernel_weights`); the catalogue is freed by its guard on every way out.
    let status = unsafe {
        sep_sys::sep_extract(
            &raw,
            options.threshold,
            sep_sys::SEP_THRESH_REL,
            options.min_area as c_int,
            kernel,
            side,
            side,
            sep_sys::SEP_FILTER_CONV,
            options.deblend_levels as c_int,
            options.deblend_contrast,
            c_int::from(options.clean > 0.0),
            options.clean,
            &mut catalog,
        )
    };
    if status != 0 || catalog.is_null() {
        return Err(if status == 0 { MEMORY_ALLOC_ERROR } else { status });
    }
    // SAFETY: on success SEP hands over a catalogue whose arrays hold `nobj` entries each, and whose `pix[i]` holds
    // `npix[i]` indices; `nobj` may be 0, then no array is touched. Freed once, after the last read.
    unsafe {
        let c = &*catalog;
        let count = usize::try_from(c.nobj).unwrap_or(0);
        let objects = (0..count)
            .map(|i| RawObject {
                x: *c.x.add(i),
                y: *c.y.add(i),
                a: f64::from(*c.a.add(i)),
                b: f64::from(*c.b.add(i)),
                theta: f64::from(*c.theta.add(i)),
                peak: f64::from(*c.peak.add(i)),
                flag: *c.flag.add(i),
                extent: (
                    *c.xmin.add(i) as usize,
                    *c.xmax.add(i) as usize,
                    *c.ymin.add(i) as usize,
                    *c.ymax.add(i) as usize,
                ),
                pixels: std::slice::from_raw_parts(*c.pix.add(i), *c.npix.add(i) as usize)
                    .iter()
                    .map(|&p| p as usize)
                    .collect(),
            })
            .collect();
        sep_sys::sep_catalog_free(catalog);
        Ok(objects)
    }
}

/// An ellipse: centre, rms axes, position angle from +x towards +y in [-pi/2, pi/2].
#[derive(Debug, Clone, Copy)]
pub struct Ellipse {
    pub x: f64,
    pub y: f64,
    pub a: f64,
    pub b: f64,
    pub theta: f64,
}

/// Samples per pixel along each axis in partly covered pixels, as in SExtractor.
const SUBPIX: c_int = 5;

/// Kron radius in units of the ellipse's axes, from pixels within `r` of them; 0 where it cannot be measured.
/// `id` is the source's label; pixels of others are left out.
pub fn kron_radius(image: &SepImage, e: &Ellipse, r: f64, id: i32) -> Result<(f64, i16), DetectError> {
    let raw = image.raw();
    let (mut cxx, mut cyy, mut cxy, mut kron) = (0.0, 0.0, 0.0, 0.0);
    let mut flag: c_short = 0;
    // SAFETY: `raw` points into slices of w * h values; SEP clips the ellipse to the image; outputs are locals.
    unsafe {
        sep_sys::sep_ellipse_coeffs(e.a, e.b, e.theta, &mut cxx, &mut cyy, &mut cxy);
        check(sep_sys::sep_kron_radius(&raw, e.x, e.y, cxx, cyy, cxy, r, id, &mut kron, &mut flag), "sep_kron_radius")?;
    }
    Ok((kron, flag))
}

/// Sum, its error and flags within `r` times the ellipse; masked and others' pixels count as the mean of the rest.
pub fn sum_ellipse(image: &SepImage, e: &Ellipse, r: f64, id: i32) -> Result<(f64, f64, i16), DetectError> {
    let raw = image.raw();
    let (mut sum, mut err, mut area) = (0.0, 0.0, 0.0);
    let mut flag: c_short = 0;
    // SAFETY: `raw` points into slices of w * h values; SEP clips the ellipse to the image; outputs are locals.
    unsafe {
        check(
            sep_sys::sep_sum_ellipse(
                &raw, e.x, e.y, e.a, e.b, e.theta, r, id, SUBPIX, 0, &mut sum, &mut err, &mut area, &mut flag,
            ),
            "sep_sum_ellipse",
        )?;
    }
    Ok((sum, err, flag))
}

/// Radius of the circle that holds `fraction` of `total`, searched out to `rmax`, pixels.
pub fn flux_radius(
    image: &SepImage,
    (x, y): (f64, f64),
    rmax: f64,
    id: i32,
    total: f64,
    fraction: f64,
) -> Result<f64, DetectError> {
    let raw = image.raw();
    let mut radius = 0.0;
    let mut flag: c_short = 0;
    // SAFETY: as above; one fraction in, one radius out.
    unsafe {
        check(
            sep_sys::sep_flux_radius(&raw, x, y, rmax, id, SUBPIX, 0, &total, &fraction, 1, &mut radius, &mut flag),
            "sep_flux_radius",
        )?;
    }
    Ok(radius)
}

/// Centroid under a round Gaussian window of standard deviation `sigma`, iterated from `(x, y)` (SExtractor's XWIN, YWIN).
pub fn windowed_centroid(image: &SepImage, (x, y): (f64, f64), sigma: f64) -> Result<(f64, f64), DetectError> {
    let raw = sep_sys::sep_image { segmap: std::ptr::null(), ..image.raw() };
    let (mut x_out, mut y_out) = (x, y);
    let (mut steps, mut flag): (c_int, c_short) = (0, 0);
    // SAFETY: as above; SEP clips its box to the image at each step.
    unsafe {
        check(
            sep_sys::sep_windowed(&raw, x, y, sigma, 11, 0, &mut x_out, &mut y_out, &mut steps, &mut flag),
            "sep_windowed",
        )?;
    }
    Ok((x_out, y_out))
}

fn check(status: c_int, step: &'static str) -> Result<(), DetectError> {
    if status == 0 { Ok(()) } else { Err(failure(status, step)) }
}

fn failure(status: c_int, step: &'static str) -> DetectError {
    let mut text = [0 as c_char; 512];
    // SAFETY: SEP writes at most 61 characters with the closing zero.
    let message = unsafe {
        sep_sys::sep_get_errmsg(status, text.as_mut_ptr());
        CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned()
    };
    if status == PIXSTACK_FULL || status == DEBLEND_OVERFLOW {
        return DetectError::Overflow { what: message };
    }
    DetectError::Sep { step, message }
}
