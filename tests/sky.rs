//! World coordinates against astropy, and round trips.

#![allow(clippy::expect_used, clippy::panic)]

mod common;

use common::golden;
use proptest::prelude::*;
use stillair::sky::{CardValue, Cards, Wcs};

const MAS: f64 = 3.6e6;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    cards: serde_json::Map<String, serde_json::Value>,
    x: Vec<f64>,
    y: Vec<f64>,
    ra: Vec<f64>,
    dec: Vec<f64>,
    jacobian: [[f64; 2]; 2],
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(golden("reading/wcs.json")).expect("golden file");
    serde_json::from_str(&text).expect("golden JSON")
}

fn cards(case: &Case) -> Cards {
    let mut cards = Cards::new();
    for (name, value) in &case.cards {
        let value = match value {
            serde_json::Value::String(text) => CardValue::Text(text.clone()),
            serde_json::Value::Number(number) if number.is_i64() => CardValue::Integer(number.as_i64().expect("i64")),
            other => CardValue::Real(other.as_f64().expect("a number")),
        };
        cards.push(name, value, "");
    }
    cards
}

fn separation_mas(a: (f64, f64), b: (f64, f64)) -> f64 {
    let dra = (a.0 - b.0 + 540.0).rem_euclid(360.0) - 180.0;
    (dra * a.1.to_radians().cos()).hypot(a.1 - b.1) * MAS
}

#[test]
fn positions_agree_with_astropy() {
    for case in cases() {
        let wcs = Wcs::from_cards(&cards(&case)).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let mut worst = (0.0_f64, 0.0_f64);
        for i in 0..case.x.len() {
            let (x, y) = (case.x[i] - 1.0, case.y[i] - 1.0);
            worst.0 = worst.0.max(separation_mas(wcs.pixel_to_sky(x, y), (case.ra[i], case.dec[i])));
            let (bx, by) = wcs.sky_to_pixel(case.ra[i], case.dec[i]).expect("inverse");
            worst.1 = worst.1.max((bx - x).hypot(by - y));
        }
        println!("{}: {:.2e} mas forward, {:.2e} px backward", case.name, worst.0, worst.1);
        assert!(worst.0 < 1e-4, "{}: {} mas", case.name, worst.0);
        assert!(worst.1 < 1e-6, "{}: {} px", case.name, worst.1);
    }
}

#[test]
fn jacobian_agrees_with_astropy() {
    for case in cases() {
        let wcs = Wcs::from_cards(&cards(&case)).expect("usable cards");
        let ours = wcs.jacobian(case.x[0] - 1.0, case.y[0] - 1.0);
        for (a, b) in ours.iter().flatten().zip(case.jacobian.iter().flatten()) {
            assert!((a - b).abs() < 2e-8, "{}: {ours:?} against {:?}", case.name, case.jacobian);
        }
    }
}

#[test]
fn cards_written_out_give_the_same_sky() {
    for case in cases() {
        let wcs = Wcs::from_cards(&cards(&case)).expect("usable cards");
        let again = Wcs::from_cards(&wcs.to_cards()).expect("own cards");
        assert_eq!(wcs.pixel_to_sky(77.0, 33.0), again.pixel_to_sky(77.0, 33.0), "{}", case.name);
    }
}

#[test]
fn the_far_side_of_the_sky_has_no_pixel() {
    let case = &cases()[0];
    let wcs = Wcs::from_cards(&cards(case)).expect("usable cards");
    assert_eq!(wcs.sky_to_pixel(case.ra[0] + 180.0, -case.dec[0]), None);
}

fn any_cards() -> impl Strategy<Value = Cards> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "CDELT1",
            "CDELT2", "CROTA2", "PC1_1", "PC2_2", "A_ORDER", "B_ORDER", "A_0_2", "B_1_1", "AP_ORDER", "BP_ORDER",
            "PV1_1", "PV2_39", "LONPOLE", "LATPOLE", "CUNIT1", "EQUINOX", "RADESYS",
        ])
        .prop_map(str::to_string),
        "[A-Z0-9_]{1,8}",
    ];
    let value = prop_oneof![
        any::<f64>().prop_map(CardValue::Real),
        (-50_i64..50).prop_map(CardValue::Integer),
        prop::sample::select(vec![
            "RA---TAN",
            "DEC--TAN",
            "RA---TAN-SIP",
            "DEC--TAN-SIP",
            "RA---TPV",
            "DEC--TPV",
            "RA---HPX",
            "deg",
            "arcsec",
            "",
            "FK4",
            "DEC--CAR",
            "RA---ZPN",
        ])
        .prop_map(|text| CardValue::Text(text.to_string())),
        "[ -~]{0,20}".prop_map(CardValue::Text),
    ];
    prop::collection::vec((name, value), 0..30).prop_map(|list| {
        let mut cards = Cards::new();
        for (name, value) in list {
            cards.push(&name, value, "");
        }
        cards
    })
}

proptest! {
    #[test]
    fn pixel_to_sky_and_back(
        ra in 0.0..360.0_f64, dec in -85.0..85.0_f64, angle in 0.0..360.0_f64, scale in 0.05..1.0_f64,
        x in -500.0..4500.0_f64, y in -500.0..4500.0_f64,
    ) {
        let (s, c) = angle.to_radians().sin_cos();
        let d = scale / 3600.0;
        let wcs = Wcs::tan((ra, dec), (2000.0, 2000.0), [[-d * c, d * s], [d * s, d * c]]).expect("a TAN");
        let (a, b) = wcs.pixel_to_sky(x, y);
        let (bx, by) = wcs.sky_to_pixel(a, b).expect("on the near side");
        prop_assert!((bx - x).hypot(by - y) < 1e-6);
        let j = wcs.jacobian(x, y);
        prop_assert!(j.iter().flatten().all(|v| v.is_finite()));
        // TAN stretches by at most 1/cos^2 of the distance from the centre, here below two degrees.
        prop_assert!((wcs.pixel_scale(x, y) / scale - 1.0).abs() < 0.01);
    }

    #[test]
    fn arbitrary_cards_never_panic(cards in any_cards(), x in any::<f64>(), y in any::<f64>()) {
        if let Ok(wcs) = Wcs::from_cards(&cards) {
            let (ra, dec) = wcs.pixel_to_sky(x, y);
            let _ = wcs.sky_to_pixel(ra, dec);
            let _ = wcs.jacobian(x, y);
            let _ = wcs.shifted(3.0, 4.0);
        }
    }
}
