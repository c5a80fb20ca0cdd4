//! Data of `org.stillair.catalog.ready.v1`: what came of an exposure and where it lies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Identity;

/// A catalogue that is archived, whole, and whose rows have been published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogReady {
    /// The exposure.
    pub identity: Identity,
    /// Name of its folder in the archive.
    pub name: String,
    /// URI of the image it was made from.
    pub source: String,
    /// Id of the event that asked for it.
    pub cause: String,
    /// Rows and flags.
    pub counts: Counts,
    /// Quality: the PSF model in numbers, as in the catalogue's header.
    pub psf: serde_json::Value,
    /// What had to be assumed or left out, in sentences.
    pub notes: Vec<String>,
    /// Network, if one was used.
    pub network: Option<String>,
    /// SHA-256 of its ONNX file.
    pub network_sha: Option<String>,
    /// Device and runtime that the network ran on.
    pub inference: Option<String>,
    /// Version of stillair.
    pub software: String,
    /// SHA-256 of the configuration in force.
    pub config_hash: Option<String>,
    /// Every file of the exposure.
    pub products: Vec<Product>,
    /// Where the rows were published; none without a bus.
    pub rows: Option<RowsRef>,
}

/// How many objects, and what is to be said of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Rows of the catalogue.
    pub objects: usize,
    /// Rows with each flag.
    pub flagged: BTreeMap<String, usize>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// File name.
    pub name: String,
    /// Where it lies.
    pub uri: String,
    /// Length, bytes.
    pub bytes: u64,
}

/// The rows as messages: each a complete Arrow IPC stream (schema and one batch), in the catalogue's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowsRef {
    /// Stream that holds them.
    pub stream: String,
    /// Their subject.
    pub subject: String,
    /// How many messages.
    pub parts: usize,
    /// Sequence number of each in the stream.
    pub sequences: Vec<u64>,
}
