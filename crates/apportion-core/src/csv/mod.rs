//! CSV: records in, fields out, and fields in, records out. RFC 4180, bytes untouched.
//!
//! What comes in: slices of a decompressed file. What goes out: the bounds of each field, encoded cells, and the lines
//! of a file of our own as they stand.
//! What it must never do: guess at a broken record, or read one without a limit.

mod canonical;
mod encode;
mod lines;
mod scan;
mod split;

pub use canonical::{CanonicalLine, CanonicalLines, LineProblem, unquoted};
pub use encode::{needs_quotes, push_cell, push_row};
pub use lines::{LineColumn, lines_hash};
pub use split::{CsvError, CsvProblem, Limits, Split, split_records};
