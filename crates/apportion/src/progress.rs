//! Progress: bars on a terminal, a line now and then elsewhere, nothing where nobody wants it.

use crate::clock;
use crate::printer::{Printer, grouped};
use crate::signals::Signals;
use apportion_flow::run::Watcher;
use apportion_flow::timings::Meter;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows how far a run is, and carries the signal to stop into it.
pub(crate) struct Progress<'a> {
    printer: &'a Printer,
    signals: &'a Signals,
    meter: Meter,
    bar: Option<ProgressBar>,
    lines: bool,
    rows: AtomicU64,
    last: Mutex<(Instant, String)>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(printer: &'a Printer, signals: &'a Signals) -> Self {
        let shown = printer.shows_progress();
        let bar = (shown && printer.on_terminal()).then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {msg}: {human_pos} line items, {per_sec}, {elapsed}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            printer,
            signals,
            meter: Meter::default(),
            lines: shown && bar.is_none(),
            bar,
            rows: AtomicU64::new(0),
            last: Mutex::new((Instant::now(), String::new())),
        }
    }

    /// Takes the time of each stage, too.
    pub(crate) fn with_timings(self, wanted: bool) -> Self {
        let meter = if wanted { Meter::new(Box::new(clock::thread_nanos)) } else { Meter::default() };
        Self { meter, ..self }
    }

    /// The exit code of the signal that came.
    pub(crate) fn interrupted_code(&self) -> u8 {
        self.signals.code()
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watcher for Progress<'_> {
    fn stage(&self, text: &str, bytes: Option<u64>) {
        let size = bytes.map_or_else(String::new, |bytes| format!(" {}", crate::settings::size_text(bytes)));
        let message = format!("{text}{size}");
        self.rows.store(0, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_message(message.clone());
            bar.set_position(0);
            bar.reset_eta();
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).1 = message;
    }

    fn advance(&self, rows: u64, _bytes: u64) {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        if let Some(bar) = &self.bar {
            bar.set_position(rows);
        }
        if self.lines {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0.elapsed() >= LINE_EVERY {
                last.0 = Instant::now();
                self.printer.line(&format!("{}: {} line items", last.1, grouped(rows)));
            }
        }
    }

    fn interrupted(&self) -> bool {
        self.signals.came()
    }

    fn meter(&self) -> Meter {
        self.meter.clone()
    }
}
