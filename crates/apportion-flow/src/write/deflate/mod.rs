//! Deflate: text whose lines resemble each other in, a gzip member out (RFC 1951, RFC 1952).
//!
//! What comes in: whole lines, and how hard to look for what repeats. What goes out: one gzip member, without name and
//! time. What it must never do: let anything but the text and the effort decide a byte, neither the processor nor what
//! was compressed before.
//!
//! Sorted line items repeat most of the line before, at the same distance for many columns on end. So the distance of
//! the last match is tried first, a place is looked up only where that fails, and nothing is noted of what a match has
//! passed over. General compressors note every byte. What this one writes is read again by another library before
//! anybody gets it (the check), so an error here can stop a delivery and never spoil one.

mod bits;
mod codes;
mod matches;

#[cfg(test)]
mod tests;

use bits::Bits;
use codes::{Codes, END_OF_BLOCK, length_symbols};
use libdeflater::Crc;
use matches::Matcher;

pub(super) use matches::Effort;

/// Text of a block, in bytes: enough for the codes at its head to pay, and few enough to stay near the processor.
const BLOCK_BYTES: usize = 256 << 10;

/// The head of a member: deflate, no flags, no time, no operating system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compresses one text after another.
pub(super) struct Deflater {
    matcher: Matcher,
}

impl Deflater {
    /// A compressor that looks so hard for what repeats.
    pub(super) fn new(effort: Effort) -> Self {
        Self { matcher: Matcher::new(effort) }
    }

    /// Appends one gzip member with this text.
    pub(super) fn gzip(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&HEAD);
        self.matcher.begin();
        let mut bits = Bits::default();
        let mut from = 0;
        loop {
            let to = (from + BLOCK_BYTES).min(text.len());
            self.matcher.find(text, from..to);
            self.write_block(text, from, to == text.len(), &mut bits, out);
            from = to;
            if from == text.len() {
                break;
            }
        }
        bits.end(out);
        let mut crc = Crc::new();
        crc.update(text);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    }

    /// Writes what was found as a block with codes of its own.
    fn write_block(&self, text: &[u8], from: usize, last: bool, bits: &mut Bits, out: &mut Vec<u8>) {
        let found = &self.matcher.found;
        let codes = Codes::new(&found.literals_and_lengths, &found.distances);
        let mut writer = bits.writer(out, codes.bits_of(found));
        writer.put(u64::from(last), 1);
        // Codes of its own.
        writer.put(2, 2);
        codes.write_head(&mut writer);
        let lengths = length_symbols();
        let mut at = from;
        for repeat in &found.repeats {
            let to = at + repeat.literals as usize;
            let literals = text.get(at..to).unwrap_or_default();
            let mut threes = literals.chunks_exact(3);
            for three in &mut threes {
                three.iter().for_each(|byte| writer.put_code(codes.literal(*byte)));
                writer.flush();
            }
            threes.remainder().iter().for_each(|byte| writer.put_code(codes.literal(*byte)));
            if repeat.length > 0 {
                let length = lengths[usize::from(repeat.length)];
                writer.put_code(codes.length(length.symbol));
                writer.put(u64::from(length.extra), u32::from(length.extra_bits));
                writer.flush();
                let (symbol, extra, extra_bits) = codes::distance_symbol(repeat.distance());
                writer.put_code(codes.distance(symbol));
                writer.put(u64::from(extra), extra_bits);
            }
            writer.flush();
            at = to + usize::from(repeat.length);
        }
        writer.put_code(codes.length(END_OF_BLOCK));
        writer.flush();
        *bits = writer.finish();
    }
}
