//! Moves: one folder per stage, in the order the data travels.
//!
//! What comes in: a request whose settings are resolved. What goes out: shares in the customers' targets, proofs,
//! and a report. What this crate must never do: decide a route, a mask or a sum (that is apportion-core's), read
//! an environment variable or a clock, or let one stage name another: [`run`] alone names them all.

pub mod catalog;
pub mod check;
pub mod csv_gz;
mod digest;
pub mod garbage;
pub mod maker;
pub mod outcome;
pub mod plant;
pub mod publish;
pub mod run;
pub mod source;
pub mod split;
pub mod storage;
pub mod threads;
pub mod timings;
pub mod write;
mod zip_text;
