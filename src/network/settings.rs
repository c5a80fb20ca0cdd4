//! Settings of the network stage.

use std::path::PathBuf;

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU; an error where it cannot be used.
    Cuda,
    /// The GPU where it can be used, else the processor, with a warning in the log.
    Auto,
}

impl std::fmt::Display for Device {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Auto => "auto",
        })
    }
}

/// Settings of the network stage (`[network]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// Network used: name of a folder below `folder`.
    pub name: String,
    /// Folder that holds one folder per network.
    pub folder: PathBuf,
    /// ONNX Runtime's shared library, or its folder. Empty: `ORT_DYLIB_PATH`, then `runtime/` below the current directory, then beside the program.
    pub runtime: PathBuf,
    /// Where networks run: `cpu`, `cuda` or `auto`.
    pub device: Device,
    /// Threads of one network; 0: one per processor core.
    pub threads: usize,
    /// Largest batch, in stamps of 64 x 64 target pixels (of larger stamps, as many fewer); the card's larger batches are left alone.
    /// Bounds the memory. 0: 4 on the processor, where larger batches cost more per stamp (they leave the caches), 32 on a GPU.
    pub batch_max: usize,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            name: "stillnet".into(),
            folder: "models".into(),
            runtime: PathBuf::new(),
            device: Device::Cpu,
            threads: 0,
            batch_max: 0,
        }
    }
}

impl NetworkSettings {
    /// The folder of the network in use.
    pub fn model_folder(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}
