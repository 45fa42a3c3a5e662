//! The `coldforge` binary: parses the command line, runs one verb, and turns its outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    coldforge::cli::main()
}
