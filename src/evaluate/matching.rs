//! Which measured position belongs to which true one.

use std::collections::HashMap;

/// A measured position and the true one it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Index into the true positions.
    pub truth: usize,
    /// Index into the measured positions.
    pub measured: usize,
    /// Distance, in the positions' units.
    pub distance: f64,
}

/// Pairs positions within `radius`, closest first, each at most once; ordered by the index of the true position.
/// Positions that are not finite match nothing.
pub fn match_positions(truth: &[(f64, f64)], measured: &[(f64, f64)], radius: f64) -> Vec<Match> {
    if !(radius > 0.0 && radius.is_finite()) {
        return Vec::new();
    }
    let usable = |p: &(f64, f64)| p.0.abs() < 1e15 * radius && p.1.abs() < 1e15 * radius;
    let cell = |p: &(f64, f64)| ((p.0 / radius).floor() as i64, (p.1 / radius).floor() as i64);
    let mut cells: HashMap<(i64, i64), Vec<usize>> = HashMap::new();
    for (i, p) in measured.iter().enumerate().filter(|(_, p)| usable(p)) {
        cells.entry(cell(p)).or_default().push(i);
    }
    let mut pairs = Vec::new();
    for (t, p) in truth.iter().enumerate().filter(|(_, p)| usable(p)) {
        let (cx, cy) = cell(p);
        for key in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (cx + dx, cy + dy))) {
            for &m in cells.get(&key).into_iter().flatten() {
                let distance = measured.get(m).map_or(f64::INFINITY, |q| (q.0 - p.0).hypot(q.1 - p.1));
                if distance <= radius {
                    pairs.push(Match { truth: t, measured: m, distance });
                }
            }
        }
    }
    pairs.sort_by(|l, r| {
        l.distance.total_cmp(&r.distance).then(l.truth.cmp(&r.truth)).then(l.measured.cmp(&r.measured))
    });
    let (mut truth_free, mut measured_free) = (vec![true; truth.len()], vec![true; measured.len()]);
    pairs.retain(|p| {
        let free = truth_free[p.truth] && measured_free[p.measured];
        if free {
            truth_free[p.truth] = false;
            measured_free[p.measured] = false;
        }
        free
    });
    pairs.sort_by_key(|p| p.truth);
    pairs
}
