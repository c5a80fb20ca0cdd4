//! Axes: ranges, ticks at round numbers, labels with units, data to paper.

use super::PictureError;
use super::canvas::{Anchor, Canvas, Type};
use super::colour::Rgb;

/// One axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Value at the left or lower end.
    pub from: f64,
    /// Value at the right or upper end (may be below `from`).
    pub to: f64,
    /// Whether it is logarithmic.
    pub log: bool,
    /// Name with unit.
    pub label: String,
}

impl Axis {
    /// A linear axis.
    pub fn linear(from: f64, to: f64, label: impl Into<String>) -> Self {
        Self { from, to, log: false, label: label.into() }
    }

    /// A logarithmic axis; both ends positive.
    pub fn log(from: f64, to: f64, label: impl Into<String>) -> Self {
        Self { from, to, log: true, label: label.into() }
    }

    /// Position of a value along the axis: 0 at `from`, 1 at `to`.
    pub fn fraction(&self, value: f64) -> f64 {
        if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    /// Whether a value lies on the axis.
    pub fn holds(&self, value: f64) -> bool {
        (0.0..=1.0).contains(&self.fraction(value))
    }

    /// Ticks: (value, label; empty for a minor one).
    pub fn ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        if self.log { self.log_ticks(wanted) } else { self.linear_ticks(wanted) }
    }

    fn linear_ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        let raw = (high - low) / wanted;
        if !(raw.is_finite() && raw > 0.0) {
            return Vec::new();
        }
        let power = 10_f64.powf(raw.log10().floor());
        let (step, minor) = match raw / power {
            r if r <= 1.0 => (power, 5),
            r if r <= 2.0 => (2.0 * power, 4),
            r if r <= 5.0 => (5.0 * power, 5),
            _ => (10.0 * power, 5),
        };
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let fine = step / f64::from(minor);
        let first = (low / fine - 1e-9).ceil() as i64;
        let last = (high / fine + 1e-9).floor() as i64;
        (first..=last)
            .map(|i| {
                let value = i as f64 * fine;
                let label = if i % i64::from(minor) == 0 { number(value, decimals) } else { String::new() };
                (value, label)
            })
            .collect()
    }

    fn log_ticks(&self, wanted: f64) -> Vec<(f64, String)> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        let decades = (high / low).log10();
        let mut out = Vec::new();
        for exponent in low.log10().floor() as i32..=high.log10().ceil() as i32 {
            for digit in 1..10 {
                let value = f64::from(digit) * 10_f64.powi(exponent);
                if value < low * 0.999 || value > high * 1.001 {
                    continue;
                }
                let labelled = digit == 1 || (decades < 2.0 && wanted > 4.0 && matches!(digit, 2 | 5));
                out.push((value, if labelled { number(value, (-exponent).max(0) as usize) } else { String::new() }));
            }
        }
        out
    }
}

/// A number with a true minus sign and thousands set apart.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, part) = text.split_once('.').map_or((text.as_str(), None), |(w, p)| (w, Some(p)));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        out.push('\u{2212}');
    }
    for (i, c) in whole.chars().enumerate() {
        let left = whole.len() - i;
        if i > 0 && left % 3 == 0 && whole.len() > 4 {
            out.push('\u{2009}');
        }
        out.push(c);
    }
    if let Some(part) = part {
        out.push('.');
        out.push_str(part);
    }
    out
}

/// A number with about three significant digits.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "\u{2013}".into();
    }
    if size >= 1e6 || (size > 0.0 && size < 1e-3) {
        let text = format!("{value:.1e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text.as_str(), "0"));
        return format!("{}e{exponent}", number(mantissa.parse().unwrap_or(value), 1));
    }
    let decimals = if size >= 100.0 || size == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    number(value, decimals)
}

/// A frame with two axes on the canvas.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Upper left corner of the frame.
    pub corner: (f64, f64),
    /// Width and height of the frame.
    pub size: (f64, f64),
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
}

/// Type of tick labels.
pub const TICK: Type = Type::new(12.5, Rgb::INK);
/// Type of axis labels.
pub const LABEL: Type = Type::new(14.0, Rgb::INK);
/// Type of titles.
pub const TITLE: Type = Type::new(17.0, Rgb::INK).bold();
/// Type of notes.
pub const NOTE: Type = Type::new(12.5, Rgb::GREY);

impl Plot {
    /// Paper position of a data point.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (fx, fy) = (self.x.fraction(x), self.y.fraction(y));
        (self.corner.0 + fx * self.size.0, self.corner.1 + (1.0 - fy) * self.size.1)
    }

    /// Whether the point lies inside the frame.
    pub fn holds(&self, x: f64, y: f64) -> bool {
        self.x.holds(x) && self.y.holds(y)
    }

    /// Paper position of a point, clamped to the frame; says whether it was outside.
    pub fn clamped(&self, x: f64, y: f64) -> ((f64, f64), bool) {
        let (px, py) = self.at(x, y);
        let cx = px.clamp(self.corner.0, self.corner.0 + self.size.0);
        let cy = py.clamp(self.corner.1, self.corner.1 + self.size.1);
        ((cx, cy), cx != px || cy != py)
    }

    /// A line through data points, cut at the frame.
    pub fn line(
        &self,
        canvas: &mut Canvas,
        points: &[(f64, f64)],
        colour: Rgb,
        width: f64,
    ) -> Result<(), PictureError> {
        for pair in points.windows(2) {
            let &[a, b] = pair else { continue };
            if let Some((a, b)) = self.cut(self.at(a.0, a.1), self.at(b.0, b.1)) {
                canvas.path(&[a, b], colour, width)?;
            }
        }
        Ok(())
    }

    /// The part of a paper segment inside the frame (Liang and Barsky 1984).
    pub fn cut(&self, a: (f64, f64), b: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for (p, q) in [
            (-dx, a.0 - self.corner.0),
            (dx, self.corner.0 + self.size.0 - a.0),
            (-dy, a.1 - self.corner.1),
            (dy, self.corner.1 + self.size.1 - a.1),
        ] {
            if p == 0.0 {
                if q < 0.0 {
                    return None;
                }
            } else if p < 0.0 {
                enter = enter.max(q / p);
            } else {
                leave = leave.min(q / p);
            }
        }
        let inside = enter <= leave && a.0.is_finite() && b.0.is_finite() && a.1.is_finite() && b.1.is_finite();
        inside.then_some(((a.0 + enter * dx, a.1 + enter * dy), (a.0 + leave * dx, a.1 + leave * dy)))
    }

    /// Frame, ticks on all four sides pointing inwards, tick labels, axis labels. To be drawn after the data.
    pub fn axes(&self, canvas: &mut Canvas) -> Result<(), PictureError> {
        let (x0, y0) = self.corner;
        let (x1, y1) = (x0 + self.size.0, y0 + self.size.1);
        canvas.frame((x0, y0), (x1, y1), Rgb::INK, 1.0)?;
        for (value, label) in self.x.ticks(self.size.0 / 90.0) {
            let px = x0 + self.x.fraction(value) * self.size.0;
            let length = if label.is_empty() { 3.0 } else { 6.0 };
            canvas.path(&[(px, y1), (px, y1 - length)], Rgb::INK, 1.0)?;
            canvas.path(&[(px, y0), (px, y0 + length)], Rgb::INK, 1.0)?;
            canvas.text((px, y1 + 6.0), &label, TICK, Anchor::Top)?;
        }
        let mut widest = 0;
        for (value, label) in self.y.ticks(self.size.1 / 60.0) {
            let py = y1 - self.y.fraction(value) * self.size.1;
            let length = if label.is_empty() { 3.0 } else { 6.0 };
            canvas.path(&[(x0, py), (x0 + length, py)], Rgb::INK, 1.0)?;
            canvas.path(&[(x1, py), (x1 - length, py)], Rgb::INK, 1.0)?;
            canvas.text((x0 - 7.0, py), &label, TICK, Anchor::Right)?;
            widest = widest.max(label.chars().count());
        }
        canvas.text((0.5 * (x0 + x1), y1 + 26.0), &self.x.label, LABEL, Anchor::Top)?;
        let left = x0 - 20.0 - widest as f64 * 0.6 * TICK.size;
        canvas.text((left, 0.5 * (y0 + y1)), &self.y.label, LABEL.upwards(), Anchor::Centre)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        let axis = Axis::linear(0.731, 0.889, "");
        let labels: Vec<String> = axis.ticks(5.0).into_iter().map(|t| t.1).filter(|l| !l.is_empty()).collect();
        assert_eq!(labels, ["0.75", "0.80", "0.85"]);
        let down = Axis::linear(26.0, 18.0, "");
        assert!(down.ticks(4.0).iter().all(|(v, _)| (18.0..=26.0).contains(v)));
        assert_eq!(down.fraction(26.0), 0.0);
        let log: Vec<String> =
            Axis::log(3.0, 2000.0, "").ticks(5.0).into_iter().map(|t| t.1).filter(|l| !l.is_empty()).collect();
        assert_eq!(log, ["10", "100", "1000"]);
        assert!(Axis::linear(1.0, 1.0, "").ticks(5.0).is_empty());
    }

    #[test]
    fn numbers_are_set_as_in_print() {
        assert_eq!(number(-0.04, 1), "0.0");
        assert_eq!(number(-12345.6, 1), "\u{2212}12\u{2009}345.6");
        assert_eq!(short(0.01234), "0.012");
        assert_eq!(short(f64::NAN), "\u{2013}");
        assert_eq!(short(-2.5e7), "\u{2212}2.5e7");
        assert_eq!(short(9.98e-5), "1.0e-4");
    }

    #[test]
    fn lines_are_cut_at_the_frame() {
        let plot = Plot {
            corner: (10.0, 10.0),
            size: (100.0, 100.0),
            x: Axis::linear(0.0, 1.0, ""),
            y: Axis::linear(0.0, 1.0, ""),
        };
        assert_eq!(plot.cut((0.0, 60.0), (60.0, 60.0)), Some(((10.0, 60.0), (60.0, 60.0))));
        assert_eq!(plot.cut((0.0, 0.0), (5.0, 200.0)), None);
        assert_eq!(plot.cut((f64::NAN, 0.0), (5.0, 200.0)), None);
    }
}
