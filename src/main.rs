//! Arguments and exit codes.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(stillair::cli::main())
}
