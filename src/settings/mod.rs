//! Layered configuration: built-in defaults < TOML file < `STILLAIR__SECTION__KEY` environment.

/// Everything that can be configured; each section is declared by the module it configures.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}
