use crate::columns::known;
use crate::line_item::{Batch, Remembered};
use crate::mask::{Mask, Rule};
use apportion_model::BillingPeriod;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::convert::Infallible;

/// What line items are counted by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LedgerKey {
    /// The line item's own billing period, written `yyyymmdd-yyyymmdd`.
    pub billing_period: String,
    /// The currency code; lossy, where it isn't UTF-8.
    pub currency: String,
    /// The line item type; lossy, where it isn't UTF-8.
    pub line_item_type: String,
    /// The invoice id, blank until the invoice is issued; lossy, where it isn't UTF-8.
    pub invoice_id: String,
}

impl LedgerKey {
    fn new(period: BillingPeriod, currency: &[u8], line_item_type: &[u8], invoice_id: &[u8]) -> Self {
        Self {
            billing_period: period.to_string(),
            currency: String::from_utf8_lossy(currency).into_owned(),
            line_item_type: String::from_utf8_lossy(line_item_type).into_owned(),
            invoice_id: String::from_utf8_lossy(invoice_id).into_owned(),
        }
    }

    /// The key as a customer may read it. Many line items stand behind it, so no account is kept as their payer.
    pub(super) fn masked(&self, mask: &Mask) -> Self {
        let masked = |text: &str| {
            let mut buffer = Vec::new();
            String::from_utf8_lossy(mask.apply(Rule::Text, text.as_bytes(), &[], &mut buffer)).into_owned()
        };
        Self {
            billing_period: self.billing_period.clone(),
            currency: masked(&self.currency),
            line_item_type: masked(&self.line_item_type),
            invoice_id: masked(&self.invoice_id),
        }
    }
}

/// A key as numbers: the period, and the numbers of currency, line item type and invoice id.
type KeyNumbers = (BillingPeriod, [u32; 3]);

/// Keys that are found without a look at their texts; a power of two.
const RECENT: usize = 64;

/// Finds the keys of line items, and gives each a place.
#[derive(Debug, Default)]
pub(super) struct KeyReader {
    places: HashMap<LedgerKey, u32>,
    keys: Vec<LedgerKey>,
    /// A number for each text of any of the three columns.
    texts: HashMap<String, u32>,
    remembered: [Remembered<Option<u32>>; 3],
    /// By the numbers' sum, modulo its size.
    recent: Vec<Option<(KeyNumbers, u32)>>,
}

impl KeyReader {
    /// The places of the keys of a batch's line items, which lie in `periods`.
    pub(super) fn read(&mut self, batch: &Batch, periods: &[BillingPeriod], found: &mut Vec<u32>) {
        let Self { places, keys, texts, remembered, recent } = self;
        let columns = known().well_known();
        let cells = [columns.currency, columns.line_item_type, columns.invoice_id].map(|id| batch.column(id));
        let [currencies, types, invoices] = remembered;
        let mut readings = [currencies.of(cells[0]), types.of(cells[1]), invoices.of(cells[2])];
        recent.resize(RECENT, None);
        found.clear();
        for (row, period) in periods.iter().enumerate().take(batch.rows) {
            let numbers = readings.each_mut().map(|reading| {
                let Ok(number) = reading.get(row, |cell| Ok::<_, Infallible>(Some(number(texts, cell))));
                number.unwrap_or_default()
            });
            let sum = numbers.iter().fold(0u32, |sum, number| sum.wrapping_mul(5).wrapping_add(*number));
            let recent = &mut recent[sum as usize % RECENT];
            let place = match recent {
                Some((same, place)) if *same == (*period, numbers) => *place,
                _ => {
                    let [currency, line_item_type, invoice_id] = cells.map(|cells| cells.get(row));
                    let key = LedgerKey::new(*period, currency, line_item_type, invoice_id);
                    let next = keys.len() as u32;
                    let place = *places.entry(key).or_insert_with_key(|key| {
                        keys.push(key.clone());
                        next
                    });
                    *recent = Some(((*period, numbers), place));
                    place
                }
            };
            found.push(place);
        }
    }

    /// The key of a place.
    pub(super) fn get(&self, place: usize) -> Option<&LedgerKey> {
        self.keys.get(place)
    }
}

/// The number of a cell's text, as the key has it: lossy, where it isn't UTF-8.
fn number(texts: &mut HashMap<String, u32>, cell: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(cell);
    if let Some(number) = texts.get(text.as_ref()) {
        return *number;
    }
    let next = texts.len() as u32;
    texts.insert(text.into_owned(), next);
    next
}
