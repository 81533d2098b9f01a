use crate::mask::{Mask, Rule};
use apportion_model::BillingPeriod;
use serde::{Deserialize, Serialize};

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
    pub(super) fn new(
        period: BillingPeriod,
        currency: &[u8],
        line_item_type: &[u8],
        invoice_id: &[u8],
    ) -> Self {
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
