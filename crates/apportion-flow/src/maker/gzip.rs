//! A gzip file, member by member.
//!
//! What comes in: text. What goes out: the file. What it must never do: hold more than one member's text in memory, or
//! write bytes that depend on the machine: libdeflate makes the same ones on every processor, and the header has
//! neither name nor time.

use super::MakeError;
use libdeflater::{CompressionLvl, Compressor};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Text of one member. A month of the demo fits into one; larger files have several.
const MEMBER: usize = 48 << 20;

/// The fastest: line items of a resource are so alike that even this packs them to about a twentieth.
const LEVEL: i32 = 1;

/// A file in the making.
pub(super) struct Gzip {
    file: File,
    path: String,
    /// What the next member holds.
    pub(super) text: Vec<u8>,
    packed: Vec<u8>,
    compressor: Compressor,
}

impl Gzip {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, MakeError> {
        let level = CompressionLvl::new(LEVEL).map_err(|error| MakeError::Encode(format!("{error:?}")))?;
        let file = File::create_new(path).map_err(|error| MakeError::io(path, error))?;
        Ok(Self {
            file,
            path: path.display().to_string(),
            text: Vec::new(),
            packed: Vec::new(),
            compressor: Compressor::new(level),
        })
    }

    /// Begins the next file with the memory of this one.
    pub(super) fn next(self, path: &Path) -> Result<Self, MakeError> {
        let file = File::create_new(path).map_err(|error| MakeError::io(path, error))?;
        Ok(Self { file, path: path.display().to_string(), ..self })
    }

    /// Writes a member if there is enough text for one.
    pub(super) fn flush_if_full(&mut self) -> Result<(), MakeError> {
        if self.text.len() >= MEMBER { self.flush() } else { Ok(()) }
    }

    /// Writes what there is as a member.
    pub(super) fn flush(&mut self) -> Result<(), MakeError> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.packed.resize(self.compressor.gzip_compress_bound(self.text.len()), 0);
        let length = self
            .compressor
            .gzip_compress(&self.text, &mut self.packed)
            .map_err(|error| MakeError::Encode(error.to_string()))?;
        self.text.clear();
        self.file
            .write_all(&self.packed[..length])
            .map_err(|error| MakeError::io(Path::new(&self.path), error))
    }
}
