//! Filling pixels that are missing or belong to another object, so that a Fourier transform can be taken.
//!
//! The template of a fill is the object's own light on the opposite side of its centre: galaxies and stars are symmetric under half a
//! turn to a good part, and that is all that is known of a hidden pixel beyond its surroundings.

use super::Pixel;
use crate::image::Plane;

/// Sweeps after which a fill is taken as it is.
const MAX_SWEEPS: usize = 200;

/// The object as a template: what its opposite side shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opposite {
    /// Object's position in stamp pixels: column, row.
    pub centre: (f64, f64),
    /// How far from the centre the object's light reaches; beyond lies the sky, and no template.
    pub reach: f64,
}

impl Opposite {
    /// The light at the point opposite to a pixel, interpolated between four pixels that are all good; `None` where they are not.
    fn at(&self, observed: &Plane, pixels: &ndarray::Array2<Pixel>, (y, x): (usize, usize)) -> Option<f32> {
        if (x as f64 - self.centre.0).hypot(y as f64 - self.centre.1) > self.reach {
            return None;
        }
        let (v, u) = (2.0 * self.centre.1 - y as f64, 2.0 * self.centre.0 - x as f64);
        if v < 0.0 || u < 0.0 {
            return None;
        }
        let (r, c) = (v.floor(), u.floor());
        let (fy, fx) = ((v - r) as f32, (u - c) as f32);
        let mut sum = 0.0;
        for (dy, wy) in [(0, 1.0 - fy), (1, fy)] {
            for (dx, wx) in [(0, 1.0 - fx), (1, fx)] {
                if wy * wx == 0.0 {
                    continue;
                }
                let at = (r as usize + dy, c as usize + dx);
                if pixels.get(at) != Some(&Pixel::Good) {
                    return None;
                }
                sum += wy * wx * observed[at];
            }
        }
        Some(sum)
    }
}

/// Fills pixels of other objects with the template, or with the sky (0) where there is none. What surrounds them is not looked at:
/// it holds the other object's wings.
pub(super) fn fill_neighbours(observed: &mut Plane, pixels: &ndarray::Array2<Pixel>, template: &Opposite) {
    for (at, _) in pixels.indexed_iter().filter(|(_, p)| **p == Pixel::Neighbour) {
        // Templates come from good pixels only, which no fill touches, so that the order does not matter.
        observed[at] = template.at(observed, pixels, at).unwrap_or(0.0);
    }
}

/// Fills missing pixels: the difference to the template is continued smoothly from the pixels around,
/// `laplacian (u - t) = (u - t) / length^2`. Narrow gaps are bridged; wide ones, above all what lies outside the image, fall off to the
/// template, or to the sky (0) where there is none, over `length` pixels instead of ending in a step.
pub(super) fn fill_missing(observed: &mut Plane, pixels: &ndarray::Array2<Pixel>, template: &Opposite, length: f64) {
    let (ny, nx) = observed.dim();
    // One missing pixel: where it is, its template, and for its four sides the neighbour and the template's step towards it.
    type Side = (Option<(usize, usize)>, f32);
    let mut missing: Vec<((usize, usize), f32, [Side; 4])> = Vec::new();
    for ((y, x), _) in pixels.indexed_iter().filter(|(_, p)| **p == Pixel::Missing) {
        let t = template.at(observed, pixels, (y, x));
        let side = |at: (usize, usize)| -> Side {
            if at.0 >= ny || at.1 >= nx {
                return (None, 0.0);
            }
            let there = t.and_then(|t| template.at(observed, pixels, at).map(|o| t - o));
            (Some(at), there.unwrap_or(0.0))
        };
        let sides = [side((y.wrapping_sub(1), x)), side((y + 1, x)), side((y, x.wrapping_sub(1))), side((y, x + 1))];
        missing.push(((y, x), t.unwrap_or(0.0), sides));
    }
    for (at, t, _) in &missing {
        observed[*at] = *t;
    }
    let scale = observed.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let screen = (1.0 / length.max(0.5).powi(2)) as f32;
    for _ in 0..MAX_SWEEPS {
        let mut change = 0.0f32;
        for (at, t, sides) in &missing {
            // Beyond the stamp lies the sky.
            let sum: f32 = sides.iter().map(|(other, step)| other.map_or(0.0, |o| observed[o] + step)).sum();
            let new = (sum + screen * t) / (4.0 + screen);
            change = change.max((new - observed[*at]).abs());
            observed[*at] = new;
        }
        if change <= 1e-4 * scale {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_column_through_a_blob_is_bridged() {
        let blob = Plane::from_shape_fn((21, 21), |(y, x)| {
            (-0.5 * ((y as f32 - 10.2).powi(2) + (x as f32 - 9.7).powi(2)) / 9.0).exp()
        });
        let mut pixels = ndarray::Array2::from_elem((21, 21), Pixel::Good);
        let mut observed = blob.clone();
        for y in 0..21 {
            pixels[(y, 12)] = Pixel::Missing;
            observed[(y, 12)] = 1e6;
        }
        fill_missing(&mut observed, &pixels, &Opposite { centre: (9.7, 10.2), reach: 12.0 }, 4.0);
        for y in 0..21 {
            assert!((observed[(y, 12)] - blob[(y, 12)]).abs() < 0.02, "{} {}", observed[(y, 12)], blob[(y, 12)]);
        }
    }

    #[test]
    fn wide_gaps_fall_to_the_sky() {
        let mut observed = Plane::from_elem((8, 40), 1.0);
        let pixels =
            ndarray::Array2::from_shape_fn((8, 40), |(_, x)| if x < 10 { Pixel::Good } else { Pixel::Missing });
        fill_missing(&mut observed, &pixels, &Opposite { centre: (3.0, 3.0), reach: 2.0 }, 3.0);
        assert!(observed[(4, 10)] > 0.4 && observed[(4, 39)].abs() < 0.01);
        assert!(observed.row(4).iter().skip(9).zip(observed.row(4).iter().skip(10)).all(|(a, b)| a >= b));
    }

    #[test]
    fn a_hidden_side_is_filled_from_the_other() {
        let blob = Plane::from_shape_fn((31, 31), |(y, x)| {
            (-0.5 * ((y as f32 - 15.0).powi(2) + (x as f32 - 15.0).powi(2)) / 16.0).exp()
        });
        let pixels =
            ndarray::Array2::from_shape_fn((31, 31), |(_, x)| if x > 18 { Pixel::Neighbour } else { Pixel::Good });
        let mut observed = blob.clone() + 1.0;
        observed.slice_mut(ndarray::s![.., ..19]).assign(&blob.slice(ndarray::s![.., ..19]));
        fill_neighbours(&mut observed, &pixels, &Opposite { centre: (15.0, 15.0), reach: 16.0 });
        assert!((&observed - &blob).iter().all(|v| v.abs() < 0.01));
    }
}
