//! Timings: what each stage of a run costs, for a person who asks.
//!
//! What comes in: a clock from outside, pieces of work, and how much they were. What goes out: a line per stage. What it
//! must never do: cost anything where nobody asks, or decide anything.

use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A part of a run, in the order of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// The source's bytes are hashed.
    Pin,
    /// The source is unpacked and decoded, and its bytes are hashed again.
    Read,
    /// Each line item gets its route.
    Split,
    /// The ledger: hashes and exact sums of the line items, on both sides.
    Ledger,
    /// Rows become text, or wait in the spool.
    Write,
    /// Rows are sorted, put together, hashed and compressed.
    Pack,
    /// Rows that waited are written as Parquet.
    Parquet,
    /// Finished files are decoded again and compared.
    Check,
    /// Files are put into their targets.
    Put,
    /// Proofs and manifests.
    Publish,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 10] = [
        Self::Pin,
        Self::Read,
        Self::Split,
        Self::Ledger,
        Self::Write,
        Self::Pack,
        Self::Parquet,
        Self::Check,
        Self::Put,
        Self::Publish,
    ];

    /// The stage's name, and what its bytes are.
    pub fn as_str(self) -> (&'static str, &'static str) {
        match self {
            Self::Pin => ("pin", "source"),
            Self::Read => ("read", "source"),
            Self::Split => ("split", ""),
            Self::Ledger => ("ledger", ""),
            Self::Write => ("write", ""),
            Self::Pack => ("pack", "text"),
            Self::Parquet => ("parquet", "files"),
            Self::Check => ("check", "files"),
            Self::Put => ("put", "files"),
            Self::Publish => ("publish", ""),
        }
    }

    /// Whether the stage only proves what the others did.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::Pin | Self::Ledger | Self::Check)
    }
}

#[derive(Debug, Default)]
struct Spent {
    nanos: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// The processor time that the present thread has used, in nanoseconds.
pub type ThreadClock = dyn Fn() -> u64 + Send + Sync;

/// Takes the time of pieces of work, if anybody asked for it.
#[derive(Clone, Default)]
pub struct Meter(Option<Arc<Run>>);

struct Run {
    clock: Box<ThreadClock>,
    stages: [Spent; Stage::ALL.len()],
}

/// What a stage has cost.
#[derive(Debug, Clone, Serialize)]
pub struct StageTiming {
    /// The stage's name.
    pub stage: &'static str,
    /// Processor time of all threads.
    pub nanos: u64,
    /// Line items that went through it; 0 where it doesn't handle line items.
    pub rows: u64,
    /// Bytes that went through it; 0 where they aren't counted.
    pub bytes: u64,
    /// What the bytes are: the source's, text, finished files.
    pub bytes_of: &'static str,
    /// Whether it only proves what the other stages did.
    pub proof: bool,
}

impl Meter {
    /// A meter that reads a clock.
    pub fn new(clock: Box<ThreadClock>) -> Self {
        Self(Some(Arc::new(Run { clock, stages: Default::default() })))
    }

    /// Does a piece of work and takes its time on this thread.
    #[inline]
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let Some(run) = &self.0 else { return work() };
        let before = (run.clock)();
        let done = work();
        let spent = (run.clock)().saturating_sub(before);
        run.stages[stage as usize].nanos.fetch_add(spent, Ordering::Relaxed);
        done
    }

    /// Counts what a stage has handled.
    pub fn count(&self, stage: Stage, rows: u64, bytes: u64) {
        if let Some(run) = &self.0 {
            run.stages[stage as usize].rows.fetch_add(rows, Ordering::Relaxed);
            run.stages[stage as usize].bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// What each stage that did anything has cost so far; nothing where nobody asked.
    pub fn stages(&self) -> Vec<StageTiming> {
        let Some(run) = &self.0 else { return Vec::new() };
        let stages = Stage::ALL.into_iter().zip(&run.stages).map(|(stage, spent)| StageTiming {
            stage: stage.as_str().0,
            nanos: spent.nanos.load(Ordering::Relaxed),
            rows: spent.rows.load(Ordering::Relaxed),
            bytes: spent.bytes.load(Ordering::Relaxed),
            bytes_of: stage.as_str().1,
            proof: stage.is_proof(),
        });
        stages.filter(|stage| stage.nanos > 0).collect()
    }
}
