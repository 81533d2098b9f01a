//! The hook through which tests plant bugs and kill the process. Only in builds with debug assertions.

use apportion_flow::plant::{Plant, kill_at, plant, writes};
use std::io::Write;

/// Plants what the environment asks for, and says so.
#[allow(clippy::disallowed_methods)] // The one place that looks: a build for users doesn't contain it.
pub(crate) fn from_environment() {
    let say = |text: &str| {
        let _ = writeln!(std::io::stderr().lock(), "apportion (debug build): {text}");
    };
    if let Ok(name) = std::env::var("APPORTION_PLANT") {
        match Plant::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, bug)) => {
                plant(*bug);
                say(&format!("planted the bug {name}; this run's output is wrong on purpose"));
            }
            None => say(&format!("no bug is called {name}")),
        }
    }
    if let Some(number) = std::env::var("APPORTION_KILL_AT").ok().and_then(|text| text.parse().ok()) {
        kill_at(number);
        say(&format!("this process dies before write {number}"));
    }
}

/// Says how many writes there were, where the environment asks for it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn say_writes() {
    if std::env::var_os("APPORTION_COUNT_WRITES").is_some() {
        let _ = writeln!(std::io::stderr().lock(), "apportion (debug build): {} writes", writes());
    }
}
