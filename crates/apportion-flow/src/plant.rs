//! Bugs on purpose, and death on cue: how the tests see each check turn red through the real program.
//!
//! Only a build with debug assertions contains any of it; in others every function here is a constant `false`.
//! The program sets it at start, from the environment, and says so on stderr.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Plant {
    /// The split hands one line item to nobody.
    SplitDrop = 1,
    /// The split hands one line item over twice.
    SplitDouble = 2,
    /// The split gives one customer's line item to another.
    SplitStray = 3,
    /// Foreign account ids are not masked.
    MaskSkip = 4,
    /// The writer changes a cell.
    WriteCell = 5,
    /// The writer loses a line item.
    WriteDrop = 6,
    /// The writer spoils a byte of a finished file.
    WriteByte = 7,
    /// The manifest names one file too few.
    PublishShort = 8,
    /// Every data file is cut short on its way to the target: they go in whatever order they were checked.
    PublishCut = 9,
    /// The manifest goes to another customer's target.
    PublishStray = 10,
    /// A column comes into an export that none of its rows has a cell in.
    ColumnStray = 11,
    /// The store swaps without comparing.
    StoreWeak = 12,
}

impl Plant {
    /// The names by which a bug is asked for.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("split-drop", Self::SplitDrop),
        ("split-double", Self::SplitDouble),
        ("split-stray", Self::SplitStray),
        ("mask-skip", Self::MaskSkip),
        ("write-cell", Self::WriteCell),
        ("write-drop", Self::WriteDrop),
        ("write-byte", Self::WriteByte),
        ("publish-short", Self::PublishShort),
        ("publish-cut", Self::PublishCut),
        ("publish-stray", Self::PublishStray),
        ("column-stray", Self::ColumnStray),
        ("store-weak", Self::StoreWeak),
    ];
}

static PLANTED: AtomicU8 = AtomicU8::new(0);
static KILL_AT: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Plants a bug for the rest of the process.
pub fn plant(bug: Plant) {
    PLANTED.store(bug as u8, Ordering::Relaxed);
}

/// Ends the process, as `kill -9` would, right before the `number`th write, counted from 1.
pub fn kill_at(number: u64) {
    KILL_AT.store(number, Ordering::Relaxed);
}

/// Whether a bug is planted.
#[inline]
pub fn is_planted(bug: Plant) -> bool {
    cfg!(debug_assertions) && PLANTED.load(Ordering::Relaxed) == bug as u8
}

/// Whether a bug is planted and hasn't struck yet; it strikes once. Asked for every cell: a look is cheap, an
/// exchange isn't.
#[inline]
pub fn strikes(bug: Plant) -> bool {
    cfg!(debug_assertions)
        && is_planted(bug)
        && PLANTED.compare_exchange(bug as u8, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// How many writes there have been.
pub fn writes() -> u64 {
    WRITES.load(Ordering::Relaxed)
}

/// Called right before anything is written, renamed, linked or removed.
#[inline]
pub fn write_point() {
    if cfg!(debug_assertions) {
        let number = WRITES.fetch_add(1, Ordering::Relaxed) + 1;
        if number == KILL_AT.load(Ordering::Relaxed) {
            // No destructor, no flush, no message: what a power cut leaves.
            std::process::abort();
        }
    }
}
