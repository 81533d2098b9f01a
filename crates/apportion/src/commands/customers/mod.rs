//! `customers`: who is there, and how that changes.
//!
//! What comes in: the settings file, and what somebody wants changed. What goes out: a table of the customers, or of
//! the rows and money that change hands, and then the same settings file with only that changed in it. What it must
//! never do: write before everything was checked and shown, or touch a line that nobody asked for.

mod add;
mod books;
mod change;
mod compare;
mod edit;
mod import;
mod list;
mod wanted;

use crate::cli::CustomersCommand;
use crate::printer::Printer;
use crate::signals::Signals;

/// Runs what was asked for.
pub(crate) fn run(command: &CustomersCommand, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    match command {
        CustomersCommand::List(args) => list::list(args, printer),
        CustomersCommand::Check(args) => list::check(args, printer),
        CustomersCommand::Add(args) => add::add(args, printer, signals),
        CustomersCommand::Move(args) => add::move_account(args, printer, signals),
        CustomersCommand::Import(args) => import::import(args, printer, signals),
    }
}
