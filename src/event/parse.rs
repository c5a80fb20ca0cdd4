//! From a message to an event that can be worked on.

use serde_json::Value;

use super::{
    CLOUD_EVENTS_VERSION, CloudEvent, DataRef, EXPOSURE_AVAILABLE, EventError, ExposureAvailable, check_traceparent,
};

/// Longest identifier, characters.
const LONGEST_NAME: usize = 200;

/// An exposure event and what is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExposureEvent {
    /// The event.
    pub event: CloudEvent<ExposureAvailable>,
    /// Fields that are not known and were left out, in sentences.
    pub notes: Vec<String>,
}

/// Reads a message of at most `limit` bytes.
///
/// Unknown fields are allowed, so that senders may move ahead of us, but named in the notes: a misspelt zero point must not be
/// lost silently.
pub fn parse_exposure_event(message: &[u8], limit: usize) -> Result<ExposureEvent, EventError> {
    if message.len() > limit {
        return Err(EventError::TooLarge { length: message.len(), limit });
    }
    let raw: Value = serde_json::from_slice(message).map_err(|error| EventError::NotJson(error.to_string()))?;
    check_envelope(&raw)?;
    let mut event: CloudEvent<ExposureAvailable> = serde_path_to_error::deserialize(&raw)
        .map_err(|error| EventError::Field { field: error.path().to_string(), problem: error.inner().to_string() })?;
    check_fields(&event)?;
    let mut notes = Vec::new();
    if let (Some(data), Ok(known)) = (raw.get("data"), serde_json::to_value(&event.data)) {
        unknown_fields("data", data, &known, &mut notes);
    }
    if event.traceparent.as_deref().is_some_and(|text| !check_traceparent(text)) {
        notes.push("the event's traceparent is not a W3C trace context: ignored".into());
        event.traceparent = None;
    }
    Ok(ExposureEvent { event, notes })
}

fn check_envelope(raw: &Value) -> Result<(), EventError> {
    let wrong = |what: String| Err(EventError::NotAnEvent { reason: what });
    let Some(object) = raw.as_object() else { return wrong("it is no JSON object".into()) };
    for name in ["specversion", "id", "source", "type"] {
        match object.get(name) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(_) => return wrong(format!("\"{name}\" is not a text, or empty")),
            None => return wrong(format!("it has no \"{name}\"")),
        }
    }
    if object["specversion"] != CLOUD_EVENTS_VERSION {
        return wrong(format!("specversion is {}, not \"1.0\"", object["specversion"]));
    }
    if object["type"] != EXPOSURE_AVAILABLE {
        return wrong(format!("type is {}", object["type"]));
    }
    match object.get("data") {
        Some(Value::Object(_)) => Ok(()),
        Some(_) => wrong("\"data\" is not an object".into()),
        None => wrong("it has no \"data\"".into()),
    }
}

fn check_fields(event: &CloudEvent<ExposureAvailable>) -> Result<(), EventError> {
    let wrong = |field: &str, problem: &str| Err(EventError::Field { field: field.into(), problem: problem.into() });
    let identity = &event.data.identity;
    let names = [
        ("data.identity.instrument", Some(&identity.instrument)),
        ("data.identity.exposure_id", Some(&identity.exposure_id)),
        ("data.identity.detector", identity.detector.as_ref()),
        ("id", Some(&event.id)),
    ];
    for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name?))) {
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return wrong(field, &format!("must have 1 to {LONGEST_NAME} characters, no control characters"));
        }
    }
    let data = &event.data.data;
    let noise = [&data.variance, &data.rms, &data.weight];
    if noise.iter().filter(|plane| plane.is_some()).count() > 1 {
        return wrong("data.data", "give one of variance, rms and weight, not several");
    }
    let files = [("image", Some(&data.image)), ("mask", data.mask.as_ref()), ("background", data.background.as_ref())];
    let more = [
        ("variance", data.variance.as_ref()),
        ("rms", data.rms.as_ref()),
        ("weight", data.weight.as_ref()),
        ("catalog", event.data.catalog.as_ref().map(|c| &c.file)),
        ("psf", event.data.psf.as_ref().map(|p| &p.file)),
    ];
    for (name, file) in files.into_iter().chain(more).filter_map(|(name, file)| Some((name, file?))) {
        check_file(name, file)?;
    }
    let calibration = &event.data.calibration;
    let positive =
        [("gain", calibration.gain), ("saturation", calibration.saturation), ("pixel_scale", calibration.pixel_scale)];
    for (name, value) in positive {
        if value.is_some_and(|v| !(v > 0.0)) {
            return wrong(&format!("data.calibration.{name}"), "must be greater than zero");
        }
    }
    Ok(())
}

fn check_file(name: &str, file: &DataRef) -> Result<(), EventError> {
    let wrong = |part: &str, problem: String| Err(EventError::Field { field: format!("{name}.{part}"), problem });
    if file.uri.is_empty() {
        return wrong("uri", "is empty".into());
    }
    if let Some(checksum) = &file.checksum {
        let hex = checksum.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return wrong("checksum", format!("{checksum:?} is not of the form sha256:<64 hexadecimal digits>"));
        }
    }
    Ok(())
}

/// Names every field of `given` that `known` (the same data, read and written again) lacks.
fn unknown_fields(path: &str, given: &Value, known: &Value, notes: &mut Vec<String>) {
    let (Value::Object(given), Value::Object(known)) = (given, known) else { return };
    for (name, value) in given {
        match known.get(name) {
            Some(inner) => unknown_fields(&format!("{path}.{name}"), value, inner, notes),
            None => {
                let nearest = known.keys().min_by_key(|key| strsim::damerau_levenshtein(key, name));
                let hint = nearest
                    .filter(|key| strsim::damerau_levenshtein(key, name) <= 3)
                    .map_or_else(String::new, |key| format!(" (did you mean {key}?)"));
                notes.push(format!("the event's field {path}.{name} is not known and was left out{hint}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "specversion": "1.0", "id": "a", "source": "/camera", "type": EXPOSURE_AVAILABLE,
            "time": "2026-11-20T12:00:00Z",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "data": {
                "identity": {"instrument": "LSSTCam", "exposure_id": 2026112000001_i64, "detector": 94},
                "data": {"image": {"uri": "file:/data/a.fits", "hdu": 1}},
                "calibration": {"zero_point_ab": 27.0}
            }
        })
    }

    fn parse(event: &Value) -> Result<ExposureEvent, EventError> {
        parse_exposure_event(event.to_string().as_bytes(), 10_000)
    }

    #[test]
    fn numbers_are_names_too() {
        let parsed = parse(&good()).expect("a good event");
        assert_eq!(parsed.event.data.identity.key(), "LSSTCam/2026112000001/94/1");
        assert_eq!(parsed.event.data.identity.archive_name(), "LSSTCam-2026112000001-94");
        assert_eq!(parsed.notes, Vec::<String>::new());
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let mut event = good();
        event["data"]["calibration"]["zero_piont_ab"] = json!(27.0);
        event["traceparent"] = json!("nonsense");
        let notes = parse(&event).expect("still an event").notes;
        assert!(notes[0].contains("zero_piont_ab") && notes[0].contains("zero_point_ab"), "{notes:?}");
        assert!(notes[1].contains("traceparent"), "{notes:?}");
    }

    #[test]
    fn what_is_no_event_says_why() {
        let message = |event: &Value| parse(event).expect_err("refused").to_string();
        assert!(message(&json!([1, 2])).contains("no JSON object"));
        for name in ["specversion", "id", "source", "type", "data"] {
            let mut event = good();
            event.as_object_mut().expect("object").remove(name);
            assert!(message(&event).contains(name), "{name}");
        }
        let mut event = good();
        event["specversion"] = json!("0.3");
        assert!(message(&event).contains("0.3"));
        let mut event = good();
        event["type"] = json!("org.other");
        assert!(message(&event).contains("org.other"));
        let mut event = good();
        event["data"]["data"] = json!({});
        assert!(message(&event).contains("image"));
        let mut event = good();
        event["data"]["data"]["image"]["checksum"] = json!("md5:1");
        assert!(message(&event).contains("sha256"));
        let mut event = good();
        event["data"]["identity"]["exposure_id"] = json!("");
        assert!(message(&event).contains("exposure_id"));
        let mut event = good();
        event["data"]["data"]["rms"] = json!({"uri": "file:/a"});
        event["data"]["data"]["weight"] = json!({"uri": "file:/a"});
        assert!(message(&event).contains("one of"));
        assert!(parse_exposure_event(b"\xff\xfe", 100).is_err());
        assert!(matches!(parse_exposure_event(&[b' '; 101], 100), Err(EventError::TooLarge { .. })));
    }
}
