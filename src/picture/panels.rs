//! One object in four panels without words: observed, Tikhonov, deconvolved, residual. The colours are those of the sheet.

use super::PictureError;
use super::canvas::{Canvas, Picture};
use super::colour::{NIGHT, Rgb, SIGNED, asinh_stretch};
use super::sheet::{Limits, View, limits};
use crate::image::Plane;
use crate::image::stats::median_and_sigma;

/// Space between panels, logical pixels.
const GAP: u32 = 2;

/// The planes of one object, as in the stamp file.
#[derive(Debug, Clone, Copy)]
pub struct PanelObject<'a> {
    /// Observed stamp, (n, n).
    pub observed: &'a Plane,
    /// Tikhonov estimate, (n s, n s).
    pub tikhonov: &'a Plane,
    /// Final image, (n s, n s).
    pub deconvolved: &'a Plane,
    /// Residual, (n, n).
    pub residual: &'a Plane,
    /// Noise per pixel of `observed`, in its unit; NaN: taken from the residual.
    pub sigma: f64,
    /// Noise per pixel of `tikhonov`, in its unit.
    pub noise_sigma: f64,
    /// Object's 0-based position in `observed`: column, row.
    pub centre: (f64, f64),
}

/// Four panels side by side, each `side` logical pixels wide, of the middle `shown` detector pixels of the stamp.
pub fn object_panels(object: &PanelObject<'_>, shown: usize, side: u32) -> Result<Picture, PictureError> {
    let n = object.observed.nrows();
    let shown = shown.clamp(1, n.max(1));
    let factor = (object.deconvolved.nrows() / n.max(1)).max(1);
    let middle = |v: f64| if v.is_finite() { v.round() as isize } else { (n / 2) as isize } - (shown / 2) as isize;
    let coarse = |plane| View { plane, column: middle(object.centre.0), row: middle(object.centre.1), side: shown };
    let start = (n * factor / 2) as isize - (shown * factor / 2) as isize;
    let finer = |plane| View { plane, column: start, row: start, side: shown * factor };

    let noise = |given: f64, plane: &Plane| match given {
        sigma if sigma > 0.0 => sigma,
        _ => median_and_sigma(plane).map_or(1.0, |(_, s)| s),
    };
    let sigma = noise(object.sigma, object.residual);
    let noise_sigma = noise(object.noise_sigma, object.tikhonov);
    let views = [coarse(object.observed), finer(object.tikhonov), finer(object.deconvolved), coarse(object.residual)];
    // Tikhonov and network on one scale, so that they compare
    let (tikhonov, deconvolved) = (limits(&views[1], noise_sigma), limits(&views[2], noise_sigma));
    let target = Limits { high: tikhonov.high.max(deconvolved.high), ..tikhonov };
    let observed = limits(&views[0], sigma);

    let mut canvas = Canvas::new(4 * side + 3 * GAP, side)?;
    for (i, view) in views.iter().enumerate() {
        let x = f64::from(i as u32 * (side + GAP));
        let (a, b) = ((x, 0.0), (x + f64::from(side), f64::from(side)));
        let cells = (view.side, view.side);
        if i == 3 {
            canvas.cells(a, b, cells, |c, r| SIGNED.at(0.5 + view.at(c, r) / (10.0 * sigma)));
            continue;
        }
        let l = if i == 0 { &observed } else { &target };
        canvas.cells(a, b, cells, |c, r| {
            let v = view.at(c, r);
            if v.is_nan() { Rgb(60, 62, 66) } else { NIGHT.at(asinh_stretch(v, l.low, l.high, l.soft)) }
        });
    }
    canvas.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(side: usize, width: f64) -> Plane {
        let middle = (side / 2) as f64;
        Plane::from_shape_fn((side, side), |(y, x)| {
            let r2 = (y as f64 - middle).powi(2) + (x as f64 - middle).powi(2);
            (100.0 * (-0.5 * r2 / (width * width)).exp()) as f32
        })
    }

    #[test]
    fn panels_show_the_object_in_the_middle_at_any_size() {
        let (observed, fine, flat) = (blob(64, 4.0), blob(128, 3.0), Plane::zeros((64, 64)));
        let object = PanelObject {
            observed: &observed,
            tikhonov: &fine,
            deconvolved: &fine,
            residual: &flat,
            sigma: 1.0,
            noise_sigma: 1.0,
            centre: (32.0, 32.0),
        };
        for side in [48, 200] {
            let picture = object_panels(&object, 32, side).unwrap();
            assert_eq!(picture.pixels.dimensions(), (4 * side + 3 * GAP, side));
            let light = |x: u32, y: u32| picture.pixels.get_pixel(x, y).0.iter().map(|v| u32::from(*v)).sum::<u32>();
            for panel in 0..3 {
                let left = panel * (side + GAP);
                assert!(light(left + side / 2, side / 2) > 500 && light(left + 2, 2) < 300, "panel {panel}");
            }
            let residual = 3 * (side + GAP) + side / 2;
            assert_eq!(light(residual, side / 2), 3 * 247, "no residual is the middle of the scale");
        }
    }

    #[test]
    fn an_object_without_a_stamp_is_grey() {
        let nothing = Plane::from_elem((32, 32), f32::NAN);
        let object = PanelObject {
            observed: &nothing,
            tikhonov: &nothing,
            deconvolved: &nothing,
            residual: &nothing,
            sigma: f64::NAN,
            noise_sigma: f64::NAN,
            centre: (f64::NAN, f64::NAN),
        };
        let picture = object_panels(&object, 32, 40).unwrap();
        assert_eq!(picture.pixels.get_pixel(20, 20).0, [60, 62, 66]);
    }
}
