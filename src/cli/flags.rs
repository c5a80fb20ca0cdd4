//! `stillair flags` and `stillair columns`: what a catalogue's reader needs to know.

use super::CliError;
use crate::catalog::text;

/// Prints every flag.
pub fn print_flags() -> Result<(), CliError> {
    say_text!("{}", text::flags_text());
    Ok(())
}

/// Prints every column.
pub fn print_columns() -> Result<(), CliError> {
    say_text!("{}", text::columns_text());
    Ok(())
}
