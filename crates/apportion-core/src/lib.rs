//! Decides: which column is which, what a number is worth, whose a line item is, what of it a customer may read,
//! and whether everything that came in went out.
//!
//! What comes in: bytes and settings as values. What goes out: values. What this crate must never do: read or
//! write a file, ask the time or the environment, start a thread, panic on input, or let a float hold money.

pub mod columns;
pub mod csv;
pub mod ledger;
pub mod line_item;
pub mod log;
pub mod manifest;
pub mod map;
pub mod mask;
pub mod money;
pub mod period;
pub mod proof;
pub mod route;
