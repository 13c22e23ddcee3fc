//! The door: `cli::main()` to exit code.

fn main() -> std::process::ExitCode {
    auscult::cli::main()
}
