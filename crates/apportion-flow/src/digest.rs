//! Hashes of what is read, and as proofs write them.
//!
//! What comes in: bytes. What goes out: their SHA-256. What it must never do: hold an object whole in memory.

use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of what a reader holds, and how many bytes that is.
///
/// # Errors
/// A reader that fails.
pub(crate) fn sha256_of(mut from: impl Read) -> io::Result<([u8; 32], u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok((hash.finalize().into(), bytes));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
}
