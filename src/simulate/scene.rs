//! What stands on the sky: sums of points, Sersic profiles, spiral arms and knots.

use std::sync::Arc;

use num_complex::Complex32;

use super::grid::{Grid, Spectrum};
use super::sersic;
use super::sky_image::SkyImage;
use super::spiral;
use super::table::Shear;

/// One part of an object; offsets (dx, dy) in pixels from the object's position, lengths in pixels.
#[derive(Debug, Clone, PartialEq)]
pub enum Component {
    /// A point.
    Point {
        /// Flux.
        flux: f64,
        /// Offset along x.
        dx: f64,
        /// Offset along y.
        dy: f64,
    },
    /// A round Gaussian: a star-forming knot, a piece of a tidal tail.
    Knot {
        /// Flux.
        flux: f64,
        /// Standard deviation, pixels.
        sigma: f64,
        /// Offset along x.
        dx: f64,
        /// Offset along y.
        dy: f64,
    },
    /// A sheared Sersic profile.
    Sersic {
        /// Flux.
        flux: f64,
        /// Index, within [`sersic::INDEX_RANGE`].
        n: f64,
        /// Half-light radius before the shear (the shear keeps areas), pixels.
        half_light_radius: f64,
        /// Shape.
        shear: Shear,
        /// Offset along x.
        dx: f64,
        /// Offset along y.
        dy: f64,
    },
    /// The light that spiral arms move about in an exponential disc; no net flux.
    Arms {
        /// Flux of the disc that they belong to.
        disc_flux: f64,
        /// Scale length of that disc before the shear, pixels.
        scale_length: f64,
        /// Shape of that disc.
        shear: Shear,
        /// Index into [`spiral::PITCHES`].
        pitch: usize,
        /// Number of arms.
        arms: u32,
        /// Contrast, 0..=1.
        contrast: f64,
        /// Rotation, radians.
        phase: f64,
        /// Wound the other way.
        mirrored: bool,
    },
    /// A real galaxy.
    Picture {
        /// Flux.
        flux: f64,
        /// What it looks like.
        picture: Arc<SkyImage>,
        /// Length of one of the picture's pixels, pixels.
        scale: f64,
        /// Rotation from +x towards +y, radians.
        angle: f64,
        /// Whether x is flipped before the rotation.
        mirrored: bool,
        /// Offset along x.
        dx: f64,
        /// Offset along y.
        dy: f64,
    },
}

/// An object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// Its parts.
    pub components: Vec<Component>,
}

/// Intrinsic second moments of an object about its light's centre, pixels squared.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// Along x.
    pub xx: f64,
    /// Along y.
    pub yy: f64,
    /// Mixed.
    pub xy: f64,
}

impl Moments {
    /// Ellipticity (distortion) e1 = (xx - yy) / (xx + yy), e2 = 2 xy / (xx + yy); zero for a point.
    pub fn ellipticity(&self) -> (f64, f64) {
        let t = self.xx + self.yy;
        if t > 0.0 { ((self.xx - self.yy) / t, 2.0 * self.xy / t) } else { (0.0, 0.0) }
    }
}

impl Scene {
    /// A star of the given flux.
    pub fn star(flux: f64) -> Self {
        Self { components: vec![Component::Point { flux, dx: 0.0, dy: 0.0 }] }
    }

    /// A single Sersic galaxy.
    pub fn sersic(flux: f64, n: f64, half_light_radius: f64, shear: Shear) -> Self {
        Self { components: vec![Component::Sersic { flux, n, half_light_radius, shear, dx: 0.0, dy: 0.0 }] }
    }

    /// Total flux.
    pub fn flux(&self) -> f64 {
        self.components.iter().map(Component::flux).sum()
    }

    /// The same object at another flux.
    pub fn scaled(mut self, factor: f64) -> Self {
        for c in &mut self.components {
            match c {
                Component::Point { flux, .. }
                | Component::Knot { flux, .. }
                | Component::Sersic { flux, .. }
                | Component::Picture { flux, .. } => *flux *= factor,
                Component::Arms { disc_flux, .. } => *disc_flux *= factor,
            }
        }
        self
    }

    /// The transform of the object about its position.
    pub fn spectrum(&self, grid: Grid) -> Spectrum {
        let mut spectrum = Spectrum::constant(grid, 0.0);
        for component in &self.components {
            component.add_to(&mut spectrum);
        }
        spectrum
    }

    /// Flux-weighted mean offset of the light from the object's position, pixels.
    pub fn centroid(&self) -> (f64, f64) {
        let flux = self.flux();
        if flux == 0.0 {
            return (0.0, 0.0);
        }
        let (mut x, mut y) = (0.0, 0.0);
        for c in &self.components {
            let (dx, dy) = c.offset();
            x += c.flux() * dx;
            y += c.flux() * dy;
        }
        (x / flux, y / flux)
    }

    /// Unweighted second moments before any convolution; spiral arms of two or more arms are taken to add nothing, and a picture's hold
    /// the width of its own telescope.
    pub fn moments(&self) -> Moments {
        let flux = self.flux();
        let (cx, cy) = self.centroid();
        let mut m = Moments::default();
        if flux == 0.0 {
            return m;
        }
        for c in &self.components {
            let (dx, dy) = c.offset();
            let (xx, yy, xy) = match c {
                Component::Knot { sigma, .. } => (sigma * sigma, sigma * sigma, 0.0),
                Component::Sersic { n, half_light_radius: r, shear, .. } => {
                    shear.moments(sersic::mean_square_radius(*n) * r * r)
                }
                Component::Picture { picture, scale, angle, mirrored, .. } => {
                    turned(picture.moments, *scale, *angle, *mirrored)
                }
                Component::Point { .. } | Component::Arms { .. } => (0.0, 0.0, 0.0),
            };
            let w = c.flux() / flux;
            m.xx += w * (xx + (dx - cx).powi(2));
            m.yy += w * (yy + (dy - cy).powi(2));
            m.xy += w * (xy + (dx - cx) * (dy - cy));
        }
        m
    }

    /// Radius of the circle about the position that holds half of the light before any convolution, sheared profiles taken round
    /// (of the same area) and knots and points as lying at their distance; pixels.
    pub fn half_light_radius(&self) -> f64 {
        let flux = self.flux();
        if flux <= 0.0 {
            return 0.0;
        }
        let within = |r: f64| -> f64 {
            self.components
                .iter()
                .map(|c| {
                    let (dx, dy) = c.offset();
                    let d = dx.hypot(dy);
                    match c {
                        Component::Sersic { flux, n, half_light_radius: h, .. } => {
                            let r = if d > 0.0 { (r * r - d * d).max(0.0).sqrt() } else { r };
                            flux * sersic::enclosed(*n, sersic::b_n(*n), r / h)
                        }
                        Component::Knot { flux, sigma, .. } => {
                            let r2 = (r * r - d * d).max(0.0);
                            flux * (1.0 - (-0.5 * r2 / (sigma * sigma)).exp())
                        }
                        // its growth curve is taken for that of an exponential disc
                        Component::Picture { flux, picture, scale, .. } => {
                            let h = picture.half_light_radius * scale;
                            flux * sersic::enclosed(1.0, sersic::b_n(1.0), (r * r - d * d).max(0.0).sqrt() / h)
                        }
                        Component::Point { flux, .. } if d <= r => *flux,
                        Component::Point { .. } | Component::Arms { .. } => 0.0,
                    }
                })
                .sum()
        };
        let (mut low, mut high) = (0.0, 1.0);
        while within(high) < 0.5 * flux && high < 1e4 {
            high *= 2.0;
        }
        for _ in 0..30 {
            let mid = 0.5 * (low + high);
            if within(mid) < 0.5 * flux { low = mid } else { high = mid }
        }
        if high < 1e-6 { 0.0 } else { high }
    }

    /// Radius beyond which the unconvolved surface brightness stays below `threshold` (flux per square pixel), pixels.
    pub fn radius_at(&self, threshold: f64) -> f64 {
        self.components
            .iter()
            .map(|c| {
                let (dx, dy) = c.offset();
                dx.hypot(dy)
                    + match c {
                        Component::Sersic { flux, n, half_light_radius: h, shear, .. } => {
                            let stretch =
                                (1.0 + shear.g1.hypot(shear.g2)).powi(2) / (1.0 - shear.g1.powi(2) - shear.g2.powi(2));
                            let level = threshold * h * h / flux.abs().max(f64::MIN_POSITIVE);
                            let r = sersic::radius_of_brightness(*n, level);
                            r * h * stretch.sqrt()
                        }
                        Component::Knot { sigma, .. } => 4.0 * sigma,
                        Component::Picture { picture, scale, .. } => picture.radius * scale,
                        Component::Point { .. } | Component::Arms { .. } => 0.0,
                    }
            })
            .fold(0.0, f64::max)
    }
}

impl Component {
    /// Its net flux.
    pub fn flux(&self) -> f64 {
        match self {
            Self::Point { flux, .. }
            | Self::Knot { flux, .. }
            | Self::Sersic { flux, .. }
            | Self::Picture { flux, .. } => *flux,
            Self::Arms { .. } => 0.0,
        }
    }

    fn offset(&self) -> (f64, f64) {
        match self {
            Self::Point { dx, dy, .. }
            | Self::Knot { dx, dy, .. }
            | Self::Sersic { dx, dy, .. }
            | Self::Picture { dx, dy, .. } => (*dx, *dy),
            Self::Arms { .. } => (0.0, 0.0),
        }
    }

    /// Moves it by (x, y) pixels; spiral arms stay at the object's position.
    pub fn shift(&mut self, x: f64, y: f64) {
        match self {
            Self::Point { dx, dy, .. }
            | Self::Knot { dx, dy, .. }
            | Self::Sersic { dx, dy, .. }
            | Self::Picture { dx, dy, .. } => {
                *dx += x;
                *dy += y;
            }
            Self::Arms { .. } => {}
        }
    }

    fn add_to(&self, spectrum: &mut Spectrum) {
        match self {
            Self::Point { flux, dx, dy } => spectrum.add_separable(*dx, *dy, |_| *flux, |_| 1.0),
            Self::Knot { flux, sigma, dx, dy } => {
                let a = 2.0 * (std::f64::consts::PI * sigma).powi(2);
                spectrum.add_separable(*dx, *dy, |k| flux * (-a * k * k).exp(), |k| (-a * k * k).exp());
            }
            Self::Sersic { flux, n, half_light_radius, shear, dx, dy } => {
                let table = sersic::transform(*n);
                let (xx, xy, yy) = shear.quadratic_form(*half_light_radius);
                let (xx, xy, yy, flux) = (xx as f32, xy as f32, yy as f32, *flux as f32);
                spectrum.add_shifted(*dx, *dy, |kx, ky| {
                    let q = xx * kx * kx + xy * kx * ky + yy * ky * ky;
                    Complex32::new(flux * table.at_square(q.max(0.0)), 0.0)
                });
            }
            Self::Picture { flux, picture, scale, angle, mirrored, dx, dy } => {
                // f(x) = g(A^-1 x) / det A has the transform G(A^T k); A = scale * rotation * flip
                let (sin, cos) = angle.sin_cos();
                let flip = if *mirrored { -1.0 } else { 1.0 };
                let (xx, xy) = ((flip * scale * cos) as f32, (flip * scale * sin) as f32);
                let (yx, yy) = ((-scale * sin) as f32, (scale * cos) as f32);
                let flux = *flux as f32;
                spectrum.add_shifted(*dx, *dy, |kx, ky| picture.at(xx * kx + xy * ky, yx * kx + yy * ky) * flux);
            }
            Self::Arms { disc_flux, scale_length, shear, pitch, arms, contrast, phase, mirrored } => {
                let table = spiral::table(*pitch, *arms);
                let (a, b, d) = shear.matrix();
                let s = std::f64::consts::TAU * scale_length;
                // mirroring swaps the sense of rotation before the shear is applied
                let flip = if *mirrored { -1.0 } else { 1.0 };
                let (a, b, c, d) = ((s * a) as f32, (s * b) as f32, (flip * s * b) as f32, (flip * s * d) as f32);
                let angle = -f64::from(*arms) * phase;
                let rotation = Complex32::from_polar((disc_flux * contrast) as f32, angle as f32);
                spectrum.for_each(|kx, ky, v| *v += table.at(a * kx + b * ky, c * kx + d * ky, rotation));
            }
        }
    }
}

/// Second moments (xx, yy, xy) after a flip of x, a rotation and a change of scale.
fn turned((xx, yy, xy): (f64, f64, f64), scale: f64, angle: f64, mirrored: bool) -> (f64, f64, f64) {
    let xy = if mirrored { -xy } else { xy };
    let (sin, cos) = angle.sin_cos();
    let s = scale * scale;
    (
        s * (cos * cos * xx + sin * sin * yy - 2.0 * sin * cos * xy),
        s * (sin * sin * xx + cos * cos * yy + 2.0 * sin * cos * xy),
        s * (sin * cos * (xx - yy) + (cos * cos - sin * sin) * xy),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flux_moments_and_half_light_radius_of_simple_objects() {
        let scene = Scene::sersic(5.0, 1.0, 3.0, Shear::from_axis_ratio(0.5, 0.0));
        assert!((scene.flux() - 5.0).abs() < 1e-12);
        assert!((scene.half_light_radius() - 3.0).abs() < 1e-6);
        // axis ratio 1/2: (1 - 1/4) / (1 + 1/4)
        let (e1, e2) = scene.moments().ellipticity();
        assert!((e1 - 0.6).abs() < 1e-12 && e2.abs() < 1e-12);
        assert_eq!(Scene::star(2.0).half_light_radius(), 0.0);
    }

    #[test]
    fn arms_hold_no_flux_and_change_the_picture() {
        let grid = Grid::new(64, 0.9, 1);
        let arms = Component::Arms {
            disc_flux: 1.0,
            scale_length: 4.0,
            shear: Shear::default(),
            pitch: 2,
            arms: 2,
            contrast: 0.8,
            phase: 0.4,
            mirrored: true,
        };
        let mut spectrum = Scene { components: vec![arms] }.spectrum(grid);
        assert_eq!(spectrum.flux(), 0.0);
        let mut power = 0.0f64;
        spectrum.for_each(|_, _, v| power += f64::from(v.norm_sqr()));
        assert!(power > 0.1, "{power}");
    }
}
