//! Row flags: each declared once with bit, name and meaning.

use super::CatalogRow;

macro_rules! flags {
    ($($bit:literal $name:ident $meaning:literal)*) => {
        bitflags::bitflags! {
            /// What a user should know before trusting a row. 0 means nothing to report.
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
            pub struct Flags: u32 {
                $(#[doc = $meaning] const $name = 1 << $bit;)*
            }
        }
        /// Every row flag: (bit number, name, meaning).
        pub const FLAG_TABLE: &[(u32, &str, &str)] = &[$(($bit, stringify!($name), $meaning)),*];
    };
}

flags! {
    0  EDGE                "stamp reaches over the edge of the image"
    1  BAD_PIXELS          "bad, masked or missing pixels within the object's footprint"
    2  SATURATED           "saturated pixels within the object's footprint"
    3  NEIGHBOUR           "a neighbour was subtracted or masked within the stamp"
    4  BLENDED             "shares its isophote with another object"
    5  TRUNCATED           "object is larger than the largest stamp"
    6  NO_WCS              "no usable WCS: ra, dec and sky angles are missing, shapes are in pixels"
    7  NO_ZERO_POINT       "no zero point: fluxes are in image units, no magnitude"
    8  VARIANCE_ESTIMATED  "noise was estimated from the image, no usable noise plane was given"
    9  PSF_FALLBACK        "the PSF is a fallback (constant, given, or a Moffat), see the exposure header"
    10 PSF_EXTRAPOLATED    "the PSF model is evaluated outside the area covered by its stars"
    11 PSF_DEGRADED        "the exposure's reserved stars fail the PSF quality thresholds"
    12 LAMBDA_AT_BOUND     "the Tikhonov strength search ended at a bound"
    13 OUTSIDE_DOMAIN      "PSF width, SNR or stamp lies outside the network's training domain"
    14 NETWORK_SKIPPED     "no network output: the row was measured on the Tikhonov image"
    15 FIT_FAILED          "amplitude fit failed: no usable pixels or a degenerate model"
    16 NEGATIVE            "fitted flux is negative"
    17 RESIDUAL_STRUCTURE  "residual against the observed pixels is not noise"
    18 FALSE_STRUCTURE     "output holds small-scale structure that the data do not support"
    19 SHAPE_FAILED        "moments did not converge: shape columns are missing"
    20 UNCALIBRATED        "no flux-bias calibration for this instrument, band, PSF and network"
    21 PSF_TOO_NARROW      "PSF is narrower than the target PSF: nothing to sharpen on this grid"
    24 BAND_MISSING        "joint catalogue: not every band has usable pixels and a PSF at the object"
    25 NOT_CONVERGED       "joint catalogue: the solver ended before it came as close to the optimum as asked"
}

/// The flags that every row has, and so say nothing of one object; none where there are fewer than two rows.
pub fn common_flags(rows: &[CatalogRow]) -> Flags {
    match rows {
        [] | [_] => Flags::empty(),
        rows => rows.iter().fold(Flags::all(), |common, row| common & row.flags),
    }
}
