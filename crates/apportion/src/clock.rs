//! The clock: the only place that asks for the time of day. What is delivered never depends on it.

use apportion_model::{Day, Instant};
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // The one place that asks.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The processor time that the present thread has used, in nanoseconds.
pub(crate) fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Today, in UTC.
pub(crate) fn today() -> Day {
    Instant::from_millis(now_millis()).day()
}
