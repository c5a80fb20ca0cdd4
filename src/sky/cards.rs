//! Header cards as plain data: keyword, value, comment. No file is involved.

/// The value of a header card.
#[derive(Debug, Clone, PartialEq)]
pub enum CardValue {
    /// `T` or `F`.
    Logical(bool),
    /// A whole number.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// A string, trailing blanks removed.
    Text(String),
}

impl From<bool> for CardValue {
    fn from(value: bool) -> Self {
        Self::Logical(value)
    }
}

impl From<i64> for CardValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for CardValue {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<&str> for CardValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<String> for CardValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// One header card.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Keyword, upper case; a `HIERARCH` card's name stands here without `HIERARCH`.
    pub name: String,
    /// Value.
    pub value: CardValue,
    /// Comment, empty if none.
    pub comment: String,
}

/// The valued cards of a header, in order. Where a keyword occurs twice the first one counts, as in CFITSIO and astropy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cards {
    cards: Vec<Card>,
}

impl Cards {
    /// No cards.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a card; an earlier one of the same name still counts.
    pub fn push(&mut self, name: &str, value: impl Into<CardValue>, comment: &str) {
        self.cards.push(Card {
            name: name.trim().to_ascii_uppercase(),
            value: value.into(),
            comment: comment.to_string(),
        });
    }

    /// Replaces the value of the first card of this name, or appends one.
    pub fn set(&mut self, name: &str, value: impl Into<CardValue>, comment: &str) {
        match self.cards.iter_mut().find(|card| card.name == name) {
            Some(card) => card.value = value.into(),
            None => self.push(name, value, comment),
        }
    }

    /// The first card of this name (upper case).
    pub fn get(&self, name: &str) -> Option<&CardValue> {
        self.cards.iter().find(|card| card.name == name).map(|card| &card.value)
    }

    /// The value as a finite number. A string that spells a number counts (Euclid writes `MAGZEROP` so).
    pub fn real(&self, name: &str) -> Option<f64> {
        let value = match self.get(name)? {
            CardValue::Integer(value) => *value as f64,
            CardValue::Real(value) => *value,
            CardValue::Text(text) => text.trim().parse().ok()?,
            CardValue::Logical(_) => return None,
        };
        value.is_finite().then_some(value)
    }

    /// The value as a whole number; a real or a string counts if it spells one.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            CardValue::Integer(value) => Some(*value),
            CardValue::Real(value) if value.fract() == 0.0 && value.abs() < 9.0e15 => Some(*value as i64),
            CardValue::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value as a non-empty string; numbers are spelt out.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = match self.get(name)? {
            CardValue::Text(text) => text.trim().to_string(),
            CardValue::Integer(value) => value.to_string(),
            CardValue::Real(value) => value.to_string(),
            CardValue::Logical(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The value as a truth value.
    pub fn logical(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            CardValue::Logical(value) => Some(*value),
            _ => None,
        }
    }

    /// Every card, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter()
    }

    /// Appends the cards of `parent` whose names are not here yet (`INHERIT`: an extension sees the primary's cards).
    pub fn inherit(&mut self, parent: &Self) {
        for card in &parent.cards {
            if self.get(&card.name).is_none() {
                self.cards.push(card.clone());
            }
        }
    }

    /// Number of cards.
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    /// Whether there are no cards.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }
}
