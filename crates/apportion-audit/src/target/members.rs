//! The members of a gzip file, one after another.
//!
//! What comes in: compressed bytes. What goes out: their text, and how many members it came from. What it must never
//! do: take what follows a member for nothing.

use flate2::bufread::GzDecoder;
use std::cell::Cell;
use std::io::{BufRead, Read};
use std::rc::Rc;

/// Reads all members to the end of the file.
pub(super) struct Members<R> {
    /// None only while one member gives way to the next.
    decoder: Option<GzDecoder<R>>,
    count: Rc<Cell<u64>>,
}

impl<R: BufRead> Members<R> {
    /// The count grows while members are read.
    pub(super) fn new(inner: R) -> (Self, Rc<Cell<u64>>) {
        let count = Rc::new(Cell::new(1));
        (Self { decoder: Some(GzDecoder::new(inner)), count: count.clone() }, count)
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if decoder.get_mut().fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.count.set(self.count.get() + 1);
            self.decoder = self.decoder.take().map(|decoder| GzDecoder::new(decoder.into_inner()));
        }
        Ok(0)
    }
}
