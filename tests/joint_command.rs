//! `stillair joint` from files to files: fluxes and colours of known sources, and inputs that cannot be used while the others go on.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use rand::{RngExt, SeedableRng};
use stillair::exposure::{Exposure, VarianceOrigin};
use stillair::fits::{ExtraHdu, FitsFile, Table, WriteLayout, write_exposure, write_hdus};
use stillair::image::{MaskPlane, Plane, mask};
use stillair::sky::{Cards, Wcs};

const CENTRE: (f64, f64) = (150.0, 2.0);
/// Standard deviation of a Gaussian over its FWHM.
const SIGMA: f64 = 0.424_660_900_144_009_5;

struct Camera {
    band: &'static str,
    size: usize,
    /// arcsec per pixel.
    scale: f64,
    turn: f64,
    /// arcsec.
    fwhm: f64,
    noise: f64,
    zero_point: Option<f64>,
    /// Offset of its field from the others', arcsec.
    aside: f64,
}

impl Camera {
    fn ground(band: &'static str, turn: f64) -> Self {
        Self { band, size: 160, scale: 0.2, turn, fwhm: 0.75, noise: 1.0, zero_point: Some(31.4), aside: 0.0 }
    }

    /// Image of Gaussians (east, north, standard deviation in arcsec, flux in this band).
    fn write(&self, folder: &Path, sky: &[(f64, f64, f64, f64)], masked: bool) {
        let (sin, cos) = self.turn.sin_cos();
        let s = self.scale / 3600.0;
        let middle = (self.size as f64 - 1.0) / 2.0;
        let centre = (CENTRE.0 + self.aside / 3600.0, CENTRE.1);
        let wcs = Wcs::tan(centre, (middle, middle), [[-s * cos, s * sin], [s * sin, s * cos]]).unwrap();
        let unit = 10f64.powf(0.4 * (self.zero_point.unwrap_or(31.4) - 31.4));
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(self.band.len() as u64 + (1e3 * self.turn) as u64);
        let places: Vec<_> = sky
            .iter()
            .map(|(e, n, sigma, flux)| {
                let dec = CENTRE.1 + n / 3600.0;
                let (x, y) = wcs.sky_to_pixel(CENTRE.0 + e / 3600.0 / dec.to_radians().cos(), dec).unwrap();
                let variance = (sigma * sigma + (SIGMA * self.fwhm).powi(2)) / (self.scale * self.scale);
                (x, y, variance, flux * unit)
            })
            .collect();
        let image = Plane::from_shape_fn((self.size, self.size), |(row, column)| {
            let light: f64 = places
                .iter()
                .map(|(x, y, v, flux)| {
                    let r2 = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
                    if r2 > 60.0 * v { 0.0 } else { flux * (-0.5 * r2 / v).exp() / (std::f64::consts::TAU * v) }
                })
                .sum();
            let noise: f32 = rng.sample(rand_distr::StandardNormal);
            (light + self.noise * unit * f64::from(noise)) as f32
        });
        let bits = if masked { mask::BAD } else { 0 };
        let exposure = Exposure {
            id: self.band.into(),
            variance: Plane::from_elem(image.dim(), (self.noise * unit).powi(2) as f32),
            mask: MaskPlane::from_elem(image.dim(), bits),
            image,
            wcs: Some(wcs),
            zero_point: self.zero_point,
            gain: None,
            saturation: None,
            band: Some(self.band.into()),
            exposure_time: None,
            instrument: None,
            variance_origin: VarianceOrigin::Variance,
            background_subtracted: Some(true),
            layout: "simple".into(),
            pixel_scale_hint: None,
            notes: Vec::new(),
        };
        write_exposure(&folder.join(format!("{}.fits", self.band)), &exposure, WriteLayout::Generic, &[]).unwrap();
        let side = 41;
        let sigma = SIGMA * self.fwhm / self.scale;
        let mut psf = Plane::from_shape_fn((side, side), |(y, x)| {
            (-0.5 * ((x as f64 - 20.0).powi(2) + (y as f64 - 20.0).powi(2)) / sigma / sigma).exp() as f32
        });
        psf /= psf.sum();
        let hdu = ExtraHdu::Plane { name: "PSF".into(), plane: psf, cards: Cards::new() };
        write_hdus(&folder.join(format!("{}_psf.fits", self.band)), &Cards::new(), &[hdu]).unwrap();
    }
}

/// Sources on a loose grid: (east, north, sigma, fluxes).
fn sky(bands: usize) -> Vec<(f64, f64, f64, Vec<f64>)> {
    (0..16)
        .map(|k| {
            let (i, j) = (f64::from(k % 4), f64::from(k / 4));
            let flux = 400.0 + 150.0 * f64::from(k);
            let tilt = 0.6 + 0.1 * f64::from(k % 5);
            let fluxes = (0..bands).map(|b| flux * tilt.powi(b as i32)).collect();
            (6.0 * (i - 1.5) + 0.13 * j, 6.0 * (j - 1.5) - 0.17 * i, 0.12 + 0.04 * f64::from(k % 4), fluxes)
        })
        .collect()
}

fn of_band(sky: &[(f64, f64, f64, Vec<f64>)], weights: &[f64]) -> Vec<(f64, f64, f64, f64)> {
    sky.iter().map(|(e, n, s, f)| (*e, *n, *s, f.iter().zip(weights).map(|(f, w)| f * w).sum())).collect()
}

fn manifest(folder: &Path, entries: &[(&str, bool, bool)]) {
    let text: String = entries
        .iter()
        .map(|(band, wide, psf)| {
            let psf = if *psf { format!("psf = \"{band}_psf.fits\"\n") } else { String::new() };
            format!("[[exposure]]\nfile = \"{band}.fits\"\nwide = {wide}\n{psf}\n")
        })
        .collect();
    std::fs::write(folder.join("field.toml"), text).unwrap();
}

fn run(folder: &Path) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_stillair"))
        .current_dir(folder)
        .args(["joint", "field.toml", "--out", "out"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), text)
}

fn table(folder: &Path) -> Table {
    FitsFile::open(&folder.join("out/joint.fits"), 1 << 30).unwrap().first_table().unwrap()
}

/// Row of the source nearest to each place, arcsec.
fn rows(table: &Table, sky: &[(f64, f64, f64, Vec<f64>)]) -> Vec<usize> {
    let (ra, dec) = (table.numbers("ra").unwrap(), table.numbers("dec").unwrap());
    sky.iter()
        .map(|(e, n, ..)| {
            let off = |i: usize| {
                let dx = 3600.0 * (ra[i] - CENTRE.0) * CENTRE.1.to_radians().cos() - e;
                dx.hypot(3600.0 * (dec[i] - CENTRE.1) - n)
            };
            let best = (0..ra.len()).min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap();
            assert!(off(best) < 0.3, "{} arcsec", off(best));
            best
        })
        .collect()
}

#[test]
fn fluxes_of_two_bands_and_a_wide_one_are_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let sky = sky(2);
    Camera { zero_point: Some(30.0), ..Camera::ground("r", 0.2) }.write(
        folder.path(),
        &of_band(&sky, &[1.0, 0.0]),
        false,
    );
    Camera { fwhm: 0.65, ..Camera::ground("i", -0.5) }.write(folder.path(), &of_band(&sky, &[0.0, 1.0]), false);
    let vis = Camera {
        band: "VIS",
        size: 320,
        scale: 0.1,
        turn: 0.8,
        fwhm: 0.19,
        noise: 0.3,
        zero_point: Some(25.0),
        aside: 0.0,
    };
    vis.write(folder.path(), &of_band(&sky, &[0.55, 0.45]), false);
    manifest(folder.path(), &[("r", false, true), ("i", false, true), ("VIS", true, true)]);
    let (ok, said) = run(folder.path());
    assert!(ok, "{said}");
    let table = table(folder.path());
    let rows = rows(&table, &sky);
    for (b, band) in ["r", "i"].into_iter().enumerate() {
        let (flux, error) =
            (table.numbers(&format!("flux_{band}")).unwrap(), table.numbers(&format!("flux_err_{band}")).unwrap());
        for (row, s) in rows.iter().zip(&sky) {
            let off = flux[*row] - s.3[b];
            assert!(
                off.abs() < 5.0 * error[*row] + 0.04 * s.3[b],
                "{band}: {} +- {} for {}",
                flux[*row],
                error[*row],
                s.3[b]
            );
        }
    }
    let colour = table.numbers("colour_r_i").unwrap();
    let flags = table.integers("flags").unwrap();
    for (row, s) in rows.iter().zip(&sky) {
        assert!((colour[*row] + 2.5 * (s.3[0] / s.3[1]).log10()).abs() < 0.1);
        assert_eq!(flags[*row] & (1 << 24 | 1 << 25 | 1 << 15), 0);
    }
    assert!(table.strings("exposures").unwrap()[rows[0]].contains("VIS"), "{said}");
    for name in ["joint.parquet", "joint.png", "summary.json", "joint_stamps_64.fits"] {
        assert!(folder.path().join("out").join(name).exists(), "{name}");
    }
    // the same bytes again
    let first = std::fs::read(folder.path().join("out/joint.parquet")).unwrap();
    assert!(run(folder.path()).0);
    assert_eq!(first, std::fs::read(folder.path().join("out/joint.parquet")).unwrap());
}

#[test]
fn what_cannot_be_used_is_named_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let sky = sky(1);
    let band = of_band(&sky, &[1.0]);
    Camera::ground("r", 0.0).write(folder.path(), &band, false);
    // elsewhere on the sky, all masked, without zero point, without a PSF or stars to fit one, a second r of another zero point
    Camera { aside: 900.0, ..Camera::ground("far", 0.3) }.write(folder.path(), &band, false);
    Camera::ground("masked", 0.1).write(folder.path(), &band, true);
    Camera { zero_point: None, ..Camera::ground("bare", 0.1) }.write(folder.path(), &band, false);
    manifest(
        folder.path(),
        &[("r", false, true), ("far", false, true), ("masked", false, true), ("bare", false, true)],
    );
    std::fs::write(folder.path().join("empty.fits"), b"no FITS").unwrap();
    let mut text = std::fs::read_to_string(folder.path().join("field.toml")).unwrap();
    text.push_str("[[exposure]]\nfile = \"empty.fits\"\nband = \"q\"\n");
    text.push_str("[[exposure]]\nfile = \"r.fits\"\npsf = \"r_psf.fits\"\nzero_point = 30.4\n");
    std::fs::write(folder.path().join("field.toml"), text).unwrap();
    let (ok, said) = run(folder.path());
    assert!(ok, "{said}");
    for what in ["masked", "no zero point", "empty.fits", "one zero point is wrong"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let table = table(folder.path());
    let bands = table.strings("bands").unwrap();
    for row in rows(&table, &sky) {
        assert_eq!(bands[row], "r");
        assert_eq!(table.integers("flags").unwrap()[row] & (1 << 24), 1 << 24);
        assert!(table.numbers("flux_far").unwrap()[row].is_nan());
    }
}
