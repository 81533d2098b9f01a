use serde::Serialize;

/// What became of some objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GarbageState {
    /// They would be deleted.
    Shown,
    /// They were deleted.
    Deleted,
    /// They stay, because somebody needs them.
    Kept,
    /// A delivery that stays holds the same assembly.
    Shared,
    /// Nobody needs them, but the settings don't know the customer's target any more.
    Left,
    /// They belong to another customer than the chosen one.
    NotChosen,
    /// They can't be read or deleted.
    Failed,
    /// Nothing is there any more.
    Gone,
}

impl GarbageState {
    /// The state in a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shown => "would delete",
            Self::Deleted => "deleted",
            Self::Kept => "kept",
            Self::Shared => "shared",
            Self::Left => "left",
            Self::NotChosen => "not chosen",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }

    /// Whether objects stay whose keys only this delivery's proofs hold.
    pub(super) fn keeps_delivery(self) -> bool {
        matches!(self, Self::Kept | Self::Left | Self::NotChosen | Self::Failed)
    }
}

/// Some objects of one delivery: an export's, or the MSP's own.
#[derive(Debug, Clone, Serialize)]
pub struct GarbageItem {
    /// Whose: a customer, `(unassigned)`, `(master proof)`, `(pointer's entry)`, or blank for the delivery as a whole.
    pub whose: String,
    /// The export; blank for what is the MSP's.
    pub report_id: String,
    /// The export's assembly id; blank for what is the MSP's.
    pub assembly_id: String,
    /// What became of them.
    pub state: GarbageState,
    /// Why.
    pub reason: String,
    /// How many there are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl GarbageItem {
    pub(super) fn of_msp(whose: &str) -> Self {
        Self {
            whose: whose.to_owned(),
            report_id: String::new(),
            assembly_id: String::new(),
            state: GarbageState::Shown,
            reason: String::new(),
            objects: 0,
            bytes: 0,
        }
    }

    pub(super) fn whole(state: GarbageState, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), ..Self::of_msp("") }
    }
}

/// One delivery.
#[derive(Debug, Clone, Serialize)]
pub struct GarbageDelivery {
    /// The source's name.
    pub source: String,
    /// The month.
    pub billing_period: String,
    /// Which delivery.
    pub delivery_id: String,
    /// What became of what.
    pub items: Vec<GarbageItem>,
}

/// Everything that was looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GarbageReport {
    /// Each delivery, those that stay too.
    pub deliveries: Vec<GarbageDelivery>,
    /// Months that weren't touched, because what must stay couldn't be told.
    pub refused: Vec<String>,
}

impl GarbageReport {
    /// Every item of every delivery.
    pub fn items(&self) -> impl Iterator<Item = &GarbageItem> {
        self.deliveries.iter().flat_map(|delivery| &delivery.items)
    }

    /// Whether everything that may go could be looked at, and deleted if that was asked for.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty() && self.items().all(|item| item.state != GarbageState::Failed)
    }
}
