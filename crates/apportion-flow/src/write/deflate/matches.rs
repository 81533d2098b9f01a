use super::codes::{DISTANCES, LITERALS_AND_LENGTHS, distance_symbol, length_symbols};
use std::ops::Range;

/// The farthest that deflate looks back.
const FARTHEST: usize = 32 << 10;
/// The longest and the shortest repeat that deflate can name.
const LONGEST: usize = 258;
const SHORTEST: usize = 3;
/// Bytes that must be the same for a repeat to be worth its bits.
const SAME: usize = 6;
/// Bytes that are looked at together; as many must be left of the text.
const WORD: usize = 8;

/// How hard to look for what repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::write) struct Effort {
    /// Places are remembered by so many bits of a hash: what more would find is hardly worth leaving the nearest cache.
    pub(in crate::write) table_bits: u32,
    /// After so many bytes without a repeat, as a power of two, every second one is passed over, and so on.
    pub(in crate::write) patience: u32,
}

/// Bytes as they stand, and then a repeat of earlier ones; none where its length is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) literals: u32,
    pub(super) length: u16,
    /// One less than the distance, which may be 32,768.
    distance: u16,
}

impl Repeat {
    #[inline]
    pub(super) fn distance(self) -> u32 {
        u32::from(self.distance) + 1
    }
}

/// What a block is made of.
pub(super) struct Found {
    /// In the order of the text; behind the last one are no more bytes.
    pub(super) repeats: Vec<Repeat>,
    /// How often each symbol comes.
    pub(super) literals_and_lengths: [u32; LITERALS_AND_LENGTHS],
    pub(super) distances: [u32; DISTANCES],
}

/// Looks for what repeats.
pub(super) struct Matcher {
    effort: Effort,
    /// The last place that had a hash.
    places: Vec<u32>,
    /// The distance of the last repeat.
    distance: usize,
    pub(super) found: Found,
}

impl Matcher {
    pub(super) fn new(effort: Effort) -> Self {
        let found = Found {
            repeats: Vec::new(),
            literals_and_lengths: [0; LITERALS_AND_LENGTHS],
            distances: [0; DISTANCES],
        };
        Self { effort, places: vec![0; 1 << effort.table_bits], distance: 1, found }
    }

    /// Forgets all texts before: they must not decide what is found in the next one.
    pub(super) fn begin(&mut self) {
        self.places.fill(0);
        self.distance = 1;
    }

    /// Finds what repeats in a part of a text whose earlier parts were looked through before.
    pub(super) fn find(&mut self, text: &[u8], part: Range<usize>) {
        let Self { effort, places, distance, found } = self;
        let patience = effort.patience;
        found.clear();
        let text = text.get(..part.end).unwrap_or_default();
        let end = part.end.saturating_sub(WORD);
        // What stands as it is begins here.
        let mut begin = part.start;
        let mut at = part.start.max(1);
        while at < end {
            let here = word(text, at);
            let mut there = at.wrapping_sub(*distance);
            if differ(word(text, there), here) {
                let place = &mut places[hash(here, effort.table_bits)];
                there = *place as usize;
                *place = at as u32;
                if differ(word(text, there), here) || there >= at || at - there > FARTHEST {
                    at += 1 + ((at - begin) >> patience);
                    continue;
                }
            }
            let mut length = SAME + common(text, at + SAME, there + SAME);
            // A repeat may have begun before it was found.
            while at > begin && there > 0 && text.get(at - 1) == text.get(there - 1) {
                (at, there, length) = (at - 1, there - 1, length + 1);
            }
            *distance = at - there;
            found.push(text.get(begin..at).unwrap_or_default(), length, *distance);
            at += length;
            begin = at;
            if let Some(before) = at.checked_sub(2).filter(|_| at < end) {
                places[hash(word(text, before), effort.table_bits)] = before as u32;
            }
        }
        found.end(text.get(begin..).unwrap_or_default());
    }
}

impl Found {
    fn clear(&mut self) {
        self.repeats.clear();
        self.literals_and_lengths = [0; LITERALS_AND_LENGTHS];
        self.distances = [0; DISTANCES];
    }

    #[inline]
    fn count_literals(&mut self, literals: &[u8]) {
        for byte in literals {
            self.literals_and_lengths[usize::from(*byte)] += 1;
        }
    }

    #[inline]
    fn push(&mut self, literals: &[u8], mut length: usize, distance: usize) {
        self.count_literals(literals);
        let mut literals = literals.len() as u32;
        while length > 0 {
            let mut part = length.min(LONGEST);
            // What is left must be long enough to be named.
            if length > part && length - part < SHORTEST {
                part = length - SHORTEST;
            }
            self.repeats.push(Repeat { literals, length: part as u16, distance: (distance - 1) as u16 });
            self.literals_and_lengths[usize::from(length_symbols()[part].symbol)] += 1;
            self.distances[distance_symbol(distance as u32).0] += 1;
            (literals, length) = (0, length - part);
        }
    }

    fn end(&mut self, literals: &[u8]) {
        self.count_literals(literals);
        self.repeats.push(Repeat { literals: literals.len() as u32, length: 0, distance: 0 });
    }
}

/// The bytes from a place on, the first one lowest.
#[inline]
fn word(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Whether two words differ in the bytes that must be the same.
#[inline]
fn differ(left: u64, right: u64) -> bool {
    (left ^ right) << (8 * (WORD - SAME)) != 0
}

#[inline]
fn hash(word: u64, bits: u32) -> usize {
    // An odd number whose bits are well mixed: 2^64 divided by the golden ratio.
    ((word << (8 * (WORD - SAME))).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - bits)) as usize
}

/// How many bytes are the same from two places on.
#[inline]
fn common(text: &[u8], at: usize, there: usize) -> usize {
    let (Some(here), Some(before)) = (text.get(at..), text.get(there..)) else { return 0 };
    let mut same = 0;
    for (here, before) in here.chunks_exact(WORD).zip(before.chunks_exact(WORD)) {
        let differ = word(here, 0) ^ word(before, 0);
        if differ != 0 {
            return same + (differ.trailing_zeros() / 8) as usize;
        }
        same += WORD;
    }
    let rest = here.iter().zip(before).skip(same);
    same + rest.take_while(|(here, before)| here == before).count()
}
