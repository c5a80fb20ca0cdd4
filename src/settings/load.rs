//! Reading the layers and saying clearly what is wrong with them.

use std::path::{Path, PathBuf};

use super::Settings;
use crate::failure::{Classify, FailureKind};

/// Prefix of environment variables that set configuration keys.
const ENV_PREFIX: &str = "STILLAIR__";

/// Files looked for in the current directory when none is named, in order.
const DEFAULT_FILES: [&str; 2] = ["stillair.toml", "config/stillair.toml"];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The named file cannot be read.
    #[error("configuration file {path}: {reason}; check the path given with --config")]
    Unreadable {
        /// File asked for.
        path: PathBuf,
        /// Operating system's reason.
        reason: std::io::Error,
    },
    /// A layer holds something that is not configuration.
    #[error("{place}: {reason}")]
    Invalid {
        /// File and line, or environment variable.
        place: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Classify for SettingsError {
    fn kind(&self) -> FailureKind {
        FailureKind::BadInput
    }
}

/// Settings and the layers they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// The layers used, lowest first, in words.
    pub layers: Vec<String>,
}

/// Reads all layers: defaults, `file` (or the first of `stillair.toml`, `config/stillair.toml` that exists), environment.
pub fn load(file: Option<&Path>) -> Result<Loaded, SettingsError> {
    let default = DEFAULT_FILES.iter().map(Path::new).find(|p| p.is_file());
    load_from(file.or(default), std::env::vars())
}

/// As [`load`], with the file and the environment given.
pub fn load_from(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, SettingsError> {
    let mut layers = vec!["built-in defaults".to_string()];
    let mut merged = toml::Table::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| SettingsError::Unreadable { path: path.to_owned(), reason })?;
        // Deserialised by itself first: only so does an error know its line.
        if let Err(error) = toml::from_str::<Settings>(&text) {
            return Err(SettingsError::Invalid { place: place(path, &text, &error), reason: explain(error.message()) });
        }
        merged = text.parse().map_err(|error: toml::de::Error| SettingsError::Invalid {
            place: path.display().to_string(),
            reason: error.message().to_string(),
        })?;
        layers.push(format!("file {}", path.display()));
    }
    let mut variables: Vec<(String, String)> =
        environment.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        let mut attempt = merged.clone();
        insert(&mut attempt, &name, parse_value(&value))?;
        match attempt.clone().try_into::<Settings>() {
            Ok(_) => merged = attempt,
            // A value that reads as a number may have been meant as text ("--model 3").
            Err(first) => {
                insert(&mut merged, &name, toml::Value::String(value))?;
                if merged.clone().try_into::<Settings>().is_err() {
                    return Err(SettingsError::Invalid {
                        place: format!("environment variable {name}"),
                        reason: explain(first.message()),
                    });
                }
            }
        }
        layers.push(format!("environment variable {name}"));
    }
    let mut settings: Settings = merged.try_into().map_err(|error: toml::de::Error| SettingsError::Invalid {
        place: "configuration".into(),
        reason: explain(error.message()),
    })?;
    settings
        .calibration
        .load()
        .map_err(|error| SettingsError::Invalid { place: "[calibration] file".into(), reason: error.to_string() })?;
    Ok(Loaded { settings, layers })
}

/// Sets `STILLAIR__A__B=value` as `[a] b = value`.
fn insert(table: &mut toml::Table, name: &str, value: toml::Value) -> Result<(), SettingsError> {
    let invalid = |reason: &str| SettingsError::Invalid {
        place: format!("environment variable {name}"),
        reason: reason.to_string(),
    };
    let path: Vec<String> = name[ENV_PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
    let (key, sections) = path.split_last().ok_or_else(|| invalid("names no key"))?;
    if path.iter().any(String::is_empty) {
        return Err(invalid("is not of the form STILLAIR__SECTION__KEY"));
    }
    let mut here = table;
    for section in sections {
        here = here
            .entry(section.clone())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| invalid("goes below a key that holds a value"))?;
    }
    here.insert(key.clone(), value);
    Ok(())
}

/// A TOML value if it reads as one, else the text itself.
fn parse_value(text: &str) -> toml::Value {
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_string()))
}

/// File, line and column of an error.
fn place(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return path.display().to_string() };
    let before = &text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}, line {line}, column {column}", path.display())
}

/// Names the nearest known key where serde lists those it expected.
fn explain(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let [unknown, known @ ..] = names.as_slice() else { return message.to_string() };
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return message.to_string();
    }
    let what = if message.starts_with("unknown field") { "key" } else { "value" };
    let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(unknown, name));
    match nearest {
        Some(nearest) => {
            format!("unknown {what} \"{unknown}\"; did you mean \"{nearest}\"? Known here: {}", known.join(", "))
        }
        None => format!("unknown {what} \"{unknown}\"; nothing is known here"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn environment_wins_over_file_over_defaults() {
        let file = file("[output]\nstamps = false\nsheet_objects = 3\n");
        let loaded =
            load_from(Some(file.path()), variables(&[("STILLAIR__OUTPUT__SHEET_OBJECTS", "5")])).expect("loads");
        assert!(!loaded.settings.output.stamps);
        assert!(loaded.settings.output.pictures);
        assert_eq!(loaded.settings.output.sheet_objects, 5);
        assert_eq!(loaded.layers.len(), 3);
    }

    #[test]
    fn unknown_key_names_line_and_nearest() {
        let file = file("[output]\nstamsp = false\n");
        let message = load_from(Some(file.path()), []).expect_err("refused").to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(message.contains("did you mean \"stamps\""), "{message}");
    }

    #[test]
    fn unknown_environment_key_is_refused() {
        let message =
            load_from(None, variables(&[("STILLAIR__OUTPUT__STAMSP", "true")])).expect_err("refused").to_string();
        assert!(message.contains("STILLAIR__OUTPUT__STAMSP") && message.contains("\"stamps\""), "{message}");
    }

    #[test]
    fn text_from_the_environment_needs_no_quotes() {
        let loaded = load_from(None, variables(&[("STILLAIR__OUTPUT__DIRECTORY", "/data/out")])).expect("loads");
        assert_eq!(loaded.settings.output.directory, PathBuf::from("/data/out"));
    }

    #[test]
    fn wrong_type_is_refused_with_its_place() {
        let file = file("[output]\nstamps = 3\n");
        let message = load_from(Some(file.path()), []).expect_err("refused").to_string();
        assert!(message.contains("line 2"), "{message}");
    }

    #[test]
    fn missing_file_is_named() {
        let message = load_from(Some(Path::new("nowhere.toml")), []).expect_err("refused").to_string();
        assert!(message.contains("nowhere.toml"), "{message}");
    }
}
