use apportion_core::line_item::Texts;
use std::collections::HashMap;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The place of a shared text: which chunk, which of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextId {
    chunk: u32,
    place: u32,
}

impl TextId {
    /// A number that stands for an id or for none.
    #[inline]
    pub(crate) fn to_number(id: Option<Self>) -> u64 {
        id.map_or(u64::MAX, |id| u64::from(id.chunk) << 32 | u64::from(id.place))
    }

    /// What a number stands for.
    #[inline]
    pub(crate) fn of_number(number: u64) -> Option<Self> {
        (number != u64::MAX).then_some(Self { chunk: (number >> 32) as u32, place: number as u32 })
    }
}

/// Texts that many rows share, for threads that only read them.
#[derive(Debug, Clone, Default)]
pub struct SharedTexts(Arc<Vec<Arc<Texts>>>);

impl SharedTexts {
    /// A text; blank where there is none of that id.
    #[inline]
    pub(crate) fn get(&self, id: TextId) -> &[u8] {
        self.0.get(id.chunk as usize).map_or(&[], |chunk| chunk.get(id.place as usize))
    }
}

/// Keeps each distinct text once, up to a limit of bytes; what comes beyond it isn't kept.
#[derive(Debug)]
pub(super) struct Keeper {
    sealed: SharedTexts,
    open: Texts,
    /// By the text's hash; of two texts of one hash only the first is kept.
    by_hash: HashMap<u64, TextId>,
    bytes: usize,
    limit: usize,
}

/// What a text and its entry take besides its bytes, roughly.
const OVERHEAD: usize = 40;

impl Keeper {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            sealed: SharedTexts::default(),
            open: Texts::default(),
            by_hash: HashMap::new(),
            bytes: 0,
            limit,
        }
    }

    /// The most bytes that are kept.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The id of a text, which is kept from now on; None where there is no room for it.
    pub(super) fn keep(&mut self, text: &[u8]) -> Option<TextId> {
        let hash = xxh3_64(text);
        if let Some(id) = self.by_hash.get(&hash) {
            return (self.get(*id) == text).then_some(*id);
        }
        if self.bytes + text.len() + OVERHEAD > self.limit {
            return None;
        }
        self.bytes += text.len() + OVERHEAD;
        let id = TextId { chunk: self.sealed.0.len() as u32, place: self.open.len() as u32 };
        self.open.push(text);
        self.by_hash.insert(hash, id);
        Some(id)
    }

    /// A text that is kept.
    pub(super) fn get(&self, id: TextId) -> &[u8] {
        if id.chunk as usize == self.sealed.0.len() {
            self.open.get(id.place as usize)
        } else {
            self.sealed.get(id)
        }
    }

    /// All texts so far, for other threads.
    pub(super) fn seal(&mut self) -> SharedTexts {
        if !self.open.is_empty() {
            Arc::make_mut(&mut self.sealed.0).push(Arc::new(std::mem::take(&mut self.open)));
        }
        self.sealed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_what_has_no_room_is_not() {
        let mut keeper = Keeper::new(2 * OVERHEAD + 7);
        let first = keeper.keep(b"abc").unwrap();
        assert_eq!(keeper.keep(b"abc"), Some(first));
        let early = keeper.seal();
        let second = keeper.keep(b"defg").unwrap();
        assert_ne!(first, second);
        assert_eq!(keeper.get(second), b"defg");
        assert_eq!(keeper.keep(b"h"), None);
        assert_eq!(keeper.keep(b"abc"), Some(first));
        let sealed = keeper.seal();
        assert_eq!((sealed.get(first), sealed.get(second)), (&b"abc"[..], &b"defg"[..]));
        assert_eq!((early.get(first), early.get(second)), (&b"abc"[..], &b""[..]));
        for id in [None, Some(first), Some(second)] {
            assert_eq!(TextId::of_number(TextId::to_number(id)), id);
        }
    }
}
