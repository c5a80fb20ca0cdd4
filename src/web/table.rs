//! The table of objects: which rows, in which order, which page.

use std::cmp::Ordering;

use serde::Deserialize;

use super::WebError;
use crate::catalog::flags::FLAG_TABLE;
use crate::catalog::{COLUMNS, CatalogRow, Column, Flags, Value};

/// What stands in the address behind the `?`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Query {
    sort: Option<String>,
    desc: Option<String>,
    page: Option<usize>,
    only: Option<String>,
    flag: Option<String>,
}

/// Which rows by their flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    All,
    /// With a flag that not every row has.
    Flagged,
    /// Without.
    Clean,
}

impl Only {
    pub(super) const EACH: [Self; 3] = [Self::All, Self::Flagged, Self::Clean];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Flagged => "flagged",
            Self::Clean => "unflagged",
        }
    }
}

/// A checked [`Query`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) sort: &'static Column,
    pub(super) descending: bool,
    /// From 1.
    pub(super) page: usize,
    pub(super) only: Only,
    /// One flag: its bit and name.
    pub(super) flag: Option<(Flags, &'static str)>,
}

impl Choice {
    /// What the address asks for; brightest first where it asks for nothing.
    pub(super) fn new(query: &Query) -> Result<Self, WebError> {
        let name = query.sort.as_deref().unwrap_or("snr");
        let sort = COLUMNS.iter().find(|c| c.name == name).ok_or_else(|| {
            let known: Vec<&str> = COLUMNS.iter().map(|c| c.name).collect();
            WebError::BadRequest(format!(
                "The catalogue has no column {name} to sort by. It has: {}.",
                known.join(", ")
            ))
        })?;
        let descending = match query.desc.as_deref() {
            None => query.sort.is_none(),
            Some("" | "0" | "false") => false,
            Some(_) => true,
        };
        let only = query.only.as_deref().unwrap_or("all");
        let only = Only::EACH.into_iter().find(|o| o.name() == only).ok_or_else(|| {
            WebError::BadRequest(format!("Objects can be shown as all, flagged or unflagged, not as {only}."))
        })?;
        let flag = match query.flag.as_deref() {
            None | Some("") => None,
            Some(name) => {
                let known = FLAG_TABLE.iter().find(|(_, known, _)| *known == name);
                let (bit, name, _) = known.ok_or_else(|| WebError::BadRequest(format!("There is no flag {name}.")))?;
                Some((Flags::from_bits_retain(1 << bit), *name))
            }
        };
        Ok(Self { sort, descending, page: query.page.unwrap_or(1).max(1), only, flag })
    }

    /// The address of the same choice with another order, page or filter.
    pub(super) fn address(&self) -> String {
        let mut address = format!("?sort={}", self.sort.name);
        if self.descending {
            address.push_str("&desc=1");
        }
        if self.only != Only::All {
            address.push_str(&format!("&only={}", self.only.name()));
        }
        if let Some((_, name)) = self.flag {
            address.push_str(&format!("&flag={name}"));
        }
        if self.page > 1 {
            address.push_str(&format!("&page={}", self.page));
        }
        address.push_str("#objects");
        address
    }

    /// The same rows by another column: the other way round if it is this column already.
    pub(super) fn by(&self, column: &'static Column) -> Self {
        let again = column.name == self.sort.name;
        Self { sort: column, descending: again && !self.descending, page: 1, ..*self }
    }
}

/// One page of the chosen rows.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) rows: Vec<&'a CatalogRow>,
    /// Rows that match, on all pages.
    pub(super) matching: usize,
    /// Number of this page, from 1.
    pub(super) page: usize,
    pub(super) pages: usize,
}

/// Filters, sorts and cuts. A page beyond the last is the last.
pub(super) fn select<'a>(rows: &'a [CatalogRow], choice: &Choice, common: Flags, per_page: usize) -> Page<'a> {
    let per_page = per_page.max(1);
    let mut chosen: Vec<&CatalogRow> = rows
        .iter()
        .filter(|row| {
            let flagged = !(row.flags - common).is_empty();
            let asked = match choice.only {
                Only::All => true,
                Only::Flagged => flagged,
                Only::Clean => !flagged,
            };
            asked && choice.flag.is_none_or(|(flag, _)| row.flags.contains(flag))
        })
        .collect();
    chosen.sort_by(|a, b| order(choice, a, b).then(a.id.cmp(&b.id)));
    let matching = chosen.len();
    let pages = matching.div_ceil(per_page).max(1);
    let page = choice.page.min(pages);
    let rows = chosen.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    Page { rows, matching, page, pages }
}

/// Missing values come last whichever way the order runs.
fn order(choice: &Choice, a: &CatalogRow, b: &CatalogRow) -> Ordering {
    let (a, b) = ((choice.sort.get)(a), (choice.sort.get)(b));
    let missing = |v: &Value| match v {
        Value::Float(v) => v.is_nan(),
        Value::Integer(_) => false,
        Value::Small(v) => v.is_none(),
        Value::Text(v) => v.is_none(),
    };
    match (missing(&a), missing(&b)) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let ascending = match (&a, &b) {
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Small(a), Value::Small(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    if choice.descending { ascending.reverse() } else { ascending }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<CatalogRow> {
        (1..=120)
            .map(|id| {
                let mut row = CatalogRow::empty(id);
                row.snr = if id == 7 { f64::NAN } else { ((id * 37) % 120) as f64 };
                row.flags = Flags::UNCALIBRATED;
                if id % 4 == 0 {
                    row.flags |= Flags::BLENDED;
                }
                if id % 8 == 0 {
                    row.flags |= Flags::EDGE;
                }
                row
            })
            .collect()
    }

    fn choice(sort: &str, desc: Option<&str>, page: usize, only: &str, flag: &str) -> Choice {
        let text = |t: &str| (!t.is_empty()).then(|| t.to_string());
        let query = Query {
            sort: text(sort),
            desc: desc.map(str::to_string),
            page: Some(page),
            only: text(only),
            flag: text(flag),
        };
        Choice::new(&query).unwrap()
    }

    #[test]
    fn rows_are_sorted_either_way_with_missing_values_last() {
        let rows = rows();
        let up = select(&rows, &choice("snr", None, 1, "", ""), Flags::UNCALIBRATED, 120);
        let down = select(&rows, &choice("snr", Some("1"), 1, "", ""), Flags::UNCALIBRATED, 120);
        assert!(up.rows[..119].windows(2).all(|w| w[0].snr <= w[1].snr));
        assert!(down.rows[..119].windows(2).all(|w| w[0].snr >= w[1].snr));
        assert_eq!((up.rows[119].id, down.rows[119].id), (7, 7));
        let default = Choice::new(&Query::default()).unwrap();
        assert!(default.descending && default.sort.name == "snr", "brightest first");
        for column in COLUMNS {
            assert_eq!(select(&rows, &default.by(column), Flags::empty(), 50).rows.len(), 50, "{}", column.name);
        }
    }

    #[test]
    fn pages_hold_every_row_once() {
        let rows = rows();
        let mut seen: Vec<i64> = (1..=3)
            .flat_map(|page| {
                let page = select(&rows, &choice("snr", None, page, "", ""), Flags::empty(), 50);
                assert_eq!((page.pages, page.matching), (3, 120));
                page.rows.iter().map(|r| r.id).collect::<Vec<_>>()
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (1..=120).collect::<Vec<_>>());
        let beyond = select(&rows, &choice("id", None, 999, "", ""), Flags::empty(), 50);
        assert_eq!((beyond.page, beyond.rows.len()), (3, 20));
        let nothing = select(&[], &choice("id", None, 1, "", ""), Flags::empty(), 50);
        assert_eq!((nothing.pages, nothing.rows.len()), (1, 0));
    }

    #[test]
    fn flags_that_all_have_flag_nobody() {
        let rows = rows();
        let common = crate::catalog::common_flags(&rows);
        assert_eq!(common, Flags::UNCALIBRATED);
        let count = |only, flag| select(&rows, &choice("id", None, 1, only, flag), common, 50).matching;
        assert_eq!((count("flagged", ""), count("unflagged", ""), count("all", "")), (30, 90, 120));
        assert_eq!((count("", "EDGE"), count("unflagged", "EDGE"), count("", "UNCALIBRATED")), (15, 0, 120));
    }

    #[test]
    fn a_column_asked_for_again_turns_round() {
        let first = choice("id", None, 3, "flagged", "EDGE");
        assert_eq!(first.address(), "?sort=id&only=flagged&flag=EDGE&page=3#objects");
        let again = first.by(first.sort);
        assert_eq!(again.address(), "?sort=id&desc=1&only=flagged&flag=EDGE#objects");
        assert!(!again.by(again.sort).descending);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let wrong = |query: Query| Choice::new(&query).unwrap_err().to_string();
        assert!(wrong(Query { sort: Some("magic".into()), ..Query::default() }).contains("half_light_radius"));
        assert!(wrong(Query { only: Some("good".into()), ..Query::default() }).contains("unflagged"));
        assert!(wrong(Query { flag: Some("UGLY".into()), ..Query::default() }).contains("UGLY"));
    }
}
