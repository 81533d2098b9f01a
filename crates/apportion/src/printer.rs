//! The printer: the only place that writes to stdout and stderr. Data go to stdout, everything else to stderr.

use crate::cli::{Global, Output};
use crate::settings::size_text;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Write};

/// What a column of a printed table holds. Rows carry plain values; only people's tables dress them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Text,
    /// A whole number.
    Count,
    /// A size in bytes.
    Bytes,
    /// Amounts with their currencies.
    Amounts,
}

/// One column of a printed table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Its name, also as a JSON key.
    name: &'static str,
    holds: Holds,
}

/// A column of texts.
pub(crate) const fn text(name: &'static str) -> Head {
    Head { name, holds: Holds::Text }
}

/// A column of whole numbers.
pub(crate) const fn count(name: &'static str) -> Head {
    Head { name, holds: Holds::Count }
}

/// A column of sizes in bytes.
pub(crate) const fn bytes(name: &'static str) -> Head {
    Head { name, holds: Holds::Bytes }
}

/// A column of amounts with their currencies.
pub(crate) const fn amounts(name: &'static str) -> Head {
    Head { name, holds: Holds::Amounts }
}

impl Head {
    /// A value as people read it.
    fn dressed(&self, value: &str) -> String {
        match (self.holds, value.parse::<u64>()) {
            (Holds::Count, Ok(number)) => grouped(number),
            (Holds::Bytes, Ok(0)) => String::new(),
            (Holds::Bytes, Ok(number)) => size_text(number),
            _ => value.to_owned(),
        }
    }
}

/// Prints.
pub(crate) struct Printer {
    output: Output,
    quiet: bool,
    progress: bool,
}

impl Printer {
    /// As the flags say.
    pub(crate) fn new(global: &Global) -> Self {
        Self { output: global.output, quiet: global.quiet, progress: !global.no_progress && !global.quiet }
    }

    /// Whether progress may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Prints rows as data; `whole` is what `--output json` prints instead of them.
    pub(crate) fn rows(
        &self,
        heads: &[Head],
        rows: &[Vec<String>],
        whole: &impl Serialize,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        let written = match self.output {
            Output::Table => write_table(&mut out, heads, rows),
            Output::Json => write_json(&mut out, whole),
            Output::Jsonl => rows.iter().try_for_each(|row| {
                let object: Map<String, Value> = heads
                    .iter()
                    .zip(row)
                    .map(|(head, cell)| (key_of(head.name), Value::String(cell.clone())))
                    .collect();
                writeln!(out, "{}", Value::Object(object))
            }),
            Output::Csv => write_csv(&mut out, heads, rows),
        };
        broken_pipe_is_fine(written.and_then(|()| out.flush()))
    }

    /// Prints a text that is data, whatever `--output` says.
    pub(crate) fn data(&self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        broken_pipe_is_fine(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Prints what people should know; not data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Prints an error with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let mut text = format!("error: {error}");
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Many messages carry their cause already.
            if !text.contains(&cause) {
                text.push_str(&format!("\n  because: {cause}"));
            }
        }
        self.line(&text);
    }

    /// A line on stderr.
    pub(crate) fn line(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether stderr is a terminal.
    pub(crate) fn on_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}

fn key_of(name: &str) -> String {
    name.replace([' ', '-'], "_")
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn write_table(out: &mut impl Write, heads: &[Head], rows: &[Vec<String>]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    // A line under the header and at the ends is enough.
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.set_header(heads.iter().map(|head| head.name));
    for row in rows {
        table.add_row(heads.iter().zip(row).map(|(head, cell)| {
            let left = head.holds == Holds::Text;
            let alignment = if left { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(head.dressed(cell)).set_alignment(alignment)
        }));
    }
    writeln!(out, "{table}")
}

fn write_csv(out: &mut impl Write, heads: &[Head], rows: &[Vec<String>]) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(heads.iter().map(|head| key_of(head.name)))?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.flush()
}

/// A reader that has seen enough, like `head`, is no failure.
fn broken_pipe_is_fine(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A number with its thousands set apart: `1,204,551`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
