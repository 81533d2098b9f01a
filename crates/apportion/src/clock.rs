//! The clock: the only place that asks what day it is. What is delivered never depends on it.

use apportion_model::{Day, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// Today, in UTC.
#[allow(clippy::disallowed_methods)] // The one place that asks.
pub(crate) fn today() -> Day {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).day()
}
