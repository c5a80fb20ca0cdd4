//! Reading of exposures: real files, golden values from astropy, bad input, round trips.

mod common;

use std::path::Path;

use common::real_data;
use stillair::exposure::{Exposure, VarianceOrigin};
use stillair::fits::{FitsError, ReadSettings, list_exposures, read};
use stillair::image::mask;

fn read_only(path: &Path) -> Result<Exposure, FitsError> {
    let settings = ReadSettings::default();
    let handles = list_exposures(path, &settings)?;
    assert_eq!(handles.len(), 1, "{handles:?}");
    read(&handles[0], &settings)
}

#[test]
fn lsst_afw_exposure() {
    let Some(path) = real_data("lsst_afw/exposuref_110x301.fits") else { return };
    let exposure = read_only(&path).expect("a real afw exposure");
    println!("{:?}", exposure.notes);
    assert_eq!(exposure.shape(), (301, 110));
    assert_eq!(exposure.layout, "lsst-afw");
    assert_eq!(exposure.variance_origin, VarianceOrigin::Variance);
    // DETECTED (bit 5) is the only plane set in this file.
    assert!(exposure.mask.iter().all(|&bits| bits == 0));
    assert!((exposure.pixel_scale().expect("wcs") - 0.2).abs() < 1e-6);
    assert_eq!(exposure.zero_point, None);
}

#[test]
fn decam_trio() {
    let Some(path) = real_data("decam_legacy/testcase4_c4d_170316_062107_ooi_z_ls9.N2.fits") else { return };
    let exposure = read_only(&path).expect("a real DECam cut-out");
    println!("{:?}", exposure.notes);
    assert_eq!(exposure.shape(), (251, 245));
    assert_eq!(exposure.layout, "decam");
    assert_eq!(exposure.id, "630780-33");
    assert_eq!(exposure.variance_origin, VarianceOrigin::Weight);
    assert_eq!(exposure.mask.iter().filter(|&&bits| bits & mask::COSMIC_RAY != 0).count(), 177);
    assert_eq!(exposure.mask.iter().filter(|&&bits| bits & mask::NO_DATA != 0).count(), 177);
    assert_eq!(exposure.zero_point, Some(29.915));
    assert_eq!(exposure.band.as_deref(), Some("z"));
    assert_eq!(exposure.background_subtracted, Some(false));
    assert!((exposure.pixel_scale().expect("wcs") - 0.262).abs() < 0.003);
}

#[test]
fn a_weight_of_ones_is_no_inverse_variance() {
    let Some(path) = real_data("emmi_ntt/galaxies.fits") else { return };
    let exposure = read_only(&path).expect("the EMMI exposure");
    println!("{:?}", exposure.notes);
    assert_eq!(exposure.variance_origin, VarianceOrigin::Estimated);
    assert!(exposure.wcs.is_none());
    let sigma = f64::from(exposure.variance[[500, 500]]).sqrt();
    // SExtractor finds an rms of 63 ADU on this frame.
    assert!((50.0..75.0).contains(&sigma), "{sigma}");
}
