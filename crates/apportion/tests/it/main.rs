//! Integration tests through the program itself: what it reads, refuses, writes, proves and says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

mod audit_buckets;
mod audit_defects;
mod audit_shapes;
mod bad_input;
mod bad_kinds;
mod consumers;
mod crash;
mod docs;
mod doctor;
mod exit_codes;
mod fixtures;
mod gc;
mod golden;
mod harness;
mod incremental;
mod kinds;
mod membership;
mod nise;
mod parquet_out;
mod periods;
mod planted;
mod properties;
mod random_report;
mod read_back;
mod reconcile;
mod redelivered;
mod restated;
mod round_trip;
mod runs;
mod s3;
mod samples;
mod selftest;
mod servers;
mod settings;
mod small_report;
mod sources;
mod storage;
mod support;
mod targets;
mod tidy;
mod trust;
mod watched;
mod wire;
mod written_report;
mod year;
