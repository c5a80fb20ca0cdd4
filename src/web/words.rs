//! Numbers and times in words.

use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What stands where nothing is known.
pub(super) const NOTHING: &str = "\u{2013}";

/// A number with so many significant digits; thousands and more without decimals.
pub(super) fn number(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return NOTHING.into();
    }
    let size = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.*e}", (digits - 1).max(0) as usize).replace('-', "\u{2212}");
    }
    let decimals = (digits - 1 - size.log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.decimals$}").replace('-', "\u{2212}")
}

/// A number with so many decimals.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}").replace('-', "\u{2212}") } else { NOTHING.into() }
}

/// A whole number with thin spaces between thousands.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A length of a file.
pub(super) fn bytes(length: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = length as f64;
    let mut unit = "B";
    for larger in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{length} B") } else { format!("{} {unit}", number(size, 3)) }
}

/// A FITS unit string as it is printed.
pub(super) fn unit(text: &str) -> String {
    text.replace("**2", "\u{b2}")
}

/// A span of time in its largest unit or two.
pub(super) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// "3 min ago", with the time itself behind it.
pub(super) fn ago(then: OffsetDateTime, now: OffsetDateTime) -> Markup {
    let iso = then.replace_nanosecond(0).unwrap_or(then).format(&Rfc3339).unwrap_or_default();
    let seconds = (now - then).whole_seconds();
    let words = if seconds < 2 { "now".to_string() } else { format!("{} ago", duration(seconds)) };
    html! { time datetime=(iso) title=(iso) { (words) } }
}

/// A flag's name as words: `BAD_PIXELS` is "bad pixels". Abbreviations of the field keep their capitals.
pub(super) fn flag(name: &str) -> String {
    let words = name.split('_').map(|word| match word {
        "PSF" | "WCS" => word.to_string(),
        _ => word.to_ascii_lowercase(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_they_are_good_for() {
        assert_eq!(number(1234.56, 3), "1235");
        assert_eq!(number(-0.012345, 3), "\u{2212}0.0123");
        assert_eq!(number(99.96, 3), "100.0");
        assert_eq!(number(1.5e-7, 2), "1.5e\u{2212}7");
        assert_eq!((number(f64::NAN, 3).as_str(), number(0.0, 3).as_str()), (NOTHING, "0"));
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((bytes(512).as_str(), bytes(110_839_680).as_str()), ("512 B", "106 MiB"));
    }

    #[test]
    fn times_in_words() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3725), "1 h 02 min");
        assert_eq!(duration(86_400 * 3), "3 days");
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let text = ago(now - time::Duration::minutes(5), now).into_string();
        assert!(text.contains("5 min ago") && text.contains("2023-11-14T22:08:20Z"), "{text}");
    }

    #[test]
    fn flags_read_as_words() {
        assert_eq!(
            (flag("BAD_PIXELS"), flag("NO_WCS"), flag("PSF_TOO_NARROW")),
            ("bad pixels".into(), "no WCS".into(), "PSF too narrow".into())
        );
    }
}
