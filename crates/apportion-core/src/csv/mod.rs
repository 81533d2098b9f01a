//! CSV: records in, fields out, and fields in, records out. RFC 4180, bytes untouched.
//!
//! What comes in: slices of a decompressed file. What goes out: the bounds of each field, and encoded cells.
//! What it must never do: guess at a broken record, or read one without a limit.

mod encode;
mod lines;
mod split;

pub use encode::{needs_quotes, push_cell};
pub use lines::{LineColumn, lines_hash, push_line_cell};
pub use split::{CsvError, CsvProblem, Limits, Split, split_records};
