//! Reading of what cannot or can hardly be read: every error names the file, says what is wrong and what to do.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};

use common::golden;
use fits_well::FitsWriter;
use fits_well::image::{Data, Image, Scaling};
use ndarray::Array2;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use stillair::exposure::{Exposure, VarianceOrigin};
use stillair::failure::{Classify, FailureKind};
use stillair::fits::{FitsError, FitsFile, ReadSettings, list_exposures, list_in, read, read_with};
use stillair::image::mask;
use stillair::sky::Cards;

/// Gaussian noise, the same on every run.
fn noise(ny: usize, nx: usize, sigma: f64) -> Array2<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let normal = Normal::new(0.0, sigma).expect("a width");
    Array2::from_shape_simple_fn((ny, nx), || normal.sample(&mut rng) as f32)
}

fn mef(planes: &[(&str, Array2<f32>)]) -> Vec<u8> {
    let mut writer = FitsWriter::new(Vec::new());
    stillair::fits::write::lead(&mut writer, "memory", &Cards::new()).expect("primary");
    for (name, plane) in planes {
        stillair::fits::write::plane_hdu(&mut writer, "memory", name, plane, &Cards::new()).expect("plane");
    }
    writer.into_inner()
}

fn shaped(shape: Vec<usize>) -> Vec<u8> {
    let count = shape.iter().product();
    let image = Image::new(shape, Data::F32(vec![1.0; count]), Scaling::IDENTITY).expect("an image");
    let mut writer = FitsWriter::new(Vec::new());
    writer.write_image(image.view(), None).expect("written");
    writer.into_inner()
}

fn read_bytes(bytes: Vec<u8>, settings: &ReadSettings) -> Result<Exposure, FitsError> {
    let mut file = FitsFile::from_bytes("damaged.fits", bytes)?;
    let handles = list_in(&file, Path::new("damaged.fits"), settings)?;
    let first = handles.first().cloned().ok_or_else(|| file.missing("exposure"))?;
    read_with(&mut file, &first, settings)
}

fn error_of(bytes: Vec<u8>) -> String {
    let error = read_bytes(bytes, &ReadSettings::default()).expect_err("must not be readable");
    assert_eq!(error.kind(), FailureKind::BadInput);
    let text = error.to_string();
    assert!(text.contains("damaged.fits"), "{text}");
    text
}

fn read_planes(planes: &[(&str, Array2<f32>)]) -> Exposure {
    read_bytes(mef(planes), &ReadSettings::default()).expect("readable")
}

#[test]
fn files_that_are_not_there_or_not_fits() {
    let error = list_exposures(Path::new("/nowhere/x.fits"), &ReadSettings::default()).expect_err("missing");
    assert_eq!(error.kind(), FailureKind::BadInput);
    assert!(error.to_string().contains("/nowhere/x.fits"), "{error}");
    assert!(error_of(Vec::new()).contains("empty"));
    assert!(error_of(b"just some text".to_vec()).contains("not a FITS file"));
    assert!(error_of(vec![b' '; 2880 * 3]).contains("not a FITS file"));
    let mut noise = vec![0_u8; 10_000];
    noise.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7919 % 251) as u8);
    assert!(error_of(noise).contains("not a FITS file"));
}

#[test]
fn truncated_files() {
    let whole = mef(&[("SCI", noise(64, 64, 1.0)), ("ERR", Array2::ones((64, 64)))]);
    // Within the error plane: its data unit begins at 2880 + 2880 + 17280 + 2880.
    let text = error_of(whole[..2880 * 9 + 100].to_vec());
    assert!(text.contains("truncated") && text.contains("ERR"), "{text}");
    let text = error_of(whole[..2880 * 3].to_vec());
    assert!(text.contains("truncated") && text.contains("SCI"), "{text}");
    // Within the error plane's header: without it the file would look whole, only poorer.
    let text = error_of(whole[..2880 * 8 + 400].to_vec());
    assert!(text.contains("cut off"), "{text}");
    let text = error_of(whole[..2000].to_vec());
    assert!(text.contains("not a FITS file"), "{text}");
}

#[test]
fn planes_that_are_missing_or_do_not_fit() {
    let settings = ReadSettings { image_hdu: Some("SCIENCE".into()), ..ReadSettings::default() };
    let error = read_bytes(mef(&[("SCI", noise(40, 40, 1.0))]), &settings).expect_err("no SCIENCE").to_string();
    assert!(error.contains("SCIENCE") && error.contains("HDU 1 (SCI)") && error.contains("[read]"), "{error}");
    let text = error_of(mef(&[("SCI", noise(40, 48, 1.0)), ("MASK", Array2::zeros((48, 40)))]));
    assert!(text.contains("40 x 48 pixels, but the image is 48 x 40"), "{text}");
    let text = error_of(mef(&[("ERR", Array2::ones((40, 40)))]));
    assert!(text.contains("no image plane"), "{text}");
    let text = error_of(mef(&[]));
    assert!(text.contains("no two-dimensional image"), "{text}");
}

#[test]
fn images_of_the_wrong_kind() {
    assert!(error_of(shaped(vec![4000])).contains("an image of 1 axes (4000)"));
    assert!(error_of(shaped(vec![40, 40, 2, 3])).contains("40 x 40 x 2 x 3"));
    assert!(error_of(shaped(vec![31, 40])).contains("at least 32 a side"));
    assert!(error_of(shaped(vec![40, 40])).contains("constant image"));
    assert!(error_of(mef(&[("SCI", Array2::from_elem((40, 40), f32::NAN))])).contains("every pixel is NaN"));
    // Axes of length 1 behind the first two are harmless.
    assert!(
        read_bytes(shaped(vec![40, 40, 1, 1]), &ReadSettings::default())
            .is_err_and(|e| e.to_string().contains("constant"))
    );
}

#[test]
fn headers_that_claim_too_much() {
    let mut bytes = mef(&[("SCI", noise(40, 40, 1.0))]);
    let at = bytes.windows(9).position(|w| w == b"NAXIS1  =").expect("NAXIS1");
    bytes[at..at + 30].copy_from_slice(b"NAXIS1  =           2000000000");
    let text = error_of(bytes.clone());
    assert!(text.contains("max_pixels"), "{text}");
    bytes[at..at + 30].copy_from_slice(b"NAXIS1  =              1000000");
    assert!(error_of(bytes).contains("truncated"));
    let mut packed = std::fs::read(golden("reading/lsst_images.fits")).expect("golden");
    let at = packed.windows(9).position(|w| w == b"ZNAXIS1 =").expect("ZNAXIS1");
    packed[at..at + 30].copy_from_slice(b"ZNAXIS1 =              9999999");
    assert!(error_of(packed).contains("claimed"));
    let settings = ReadSettings { max_pixels: 1599, ..ReadSettings::default() };
    let error = read_bytes(mef(&[("SCI", noise(40, 40, 1.0))]), &settings).expect_err("over the limit").to_string();
    assert!(error.contains("more than the 1599 allowed"), "{error}");
}

#[test]
fn gzipped_files_within_limits() {
    let error =
        FitsFile::open(&golden("reading/euclid_vis.fits.gz"), 10_000).expect_err("inflates to more").to_string();
    assert!(error.contains("more than 10000 bytes"), "{error}");
    let folder = tempfile::tempdir().expect("folder");
    let cut = folder.path().join("cut.fits.gz");
    let whole = std::fs::read(golden("reading/euclid_vis.fits.gz")).expect("golden");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let error = FitsFile::open(&cut, 1 << 30).expect_err("cut").to_string();
    assert!(error.contains("cut.fits.gz") && error.contains("gzip"), "{error}");
}

#[test]
fn unusable_noise_is_replaced_and_said() {
    let image = noise(64, 64, 2.0);
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let exposure = read_planes(&[("SCI", image.clone()), ("VAR", Array2::from_elem((64, 64), bad))]);
        assert_eq!(exposure.variance_origin, VarianceOrigin::Estimated, "{bad}");
        assert!(exposure.notes.iter().any(|n| n.contains("variance plane is unusable")), "{:?}", exposure.notes);
        let sigma = f64::from(exposure.variance[[1, 1]]).sqrt();
        assert!((1.7..2.4).contains(&sigma), "{sigma}");
    }
    let exposure = read_planes(&[("SCI", image)]);
    assert_eq!(exposure.variance_origin, VarianceOrigin::Estimated);
    assert!(exposure.notes.iter().any(|n| n.contains("no noise plane")));
}

#[test]
fn single_pixels_without_noise_or_value() {
    let mut image = noise(64, 64, 2.0);
    image[[5, 6]] = f32::NAN;
    image[[7, 8]] = f32::NEG_INFINITY;
    let mut variance = Array2::from_elem((64, 64), 4.0);
    variance[[1, 2]] = 0.0;
    variance[[3, 4]] = f32::NAN;
    let exposure = read_planes(&[("SCI", image), ("VAR", variance)]);
    assert_eq!(exposure.variance_origin, VarianceOrigin::Variance);
    for at in [[5, 6], [7, 8], [1, 2], [3, 4]] {
        assert_eq!(exposure.mask[at], mask::NO_DATA);
    }
    assert_eq!(exposure.image[[5, 6]], 0.0);
    assert_eq!(exposure.mask.iter().filter(|&&bits| bits != 0).count(), 4);
    assert!(exposure.variance.iter().all(|v| v.is_finite() && *v > 0.0));
}

#[test]
fn noise_planes_under_the_wrong_name() {
    let image = noise(64, 64, 20.0);
    let constant = |value: f32| Array2::from_elem((64, 64), value);
    // (EXTNAME, its value, origin expected): sigma is 20.
    let cases = [
        ("RMS", 400.0, VarianceOrigin::Variance),
        ("VAR", 20.0, VarianceOrigin::Rms),
        ("VAR", 1.0 / 400.0, VarianceOrigin::Weight),
        ("WHT", 400.0, VarianceOrigin::Variance),
        ("WHT", 1.0, VarianceOrigin::Estimated),
        ("VAR", 1e6, VarianceOrigin::Estimated),
    ];
    for (name, value, origin) in cases {
        let exposure = read_planes(&[("SCI", image.clone()), (name, constant(value))]);
        assert_eq!(exposure.variance_origin, origin, "{name} = {value}: {:?}", exposure.notes);
        assert!(exposure.notes.iter().any(|n| n.contains("scatter")), "{:?}", exposure.notes);
        let sigma = f64::from(exposure.variance[[9, 9]]).sqrt();
        assert!((17.0..24.0).contains(&sigma), "{name} = {value}: {sigma}");
    }
    for (name, value) in [("VAR", 400.0), ("RMS", 20.0), ("WHT", 1.0 / 400.0), ("RMS", 40.0)] {
        let exposure = read_planes(&[("SCI", image.clone()), (name, constant(value))]);
        assert!(!exposure.notes.iter().any(|n| n.contains("scatter")), "{name} = {value}: {:?}", exposure.notes);
    }
}

#[test]
fn planes_of_the_images_own_group_come_first() {
    let image = noise(64, 64, 1.0);
    let planes = [
        ("PSF_IMAGE", image.clone()),
        ("BKG_RMS", Array2::from_elem((64, 64), 1.5)),
        ("IMAGE", image),
        ("RMS", Array2::ones((64, 64))),
    ];
    let file = FitsFile::from_bytes("groups.fits", mef(&planes)).expect("a file");
    let handles = list_in(&file, Path::new("groups.fits"), &ReadSettings::default()).expect("one exposure");
    let found: Vec<_> = handles.iter().map(|h| (h.image.hdu, h.noise.as_ref().map(|(_, plane)| plane.hdu))).collect();
    assert_eq!(found, [(3, Some(4))]);
}

#[test]
fn companions_beside_a_simple_image() {
    let folder = tempfile::tempdir().expect("folder");
    let save = |name: &str, plane: &Array2<f32>| -> PathBuf {
        let mut writer = FitsWriter::new(Vec::new());
        stillair::fits::write::plane_hdu(&mut writer, name, "", plane, &Cards::new()).expect("plane");
        let path = folder.path().join(name);
        std::fs::write(&path, writer.into_inner()).expect("written");
        path
    };
    let image = save("field.fits", &noise(64, 64, 2.0));
    let mut weight = Array2::from_elem((64, 64), 0.25);
    weight[[3, 3]] = 0.0;
    let weight_path = save("field.weight.fits", &weight);
    let settings = ReadSettings::default();
    let handles = list_exposures(&image, &settings).expect("one exposure");
    let exposure = read(&handles[0], &settings).expect("readable");
    assert_eq!((exposure.layout.as_str(), exposure.id.as_str()), ("simple", "field"));
    assert_eq!(exposure.variance_origin, VarianceOrigin::Weight);
    assert_eq!((exposure.variance[[9, 9]], exposure.mask[[3, 3]]), (4.0, mask::NO_DATA));
    assert!(stillair::fits::is_companion(&weight_path, &settings));
    assert!(!stillair::fits::is_companion(&image, &settings));
}

fn small_files() -> Vec<Vec<u8>> {
    let golden_file = |name: &str| std::fs::read(golden(name)).expect("golden");
    vec![
        mef(&[("SCI", noise(36, 40, 1.0)), ("ERR", Array2::ones((36, 40))), ("DQ", Array2::zeros((36, 40)))]),
        golden_file("reading/images.fits"),
        golden_file("reading/lsst_images.fits"),
        golden_file("reading/c4d_000000_000000_ooi_r_v1.fits.fz"),
        golden_file("reading/photocalib.fits"),
    ]
}

/// Reads whatever can be read of these bytes.
fn read_everything(bytes: Vec<u8>) {
    let settings = ReadSettings { max_pixels: 1 << 16, ..ReadSettings::default() };
    let _ = read_bytes(bytes.clone(), &settings);
    let Ok(mut file) = FitsFile::from_bytes("damaged.fits", bytes) else { return };
    for index in 0..file.hdus().len() {
        let _ = file.read_plane(index, 1 << 16);
        let _ = file.read_bits(index, 1 << 16);
        if let Ok(table) = file.read_table(index) {
            for name in table.names() {
                let _ = (table.numbers(&name), table.integers(&name), table.strings(&name), table.dimensions(&name));
            }
        }
    }
}

proptest! {
    #[test]
    fn corrupted_bytes_never_panic(
        which in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        in_headers in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = small_files().swap_remove(which);
        // Half of the damage goes where it hurts most: into printable bytes, the headers.
        let targets: Vec<usize> =
            (0..bytes.len()).filter(|&i| !in_headers || bytes[i].is_ascii_graphic()).collect();
        for (index, value) in changes {
            let at = targets[index.index(targets.len())];
            bytes[at] = if in_headers { b' ' + value % 95 } else { value };
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_everything(bytes);
    }
}
