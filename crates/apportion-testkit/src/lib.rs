//! The exams that every bucket and every delivery must pass, an S3 and an STS that fail on cue, and a world of
//! stores in which runs die on cue; for tests only.
//!
//! What comes in: something that claims to be a bucket. What goes out: nothing, or a panic that says which promise
//! of [`Bucket`] it broke. What it must never do: forgive, or know which bucket it examines. The exam itself is
//! [`examine`]: `selftest` gives it to the user's own store.

// An exam that fails must say so; it never runs outside of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod s3;
pub mod world;

use apportion_flow::storage::{Bucket, EXAM_PARTS, examine};

/// Examines a bucket that holds nothing below `exam/`.
///
/// # Panics
/// With the promise that is broken.
pub fn bucket_exam(bucket: &dyn Bucket) {
    let scratch = tempfile::tempdir().unwrap();
    let exam = examine(bucket, scratch.path());
    if let Some((part, broken)) = exam.broken {
        panic!("{part}: {broken}");
    }
    assert_eq!(exam.passed.len(), EXAM_PARTS);
}
