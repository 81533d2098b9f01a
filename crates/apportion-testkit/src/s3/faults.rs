use super::front::Call;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An object, or a range of one.
    Get,
    /// What is known of an object.
    Head,
    /// A page of a listing.
    List,
    /// A whole object.
    Put,
    /// The beginning of an upload in parts.
    Begin,
    /// A part.
    Part,
    /// The end of an upload in parts.
    Complete,
    /// The taking back of an upload in parts.
    Abort,
    /// Objects to delete.
    Delete,
    /// A role.
    AssumeRole,
    /// Anything else.
    Other,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before anything is done.
    Before,
    /// It is done, and the connection breaks before the answer.
    After,
    /// Nothing is done, and the answer is 500.
    Error,
    /// It is done, and the answer is 500.
    ErrorAfter,
    /// The answer is cut in the middle.
    Truncated,
    /// There is never an answer.
    Stall,
    /// 503 SlowDown.
    SlowDown,
    /// 200, and an error inside.
    ErrorInside,
    /// The credentials have expired.
    Expired,
    /// 403 AccessDenied.
    Denied,
    /// The client's clock is off.
    Skewed,
    /// The bucket is in another region.
    Redirected,
}

/// Faults that pass: whoever tries again comes through.
pub const PASSING: [Fault; 7] = [
    Fault::Before,
    Fault::After,
    Fault::Error,
    Fault::ErrorAfter,
    Fault::Truncated,
    Fault::SlowDown,
    Fault::ErrorInside,
];

/// Which fault strikes which call.
type Strikes = Box<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

pub(super) struct Plan(pub(super) Strikes);

/// A plan by which so many of a hundred calls go wrong, each in one of these ways: always the same for one seed and the
/// same order of calls.
pub fn seeded(
    seed: u64,
    percent: u64,
    faults: &[Fault],
) -> impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static {
    let faults = faults.to_vec();
    move |call| {
        let mut hasher = DefaultHasher::new();
        (seed, call.number).hash(&mut hasher);
        let drawn = hasher.finish();
        let fault = faults.get((drawn >> 32) as usize % faults.len().max(1))?;
        (drawn % 100 < percent).then_some(*fault)
    }
}
