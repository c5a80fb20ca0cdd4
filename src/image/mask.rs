//! Mask planes: what is wrong with a pixel. Each bit is declared once, here; adapters translate the surveys' names into these.

/// One mask bit: its value, its name in files, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskBit {
    /// Bit value (a power of two).
    pub bit: u16,
    /// Name in tables and configuration.
    pub name: &'static str,
    /// Meaning, one sentence.
    pub meaning: &'static str,
}

/// Detector defect, hot or dead pixel.
pub const BAD: u16 = 1;
/// Saturated or non-linear, bleed trails included.
pub const SATURATED: u16 = 1 << 1;
/// Hit by a cosmic ray.
pub const COSMIC_RAY: u16 = 1 << 2;
/// No data: outside the detector, NaN, BLANK, zero weight.
pub const NO_DATA: u16 = 1 << 3;
/// Near the detector's edge, unreliable.
pub const EDGE: u16 = 1 << 4;
/// Any other reason the survey gave for not using the pixel.
pub const SUSPECT: u16 = 1 << 5;

/// Every mask bit, in order.
pub const MASK_BITS: [MaskBit; 6] = [
    MaskBit { bit: BAD, name: "BAD", meaning: "detector defect, hot or dead pixel" },
    MaskBit { bit: SATURATED, name: "SATURATED", meaning: "saturated or non-linear, bleed trails included" },
    MaskBit { bit: COSMIC_RAY, name: "COSMIC_RAY", meaning: "hit by a cosmic ray" },
    MaskBit { bit: NO_DATA, name: "NO_DATA", meaning: "no data: NaN, BLANK, zero weight or outside the detector" },
    MaskBit { bit: EDGE, name: "EDGE", meaning: "near the detector's edge, unreliable" },
    MaskBit { bit: SUSPECT, name: "SUSPECT", meaning: "flagged by the survey for another reason" },
];

/// Pixels with any of these bits carry no weight in any fit.
pub const UNUSABLE: u16 = BAD | SATURATED | COSMIC_RAY | NO_DATA | EDGE | SUSPECT;
