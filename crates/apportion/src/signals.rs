//! Ctrl-C: the first one ends the run at the next safe place, the second ends the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The flag of the signals that are listened to, for whoever waits on the network.
static CAME: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether to stop.
pub(crate) fn interrupted() -> bool {
    CAME.get().is_some_and(|came| came.load(Ordering::Relaxed))
}

/// Which signals came.
pub(crate) struct Signals {
    came: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn install() -> Self {
        let signals = Self { came: Arc::default(), which: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            let number = signal.unsigned_abs() as usize;
            // A second one, while the first is being heeded, ends the process at once. Registered first, so that
            // the first signal finds the flag still down.
            let _ = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.came));
            let _ = flag::register(signal, Arc::clone(&signals.came));
            let _ = flag::register_usize(signal, Arc::clone(&signals.which), number);
        }
        let _ = CAME.set(Arc::clone(&signals.came));
        signals
    }

    /// Whether to stop.
    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// The exit code for it: 130 or 143.
    pub(crate) fn code(&self) -> u8 {
        let number = self.which.load(Ordering::Relaxed);
        128 + u8::try_from(number).ok().filter(|number| *number > 0).unwrap_or(2)
    }
}
