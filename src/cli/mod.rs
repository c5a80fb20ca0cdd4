//! Commands: arguments in, exit codes out. One file per command: `XArgs` (clap) and `run(XArgs, &Settings) -> Result<(), CliError>`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::settings;

// First: its macros are used by the rest.
#[macro_use]
mod output;

mod bus;
mod calibrate;
mod config;
mod evaluate;
mod flags;
mod joint;
mod models;
mod process;
mod psf;
mod replay;
mod report;
mod serve;
mod simulate;
mod stream;
mod work;

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

impl From<settings::SettingsError> for CliError {
    fn from(error: settings::SettingsError) -> Self {
        Self::Config(error.to_string())
    }
}

/// Takes the seeing out of survey exposures: PSF, deconvolution, renormalised catalogues.
#[derive(Debug, Parser)]
#[command(name = "stillair", version, about, max_term_width = 120)]
struct Cli {
    /// Configuration file (TOML); without it ./stillair.toml or ./config/stillair.toml if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged on standard error: error, warn (default), info, debug, trace, or a tracing filter; `serve` takes [telemetry] log
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Process(process::ProcessArgs),
    Joint(joint::JointArgs),
    Replay(replay::ReplayArgs),
    Serve(serve::ServeArgs),
    Simulate(simulate::SimulateArgs),
    Evaluate(evaluate::EvaluateArgs),
    Calibrate(calibrate::CalibrateArgs),
    /// Prepare a NATS server
    #[command(subcommand)]
    Bus(bus::BusCommand),
    /// Exposures that were given up: list them, send them again
    #[command(subcommand, name = "deadletter")]
    DeadLetter(bus::DeadLetterCommand),
    /// Fit, evaluate or describe a PSF
    #[command(subcommand)]
    Psf(psf::PsfCommand),
    /// Show or check the configuration in force
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// List or check networks
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// List the catalogue's flags: bit, name, meaning
    Flags,
    /// List the catalogue's columns: name, type, unit, UCD, meaning
    Columns,
}

/// Runs the program on the process's arguments; what it returns is the exit code.
pub fn main() -> u8 {
    // Clap itself ends the process with 2 on bad usage and 0 on --help.
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("stillair: {error}");
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let config = cli.config.as_deref();
    if let Command::Serve(args) = &cli.command {
        return serve::run(args, config, cli.log.as_deref());
    }
    let log = cli.log.as_deref().unwrap_or("warn");
    let filter = tracing_subscriber::EnvFilter::try_new(log)
        .map_err(|error| CliError::Usage(format!("--log {log}: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match &cli.command {
        Command::Config(command) => return config::run(command, config),
        Command::Evaluate(args) => return evaluate::run(args),
        Command::Flags => return flags::print_flags(),
        Command::Columns => return flags::print_columns(),
        _ => {}
    }
    let settings = settings::load(config)?.settings;
    match cli.command {
        Command::Process(args) => process::run(&args, &settings),
        Command::Joint(args) => joint::run(&args, &settings),
        Command::Replay(args) => replay::run(&args, &settings),
        Command::Psf(command) => psf::run(&command, &settings),
        Command::Models(command) => models::run(&command, &settings.network),
        Command::Calibrate(args) => calibrate::run(&args, &settings),
        Command::Simulate(args) => simulate::run(&args, &settings.deconv),
        Command::Bus(command) => bus::run(&command, &settings),
        Command::DeadLetter(command) => bus::dead_letters(&command, &settings),
        Command::Config(_) | Command::Serve(_) | Command::Evaluate(_) | Command::Flags | Command::Columns => Ok(()),
    }
}
