//! Seeded choices.
//!
//! What comes in: the seed and a few numbers that name what is chosen (an account, a resource, a month). What goes
//! out: the same choices for the same names, on any machine and in any order of asking. What it must never do: ask
//! a clock, the system's randomness or a hash map's order.
//!
//! The generator is splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014): a
//! counter that advances by the golden ratio's bits, and a bijective mix of it. Its state is one `u64`, so a
//! generator per resource costs nothing and no choice depends on what was chosen for another resource.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Splitmix64's output function.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A stream of choices.
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    /// The stream that belongs to these names.
    pub(super) fn new(seed: u64, names: &[u64]) -> Self {
        Self(names.iter().fold(mix(seed.wrapping_add(GOLDEN)), |state, name| {
            mix(state ^ name.wrapping_mul(GOLDEN).wrapping_add(0x2545_f491_4f6c_dd1d))
        }))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number from 0 up to, not including, `limit`; 0 where the limit is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).max(0) as u64 + 1) as i64
    }

    /// True that many times in a hundred.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of these; the list must not be empty.
    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// Appends so many letters of an alphabet.
    pub(super) fn letters(&mut self, out: &mut String, alphabet: &[u8], count: usize) {
        for _ in 0..count {
            out.push(char::from(*self.pick(alphabet)));
        }
    }

    /// Appends so many hex digits.
    pub(super) fn hex(&mut self, out: &mut String, count: usize) {
        self.letters(out, b"0123456789abcdef", count);
    }

    /// Appends a UUID.
    pub(super) fn uuid(&mut self, out: &mut String) {
        for (index, count) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            if index > 0 {
                out.push('-');
            }
            self.hex(out, count);
        }
    }

    /// A new UUID.
    pub(super) fn new_uuid(&mut self) -> String {
        let mut text = String::with_capacity(36);
        self.uuid(&mut text);
        text
    }
}

/// Cuts a whole into parts by weight so that the parts sum to the whole exactly.
pub(super) fn share_out(whole: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let mut so_far = 0u128;
    let mut given = 0u64;
    weights
        .iter()
        .map(|weight| {
            so_far += u128::from(*weight);
            let upto = (u128::from(whole) * so_far / total) as u64;
            let part = upto - given;
            given = upto;
            part
        })
        .collect()
}
