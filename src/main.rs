//! Arguments and exit codes.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Read by ONNX Runtime as it is loaded.
const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

fn main() -> ExitCode {
    without_telemetry();
    ExitCode::from(stillair::cli::main())
}

/// ONNX Runtime's builds report their use to their maker unless a variable is set before the process starts. Setting it from within
/// is unsafe code, so that the program replaces itself (same process id, same arguments) with the variable set. Whoever sets the
/// variable decides otherwise.
fn without_telemetry() {
    if std::env::var_os(NO_TELEMETRY).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Returns only where it fails: then the program goes on as it is.
        let error = Command::new(program).args(std::env::args_os().skip(1)).env(NO_TELEMETRY, "1").exec();
        eprintln!("stillair: {NO_TELEMETRY} could not be set ({error}); ONNX Runtime may report its use");
    }
}
