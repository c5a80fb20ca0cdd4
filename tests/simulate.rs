//! Simulation: profiles against GalSim, flux, noise, truth tables, the command itself.

mod common;

use stillair::simulate::grid::{Grid, Spectrum, Window};
use stillair::simulate::optics::Optics;
use stillair::simulate::{Psf, Renderer, Scene, Shear};

#[derive(serde::Deserialize)]
struct Profiles {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    n: usize,
    centre: (f64, f64),
    pixel: bool,
    unit: f64,
    pixels: Vec<f64>,
    psf: String,
    #[serde(default)]
    fwhm: f64,
    #[serde(default)]
    beta: f64,
    #[serde(default)]
    psf_g1: f64,
    #[serde(default)]
    psf_g2: f64,
    #[serde(default)]
    cutoff: f64,
    #[serde(default)]
    obscuration: f64,
    #[serde(default)]
    defocus: f64,
    #[serde(default)]
    astig1: f64,
    #[serde(default)]
    astig2: f64,
    #[serde(default)]
    coma1: f64,
    #[serde(default)]
    coma2: f64,
    #[serde(default)]
    n_sersic: f64,
    #[serde(default)]
    hlr: f64,
    #[serde(default)]
    g1: f64,
    #[serde(default)]
    g2: f64,
}

impl Case {
    fn psf(&self) -> Psf {
        let shear = Shear { g1: self.psf_g1, g2: self.psf_g2 };
        match self.psf.as_str() {
            "moffat" => Psf::moffat(self.fwhm, self.beta, shear),
            "kolmogorov" => Psf::kolmogorov(self.fwhm, shear),
            "gaussian" => Psf::gaussian(self.fwhm, shear),
            "airy" => Psf::airy(self.cutoff, self.obscuration),
            "telescope" => {
                // Noll: Z5 (astig1) is the diagonal astigmatism, Z7 (coma1) the coma along y
                let optics = Optics {
                    cutoff: self.cutoff,
                    obscuration: self.obscuration,
                    defocus: self.defocus,
                    astigmatism_0: self.astig2,
                    astigmatism_45: self.astig1,
                    coma_x: self.coma2,
                    coma_y: self.coma1,
                };
                Psf::telescope(optics, 1.0)
            }
            other => panic!("unknown PSF {other}"),
        }
    }
}

/// Every profile that GalSim also has, to 1e-3 of the image's maximum (the aberrated pupil to 3e-3).
#[test]
fn profiles_agree_with_galsim() {
    let text = std::fs::read_to_string(common::golden("simulate/profiles.json")).expect("golden file");
    let profiles: Profiles = serde_json::from_str(&text).expect("golden JSON");
    assert_eq!(profiles.cases.len(), 9);
    for case in &profiles.cases {
        let psf = case.psf();
        let grid = Grid::new(6 * case.n, psf.cut(1e-6), 1);
        let kernel = if case.pixel { psf.effective_spectrum(grid) } else { psf.spectrum(grid) };
        let object = if case.n_sersic > 0.0 {
            Scene::sersic(1.0, case.n_sersic, case.hlr, Shear { g1: case.g1, g2: case.g2 }).spectrum(grid)
        } else {
            Spectrum::constant(grid, 1.0)
        };
        // GalSim leaves in the shift of the centroid that coma brings, 2 / cutoff pixels per wave of mean slope; we take it out
        let slope = 8f64.sqrt() * (3.0 * (1.0 + case.obscuration.powi(2)) - 2.0);
        let shift = |coma: f64| if coma == 0.0 { 0.0 } else { -slope * coma * 2.0 / case.cutoff };
        let centre = (case.centre.0 + shift(case.coma2), case.centre.1 + shift(case.coma1));
        let window = Window { nx: case.n, ny: case.n, sampling: 1, centre };
        let image = Renderer::new().draw(&object, &kernel, window);
        let peak = 1e5 * case.unit;
        let worst = image
            .iter()
            .zip(&case.pixels)
            .map(|(ours, theirs)| (f64::from(*ours) - theirs * case.unit).abs() / peak)
            .fold(0.0, f64::max);
        eprintln!("{}: largest difference {worst:.1e} of the peak", case.name);
        let bar = if case.psf == "telescope" { 3e-3 } else { 1e-3 };
        assert!(worst < bar, "{}: {worst:.2e} of the peak", case.name);
    }
}
