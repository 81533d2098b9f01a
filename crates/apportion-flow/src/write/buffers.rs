//! Buffers that rows wait in, used again and again.
//!
//! What comes in: buffers that somebody is done with. What goes out: empty ones. What it must never do: hand a buffer to
//! two owners, or keep one that has become larger than the others.

use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a buffer: little enough that each of a thousand exports can have one, and rows enough that few are asked for.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// A store of empty buffers that threads share. Memory that went back to the allocator would be cut up there, and stay
/// with the process.
#[derive(Debug, Clone, Default)]
pub struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Takes buffers back; one that grew for a very long row is not kept.
    pub(super) fn give(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(buffers.filter(|buffer| buffer.capacity() == BUFFER_BYTES).map(|mut buffer| {
            buffer.clear();
            buffer
        }));
    }
}
