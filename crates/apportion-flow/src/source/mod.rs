//! Source: what AWS has written, found by its manifests and read as batches of line items.
//!
//! What comes in: a bucket or folder. What goes out: reports with their deliveries, pinned versions, and batches
//! whose columns are the known ones. What it must never do: decide by a listing what belongs to a delivery, guess
//! a kind, or go on behind a record it can't read.

mod binding;
mod discover;
mod error;
mod maps;
mod parquet_file;
mod pin;
mod reader;

pub use discover::{Discovery, FoundDelivery, FoundReport, Refusal, discover, refusal_of_loose};
pub use error::SourceError;
pub(crate) use pin::hex;
pub use pin::{Pin, PinnedObject, hash_object, pin};
pub use reader::{Observations, Peek, Reader, Wanted, peek};
