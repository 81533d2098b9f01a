//! Who runs the program, for leases and the delivery log. What is delivered never depends on it.

use crate::clock::now_millis;
use apportion_flow::storage::Operator;
use std::sync::Arc;

/// The user and the machine, as the system tells them.
pub(crate) fn operator(wait: bool) -> Operator {
    let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(variable);
    let machine =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let machine = machine
        .filter(|name| !name.is_empty())
        .or_else(|| ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(variable))
        .unwrap_or_else(|| "this machine".to_owned());
    let user = user.unwrap_or_else(|| "somebody".to_owned());
    let name = format!("{user}@{machine} (process {})", std::process::id());
    Operator { name, machine, wait, clock: Arc::new(now_millis) }
}

#[allow(clippy::disallowed_methods)] // Whoever runs it is no setting.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
