//! Which exposures a file holds, and in which HDUs (or files beside it) their planes lie.

use std::path::{Path, PathBuf};

use super::error::FitsError;
use super::file::{FitsFile, HduInfo};
use super::settings::ReadSettings;

/// A survey's way of laying an exposure out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// LSST afw `ExposureF`: IMAGE, MASK with `MP_` cards, VARIANCE.
    LsstAfw,
    /// LSST `lsst-images`: the same planes, mask named by `MSKN`/`MSKM` cards.
    LsstImages,
    /// Euclid VIS: quadrants `.SCI`, `.RMS`, `.FLG`.
    EuclidVis,
    /// Euclid NISP: detectors `.SCI`, `.RMS`, `.DQ`.
    EuclidNisp,
    /// Euclid MER mosaic: one image, RMS and FLAG files beside it.
    EuclidMer,
    /// DECam community pipeline: `ooi`, `oow`, `ood` files.
    Decam,
    /// Any other multi-extension file with named planes.
    Mef,
    /// One image, with or without files beside it.
    Simple,
}

impl Layout {
    /// Name in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::LsstAfw => "lsst-afw",
            Self::LsstImages => "lsst-images",
            Self::EuclidVis => "euclid-vis",
            Self::EuclidNisp => "euclid-nisp",
            Self::EuclidMer => "euclid-mer",
            Self::Decam => "decam",
            Self::Mef => "mef",
            Self::Simple => "simple",
        }
    }

    /// Whether the header's zero point is that of one unit per second.
    pub fn is_euclid(self) -> bool {
        matches!(self, Self::EuclidVis | Self::EuclidNisp | Self::EuclidMer)
    }
}

/// What a noise plane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseKind {
    /// Variance, image units squared.
    Variance,
    /// Standard deviation, image units.
    Rms,
    /// Inverse variance, or a relative weight.
    Weight,
}

/// A plane: file and HDU (0 = primary).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneRef {
    /// File.
    pub path: PathBuf,
    /// HDU.
    pub hdu: usize,
}

/// One exposure to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposureHandle {
    /// Name of the detector or group within the file; empty where the file holds one exposure.
    pub name: String,
    /// Layout it was recognised as.
    pub layout: Layout,
    /// Image plane.
    pub image: PlaneRef,
    /// Noise plane, if there is one.
    pub noise: Option<(NoiseKind, PlaneRef)>,
    /// Mask plane, if there is one.
    pub mask: Option<PlaneRef>,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Image,
    Noise(NoiseKind),
    Mask,
}

/// Plane names used by pipelines, upper case.
const ROLES: &[(&str, Role)] = &[
    ("SCI", Role::Image),
    ("IMAGE", Role::Image),
    ("SCIENCE", Role::Image),
    ("VAR", Role::Noise(NoiseKind::Variance)),
    ("VARIANCE", Role::Noise(NoiseKind::Variance)),
    ("ERR", Role::Noise(NoiseKind::Rms)),
    ("ERROR", Role::Noise(NoiseKind::Rms)),
    ("RMS", Role::Noise(NoiseKind::Rms)),
    ("SIGMA", Role::Noise(NoiseKind::Rms)),
    ("UNCERT", Role::Noise(NoiseKind::Rms)),
    ("WHT", Role::Noise(NoiseKind::Weight)),
    ("WGT", Role::Noise(NoiseKind::Weight)),
    ("WEIGHT", Role::Noise(NoiseKind::Weight)),
    ("IVAR", Role::Noise(NoiseKind::Weight)),
    ("INVVAR", Role::Noise(NoiseKind::Weight)),
    ("MASK", Role::Mask),
    ("MSK", Role::Mask),
    ("DQ", Role::Mask),
    ("FLG", Role::Mask),
    ("FLAG", Role::Mask),
    ("FLAGS", Role::Mask),
    ("BPM", Role::Mask),
];

/// The exposures a file holds, in file order.
///
/// Settings that name HDUs are followed to the letter; otherwise planes are recognised by EXTNAME (upper and lower case
/// alike), `GROUP.SCI` and `SCI` with EXTVER both forming groups, and then by files beside this one.
pub fn list_exposures(path: &Path, settings: &ReadSettings) -> Result<Vec<ExposureHandle>, FitsError> {
    let file = open(path, settings)?;
    list_in(&file, path, settings)
}

/// Opens a file within the limits of the settings.
pub(super) fn open(path: &Path, settings: &ReadSettings) -> Result<FitsFile, FitsError> {
    FitsFile::open(path, settings.max_gzip_bytes)
}

/// As [`list_exposures`], for a file that is open already.
pub fn list_in(file: &FitsFile, path: &Path, settings: &ReadSettings) -> Result<Vec<ExposureHandle>, FitsError> {
    let here = |hdu: usize| PlaneRef { path: path.to_path_buf(), hdu };
    let mut found = match &settings.image_hdu {
        Some(wanted) => {
            let image = file.select(wanted)?;
            let known = recognise(file, path).unwrap_or_default().into_iter().find(|h| h.image.hdu == image.index);
            vec![known.unwrap_or_else(|| bare(String::new(), layout_of(file, image), here(image.index)))]
        }
        None => recognise(file, path)?,
    };
    let several = found.len() > 1;
    for handle in &mut found {
        if !several {
            handle.name.clear();
        }
        let named = [
            (NoiseKind::Variance, &settings.variance_hdu),
            (NoiseKind::Rms, &settings.rms_hdu),
            (NoiseKind::Weight, &settings.weight_hdu),
        ];
        for (kind, wanted) in named {
            if let Some(wanted) = wanted {
                handle.noise = Some((kind, here(file.select(wanted)?.index)));
            }
        }
        if let Some(wanted) = &settings.mask_hdu {
            handle.mask = Some(here(file.select(wanted)?.index));
        }
        add_companions(file, path, handle, settings)?;
    }
    Ok(found)
}

/// Whether the file is a companion (weight, mask) of an exposure beside it, and so no exposure itself.
pub fn is_companion(path: &Path, settings: &ReadSettings) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    if name.contains("_oow_") || name.contains("_ood_") {
        return path.with_file_name(name.replace("_oow_", "_ooi_").replace("_ood_", "_ooi_")).exists();
    }
    if name.starts_with("EUC_MER_") && (name.contains("-RMS_") || name.contains("-FLAG_")) {
        return true;
    }
    let plain = name.trim_end_matches(".gz").trim_end_matches(".fz");
    let lists = &settings.companions;
    [&lists.variance, &lists.rms, &lists.weight, &lists.mask].into_iter().flatten().any(|pattern| {
        let suffix = pattern.trim_start_matches("{stem}");
        plain
            .strip_suffix(suffix)
            .is_some_and(|stem| ENDINGS.iter().any(|ending| path.with_file_name(format!("{stem}{ending}")).exists()))
    })
}

const ENDINGS: [&str; 6] = [".fits", ".fits.fz", ".fits.gz", ".fit", ".fts", ".fz"];

fn recognise(file: &FitsFile, path: &Path) -> Result<Vec<ExposureHandle>, FitsError> {
    let images: Vec<&HduInfo> = file.hdus().iter().filter(|hdu| hdu.image_size().is_some()).collect();
    let here = |hdu: &HduInfo| PlaneRef { path: path.to_path_buf(), hdu: hdu.index };
    if images.is_empty() {
        // A one-axis or a cube image: let the size check say what is wrong with it.
        let odd = file.hdus().iter().find(|hdu| matches!(hdu.content, super::file::HduContent::Image(_)));
        return match odd {
            Some(hdu) => Err(file.check_size(hdu.index, u64::MAX).err().unwrap_or_else(|| file.missing("image"))),
            None => Err(file.missing("two-dimensional image")),
        };
    }
    let roles: Vec<(Option<(String, Role)>, &HduInfo)> = images.iter().map(|hdu| (role(hdu), *hdu)).collect();
    let mut handles: Vec<(String, ExposureHandle)> = Vec::new();
    for (known, hdu) in &roles {
        if let Some((group, Role::Image)) = known {
            handles.push((group.clone(), bare(group_name(group), layout_of(file, hdu), here(hdu))));
        }
    }
    if handles.is_empty() {
        // No plane calls itself the image: the primary's image if there is one, else every nameless image extension.
        let candidates: Vec<&HduInfo> = match images.first() {
            Some(first) if first.index == 0 => vec![first],
            _ => roles.iter().filter(|(known, _)| known.is_none()).map(|(_, hdu)| *hdu).collect(),
        };
        for hdu in candidates {
            handles.push((String::new(), bare(hdu.name.clone(), layout_of(file, hdu), here(hdu))));
        }
        if handles.is_empty() {
            return Err(file.missing("image plane (SCI, IMAGE or an unnamed image)"));
        }
    }
    // `IMAGE` beside `PSF_IMAGE`: the plain name is the exposure.
    if handles.iter().any(|(group, _)| group.starts_with('#')) {
        handles.retain(|(group, _)| group.starts_with('#'));
    }
    let single = handles.len() == 1;
    for (group, handle) in &mut handles {
        // Planes of the image's own group first; a file of one image and planes of other group names (`IMAGE`, `SCI.RMS`)
        // is unambiguous all the same.
        let image = handle.image.hdu;
        let all = || roles.iter().filter_map(|(known, hdu)| known.as_ref().map(|(group, role)| (group, *role, *hdu)));
        let own = all().filter(|(plane_group, _, _)| *plane_group == group);
        let found: Vec<(Role, &HduInfo)> = own
            .chain(all().filter(|_| single))
            .filter(|(_, _, hdu)| hdu.index != image)
            .map(|(_, role, hdu)| (role, hdu))
            .collect();
        handle.noise = found.iter().find_map(|(role, hdu)| match role {
            Role::Noise(kind) => Some((*kind, here(hdu))),
            _ => None,
        });
        handle.mask = found.iter().find(|(role, _)| *role == Role::Mask).map(|(_, hdu)| here(hdu));
    }
    Ok(handles.into_iter().map(|(_, handle)| handle).collect())
}

fn bare(name: String, layout: Layout, image: PlaneRef) -> ExposureHandle {
    ExposureHandle { name, layout, image, noise: None, mask: None }
}

/// A plane's group and role from its EXTNAME (`3-4.F.SCI`, `ccd7_ERR`, `SCI` with EXTVER) or EXTTYPE.
fn role(hdu: &HduInfo) -> Option<(String, Role)> {
    let name = hdu.name.to_ascii_uppercase();
    let known = |text: &str| ROLES.iter().find(|(role, _)| *role == text).map(|(_, role)| *role);
    if let Some(role) = known(&name) {
        return Some((format!("#{}", hdu.version), role));
    }
    for separator in ['.', '_', '-'] {
        if let Some((group, tail)) = name.rsplit_once(separator)
            && let Some(role) = known(tail)
        {
            return Some((group.to_string(), role));
        }
    }
    let kind = hdu.cards.text("EXTTYPE")?.to_ascii_uppercase();
    known(&kind).map(|role| (format!("#{}", hdu.version), role))
}

/// A group as people name it: `#2` (EXTVER) becomes `2`.
fn group_name(group: &str) -> String {
    group.trim_start_matches('#').to_string()
}

fn layout_of(file: &FitsFile, image: &HduInfo) -> Layout {
    let has = |name: &str| file.hdus().iter().any(|hdu| hdu.cards.get(name).is_some());
    let primary = file.hdus().first().map(|hdu| &hdu.cards);
    let in_primary = |name: &str| primary.is_some_and(|cards| cards.get(name).is_some());
    let instrument = file.cards(image.index).ok().and_then(|cards| cards.text("INSTRUME")).unwrap_or_default();
    let name = image.name.to_ascii_uppercase();
    let file_name = Path::new(file.path()).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let sibling =
        |ending: &str| name.strip_suffix(".SCI").is_some_and(|group| file.find(&format!("{group}{ending}")).is_some());
    if in_primary("JSONADDR") {
        Layout::LsstImages
    } else if in_primary("AR_HDU") || (image.cards.get("EXTTYPE").is_some() && has("MP_BAD")) {
        Layout::LsstAfw
    } else if file_name.starts_with("EUC_MER_") {
        Layout::EuclidMer
    } else if sibling(".FLG") && (has("MAGZEROP") || instrument.eq_ignore_ascii_case("VIS")) {
        Layout::EuclidVis
    } else if sibling(".DQ") && (has("ZPAB") || instrument.to_ascii_uppercase().contains("NISP")) {
        Layout::EuclidNisp
    } else if instrument.eq_ignore_ascii_case("decam") || file_name.contains("_ooi_") {
        Layout::Decam
    } else if file.hdus().iter().filter(|hdu| hdu.image_size().is_some()).count() > 1 {
        Layout::Mef
    } else {
        Layout::Simple
    }
}

/// Looks beside the file for planes the file itself does not hold.
fn add_companions(
    file: &FitsFile,
    path: &Path,
    handle: &mut ExposureHandle,
    settings: &ReadSettings,
) -> Result<(), FitsError> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let image_name = file.hdu(handle.image.hdu)?.name.clone();
    let plane = |found: PathBuf| companion_plane(found, &image_name, handle.image.hdu, settings);
    if name.contains("_ooi_") {
        for (tag, is_noise) in [("_oow_", true), ("_ood_", false)] {
            if let Some(found) = existing(path, &name.replace("_ooi_", tag)) {
                let plane = plane(found)?;
                if is_noise && handle.noise.is_none() {
                    handle.noise = Some((NoiseKind::Weight, plane));
                } else if !is_noise && handle.mask.is_none() {
                    handle.mask = Some(plane);
                }
            }
        }
        return Ok(());
    }
    if let Some(rest) = name.strip_prefix("EUC_MER_BGSUB-MOSAIC-") {
        // EUC_MER_BGSUB-MOSAIC-VIS_TILE102018211-... goes with EUC_MER_MOSAIC-VIS-RMS_TILE102018211-...
        if let Some((band, tail)) = rest.split_once('_') {
            let tile = tail.split('-').next().unwrap_or(tail);
            if let Some(found) = beginning(path, &format!("EUC_MER_MOSAIC-{band}-RMS_{tile}")) {
                handle.noise = Some((NoiseKind::Rms, plane(found)?));
            }
            if let Some(found) = beginning(path, &format!("EUC_MER_MOSAIC-{band}-FLAG_{tile}")) {
                handle.mask = Some(plane(found)?);
            }
        }
        return Ok(());
    }
    let stem = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    let stem = stem.strip_suffix(".fits").unwrap_or(stem);
    let find =
        |patterns: &[String]| patterns.iter().find_map(|pattern| existing(path, &pattern.replace("{stem}", stem)));
    let lists = &settings.companions;
    if handle.noise.is_none() {
        let kinds =
            [(NoiseKind::Variance, &lists.variance), (NoiseKind::Rms, &lists.rms), (NoiseKind::Weight, &lists.weight)];
        for (kind, patterns) in kinds {
            if let Some(found) = find(patterns) {
                handle.noise = Some((kind, plane(found)?));
                break;
            }
        }
    }
    if handle.mask.is_none()
        && let Some(found) = find(&lists.mask)
    {
        handle.mask = Some(plane(found)?);
    }
    Ok(())
}

/// A file of this name beside `path`, or its gzipped or compressed form; never `path` itself.
fn existing(path: &Path, name: &str) -> Option<PathBuf> {
    let plain = name.trim_end_matches(".gz").trim_end_matches(".fz");
    [name.to_string(), plain.to_string(), format!("{plain}.fz"), format!("{plain}.gz")]
        .into_iter()
        .map(|name| path.with_file_name(name))
        .find(|candidate| candidate != path && candidate.is_file())
}

/// The first file beside `path` whose name begins so (in order of names).
fn beginning(path: &Path, prefix: &str) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix)))
        .collect();
    names.sort();
    names.into_iter().next()
}

/// A plane that lies in a file named by the caller, in the HDU named or else the one that belongs to the image.
pub fn plane_in(
    path: &Path,
    hdu: Option<&str>,
    image: &ExposureHandle,
    settings: &ReadSettings,
) -> Result<PlaneRef, FitsError> {
    if let Some(wanted) = hdu {
        return Ok(PlaneRef { path: path.to_path_buf(), hdu: open(path, settings)?.select(wanted)?.index });
    }
    let name = open(&image.image.path, settings)?.hdu(image.image.hdu)?.name.clone();
    companion_plane(path.to_path_buf(), &name, image.image.hdu, settings)
}

/// The HDU of a companion file that belongs to an image: of the same EXTNAME, else of the same number, else its only image.
fn companion_plane(
    path: PathBuf,
    image_name: &str,
    image_hdu: usize,
    settings: &ReadSettings,
) -> Result<PlaneRef, FitsError> {
    let file = open(&path, settings)?;
    let images: Vec<&HduInfo> = file.hdus().iter().filter(|hdu| hdu.image_size().is_some()).collect();
    let same_name = images.iter().find(|hdu| !image_name.is_empty() && hdu.name.eq_ignore_ascii_case(image_name));
    let hdu = match (same_name, images.as_slice()) {
        (Some(hdu), _) => hdu.index,
        (None, [only]) => only.index,
        (None, _) => images
            .iter()
            .find(|hdu| hdu.index == image_hdu)
            .map(|hdu| hdu.index)
            .ok_or_else(|| file.missing(&format!("plane for the image {image_name}")))?,
    };
    Ok(PlaneRef { path, hdu })
}
