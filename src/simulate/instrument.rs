//! The instruments that exposures are simulated for.

/// A survey-like layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// LSST-like: 0.2 arcsec per pixel, 0.8 arcsec seeing, calibrated in nJy, sky subtracted.
    Lsst,
    /// Euclid-VIS-like: 0.1 arcsec per pixel, FWHM 0.16 arcsec, ADU, sky left in.
    Euclid,
    /// Any telescope: 0.26 arcsec per pixel, 1 arcsec seeing, ADU, sky left in.
    Generic,
}

/// What the image is taken with; per-pixel levels in electrons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instrument {
    /// Name in headers.
    pub name: &'static str,
    /// Band in headers.
    pub band: &'static str,
    /// Arcsec per pixel.
    pub pixel_scale: f64,
    /// AB magnitude of one image unit.
    pub zero_point: f64,
    /// Electrons per image unit.
    pub gain: f64,
    /// Seconds.
    pub exposure_time: f64,
    /// Sky, electrons per pixel.
    pub sky: f64,
    /// Change of the sky from one side of the image to the other, as a share of it.
    pub sky_gradient: f64,
    /// Read noise, electrons.
    pub read_noise: f64,
    /// Electrons at which a pixel is full.
    pub full_well: f64,
    /// Whether the (true, smooth) sky is taken off, but for a small residual.
    pub sky_subtracted: bool,
    /// Median half-light radius of galaxies at magnitude 24, arcsec.
    pub radius_at_24: f64,
    /// Cosmic rays per million pixels.
    pub cosmic_rays: f64,
}

impl Layout {
    /// Its instrument.
    pub fn instrument(self) -> Instrument {
        match self {
            Self::Lsst => Instrument {
                name: "LSST-like",
                band: "r",
                pixel_scale: 0.2,
                zero_point: 31.4,
                gain: 1.9,
                exposure_time: 30.0,
                sky: 400.0,
                sky_gradient: 0.04,
                read_noise: 8.0,
                full_well: 100_000.0,
                sky_subtracted: true,
                radius_at_24: 0.42,
                cosmic_rays: 12.0,
            },
            Self::Euclid => Instrument {
                name: "VIS",
                band: "VIS",
                pixel_scale: 0.1,
                // 24.57 for one ADU per second
                zero_point: 24.57 + 6.882,
                gain: 3.48,
                exposure_time: 566.0,
                sky: 240.0,
                sky_gradient: 0.05,
                read_noise: 4.5,
                full_well: 190_000.0,
                sky_subtracted: false,
                radius_at_24: 0.30,
                cosmic_rays: 250.0,
            },
            Self::Generic => Instrument {
                name: "generic",
                band: "r",
                pixel_scale: 0.26,
                zero_point: 30.2,
                gain: 4.0,
                exposure_time: 90.0,
                sky: 3200.0,
                sky_gradient: 0.06,
                read_noise: 7.0,
                full_well: 150_000.0,
                sky_subtracted: false,
                radius_at_24: 0.42,
                cosmic_rays: 30.0,
            },
        }
    }
}

impl Instrument {
    /// White-noise standard deviation of the empty sky, image units.
    pub fn sky_sigma(&self) -> f64 {
        (self.sky + self.read_noise * self.read_noise).sqrt() / self.gain
    }

    /// Image value at which pixels saturate.
    pub fn saturation(&self) -> f64 {
        let sky = if self.sky_subtracted { self.sky } else { 0.0 };
        (self.full_well - sky) / self.gain
    }

    /// Flux in image units of an AB magnitude.
    pub fn flux(&self, magnitude: f64) -> f64 {
        10f64.powf(0.4 * (self.zero_point - magnitude))
    }

    /// AB magnitude of a flux in image units.
    pub fn magnitude(&self, flux: f64) -> f64 {
        self.zero_point - 2.5 * flux.log10()
    }

    /// Sky in electrons at (x, y) of an image of `size` = (columns, rows): a plane with a slight bend.
    pub fn sky_at(&self, x: f64, y: f64, size: (usize, usize)) -> f64 {
        let (u, v) = (x / size.0.max(1) as f64 - 0.5, y / size.1.max(1) as f64 - 0.5);
        self.sky * (1.0 + self.sky_gradient * (0.8 * u - 0.5 * v + 0.6 * u * v + 0.4 * u * u))
    }
}
