//! A sheet of paper: lines, marks, text and pixel panels in logical pixels, drawn twice as large and scaled down at the end so that
//! everything is smooth.

use std::sync::OnceLock;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontTransform, IntoFont, RGBAColor, RGBColor, ShapeStyle, TextStyle, register_font,
};

use super::PictureError;
use super::colour::Rgb;

/// Samples per logical pixel along each axis.
const FINE: u32 = 2;

/// A finished picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Its pixels.
    pub pixels: RgbImage,
}

impl Picture {
    /// As the bytes of a PNG file.
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
        let (width, height) = self.pixels.dimensions();
        encoder
            .write_image(self.pixels.as_raw(), width, height, ExtendedColorType::Rgb8)
            .map_err(|e| PictureError::Encode(e.to_string()))?;
        Ok(bytes)
    }
}

/// Where a text's anchor lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Left end, middle of the height.
    Left,
    /// Right end, middle of the height.
    Right,
    /// Middle of the upper edge.
    Top,
    /// Middle of the lower edge.
    Bottom,
    /// Centre.
    Centre,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Height in logical pixels.
    pub size: f64,
    /// Colour.
    pub colour: Rgb,
    /// Bold face.
    pub bold: bool,
    /// Reads upwards.
    pub upwards: bool,
}

impl Type {
    /// Regular, horizontal.
    pub const fn new(size: f64, colour: Rgb) -> Self {
        Self { size, colour, bold: false, upwards: false }
    }

    /// Bold.
    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// Turned to read upwards.
    pub const fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// A picture being drawn. Coordinates are logical pixels from the upper left corner.
pub struct Canvas {
    width: u32,
    height: u32,
    buffer: Vec<u8>,
}

const REGULAR: &str = "stillair-sans";
const BOLD: &str = "stillair-sans-bold";

fn fonts() -> Result<(), PictureError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        register_font(REGULAR, plotters::style::FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(BOLD, plotters::style::FontStyle::Normal, dejavu::sans::bold()).is_ok()
    });
    if *done { Ok(()) } else { Err(PictureError::Draw("the built-in font cannot be read".into())) }
}

fn fine(v: f64) -> i32 {
    (v * f64::from(FINE)).round() as i32
}

fn failed<E: std::fmt::Display>(e: E) -> PictureError {
    PictureError::Draw(e.to_string())
}

impl Canvas {
    /// White paper.
    pub fn new(width: u32, height: u32) -> Result<Self, PictureError> {
        fonts()?;
        let length = (width * FINE) as usize * (height * FINE) as usize * 3;
        Ok(Self { width, height, buffer: vec![255; length] })
    }

    fn backend(&mut self) -> plotters::prelude::BitMapBackend<'_> {
        plotters::prelude::BitMapBackend::with_buffer(&mut self.buffer, (self.width * FINE, self.height * FINE))
    }

    /// Writes one line of text.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, look: Type, anchor: Anchor) -> Result<(), PictureError> {
        if text.is_empty() {
            return Ok(());
        }
        let family = FontFamily::Name(if look.bold { BOLD } else { REGULAR });
        let mut font = (family, look.size * f64::from(FINE)).into_font();
        if look.upwards {
            font = font.transform(FontTransform::Rotate270);
        }
        let (h, v) = match (anchor, look.upwards) {
            (Anchor::Left, _) => (HPos::Left, VPos::Center),
            (Anchor::Right, _) => (HPos::Right, VPos::Center),
            (Anchor::Top, _) => (HPos::Center, VPos::Top),
            (Anchor::Bottom, _) => (HPos::Center, VPos::Bottom),
            (Anchor::Centre, _) => (HPos::Center, VPos::Center),
        };
        let style = TextStyle { font, color: paint_rgba(look.colour, 1.0).to_backend_color(), pos: Pos::new(h, v) };
        self.backend().draw_text(text, &style, (fine(x), fine(y))).map_err(failed)
    }

    /// Writes lines of text below one another, from the upper left corner; returns the y below the last.
    pub fn lines<'t>(
        &mut self,
        (x, y): (f64, f64),
        lines: impl IntoIterator<Item = (&'t str, Type)>,
    ) -> Result<f64, PictureError> {
        let mut y = y;
        for (line, look) in lines {
            self.text((x, y + 0.65 * look.size), line, look, Anchor::Left)?;
            y += 1.42 * look.size;
        }
        Ok(y)
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], colour: Rgb, width: f64) -> Result<(), PictureError> {
        if points.len() < 2 {
            return Ok(());
        }
        if let &[(ax, ay), (bx, by)] = points
            && (ax == bx || ay == by)
        {
            // upright and level lines stay crisp as boxes
            let half = 0.5 * width;
            let grow = |a: f64, b: f64, flat: bool| if flat { (a - half, a + half) } else { (a.min(b), a.max(b)) };
            let ((x0, x1), (y0, y1)) = (grow(ax, bx, ax == bx), grow(ay, by, ay == by));
            return self.fill((x0, y0), (x1, y1), colour);
        }
        let style = stroke(colour, 1.0, width);
        let points: Vec<(i32, i32)> = points.iter().map(|p| (fine(p.0), fine(p.1))).collect();
        self.backend().draw_path(points, &style).map_err(failed)
    }

    /// A filled polygon.
    pub fn polygon(&mut self, points: &[(f64, f64)], colour: Rgb, opacity: f64) -> Result<(), PictureError> {
        let points: Vec<(i32, i32)> = points.iter().map(|p| (fine(p.0), fine(p.1))).collect();
        self.backend().fill_polygon(points, &paint_rgba(colour, opacity)).map_err(failed)
    }

    /// A filled disc.
    pub fn disc(&mut self, at: (f64, f64), radius: f64, colour: Rgb, opacity: f64) -> Result<(), PictureError> {
        let style = ShapeStyle { color: paint_rgba(colour, opacity), filled: true, stroke_width: 0 };
        let r = (radius * f64::from(FINE)).round().max(1.0) as u32;
        self.backend().draw_circle((fine(at.0), fine(at.1)), r, &style, true).map_err(failed)
    }

    /// A circle.
    pub fn ring(&mut self, at: (f64, f64), radius: f64, colour: Rgb, width: f64) -> Result<(), PictureError> {
        const STEPS: usize = 28;
        let points: Vec<(f64, f64)> = (0..=STEPS)
            .map(|i| {
                let (sin, cos) = (std::f64::consts::TAU * i as f64 / STEPS as f64).sin_cos();
                (at.0 + radius * cos, at.1 + radius * sin)
            })
            .collect();
        self.path(&points, colour, width)
    }

    /// A filled diamond with a white rim.
    pub fn diamond(&mut self, at: (f64, f64), radius: f64, colour: Rgb) -> Result<(), PictureError> {
        for (r, c) in [(radius + 1.0, Rgb::WHITE), (radius, colour)] {
            let points = [(at.0 - r, at.1), (at.0, at.1 - r), (at.0 + r, at.1), (at.0, at.1 + r)];
            self.polygon(&points, c, 1.0)?;
        }
        Ok(())
    }

    /// A diagonal cross.
    pub fn cross(&mut self, at: (f64, f64), radius: f64, colour: Rgb, width: f64) -> Result<(), PictureError> {
        for sign in [-1.0, 1.0] {
            let points = [(at.0 - radius, at.1 - sign * radius), (at.0 + radius, at.1 + sign * radius)];
            self.path(&points, colour, width)?;
        }
        Ok(())
    }

    /// A filled box with corners `(x0, y0)` and `(x1, y1)`.
    pub fn fill(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), colour: Rgb) -> Result<(), PictureError> {
        let style = paint_rgba(colour, 1.0);
        self.backend().draw_rect((fine(x0), fine(y0)), (fine(x1) - 1, fine(y1) - 1), &style, true).map_err(failed)
    }

    /// The outline of a box.
    pub fn frame(
        &mut self,
        (x0, y0): (f64, f64),
        (x1, y1): (f64, f64),
        colour: Rgb,
        width: f64,
    ) -> Result<(), PictureError> {
        let half = 0.5 * width;
        self.path(&[(x0 - half, y0), (x1 + half, y0)], colour, width)?;
        self.path(&[(x0 - half, y1), (x1 + half, y1)], colour, width)?;
        self.path(&[(x0, y0), (x0, y1)], colour, width)?;
        self.path(&[(x1, y0), (x1, y1)], colour, width)
    }

    /// A panel of `nx` times `ny` cells, each one colour; row 0 at the bottom, as astronomers look at images.
    pub fn cells(
        &mut self,
        (x0, y0): (f64, f64),
        (x1, y1): (f64, f64),
        (nx, ny): (usize, usize),
        colour: impl Fn(usize, usize) -> Rgb,
    ) {
        let (left, top, right, bottom) = (fine(x0), fine(y0), fine(x1), fine(y1));
        let stride = (self.width * FINE) as usize;
        let (wide, high) = (f64::from((right - left).max(1)), f64::from((bottom - top).max(1)));
        for py in top.max(0)..bottom.min((self.height * FINE) as i32) {
            let row = ny.saturating_sub(1).saturating_sub((f64::from(py - top) / high * ny as f64) as usize);
            for px in left.max(0)..right.min(stride as i32) {
                let column = ((f64::from(px - left) / wide * nx as f64) as usize).min(nx.saturating_sub(1));
                let at = (py as usize * stride + px as usize) * 3;
                let Rgb(r, g, b) = colour(column, row);
                if let Some(pixel) = self.buffer.get_mut(at..at + 3) {
                    pixel.copy_from_slice(&[r, g, b]);
                }
            }
        }
    }

    /// The finished picture.
    pub fn finish(self) -> Result<Picture, PictureError> {
        let (wide, high) = (self.width as usize, self.height as usize);
        let stride = wide * FINE as usize * 3;
        let n = FINE as usize;
        let mut out = Vec::with_capacity(wide * high * 3);
        for y in 0..high {
            for x in 0..wide {
                for channel in 0..3 {
                    let mut sum = 0_u32;
                    for dy in 0..n {
                        for dx in 0..n {
                            let at = (y * n + dy) * stride + (x * n + dx) * 3 + channel;
                            sum += u32::from(self.buffer.get(at).copied().unwrap_or(255));
                        }
                    }
                    out.push((sum / (FINE * FINE)) as u8);
                }
            }
        }
        let pixels = RgbImage::from_raw(self.width, self.height, out);
        pixels.map(|pixels| Picture { pixels }).ok_or_else(|| PictureError::Draw("buffer of the wrong size".into()))
    }
}

fn paint_rgba(Rgb(r, g, b): Rgb, opacity: f64) -> RGBAColor {
    RGBColor(r, g, b).mix(opacity)
}

fn stroke(colour: Rgb, opacity: f64, width: f64) -> ShapeStyle {
    ShapeStyle {
        color: paint_rgba(colour, opacity),
        filled: false,
        stroke_width: (width * f64::from(FINE)).round().max(1.0) as u32,
    }
}
