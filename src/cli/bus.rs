//! `stillair bus` and `stillair deadletter`.

use std::time::Duration;

use super::CliError;
use crate::bus::{self, DeadLetter, DeadLetters, Spool};
use crate::settings::Settings;

/// `stillair bus …`
#[derive(Debug, clap::Subcommand)]
pub enum BusCommand {
    /// Create the streams and the consumer where they are missing
    Provision,
}

/// `stillair deadletter …`
#[derive(Debug, clap::Subcommand)]
pub enum DeadLetterCommand {
    /// List the exposures that were given up, with stage and reason
    List {
        /// As JSON, one a line, with the whole original event
        #[arg(long)]
        json: bool,
    },
    /// Send exposures that were given up on their way again
    Retry {
        /// Their ids, as `list` shows them
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

/// A runtime for a short conversation with the server.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// Connects for a command: a server that is away is an error here.
pub async fn connect(settings: &Settings) -> Result<(async_nats::Client, async_nats::jetstream::Context), CliError> {
    if settings.bus.url.is_empty() {
        return Err(CliError::Config("[bus] url is empty; set it, or STILLAIR__BUS__URL".into()));
    }
    let (client, _) = bus::connect(&settings.bus, false).await.map_err(failed)?;
    let context = async_nats::jetstream::new(client.clone());
    Ok((client, context))
}

/// Waits until what was sent has left.
pub async fn flush(client: &async_nats::Client) -> Result<(), CliError> {
    match tokio::time::timeout(Duration::from_secs(10), client.flush()).await {
        Ok(flushed) => flushed.map_err(failed),
        Err(_) => Err(failed("the NATS server does not answer")),
    }
}

/// `stillair bus …`
pub fn run(command: &BusCommand, settings: &Settings) -> Result<(), CliError> {
    let BusCommand::Provision = command;
    runtime()?.block_on(async {
        let (client, context) = connect(settings).await?;
        let wanted = bus::BusSettings { provision: true, ..settings.bus.clone() };
        bus::provision(&context, &wanted).await.map_err(failed)?;
        flush(&client).await?;
        let bus = &settings.bus;
        say!(
            "streams {}, {}, {} and consumer {} are there",
            bus.exposures_stream,
            bus.catalogs_stream,
            bus.dead_letter_stream,
            bus.consumer
        );
        Ok(())
    })
}

/// `stillair deadletter …`
pub fn dead_letters(command: &DeadLetterCommand, settings: &Settings) -> Result<(), CliError> {
    runtime()?.block_on(async {
        let letters = if settings.bus.url.is_empty() {
            let folder = &settings.spool.directory;
            if !folder.is_dir() {
                let shown = folder.display();
                let text = format!("no [bus] url is set, and there is no spool directory {shown}: set STILLAIR__BUS__URL or [spool] directory");
                return Err(CliError::Config(text));
            }
            DeadLetters::Spool(Spool::open(&settings.spool).map_err(failed)?)
        } else {
            let (_, context) = connect(settings).await?;
            DeadLetters::Jet { context, settings: Box::new(settings.bus.clone()) }
        };
        let all_letters = letters.list().await.map_err(failed)?;
        match command {
            DeadLetterCommand::List { json } => list(&all_letters, *json),
            DeadLetterCommand::Retry { ids, all } => {
                let chosen = chosen(&all_letters, ids, *all)?;
                for letter in &chosen {
                    letters.retry(letter).await.map_err(failed)?;
                    say!("sent again: {} ({})", letter.id, letter.failure.key.as_deref().unwrap_or("unreadable"));
                }
                say!("{} sent again", chosen.len());
                Ok(())
            }
        }
    })
}

fn chosen<'a>(letters: &'a [DeadLetter], ids: &[String], all: bool) -> Result<Vec<&'a DeadLetter>, CliError> {
    if all {
        return Ok(letters.iter().collect());
    }
    ids.iter()
        .map(|id| {
            letters.iter().find(|letter| letter.id == *id).ok_or_else(|| {
                CliError::Failed(format!("no dead letter {id}; `stillair deadletter list` shows those there are"))
            })
        })
        .collect()
}

fn list(letters: &[DeadLetter], json: bool) -> Result<(), CliError> {
    for letter in letters {
        let failure = &letter.failure;
        if json {
            let line = serde_json::json!({"id": letter.id, "time": letter.time, "failure": failure});
            say!("{line}");
            continue;
        }
        say!("{}  {}  {}", letter.id, letter.time, failure.key.as_deref().unwrap_or("(no exposure: not readable)"));
        say!("    {} at stage {}, {} deliveries: {}", failure.kind, failure.stage, failure.attempts, failure.reason);
    }
    if !json {
        say!("{} dead letters", letters.len());
    }
    Ok(())
}
