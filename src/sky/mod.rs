//! World coordinates.

/// A celestial world coordinate solution (TAN, SIP, TPV). Pixels are 0-based here.
#[derive(Debug, Clone)]
pub struct Wcs {}

impl Wcs {
    /// Sky position (ra, dec) in degrees of a 0-based pixel position.
    pub fn pixel_to_sky(&self, _x: f64, _y: f64) -> (f64, f64) {
        todo!()
    }

    /// 0-based pixel position of a sky position in degrees; `None` where the projection has no solution.
    pub fn sky_to_pixel(&self, _ra: f64, _dec: f64) -> Option<(f64, f64)> {
        todo!()
    }

    /// Local Jacobian at a pixel: [[d xi/dx, d xi/dy], [d eta/dx, d eta/dy]] in arcsec per pixel,
    /// xi towards east (+ra cos dec), eta towards north.
    pub fn jacobian(&self, _x: f64, _y: f64) -> [[f64; 2]; 2] {
        todo!()
    }

    /// Square root of the pixel's area on the sky, arcsec.
    pub fn pixel_scale(&self, x: f64, y: f64) -> f64 {
        let j = self.jacobian(x, y);
        (j[0][0] * j[1][1] - j[0][1] * j[1][0]).abs().sqrt()
    }
}
