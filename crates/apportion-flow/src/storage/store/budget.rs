use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What one more try costs, in the parts that a success earns.
const COST: u64 = 10;

/// How many tries more may be made: a stock, to which every success adds a little. A store that fails now and then is
/// helped over it; one that fails always is given up soon, and isn't asked again and again by each caller.
#[derive(Debug)]
pub(super) struct Budget {
    parts: AtomicU64,
    most: u64,
}

impl Budget {
    /// A budget of so many tries.
    pub(super) fn new(tries: u64) -> Self {
        Self { parts: AtomicU64::new(tries * COST), most: tries * COST }
    }

    /// Something succeeded.
    pub(super) fn earn(&self) {
        let more = |parts: u64| Some((parts + 2).min(self.most));
        let _ = self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one try out; false if there is none left.
    pub(super) fn spend(&self) -> bool {
        self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| parts.checked_sub(COST)).is_ok()
    }
}

/// How long to wait before try number `attempt` (from 2): twice as long each time, anywhere between half and all of it,
/// so that many who failed at once don't come again at once.
pub(super) fn pause(attempt: u32, base: Duration, most: Duration) -> Duration {
    let whole = base.saturating_mul(1 << attempt.saturating_sub(2).min(16)).min(most);
    let half = whole / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    // Decides no delivered byte.
    half + Duration::from_millis(RandomState::new().hash_one(attempt) % spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_successes_fill_it() {
        let budget = Budget::new(3);
        assert!((0..3).all(|_| budget.spend()) && !budget.spend());
        (0..4).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        (0..1000).for_each(|_| budget.earn());
        assert!((0..3).all(|_| budget.spend()) && !budget.spend());
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let (base, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let pauses: Vec<Duration> = (0..50).map(|_| pause(4, base, most)).collect();
        assert!(pauses.iter().all(|pause| (200..=400).contains(&pause.as_millis())));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        assert!(pause(60, base, most) <= most);
    }
}
