//! A network need not see the whole of a stamp: what lies beyond the object's window does not count in its output.

use ndarray::s;

use crate::image::Plane;
use crate::network::{Card, NetworkInput, Side};

/// Target pixels that a network sees beyond the window, so that the window's border is no border of the image to it.
const MARGIN: f64 = 8.0;
/// Sides are multiples of this, so that batches have few shapes.
const STEP: usize = 16;
/// Least side, target pixels.
const LEAST: usize = 48;

/// Side of the central square that a network is given of a stamp of `full` target pixels whose object's window has the radius `window`
/// (target pixels). The whole stamp for networks of one side, and for those that look at the observed image, whose scale or filters
/// need all of it.
pub fn network_side(full: usize, window: f64, card: &Card) -> usize {
    if matches!(card.shape.side, Side::Fixed(_)) || card.wants_observed() || !full.is_multiple_of(2) {
        return full;
    }
    let wanted = (2.0 * (window + MARGIN)).ceil().max(LEAST as f64);
    let wanted = if wanted.is_finite() { wanted as usize } else { full };
    // Even, so that the object stays on the central pixel.
    let step = if STEP.is_multiple_of(card.shape.multiple) { STEP } else { 2 * card.shape.multiple };
    let side = wanted.next_multiple_of(step);
    if side < full { side } else { full }
}

/// The central square of side `side` of every plane; the object stays on pixel (side / 2, side / 2).
pub fn cropped(mut input: NetworkInput, side: usize) -> NetworkInput {
    let full = input.tikhonov.nrows();
    if side >= full {
        return input;
    }
    let cut = |plane: &Plane| {
        let first = full / 2 - side / 2;
        plane.slice(s![first..first + side, first..first + side]).as_standard_layout().into_owned()
    };
    input.tikhonov = cut(&input.tikhonov);
    input.psf = cut(&input.psf);
    if let Some(companions) = &mut input.companions {
        companions.sharper = cut(&companions.sharper);
        companions.smoother = cut(&companions.smoother);
    }
    input
}

/// The output on the grid of the whole stamp, 0 outside what the network saw.
pub fn embedded(output: Plane, full: usize) -> Plane {
    let side = output.nrows();
    if side >= full {
        return output;
    }
    let first = full / 2 - side / 2;
    let mut plane = Plane::zeros((full, full));
    plane.slice_mut(s![first..first + side, first..first + side]).assign(&output);
    plane
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Companions;

    #[test]
    fn the_object_stays_on_the_central_pixel() {
        let mut plane = Plane::zeros((128, 128));
        plane[[64, 64]] = 1.0;
        let companions = Companions { sharper: plane.clone(), smoother: plane.clone(), ..Companions::default() };
        let input = NetworkInput {
            tikhonov: plane.clone(),
            psf: plane.clone(),
            companions: Some(companions),
            ..NetworkInput::default()
        };
        for side in [48, 64, 112] {
            let cut = cropped(input.clone(), side);
            assert_eq!(cut.tikhonov[[side / 2, side / 2]], 1.0);
            assert_eq!(cut.companions.as_ref().expect("companions").smoother.dim(), (side, side));
            assert_eq!(embedded(cut.tikhonov, 128), plane);
        }
        assert_eq!(cropped(input, 128).tikhonov, plane);
    }
}
