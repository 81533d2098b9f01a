//! The clock: the only place that asks for the time of day. What is delivered never depends on it.

use apportion_model::{Day, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // The one place that asks.
pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Today, in UTC.
pub(crate) fn today() -> Day {
    Instant::from_millis(now_millis()).day()
}
