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
}
