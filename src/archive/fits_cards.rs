//! FITS headers as bytes (FITS standard 4.0, sections 4.1-4.2). Written here rather than through CFITSIO so that stamp cubes can be
//! filled in any order within bounded memory, a full disk is told from other errors, and the bytes depend on the data alone.

/// Length of a FITS block.
pub const BLOCK: usize = 2880;
const CARD: usize = 80;

/// A header under construction: whole 80-byte cards.
#[derive(Debug, Clone, Default)]
pub struct Cards {
    bytes: Vec<u8>,
}

impl Cards {
    /// The start of an empty primary HDU that has extensions.
    pub fn primary() -> Self {
        let mut cards = Self::default();
        cards.logical("SIMPLE", true, "FITS standard 4.0").integer("BITPIX", 8, "").integer("NAXIS", 0, "no data here");
        cards.logical("EXTEND", true, "the data are in the extensions");
        cards
    }

    /// The start of a 32-bit float image extension with FITS axes (columns, rows, ...).
    pub fn image(name: &str, axes: &[usize]) -> Self {
        let mut cards = Self::default();
        cards.text("XTENSION", "IMAGE", "").integer("BITPIX", -32, "32-bit float");
        cards.integer("NAXIS", axes.len() as i64, "");
        for (i, n) in axes.iter().enumerate() {
            cards.integer(&format!("NAXIS{}", i + 1), *n as i64, "");
        }
        cards.integer("PCOUNT", 0, "").integer("GCOUNT", 1, "").text("EXTNAME", name, "");
        cards
    }

    /// The start of a binary table extension: rows of `width` bytes.
    pub fn table(name: &str, width: usize, rows: usize, fields: usize) -> Self {
        let mut cards = Self::default();
        cards.text("XTENSION", "BINTABLE", "").integer("BITPIX", 8, "").integer("NAXIS", 2, "");
        cards.integer("NAXIS1", width as i64, "bytes in a row").integer("NAXIS2", rows as i64, "rows");
        cards.integer("PCOUNT", 0, "").integer("GCOUNT", 1, "").integer("TFIELDS", fields as i64, "columns");
        cards.text("EXTNAME", name, "");
        cards
    }

    fn push(&mut self, card: &str) {
        let mut bytes: Vec<u8> = card.chars().map(printable).take(CARD).collect();
        bytes.resize(CARD, b' ');
        self.bytes.extend_from_slice(&bytes);
    }

    fn fixed(&mut self, key: &str, value: &str, comment: &str) -> &mut Self {
        let mut card = format!("{key:<8}= {value:>20}");
        if !comment.is_empty() {
            card.push_str(" / ");
            card.push_str(comment);
        }
        self.push(&card);
        self
    }

    /// A logical value.
    pub fn logical(&mut self, key: &str, value: bool, comment: &str) -> &mut Self {
        self.fixed(key, if value { "T" } else { "F" }, comment)
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str, value: i64, comment: &str) -> &mut Self {
        self.fixed(key, &value.to_string(), comment)
    }

    /// A real number, exact (shortest decimal that reads back the same); left out when it is not finite, which FITS cannot say.
    pub fn real(&mut self, key: &str, value: f64, comment: &str) -> &mut Self {
        if !value.is_finite() {
            return self;
        }
        let mut text = format!("{value:?}").to_uppercase();
        if let Some((mantissa, exponent)) = text.clone().split_once('E')
            && !mantissa.contains('.')
        {
            text = format!("{mantissa}.0E{exponent}");
        }
        self.fixed(key, &text, comment)
    }

    /// A real number where there is one.
    pub fn real_if(&mut self, key: &str, value: Option<f64>, comment: &str) -> &mut Self {
        match value {
            Some(v) => self.real(key, v, comment),
            None => self,
        }
    }

    /// Text; longer than a card goes on in `CONTINUE` cards (standard 4.0, section 4.2.1.2).
    pub fn text(&mut self, key: &str, value: &str, comment: &str) -> &mut Self {
        // pieces of at most 67 bytes with quotes doubled, so that an '&' still fits
        const ROOM: usize = 67;
        let mut pieces = vec![String::new()];
        for c in value.trim_end().chars().map(|c| char::from(printable(c))) {
            let width = if c == '\'' { 2 } else { 1 };
            if pieces.last().is_some_and(|p| p.len() + width > ROOM) {
                pieces.push(String::new());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.extend(std::iter::repeat_n(c, width));
            }
        }
        let last = pieces.len() - 1;
        for (i, piece) in pieces.iter().enumerate() {
            let go_on = if i < last { "&" } else { "" };
            let mut card = if i == 0 {
                let quoted = format!("'{:<8}'", format!("{piece}{go_on}"));
                format!("{key:<8}= {quoted:<20}")
            } else {
                format!("CONTINUE  '{piece}{go_on}'")
            };
            if i == last && !comment.is_empty() && card.len() + 3 + comment.len() <= CARD {
                card.push_str(" / ");
                card.push_str(comment);
            }
            self.push(&card);
        }
        self
    }

    /// Text where there is some.
    pub fn text_if(&mut self, key: &str, value: Option<&str>, comment: &str) -> &mut Self {
        match value {
            Some(v) => self.text(key, v, comment),
            None => self,
        }
    }

    /// Appends the cards of another list.
    pub fn extend(&mut self, other: &Self) -> &mut Self {
        self.bytes.extend_from_slice(&other.bytes);
        self
    }

    /// The finished header: END card, padded to whole blocks.
    pub fn finish(mut self) -> Vec<u8> {
        self.push("END");
        pad(&mut self.bytes, b' ');
        self.bytes
    }
}

/// FITS text is printable ASCII only: anything else becomes `?`.
pub(super) fn printable(c: char) -> u8 {
    match u8::try_from(c) {
        Ok(b @ 0x20..=0x7e) => b,
        Ok(b'\t' | b'\n' | b'\r') => b' ',
        _ => b'?',
    }
}

/// Fills up to a whole number of blocks.
pub fn pad(bytes: &mut Vec<u8>, with: u8) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), with);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(bytes: &[u8]) -> Vec<String> {
        bytes.chunks(80).map(|c| String::from_utf8(c.to_vec()).unwrap().trim_end().to_string()).collect()
    }

    #[test]
    fn cards_are_fixed_format() {
        let mut c = Cards::default();
        c.logical("EXTEND", true, "").integer("NAXIS1", 64, "columns").real("A", 31.4, "").real("B", 1e-20, "");
        c.real("C", 1e300, "").real("D", f64::NAN, "").text("EXTNAME", "PSF", "name").text("Q", "it's", "");
        let bytes = c.finish();
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(
            cards(&bytes)[..8],
            [
                "EXTEND  =                    T",
                "NAXIS1  =                   64 / columns",
                "A       =                 31.4",
                "B       =              1.0E-20",
                "C       =              1.0E300",
                "EXTNAME = 'PSF     '           / name",
                "Q       = 'it''s   '",
                "END"
            ]
        );
    }

    #[test]
    fn long_text_goes_on_and_loses_nothing() {
        let long = format!("{}'{}\u{e9}", "x".repeat(66), "y".repeat(70));
        let mut c = Cards::default();
        c.text("NOTE1", &long, "");
        let lines = cards(&c.finish());
        let mut joined = String::new();
        for line in lines.iter().take_while(|l| *l != "END") {
            assert!(line.len() <= 80);
            let body = line.split_once('\'').unwrap().1.strip_suffix('\'').unwrap();
            joined.push_str(body.strip_suffix('&').unwrap_or(body));
        }
        assert_eq!(joined.replace("''", "'"), long.replace('\u{e9}', "?"));
    }
}
