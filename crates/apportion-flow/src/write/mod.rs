//! Write: rows in, finished files in the spool out.
//!
//! What comes in: batches and, for each export, the rows that are its own. What goes out: csv.gz and Parquet files,
//! each with its header, counted and hashed before they were encoded. What it must never do: let anything but an export's
//! own rows and its contract decide a byte or where a file ends; put a file anywhere but the spool.
//!
//! Rows gather in a *window* of a fixed number of rows; the [`kernel`] writes them there. A full window is sorted (unless
//! `order = "source"`), cut into gzip members of a fixed size of text, compressed by whichever thread is free, and appended
//! in its turn. Where the
//! columns depend on the rows, or the format goes column by column, rows *wait* in the spool until the last one is known.

mod block;
mod buffers;
mod chunk;
mod columnar;
mod deflate;
mod dictionary;
mod kernel;
mod lane;
mod order;
mod pack;
mod pool;
mod spool;
mod text_rows;
mod waited;
mod waiting;
mod window;

pub use buffers::Buffers;
pub use columnar::write_parquet;
pub use kernel::{Kernel, Prepared, SharedTexts};
pub use lane::{ExportLane, UnassignedLane, export_header, header_line};
pub use pack::{Compressors, Gzip, Level, Order, Packed, Packing};
pub use pool::{Packer, Task};
pub use spool::{Spool, SpooledFile, clear_dead_spools};
pub use waited::WaitedRows;
pub use waiting::WaitingLane;
pub use window::Window;

use crate::outcome::{Kind, kind_of_io};

/// Why writing failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The spool's disk said no.
    #[error("spool {path}: {doing}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The spool is full of files that can't leave it yet.
    #[error(
        "the spool is full: {used} of {limit} bytes are unfinished files of this delivery. Give it more with --spool-limit, or a larger disk with --spool"
    )]
    Full {
        /// Bytes in the spool.
        used: u64,
        /// Its limit.
        limit: u64,
    },
    /// The compressor failed, which has no cause in the data.
    #[error("compressing failed: {0}")]
    Compress(String),
    /// A helper thread ended early.
    #[error(
        "a thread ended early, which is a fault of apportion's; no manifest has moved. Run again, and tell its makers"
    )]
    Thread,
}

impl WriteError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => kind_of_io(source),
            Self::Full { .. } => Kind::Limit,
            Self::Compress(_) | Self::Thread => Kind::Failed,
        }
    }
}
