use apportion_core::csv::push_cell;
use apportion_core::line_item::Texts;
use apportion_core::mask::{Mask, Rule};
use std::sync::Arc;

/// A dictionary's texts as a row has them: quoted where they must be, with the comma behind them.
#[derive(Debug)]
pub(super) struct Encoded {
    source: Arc<Texts>,
    rule: Rule,
    texts: Texts,
    /// For each text, whether what a customer reads may be another.
    has_places: Vec<bool>,
    /// Whether that is so for any.
    any_places: bool,
}

impl Encoded {
    /// Encodes all texts of a dictionary.
    pub(super) fn new(source: &Arc<Texts>, rule: Rule, finder: &Mask) -> Self {
        let mut texts = Texts::default();
        let mut has_places = Vec::with_capacity(source.len());
        for place in 0..source.len() {
            let text = source.get(place);
            has_places.push(finder.has_places(rule, text));
            texts.push_with(|out| {
                if !text.is_empty() {
                    push_cell(out, text);
                    out.push(b',');
                }
            });
        }
        let any_places = has_places.contains(&true);
        Self { source: Arc::clone(source), rule, texts, has_places, any_places }
    }

    /// Whether it is this dictionary's.
    pub(super) fn is_of(&self, source: &Arc<Texts>, rule: Rule) -> bool {
        Arc::ptr_eq(&self.source, source) && self.rule == rule
    }

    /// The text of a code with its comma; nothing where it is blank.
    #[inline]
    pub(super) fn get(&self, code: u32) -> &[u8] {
        self.texts.get(code as usize)
    }

    /// The text of a code as the source has it.
    #[inline]
    pub(super) fn plain(&self, code: u32) -> &[u8] {
        self.source.get(code as usize)
    }

    /// Whether a customer may read another text.
    #[inline]
    pub(super) fn has_places(&self, code: u32) -> bool {
        self.any_places && self.has_places.get(code as usize).copied().unwrap_or(false)
    }
}
