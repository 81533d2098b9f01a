//! The program: flags, settings, commands, printer.
//!
//! What comes in: what was typed. What goes out: data on stdout, everything else on stderr, and an exit code. What it
//! must never do: decide or move anything itself; it resolves settings once and hands them on.

mod cli;
mod clock;
mod commands;
mod exit;
mod operator;
mod printer;
mod progress;
mod settings;
mod signals;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, on stdout; a mistake goes to stderr.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    #[cfg(debug_assertions)]
    commands::plant::from_environment();
    let signals = signals::Signals::install();
    let printer = printer::Printer::new(&cli.global);
    let code = match commands::run(cli, &printer, &signals) {
        Ok(code) => code,
        Err(error) => {
            printer.error(&error);
            exit::code_of(&error, &signals)
        }
    };
    ExitCode::from(code)
}
