//! Source: what AWS has written, found by its manifests and read as batches of line items.
//!
//! What comes in: a bucket or folder. What goes out: reports with their deliveries, pinned versions, and batches
//! whose columns are the known ones. What it must never do: decide by a listing what belongs to a delivery, guess
//! a kind, or go on behind a record it can't read.

mod binding;
mod columns;
mod discover;
mod error;
mod loose;
mod maps;
mod observations;
mod parquet_cells;
mod parquet_file;
mod parquet_numbers;
mod pin;
mod pointer;
mod reader;

pub use columns::SourceColumn;
pub use discover::{Discovery, FoundDelivery, FoundReport, Refusal, discover, discover_files};
pub use error::SourceError;
pub use loose::{months_of, refusal_of_loose};
pub use observations::Observations;
pub use pin::{Pin, PinnedObject, hash_object, pin};
pub use reader::{Reader, Wanted, payer_of};
