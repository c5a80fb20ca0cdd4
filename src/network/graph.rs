//! Holding an ONNX graph's inputs and output to the card.

use std::path::Path;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::card::{Card, InputCard, Side};
use super::error::NetworkError;

/// Every difference between the graph and its card, worst first; empty where it fits.
pub(super) fn differences(path: &Path, card: &Card, session: &Session) -> Vec<NetworkError> {
    let mut found = Vec::new();
    let mut say = |what: String, expected: String, got: String, remedy: &str| {
        found.push(NetworkError::Mismatch { path: path.into(), what, expected, found: got, remedy: remedy.into() });
    };
    const NAMES: &str = "name it so in the export (input_names, output_names), or change the card";

    for input in &card.inputs {
        match session.inputs().iter().find(|outlet| outlet.name() == input.name) {
            Some(outlet) => outlet_fits(outlet, &format!("input {}", input.name), &input_dims(card, input), &mut say),
            None => say(format!("input {}", input.name), "to be there".into(), names(session.inputs()), NAMES),
        }
    }
    for outlet in session.inputs() {
        if !card.inputs.iter().any(|input| input.name == outlet.name()) {
            let known = card.inputs.iter().map(|i| i.name.clone()).collect::<Vec<_>>().join(", ");
            say(
                format!("input {}", outlet.name()),
                known,
                "an input that the card does not know".into(),
                "give it an [[inputs]] of its own in the card, or leave it out of the export",
            );
        }
    }
    match session.outputs().iter().find(|outlet| outlet.name() == card.output.name) {
        Some(outlet) => {
            let dims = [batch(card), Want::Exactly(1), side(card, 0), side(card, 0)];
            outlet_fits(outlet, &format!("output {}", card.output.name), &[dims.to_vec()], &mut say);
        }
        None => say(format!("output {}", card.output.name), "to be there".into(), names(session.outputs()), NAMES),
    }
    found
}

/// What a dimension must be.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// Dynamic.
    Any,
    /// This, or dynamic.
    Exactly(usize),
}

impl std::fmt::Display for Want {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => formatter.write_str("dynamic"),
            Self::Exactly(n) => write!(formatter, "{n}"),
        }
    }
}

fn batch(card: &Card) -> Want {
    match card.shape.batches.as_slice() {
        [one] => Want::Exactly(*one),
        _ => Want::Any,
    }
}

fn side(card: &Card, border: usize) -> Want {
    match card.shape.side {
        Side::Fixed(n) => Want::Exactly(n + 2 * border),
        Side::Dynamic(_) => Want::Any,
    }
}

/// Shapes that fit an input.
fn input_dims(card: &Card, input: &InputCard) -> Vec<Vec<Want>> {
    if input.planes.is_empty() {
        vec![vec![batch(card)], vec![batch(card), Want::Exactly(1)]]
    } else {
        let wide = side(card, card.shape.border);
        vec![vec![batch(card), Want::Exactly(input.planes.len()), wide, wide]]
    }
}

fn outlet_fits(outlet: &Outlet, what: &str, shapes: &[Vec<Want>], say: &mut impl FnMut(String, String, String, &str)) {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        say(what.into(), "a tensor".into(), outlet.dtype().to_string(), "export a graph of tensors");
        return;
    };
    if *ty != TensorElementType::Float32 {
        say(
            format!("type of {what}"),
            "f32".into(),
            ty.to_string(),
            "keep inputs and outputs in f32 (half precision may live inside)",
        );
    }
    let fits = |dims: &[Want]| {
        dims.len() == shape.len()
            && dims.iter().zip(shape.iter()).all(|(want, &have)| match want {
                Want::Any => have == -1,
                Want::Exactly(n) => have == -1 || usize::try_from(have) == Ok(*n),
            })
    };
    if !shapes.iter().any(|dims| fits(dims)) {
        let show = |dims: &[Want]| format!("({})", dims.iter().map(Want::to_string).collect::<Vec<_>>().join(", "));
        let have: Vec<String> = shape.iter().map(|&n| if n == -1 { "dynamic".into() } else { n.to_string() }).collect();
        say(
            format!("shape of {what}"),
            shapes.iter().map(|dims| show(dims)).collect::<Vec<_>>().join(" or "),
            format!("({})", have.join(", ")),
            &shape_remedy(shapes, shape),
        );
    }
}

/// What to do about a shape that does not fit, by the first axis that is wrong.
fn shape_remedy(shapes: &[Vec<Want>], have: &[i64]) -> String {
    let Some(wanted) = shapes.iter().find(|dims| dims.len() == have.len()) else {
        return "export with as many axes: images are (batch, plane, row, column), numbers (batch) or (batch, 1)"
            .into();
    };
    let wrong = wanted.iter().zip(have).position(|(want, &have)| match want {
        Want::Any => have != -1,
        Want::Exactly(n) => have != -1 && usize::try_from(have) != Ok(*n),
    });
    match (wrong, have) {
        (Some(0), &[batch, ..]) => format!(
            "the batch is fixed at {batch}: export with a dynamic batch (dynamic_axes={{name: {{0: \"batch\"}}}}), or set shape.batches = [{batch}]"
        ),
        (Some(1), &[_, planes, ..]) if have.len() == 4 => format!(
            "the graph has {planes} channels: list as many planes in [[inputs]], in the order of the channels, or export with as many channels as the card names planes"
        ),
        _ => "export with these axes (dynamic_axes), or change shape.side, shape.border or shape.batches in the card"
            .into(),
    }
}

fn names(outlets: &[Outlet]) -> String {
    let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Rank of a scalar input in the graph: 1 or 2.
pub(super) fn rank(session: &Session, name: &str) -> usize {
    session
        .inputs()
        .iter()
        .find(|outlet| outlet.name() == name)
        .and_then(|outlet| match outlet.dtype() {
            ValueType::Tensor { shape, .. } => Some(shape.len()),
            _ => None,
        })
        .unwrap_or(1)
}
