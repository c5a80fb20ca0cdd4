//! Reading of exposures: pixels against astropy, survey layouts, real files, round trips.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::{golden, real_data};
use ndarray::Array2;
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use stillair::exposure::{Exposure, VarianceOrigin};
use stillair::fits::{
    FitsError, FitsFile, HduContent, ReadSettings, TableColumn, Values, WriteLayout, list_exposures, read,
    write_exposure, write_table,
};
use stillair::image::mask;
use stillair::sky::{Cards, Wcs};

fn read_all(path: &Path, settings: &ReadSettings) -> Vec<Exposure> {
    let handles = list_exposures(path, settings).expect("exposures");
    handles.iter().map(|handle| read(handle, settings).expect("readable")).collect()
}

fn read_only(path: &Path) -> Result<Exposure, FitsError> {
    let settings = ReadSettings::default();
    let handles = list_exposures(path, &settings)?;
    assert_eq!(handles.len(), 1, "{handles:?}");
    read(&handles[0], &settings)
}

fn has_note(exposure: &Exposure, part: &str) -> bool {
    exposure.notes.iter().any(|note| note.contains(part))
}

#[test]
fn pixels_of_every_storage_agree_with_astropy() {
    let mut file = FitsFile::open(&golden("reading/images.fits"), 1 << 30).expect("golden file");
    let expected = std::fs::read(golden("reading/images.bin")).expect("golden values");
    let expected: Vec<f32> = expected.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let images: Vec<(usize, String)> = file.hdus().iter().skip(1).map(|hdu| (hdu.index, hdu.name.clone())).collect();
    assert_eq!(images.len() * 23 * 37, expected.len());
    for (k, (index, name)) in images.iter().enumerate() {
        let plane = file.read_plane(*index, 1 << 20).expect("decodable");
        assert_eq!(plane.dim(), (23, 37), "{name}");
        for (i, (&ours, &theirs)) in plane.iter().zip(&expected[k * 851..(k + 1) * 851]).enumerate() {
            let same = (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= 1e-6 * theirs.abs();
            assert!(same, "{name}, pixel {i}: {ours} against {theirs}");
        }
        if ["BITS", "PLIO", "GZIP_2_BITS"].contains(&name.as_str()) {
            let bits = file.read_bits(*index, 1 << 20).expect("whole numbers");
            assert!(bits.iter().zip(&expected[k * 851..]).all(|(&a, &b)| a as f32 == b), "{name}");
        }
    }
}

#[test]
fn euclid_vis_quadrants() {
    let exposures = read_all(&golden("reading/euclid_vis.fits.gz"), &ReadSettings::default());
    let names: Vec<&str> = exposures.iter().map(|e| e.id.as_str()).collect();
    assert_eq!(names, ["2113-1-1.E", "2113-3-4.F"]);
    for exposure in &exposures {
        assert_eq!(exposure.layout, "euclid-vis");
        assert_eq!(exposure.variance_origin, VarianceOrigin::Rms);
        assert_eq!(exposure.variance[[20, 20]], 25.0);
        // SAT, COSMIC, INVALID, STARSIGNAL (no defect); HOT below.
        let row: Vec<u16> = (0..4).map(|x| exposure.mask[[0, x]]).collect();
        assert_eq!(row, [mask::SATURATED, mask::COSMIC_RAY, mask::NO_DATA, 0]);
        assert_eq!(exposure.mask[[1, 1]], mask::BAD);
        let zero_point = exposure.zero_point.expect("MAGZEROP");
        assert!((zero_point - (24.57 + 2.5 * 560.52_f64.log10())).abs() < 1e-9, "{zero_point}");
        assert_eq!(exposure.background_subtracted, Some(false));
        assert!((exposure.pixel_scale().expect("TPV") - 0.1).abs() < 1e-4);
    }
}

#[test]
fn euclid_nisp_detector() {
    let exposure = read_only(&golden("reading/euclid_nisp.fits")).expect("NISP");
    assert_eq!(exposure.layout, "euclid-nisp");
    assert_eq!([exposure.mask[[5, 5]], exposure.mask[[6, 6]], exposure.mask[[7, 7]]], [mask::NO_DATA, mask::BAD, 0]);
    assert_eq!(exposure.band.as_deref(), Some("H"));
    let zero_point = exposure.zero_point.expect("ZPAB");
    assert!((zero_point - (25.1 + 2.5 * 87.2_f64.log10())).abs() < 1e-9, "{zero_point}");
}

#[test]
fn lsst_new_format() {
    let exposure = read_only(&golden("reading/lsst_images.fits")).expect("lsst-images");
    assert_eq!(exposure.layout, "lsst-images");
    let bits = [exposure.mask[[2, 3]], exposure.mask[[4, 5]], exposure.mask[[6, 7]], exposure.mask[[8, 9]]];
    assert_eq!(bits, [mask::BAD, mask::SATURATED, 0, 0]);
    assert!(has_note(&exposure, "NEW_PLANE"), "{:?}", exposure.notes);
    assert_eq!(exposure.zero_point, Some(31.4));
    assert_eq!(exposure.variance_origin, VarianceOrigin::Variance);
}

#[test]
fn lsst_afw_with_a_photometric_calibration() {
    let exposure = read_only(&golden("reading/photocalib.fits")).expect("afw");
    assert_eq!((exposure.layout.as_str(), exposure.id.as_str()), ("lsst-afw", "2024-R22_S11"));
    let zero_point = exposure.zero_point.expect("PhotoCalib");
    assert!((zero_point - (31.4 - 2.5 * 2.5_f64.log10())).abs() < 1e-9);
    let row: Vec<u16> = (0..4).map(|x| exposure.mask[[0, x]]).collect();
    assert_eq!(row, [mask::BAD, mask::SATURATED, mask::COSMIC_RAY, 0]);
    assert_eq!((exposure.image[[9, 9]], exposure.mask[[9, 9]]), (0.0, mask::NO_DATA));
}

#[test]
fn decam_trio_of_two_ccds() {
    let path = golden("reading/c4d_000000_000000_ooi_r_v1.fits.fz");
    let exposures = read_all(&path, &ReadSettings::default());
    let names: Vec<&str> = exposures.iter().map(|e| e.id.as_str()).collect();
    assert_eq!(names, ["123456-60", "123456-61"]);
    for exposure in &exposures {
        assert_eq!(exposure.layout, "decam");
        assert_eq!(exposure.variance_origin, VarianceOrigin::Weight);
        assert!((exposure.variance[[9, 9]] - 16.0).abs() < 0.01);
        let row: Vec<u16> = (0..4).map(|x| exposure.mask[[0, x]]).collect();
        assert_eq!(row, [mask::BAD, mask::SATURATED, mask::COSMIC_RAY, mask::SUSPECT]);
        assert_eq!((exposure.zero_point, exposure.gain), (Some(30.1), Some(4.1)));
        assert_eq!(exposure.band.as_deref(), Some("r"));
    }
    let oow = golden("reading/c4d_000000_000000_oow_r_v1.fits.fz");
    assert!(stillair::fits::is_companion(&oow, &ReadSettings::default()));
}

#[test]
fn hst_like_groups_by_version() {
    let exposures = read_all(&golden("reading/hst_like.fits"), &ReadSettings::default());
    let names: Vec<&str> = exposures.iter().map(|e| e.id.as_str()).collect();
    assert_eq!(names, ["jxxx01-1", "jxxx01-2"]);
    assert_eq!(exposures[0].mask[[1, 2]], mask::SUSPECT);
    assert!(exposures[1].mask.iter().all(|&bits| bits == 0));
    assert_eq!(exposures[0].gain, Some(1.0));
    assert_eq!(exposures[0].variance[[3, 3]], 0.25);
}

#[test]
fn settings_name_planes_and_override_cards() {
    let mut settings = ReadSettings {
        image_hdu: Some("sci,2".into()),
        zero_point: Some(27.0),
        gain: Some(2.0),
        band: Some("F814W".into()),
        ..ReadSettings::default()
    };
    let exposure = &read_all(&golden("reading/hst_like.fits"), &settings)[0];
    assert_eq!((exposure.zero_point, exposure.gain), (Some(27.0), Some(2.0)));
    assert_eq!(exposure.band.as_deref(), Some("F814W"));
    assert_eq!(exposure.variance_origin, VarianceOrigin::Rms);
    settings.image_hdu = Some("1".into());
    settings.mask_hdu = Some("DQ".into());
    settings.mask_planes.insert("bit2".into(), "BAD".into());
    let exposure = &read_all(&golden("reading/hst_like.fits"), &settings)[0];
    assert_eq!(exposure.mask[[1, 2]], mask::BAD);
    settings.mask_planes.insert("BIT3".into(), "AWFUL".into());
    let handles = list_exposures(&golden("reading/hst_like.fits"), &settings).expect("listing");
    let error = read(&handles[0], &settings).expect_err("no such meaning");
    assert!(error.to_string().contains("AWFUL") && error.to_string().contains("IGNORE"), "{error}");
}

#[test]
fn real_lsst_afw_exposure() {
    let Some(path) = real_data("lsst_afw/exposuref_110x301.fits") else { return };
    let exposure = read_only(&path).expect("a real afw exposure");
    assert_eq!(exposure.shape(), (301, 110));
    assert_eq!(exposure.layout, "lsst-afw");
    assert_eq!(exposure.variance_origin, VarianceOrigin::Variance);
    // DETECTED (bit 5) is the only plane set in this file.
    assert!(exposure.mask.iter().all(|&bits| bits == 0));
    assert!((exposure.pixel_scale().expect("wcs") - 0.2).abs() < 1e-6);
    assert_eq!(exposure.zero_point, None);
    // numpy: data.astype(float64).sum() of HDU 1
    let sum: f64 = exposure.image.iter().map(|&v| f64::from(v)).sum();
    assert!((sum - 788_670.757_477_9).abs() < 0.01, "{sum}");
}

#[test]
fn real_decam_trios() {
    // (file, shape, id, zero point: three of the four headers hold none)
    let cases = [
        ("testcase4_c4d_170316_062107_ooi_z_ls9.N2.fits", (251, 245), "630780-33", Some(29.915)),
        ("testcase9_c4d_131122_030338_ooi_z_ls9.S21.fits", (101, 101), "257266-9", None),
        ("testcase9_c4d_141029_043225_ooi_g_ls9.N26.fits", (101, 101), "372546-57", None),
        ("testcase9_c4d_141029_043420_ooi_r_ls9.N26.fits", (100, 101), "372547-57", None),
    ];
    for (name, shape, id, zero_point) in cases {
        let Some(path) = real_data(&format!("decam_legacy/{name}")) else { return };
        let exposure = read_only(&path).expect("a real DECam cut-out");
        assert_eq!(exposure.shape(), shape);
        assert_eq!((exposure.layout.as_str(), exposure.id.as_str()), ("decam", id));
        assert_eq!(exposure.variance_origin, VarianceOrigin::Weight, "{name}: {:?}", exposure.notes);
        assert!((exposure.pixel_scale().expect("wcs") - 0.262).abs() < 0.003);
        assert_eq!(exposure.zero_point, zero_point);
        assert_eq!(has_note(&exposure, "no zero point"), zero_point.is_none());
        assert_eq!(exposure.background_subtracted, Some(false));
        if zero_point.is_some() {
            assert_eq!(exposure.mask.iter().filter(|&&bits| bits & mask::COSMIC_RAY != 0).count(), 177);
            assert_eq!(exposure.mask.iter().filter(|&&bits| bits & mask::NO_DATA != 0).count(), 177);
            assert_eq!(exposure.band.as_deref(), Some("z"));
            let gain = exposure.gain.expect("GAINA and GAINB");
            assert!((gain - 0.5 * (3.870_475_349_316_07 + 3.883_005_538_089_94)).abs() < 1e-12);
        }
    }
}

#[test]
fn a_weight_of_ones_is_no_inverse_variance() {
    let Some(path) = real_data("emmi_ntt/galaxies.fits") else { return };
    let exposure = read_only(&path).expect("the EMMI exposure");
    assert_eq!(exposure.variance_origin, VarianceOrigin::Estimated);
    assert!(has_note(&exposure, "relative"), "{:?}", exposure.notes);
    assert!(exposure.wcs.is_none() && has_note(&exposure, "no world coordinates"));
    let sigma = f64::from(exposure.variance[[500, 500]]).sqrt();
    // SExtractor finds an rms of 63 ADU on this frame.
    assert!((55.0..70.0).contains(&sigma), "{sigma}");
    assert_eq!(exposure.exposure_time, Some(1200.0));
    assert_eq!(exposure.instrument.as_deref(), Some("EMMI"));
}

#[test]
fn other_real_images_and_tables() {
    let settings = ReadSettings::default();
    if let Some(path) = real_data("emmi_crop_sextractor/image.fits") {
        let exposure = read_only(&path).expect("the EMMI crop");
        assert_eq!(exposure.shape(), (256, 256));
        assert!(has_note(&exposure, "no noise plane"));
    }
    if let Some(path) = real_data("hsc_hst_pair/Cut_HSC.fits") {
        let error = list_exposures(&path, &settings).expect_err("a cube of five bands");
        assert!(error.to_string().contains("50 x 50 x 5"), "{error}");
    }
    if let Some(path) = real_data("hsc_hst_pair/Cut_HST.fits") {
        assert_eq!(read_only(&path).expect("one image").shape(), (250, 250));
    }
    if let Some(path) = real_data("cosmos_acs/cosmos_acs.fits") {
        let mut file = FitsFile::open(&path, 1 << 30).expect("COSMOS");
        let table = file.first_table().expect("CATALOG");
        assert_eq!(table.rows(), 67);
        let galaxy = file.find("GAL005").expect("GAL005").index;
        assert_eq!(file.read_plane(galaxy, 1 << 20).expect("pixels").dim(), (32, 32));
    }
    for (name, columns) in [("stars_decam/decam_00241238_01_vignets.fits", 24), ("stars_rubin/stars_rubin.fits", 8)] {
        let Some(path) = real_data(name) else { continue };
        let mut file = FitsFile::open(&path, 1 << 30).expect("stars");
        let last = file.hdus().iter().rfind(|hdu| hdu.content == HduContent::Table).expect("a table").index;
        let table = file.read_table(last).expect("stars");
        assert_eq!(table.names().len(), columns, "{:?}", table.names());
        if columns == 24 {
            assert_eq!(table.dimensions("vignet").expect("VIGNET"), [63, 63]);
            assert_eq!(table.numbers("VIGNET").expect("VIGNET").len(), 117 * 63 * 63);
        }
    }
}

/// A 48 x 40 exposure with every property set and one pixel of every mask bit.
fn sample() -> Exposure {
    let (ny, nx) = (40, 48);
    let sigma = 3.0;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let normal = Normal::new(0.0, sigma).expect("a width");
    let image = Array2::from_shape_simple_fn((ny, nx), || normal.sample(&mut rng) as f32);
    let mut mask = Array2::zeros((ny, nx));
    for (k, bit) in mask::MASK_BITS.iter().enumerate() {
        mask[[3, 5 + k]] = bit.bit;
    }
    let scale = 0.2 / 3600.0;
    Exposure {
        id: "42-R11".into(),
        image,
        variance: Array2::from_elem((ny, nx), (sigma * sigma) as f32),
        mask,
        wcs: Some(Wcs::tan((150.0, 2.0), (23.5, 19.5), [[-scale, 0.0], [0.0, scale]]).expect("a TAN")),
        zero_point: Some(27.25),
        gain: Some(1.7),
        saturation: Some(60_000.0),
        band: Some("r".into()),
        exposure_time: Some(30.0),
        instrument: Some("SIM".into()),
        variance_origin: VarianceOrigin::Variance,
        background_subtracted: Some(true),
        layout: String::new(),
        pixel_scale_hint: None,
        notes: vec![],
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().expect("folder");
    let given = sample();
    for (layout, name) in
        [(WriteLayout::LsstAfw, "lsst-afw"), (WriteLayout::EuclidVis, "euclid-vis"), (WriteLayout::Generic, "mef")]
    {
        let path = folder.path().join(format!("{name}.fits"));
        write_exposure(&path, &given, layout, &[]).expect("written");
        let back = read_only(&path).expect("readable");
        assert_eq!(back.layout, name, "{:?}", back.notes);
        assert_eq!(back.image, given.image);
        assert!(back.variance.iter().zip(&given.variance).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{name}");
        assert_eq!(back.mask, given.mask, "{name}");
        assert_eq!(back.id, given.id);
        assert!((back.zero_point.expect("zero point") - 27.25).abs() < 1e-6, "{name}: {:?}", back.zero_point);
        assert_eq!((back.gain, back.saturation), (given.gain, given.saturation));
        assert_eq!(
            (back.band, back.exposure_time, back.instrument),
            (given.band.clone(), Some(30.0), given.instrument.clone())
        );
        assert_eq!(back.background_subtracted, Some(true));
        let (a, b) =
            (back.wcs.expect("wcs").pixel_to_sky(7.0, 9.0), given.wcs.as_ref().expect("wcs").pixel_to_sky(7.0, 9.0));
        assert!((a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12);
    }
}

#[test]
fn tables_keep_values_units_and_descriptions() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("t.fits");
    let columns = [
        TableColumn::new("id", Values::I64(vec![1, i64::MAX, -3])).ucd("meta.id").description("number of the object"),
        TableColumn::new("flux", Values::F64(vec![1.5, f64::NAN, -2.0])).unit("nJy").display("F12.3"),
        TableColumn::new("name", Values::Text(vec!["a".into(), "long name".into(), "Ångström".into()])),
        TableColumn::new("used", Values::Bool(vec![true, false, true])),
        TableColumn::new("box", Values::F32(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])).width(2),
    ];
    let mut cards = Cards::new();
    cards.push("ORIGIN", "test", "");
    write_table(&path, "ROWS", &columns, &cards).expect("written");
    let mut file = FitsFile::open(&path, 1 << 20).expect("own file");
    let index = file.find("rows").expect("by name").index;
    let table = file.read_table(index).expect("table");
    assert_eq!(table.names(), ["id", "flux", "name", "used", "box"]);
    assert_eq!(table.integers("ID").expect("id"), [1, i64::MAX, -3]);
    let flux = table.numbers("flux").expect("flux");
    assert!(flux[0] == 1.5 && flux[1].is_nan() && flux[2] == -2.0);
    assert_eq!(table.unit("flux").expect("unit"), "nJy");
    assert_eq!(table.strings("name").expect("name"), ["a", "long name", "?ngstr?m"]);
    assert_eq!(table.integers("used").expect("used"), [1, 0, 1]);
    assert_eq!((table.width("box").expect("box"), table.rows()), (2, 3));
    assert_eq!(table.cards.text("TUCD1").as_deref(), Some("meta.id"));
    assert_eq!(table.cards.text("TCOMM1").as_deref(), Some("number of the object"));
    assert_eq!(table.cards.text("TDISP2").as_deref(), Some("F12.3"));
    let error = table.numbers("mag").expect_err("no such column").to_string();
    assert!(error.contains("mag") && error.contains("id, flux, name, used, box"), "{error}");
}
