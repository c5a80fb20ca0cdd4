//! Commands: arguments in, exit codes out. One file per command: `XArgs` (clap) and `run(XArgs, &Settings) -> Result<(), CliError>`.

/// Why a command ends without success, by exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Exit code 1: the work failed.
    #[error("{0}")]
    Failed(String),
    /// Exit code 2: arguments that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Exit code 64: configuration that cannot be used.
    #[error("{0}")]
    Config(String),
}

impl CliError {
    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 64,
        }
    }
}
