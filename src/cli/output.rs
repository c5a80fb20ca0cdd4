//! Standard output. A reader that has seen enough (`stillair columns | head`) ends the program quietly, not with a panic.

use std::io::{ErrorKind, Write};

/// Writes to standard output; ends the program where nobody reads any more.
pub fn write(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("stillair: cannot write to standard output: {error}");
        }
        std::process::exit(if error.kind() == ErrorKind::BrokenPipe { 0 } else { 1 });
    }
}

/// A line on standard output, as `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Text on standard output, as `print!`.
macro_rules! say_text {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}
