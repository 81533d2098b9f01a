use super::bits::BitWriter;
use super::matches::Found;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How many symbols stand for a byte, the end of a block, or the length of a repeat (RFC 1951, 3.2.5).
pub(super) const LITERALS_AND_LENGTHS: usize = 286;
/// How many symbols stand for a distance.
pub(super) const DISTANCES: usize = 30;
/// The symbol behind a block's last byte.
pub(super) const END_OF_BLOCK: u16 = 256;

/// Bits of the longest code, and of the longest one for the lengths of codes.
const LONGEST_CODE: u8 = 15;
const LONGEST_LENGTH_CODE: u8 = 7;
/// Symbols for the lengths of codes: 0 to 15, and three for repeats of them.
const LENGTH_CODES: usize = 19;
/// The order in which the lengths of their codes are written (RFC 1951, 3.2.7).
const LENGTH_CODE_ORDER: [usize; LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A symbol's code, as it is written: the first bit lowest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Code {
    pub(super) bits: u16,
    pub(super) length: u8,
}

/// How the length of a repeat is written: a symbol, and what it leaves open.
#[derive(Debug, Clone, Copy)]
pub(super) struct LengthSymbol {
    pub(super) symbol: u16,
    pub(super) extra: u8,
    pub(super) extra_bits: u8,
}

/// For each length from 3 to 258 its symbol.
#[inline]
pub(super) fn length_symbols() -> &'static [LengthSymbol; 259] {
    const SYMBOLS: [LengthSymbol; 259] = make_length_symbols();
    &SYMBOLS
}

/// Lengths are told in eights, then eights of two, of four, and so on; the longest has a symbol of its own.
const fn make_length_symbols() -> [LengthSymbol; 259] {
    let mut symbols = [LengthSymbol { symbol: 0, extra: 0, extra_bits: 0 }; 259];
    let mut length = 3;
    while length < 258 {
        let past = length as u32 - 3;
        let extra_bits = if past < 8 { 0 } else { past.ilog2() - 2 };
        let symbol = 257 + 4 * extra_bits + (past >> extra_bits);
        let extra = past & ((1 << extra_bits) - 1);
        symbols[length] =
            LengthSymbol { symbol: symbol as u16, extra: extra as u8, extra_bits: extra_bits as u8 };
        length += 1;
    }
    symbols[258] = LengthSymbol { symbol: 285, extra: 0, extra_bits: 0 };
    symbols
}

/// How a distance is written: a symbol, what it leaves open, and in how many bits.
#[inline]
pub(super) fn distance_symbol(distance: u32) -> (usize, u32, u32) {
    let past = distance.wrapping_sub(1);
    if past < 4 {
        return (past as usize, 0, 0);
    }
    let extra_bits = past.ilog2() - 1;
    let symbol = 2 * extra_bits + (past >> extra_bits);
    (symbol as usize, past & ((1 << extra_bits) - 1), extra_bits)
}

/// The codes of a block.
pub(super) struct Codes {
    literals_and_lengths: [Code; LITERALS_AND_LENGTHS],
    distances: [Code; DISTANCES],
}

impl Codes {
    /// The shortest codes for symbols that come so often.
    pub(super) fn new(
        literals_and_lengths: &[u32; LITERALS_AND_LENGTHS],
        distances: &[u32; DISTANCES],
    ) -> Self {
        let mut counts = *literals_and_lengths;
        counts[usize::from(END_OF_BLOCK)] = 1;
        Self {
            literals_and_lengths: codes_of(&lengths_of(&counts, LONGEST_CODE)),
            distances: codes_of(&lengths_of(distances, LONGEST_CODE)),
        }
    }

    #[inline]
    pub(super) fn literal(&self, byte: u8) -> Code {
        self.literals_and_lengths[usize::from(byte)]
    }

    /// The code of a length's symbol, or of the end of a block.
    #[inline]
    pub(super) fn length(&self, symbol: u16) -> Code {
        self.literals_and_lengths[usize::from(symbol)]
    }

    #[inline]
    pub(super) fn distance(&self, symbol: usize) -> Code {
        self.distances[symbol]
    }

    /// No fewer bits than the block takes, its head included.
    pub(super) fn bits_of(&self, found: &Found) -> usize {
        // Three bits, three counts, and each length of a code in at most so many.
        let head = 3
            + 14
            + 3 * LENGTH_CODES
            + (LITERALS_AND_LENGTHS + DISTANCES) * usize::from(LONGEST_LENGTH_CODE + 7);
        let sum = |codes: &[Code], counts: &[u32], extra: &dyn Fn(usize) -> usize| -> usize {
            let each = codes.iter().zip(counts).enumerate();
            each.map(|(symbol, (code, count))| *count as usize * (usize::from(code.length) + extra(symbol)))
                .sum()
        };
        // A length leaves at most 5 bits open, a distance 13.
        let lengths = |symbol: usize| if symbol > usize::from(END_OF_BLOCK) { 5 } else { 0 };
        head + usize::from(LONGEST_CODE)
            + sum(&self.literals_and_lengths, &found.literals_and_lengths, &lengths)
            + sum(&self.distances, &found.distances, &|_| 13)
    }

    /// Writes the codes' lengths, as a block with codes of its own begins.
    pub(super) fn write_head(&self, writer: &mut BitWriter<'_>) {
        let used = |codes: &[Code], least: usize| {
            codes.iter().rposition(|code| code.length > 0).map_or(least, |last| least.max(last + 1))
        };
        let literals_and_lengths = used(&self.literals_and_lengths, usize::from(END_OF_BLOCK) + 1);
        let distances = used(&self.distances, 1);
        let lengths: Vec<u8> = self.literals_and_lengths[..literals_and_lengths]
            .iter()
            .chain(&self.distances[..distances])
            .map(|code| code.length)
            .collect();
        let symbols = length_codes(&lengths);
        let mut counts = [0; LENGTH_CODES];
        symbols.iter().for_each(|(symbol, ..)| counts[*symbol] += 1);
        let codes: [Code; LENGTH_CODES] = codes_of(&lengths_of(&counts, LONGEST_LENGTH_CODE));
        let in_order = LENGTH_CODE_ORDER.map(|symbol| codes[symbol].length);
        let written = in_order.iter().rposition(|length| *length > 0).map_or(4, |last| (last + 1).max(4));
        writer.put(literals_and_lengths as u64 - 257, 5);
        writer.put(distances as u64 - 1, 5);
        writer.put(written as u64 - 4, 4);
        writer.flush();
        for length in &in_order[..written] {
            writer.put(u64::from(*length), 3);
            writer.flush();
        }
        for (symbol, extra, extra_bits) in symbols {
            writer.put_code(codes[symbol]);
            writer.put(extra as u64, extra_bits);
            writer.flush();
        }
    }
}

/// Lengths of codes as symbols, each with what it leaves open and in how many bits: runs are shortened.
fn length_codes(lengths: &[u8]) -> Vec<(usize, usize, u32)> {
    let mut symbols = Vec::new();
    for run in lengths.chunk_by(|left, right| left == right) {
        let length = usize::from(run.first().copied().unwrap_or(0));
        let mut left = run.len();
        if length > 0 {
            symbols.push((length, 0, 0));
            left -= 1;
        }
        while left >= 3 {
            // The one before again, 3 to 6 times; no code, 3 to 10 times or 11 to 138 times.
            let (symbol, least, most, bits) = match (length, left) {
                (0, 11..) => (18, 11, 138, 7),
                (0, _) => (17, 3, 10, 3),
                _ => (16, 3, 6, 2),
            };
            let part = left.min(most);
            symbols.push((symbol, part - least, bits));
            left -= part;
        }
        symbols.extend((0..left).map(|_| (length, 0, 0)));
    }
    symbols
}

/// The length of each symbol's code, at most `longest`: Huffman's, of counts that are evened out until it fits. Symbols
/// that don't come have none, but for two that always have one: some readers refuse less.
fn lengths_of<const N: usize>(counts: &[u32; N], longest: u8) -> [u8; N] {
    let mut counts = counts.map(u64::from);
    while counts.iter().filter(|count| **count > 0).count() < 2 {
        let Some(unused) = counts.iter_mut().find(|count| **count == 0) else { break };
        *unused = 1;
    }
    loop {
        let lengths = huffman(&counts);
        if lengths.iter().all(|length| *length <= u32::from(longest)) {
            return lengths.map(|length| length as u8);
        }
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = *count / 4 + 1;
        }
    }
}

fn huffman<const N: usize>(counts: &[u64; N]) -> [u32; N] {
    // By count and then by number, so that there is only one way.
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
        (0..N).filter(|symbol| counts[*symbol] > 0).map(|symbol| Reverse((counts[symbol], symbol))).collect();
    let mut parents = vec![usize::MAX; N];
    while let (Some(Reverse((least, left))), Some(Reverse((next, right)))) = (heap.pop(), heap.pop()) {
        let parent = parents.len();
        parents.push(usize::MAX);
        (parents[left], parents[right]) = (parent, parent);
        heap.push(Reverse((least + next, parent)));
        if heap.len() == 1 {
            break;
        }
    }
    let mut depths = vec![0u32; parents.len()];
    for node in (0..parents.len()).rev() {
        if let Some(depth) = depths.get(parents[node]) {
            depths[node] = depth + 1;
        }
    }
    std::array::from_fn(|symbol| depths[symbol])
}

/// The codes that these lengths decide (RFC 1951, 3.2.2).
fn codes_of<const N: usize>(lengths: &[u8; N]) -> [Code; N] {
    let mut counts = [0u16; LONGEST_CODE as usize + 1];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[usize::from(*length)] += 1;
    }
    // The first code of each length follows the last one of the length before.
    let (mut next, mut first) = ([0u16; LONGEST_CODE as usize + 1], 0);
    for length in 1..next.len() {
        first = (first + counts[length - 1]) << 1;
        next[length] = first;
    }
    lengths.map(|length| {
        if length == 0 {
            return Code::default();
        }
        let code = next[usize::from(length)];
        next[usize::from(length)] += 1;
        Code { bits: code.reverse_bits() >> (16 - length), length }
    })
}
