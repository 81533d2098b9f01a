//! Check: what was written is what was meant; and what was delivered is whole.
//!
//! What comes in: finished files in the spool, and targets as their consumer finds them. What goes out: hashes and
//! counts, or what is wrong. What it must never do: take a number from the writer where it can be had from the
//! bytes. The sizes of gzip members, which the bytes don't tell before they are read, are the writer's; each must turn out right.

mod consumer;
mod file;
mod members;
mod parquet;
mod reconcile;
mod rows;

pub use consumer::{ExportVerdict, Verdict, VerifyError, verify};
pub use file::{CheckError, Checked, Expected, check_file};
pub use parquet::check_parquet;
pub use reconcile::{
    BridgeLine, BridgeReport, ConfiguredExport, ExportState, Invoice, InvoiceReport, ReconcileError,
    ReconcileFinding, ReconcileReport, ReconcileRequest, ReconcileZeros, ReconciledDelivery,
    ReconciledExport, reconcile,
};
pub use rows::{Row, TakesRows, each_row};
