//! Where exposures are heard of and answers go: NATS JetStream, or a spool directory.
//!
//! A [`Delivery`] is one thing to do; its [`Receipt`] says what became of it. Nothing is forgotten before the receipt is given back:
//! a process that dies gives none, and the delivery comes again.

mod connect;
mod dead_letters;
mod error;
mod jetstream;
mod provision;
mod publish;
mod rows;
mod secret;
mod settings;
mod spool;

pub use connect::{Link, connect};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use error::BusError;
pub use jetstream::{JetReceipt, JetSource, original_events};
pub use provision::provision;
pub use publish::{MESSAGE_ID, Publisher};
pub use rows::row_messages;
pub use secret::Secret;
pub use settings::{BusSettings, SpoolSettings};
pub use spool::{Claim, Spool};

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// What a delivery asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// A message that should be an event.
    Event(Bytes),
    /// A FITS file.
    File(PathBuf),
}

/// One thing to do.
#[derive(Debug)]
pub struct Delivery {
    /// What is asked for.
    pub request: Request,
    /// Subject it came on, or the file it lies in.
    pub subject: String,
    /// The same for every delivery of the same message, and no other.
    pub id: String,
    /// How often it has been delivered, this time included.
    pub attempt: u64,
    /// What to answer with.
    pub receipt: Receipt,
}

/// What is said when a delivery has been dealt with. Dropped, it says nothing, and the delivery comes again.
#[derive(Debug)]
pub enum Receipt {
    /// Of a JetStream message.
    Jet(JetReceipt),
    /// Of a file in the spool.
    Spool(Claim),
}

impl Receipt {
    /// "Still working on it."
    pub async fn progress(&self) -> Result<(), BusError> {
        match self {
            Self::Jet(receipt) => receipt.progress().await,
            Self::Spool(_) => Ok(()),
        }
    }

    /// "Done": confirmed by the other side. `companions` are further files of the spool that belong to this one.
    pub async fn done(self, companions: &[PathBuf]) -> Result<(), BusError> {
        match self {
            Self::Jet(receipt) => receipt.done().await,
            Self::Spool(claim) => claim.done(companions),
        }
    }

    /// "Not now": to be delivered again after a while.
    pub async fn retry_after(self, delay: Duration) -> Result<(), BusError> {
        match self {
            Self::Jet(receipt) => receipt.retry_after(delay).await,
            Self::Spool(claim) => claim.retry_after(delay),
        }
    }

    /// "Never": only after the failure has been put where it will be found.
    pub async fn give_up(self, companions: &[PathBuf]) -> Result<(), BusError> {
        match self {
            Self::Jet(receipt) => receipt.give_up().await,
            Self::Spool(claim) => claim.give_up(companions),
        }
    }
}

/// Where deliveries come from. Clones share it.
#[derive(Debug, Clone)]
pub enum Source {
    /// A JetStream consumer.
    Jet(Box<JetSource>),
    /// A spool directory.
    Spool(Spool),
}

impl Source {
    /// The next delivery, or `None` when none came within a few seconds. Holds nothing back: what is not asked for stays there.
    pub async fn next(&self) -> Result<Option<Delivery>, BusError> {
        match self {
            Self::Jet(source) => source.next().await,
            Self::Spool(spool) => spool.next().await,
        }
    }

    /// How many deliveries wait.
    pub async fn pending(&self) -> Result<u64, BusError> {
        match self {
            Self::Jet(source) => source.pending().await,
            Self::Spool(spool) => spool.pending(),
        }
    }
}
