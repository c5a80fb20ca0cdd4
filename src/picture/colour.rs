//! Colours and colour scales.

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// White.
    pub const WHITE: Self = Self(255, 255, 255);
    /// Text and frames.
    pub const INK: Self = Self(32, 36, 44);
    /// Secondary text.
    pub const GREY: Self = Self(112, 118, 128);
    /// First series.
    pub const BLUE: Self = Self(31, 102, 178);
    /// Second series (reserved stars, warnings).
    pub const ORANGE: Self = Self(224, 108, 0);
    /// Third series (rejected).
    pub const RED: Self = Self(190, 40, 60);
}

/// A colour scale over [0, 1].
#[derive(Debug, Clone, Copy)]
pub struct Scale(&'static [Rgb]);

/// Dark to light, even in lightness; for images.
pub const NIGHT: Scale = Scale(&[
    Rgb(0, 0, 4),
    Rgb(20, 14, 54),
    Rgb(59, 15, 112),
    Rgb(100, 26, 128),
    Rgb(140, 41, 129),
    Rgb(183, 55, 121),
    Rgb(222, 73, 104),
    Rgb(247, 112, 92),
    Rgb(254, 159, 109),
    Rgb(254, 207, 146),
    Rgb(252, 253, 191),
]);

/// Light yellow to mid blue, pale enough for dark marks on it; for quantities over the field.
pub const FIELD: Scale = Scale(&[
    Rgb(255, 251, 219),
    Rgb(240, 246, 196),
    Rgb(214, 237, 186),
    Rgb(178, 223, 188),
    Rgb(142, 207, 194),
    Rgb(112, 188, 200),
    Rgb(100, 163, 199),
    Rgb(104, 139, 192),
]);

/// Blue through white to red; for differences from zero at 0.5.
pub const SIGNED: Scale = Scale(&[
    Rgb(5, 48, 97),
    Rgb(33, 102, 172),
    Rgb(67, 147, 195),
    Rgb(146, 197, 222),
    Rgb(209, 229, 240),
    Rgb(247, 247, 247),
    Rgb(253, 219, 199),
    Rgb(244, 165, 130),
    Rgb(214, 96, 77),
    Rgb(178, 24, 43),
    Rgb(103, 0, 31),
]);

impl Scale {
    /// The colour at `t`, clamped to [0, 1]; light grey for NaN.
    pub fn at(self, t: f64) -> Rgb {
        if t.is_nan() {
            return Rgb(205, 208, 212);
        }
        let last = self.0.len().saturating_sub(1);
        let position = t.clamp(0.0, 1.0) * last as f64;
        let i = (position as usize).min(last.saturating_sub(1));
        let f = position - i as f64;
        let (Some(a), Some(b)) = (self.0.get(i), self.0.get(i + 1)) else { return Rgb::GREY };
        let mix = |a: u8, b: u8| (f64::from(a) + f * (f64::from(b) - f64::from(a))).round() as u8;
        Rgb(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
    }
}

/// Lightness of a value between `low` and `high` on an asinh scale that is linear below `soft` and logarithmic above.
pub fn asinh_stretch(value: f64, low: f64, high: f64, soft: f64) -> f64 {
    let soft = if soft > 0.0 { soft } else { 1.0 };
    let top = ((high - low) / soft).asinh();
    if top > 0.0 { ((value - low) / soft).asinh() / top } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_begin_and_end_where_they_say() {
        assert_eq!(SIGNED.at(0.5), Rgb(247, 247, 247));
        assert_eq!(NIGHT.at(-1.0), Rgb(0, 0, 4));
        assert_eq!(NIGHT.at(2.0), Rgb(252, 253, 191));
        assert_eq!(FIELD.at(f64::NAN), Rgb(205, 208, 212));
    }

    #[test]
    fn the_stretch_runs_from_0_to_1() {
        assert_eq!(asinh_stretch(-2.0, -2.0, 100.0, 3.0), 0.0);
        assert!((asinh_stretch(100.0, -2.0, 100.0, 3.0) - 1.0).abs() < 1e-12);
        assert!(asinh_stretch(5.0, -2.0, 100.0, 3.0) > 0.2, "faint parts are lifted");
        assert_eq!(asinh_stretch(5.0, 1.0, 1.0, 0.0), 0.0);
    }
}
