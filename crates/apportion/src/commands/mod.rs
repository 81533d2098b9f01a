//! Commands: one file or folder each. They resolve settings, ask the crates below, and print what came back.

mod audit;
mod config;
mod customers;
mod deliver;
mod demo;
mod doctor;
mod gc;
mod init;
mod periods;
#[cfg(debug_assertions)]
pub(crate) mod plant;
mod reconcile;
mod schema;
mod selftest;
mod timings;
mod verify;

use crate::cli::{Cli, Command, ConfigCommand, DemoCommand};
use crate::exit;
use crate::printer::Printer;
use crate::signals::Signals;
use clap::CommandFactory;

/// Runs what was asked for, and returns the exit code.
pub(crate) fn run(cli: Cli, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    match cli.command {
        Command::Demo(args) => match &args.command {
            Some(DemoCommand::Make(make)) => demo::make(make, printer, signals),
            None => demo::run(&args, printer, signals),
        },
        Command::Init(args) => init::run(&args, printer),
        Command::Customers(command) => customers::run(&command, printer, signals),
        Command::Plan(args) => deliver::run(&args, true, printer, signals),
        Command::Deliver(args) => deliver::run(&args, false, printer, signals),
        Command::Verify(args) => verify::run(&args, printer, signals),
        Command::Audit(args) => audit::run(&args, printer, signals),
        Command::Reconcile(args) => reconcile::run(&args, printer, signals),
        Command::Gc(args) => gc::run(&args, printer, signals),
        Command::Doctor(args) => doctor::run(&args, printer, signals),
        Command::Selftest(args) => selftest::run(&args, printer, signals),
        Command::Periods(command) => periods::run(&command, printer, signals),
        Command::Schema(args) => schema::run(&args, printer),
        Command::Config(ConfigCommand::Show { run, origin }) => config::show(&run, origin, printer),
        Command::Config(ConfigCommand::Check(args)) => config::check(&args, printer),
        Command::Config(ConfigCommand::Schema) => config::schema(printer),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "apportion", &mut text);
            printer.data(&String::from_utf8_lossy(&text))?;
            Ok(exit::OK)
        }
    }
}
