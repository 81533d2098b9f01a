use apportion_core::line_item::Texts;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use xxhash_rust::xxh3::xxh3_64;

/// The code of a blank cell.
pub(super) const BLANK: u32 = u32::MAX;
/// Texts from which on a column may turn out to be one whose cells hardly ever repeat.
const MANY: usize = 256;

/// Takes the keys as they are: they are hashes already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The distinct texts of a column, each with its code.
#[derive(Default)]
pub(super) struct Dictionary {
    pub(super) texts: Texts,
    /// Cells that were coded before those that are being coded.
    pub(super) cells: usize,
    by_hash: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
}

impl Dictionary {
    /// The code of a text, which isn't blank.
    pub(super) fn code_of(&mut self, text: &[u8]) -> u32 {
        let mut hash = xxh3_64(text);
        loop {
            match self.by_hash.get(&hash) {
                None => break,
                Some(code) if self.texts.get(*code as usize) == text => return *code,
                Some(_) => hash = hash.wrapping_add(1),
            }
        }
        let code = self.texts.len() as u32;
        self.texts.push(text);
        self.by_hash.insert(hash, code);
        code
    }

    /// A code for a text of which so many cells were seen before; where they hardly ever repeat, one of its own, because
    /// looking for it costs more than it saves.
    pub(super) fn likely_code_of(&mut self, text: &[u8], cells: usize) -> u32 {
        let texts = self.texts.len();
        if texts < MANY || texts < cells / 4 * 3 {
            return self.code_of(text);
        }
        self.texts.push(text);
        texts as u32
    }
}
