use super::KeyPart;
use apportion_core::csv::push_cell;
use apportion_core::line_item::Texts;
use apportion_core::mask::{Mask, Rule, Sight};
use std::ops::Range;
use std::sync::Arc;

/// Bytes that are copied at once: as many as most cells have, so that no call is needed for them.
const SHORT: usize = 32;

/// A dictionary's texts as a row has them: quoted where they must be, with the comma behind them.
#[derive(Debug)]
pub(super) struct Encoded {
    source: Arc<Texts>,
    rule: Rule,
    texts: Vec<Text>,
    /// All texts, and behind them as many bytes as are copied at once.
    bytes: Vec<u8>,
    /// For a column of the sort key, each text's part of it.
    keys: Vec<u64>,
    /// The account id of each text that has one, as a place in the source's text.
    accounts: Vec<(u32, Range<u32>)>,
}

/// One text: nothing where it is blank.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text {
    start: u32,
    /// Its length, and whether a customer may read another text.
    length: u32,
}

const HAS_PLACES: u32 = 1 << 31;

impl Text {
    #[inline]
    pub(super) fn is_blank(self) -> bool {
        self.length == 0
    }

    /// Whether a customer may read another text.
    #[inline]
    pub(super) fn has_places(self) -> bool {
        self.length & HAS_PLACES != 0
    }
}

impl Encoded {
    /// Encodes all texts of a dictionary.
    pub(super) fn new(source: &Arc<Texts>, rule: Rule, key: Option<KeyPart>, finder: &Mask) -> Self {
        let mut encoded = Self {
            source: Arc::clone(source),
            rule,
            texts: Vec::with_capacity(source.len()),
            bytes: Vec::with_capacity(source.bytes().len() + source.len() + SHORT),
            keys: Vec::new(),
            accounts: Vec::new(),
        };
        for place in 0..source.len() {
            let text = source.get(place);
            let start = encoded.bytes.len();
            let mut length = 0;
            if !text.is_empty() {
                push_cell(&mut encoded.bytes, text);
                encoded.bytes.push(b',');
                length = (encoded.bytes.len() - start) as u32;
            }
            match finder.sight(rule, text) {
                Sight::Nothing => {}
                Sight::Account(id) => {
                    encoded.accounts.push((place as u32, id.start as u32..id.end as u32));
                    length |= HAS_PLACES;
                }
                Sight::Several => length |= HAS_PLACES,
            }
            encoded.texts.push(Text { start: start as u32, length });
        }
        encoded.bytes.resize(encoded.bytes.len() + SHORT, 0);
        if let Some(key) = key {
            encoded.keys.extend((0..source.len()).map(|place| key.of(source.get(place))));
        }
        encoded
    }

    /// Whether it is this dictionary's.
    pub(super) fn is_of(&self, source: &Arc<Texts>, rule: Rule) -> bool {
        Arc::ptr_eq(&self.source, source) && self.rule == rule
    }

    /// The text of a code.
    #[inline]
    pub(super) fn get(&self, code: u32) -> Text {
        self.texts.get(code as usize).copied().unwrap_or_default()
    }

    /// Appends a text with its comma.
    #[inline]
    pub(super) fn push(&self, text: Text, out: &mut Vec<u8>) {
        push_slice(out, &self.bytes, text.start as usize, (text.length & !HAS_PLACES) as usize);
    }

    /// The text of a code as the source has it.
    #[inline]
    pub(super) fn plain(&self, code: u32) -> &[u8] {
        self.source.get(code as usize)
    }

    /// The one account id that stands in a code's text; None where there is more to mask.
    #[inline]
    pub(super) fn account(&self, code: u32) -> Option<&[u8]> {
        let at = self.accounts.binary_search_by_key(&code, |(code, _)| *code).ok()?;
        let (_, place) = self.accounts.get(at)?;
        self.plain(code).get(place.start as usize..place.end as usize)
    }

    /// A code's part of the sort key.
    #[inline]
    pub(super) fn key(&self, code: u32) -> u64 {
        self.keys.get(code as usize).copied().unwrap_or(0)
    }
}

/// Appends a part of a text. A short one is copied with its neighbours, which are then cut off again: a copy of a fixed
/// number of bytes takes a fraction of the time of one whose length must be looked at.
#[inline]
pub(super) fn push_slice(out: &mut Vec<u8>, bytes: &[u8], start: usize, length: usize) {
    if length <= SHORT
        && let Some(chunk) = bytes.get(start..).and_then(<[u8]>::first_chunk::<SHORT>)
    {
        out.extend_from_slice(chunk);
        out.truncate(out.len() - SHORT + length);
        return;
    }
    out.extend_from_slice(bytes.get(start..start + length).unwrap_or_default());
}
