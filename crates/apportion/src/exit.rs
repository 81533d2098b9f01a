//! Exit codes. They are frozen: tests/it/exit_codes.rs and docs/exit-codes.md hold them.

use crate::signals::Signals;
use apportion_flow::outcome::Kind;
use apportion_flow::run::RunError;
use std::process::ExitCode;

/// Everything was done, or there was nothing to do.
pub(crate) const OK: u8 = 0;
/// Failed, for a reason without a code of its own.
pub(crate) const FAILED: u8 = 1;
/// A mistake of usage or settings.
pub(crate) const USAGE_CODE: u8 = 2;
/// Some customers failed, the others were delivered.
pub(crate) const PARTIAL: u8 = 3;
/// It doesn't balance, or audit or verify found something.
pub(crate) const UNBALANCED: u8 = 4;
/// The source isn't ready, or moved while it was read.
pub(crate) const SOURCE_MOVED: u8 = 5;
/// Not found.
pub(crate) const NOT_FOUND: u8 = 10;
/// Another run holds the lease.
pub(crate) const HELD: u8 = 11;
/// Credentials or permission.
pub(crate) const PERMISSION: u8 = 12;
/// A limit is exceeded, or input can't be trusted.
pub(crate) const LIMIT: u8 = 13;

/// The store can't do what a safe commit needs.
pub(crate) const STORE_TOO_WEAK: u8 = 14;

/// [`USAGE_CODE`], as main returns it.
pub(crate) struct Usage;

/// A mistake of usage or settings.
pub(crate) const USAGE: Usage = Usage;

impl From<Usage> for ExitCode {
    fn from(_: Usage) -> Self {
        Self::from(USAGE_CODE)
    }
}

/// A failure whose kind the program itself decides.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// A mistake of usage or settings.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure { code: USAGE_CODE, message: message.into() }.into()
}

/// The code of a kind of failure.
pub(crate) fn code_of_kind(kind: Kind, signals: &Signals) -> u8 {
    if kind == Kind::Interrupted { signals.code() } else { code_of_settled_kind(kind) }
}

/// The code of a failure that was not an interruption.
pub(crate) fn code_of_settled_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Failed | Kind::Interrupted => FAILED,
        Kind::Usage => USAGE_CODE,
        Kind::Unbalanced => UNBALANCED,
        Kind::SourceMoved => SOURCE_MOVED,
        Kind::NotFound => NOT_FOUND,
        Kind::Held => HELD,
        Kind::Permission => PERMISSION,
        Kind::Limit => LIMIT,
        Kind::StoreTooWeak => STORE_TOO_WEAK,
    }
}

/// The code of an error.
pub(crate) fn code_of(error: &anyhow::Error, signals: &Signals) -> u8 {
    use apportion_audit::AuditErrorKind;
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.code;
    }
    if let Some(error) = error.downcast_ref::<RunError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_flow::check::VerifyError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_flow::check::ReconcileError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_flow::garbage::GarbageError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_flow::source::SourceError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_flow::storage::DocumentError>() {
        return code_of_kind(error.kind(), signals);
    }
    if let Some(error) = error.downcast_ref::<apportion_audit::AuditError>() {
        return match error.kind() {
            AuditErrorKind::NotFound => NOT_FOUND,
            AuditErrorKind::Ambiguous | AuditErrorKind::Settings => USAGE_CODE,
            AuditErrorKind::SourceNotReady => SOURCE_MOVED,
            AuditErrorKind::BadInput => LIMIT,
            AuditErrorKind::Permission => PERMISSION,
            AuditErrorKind::Io => FAILED,
            AuditErrorKind::Interrupted => signals.code(),
        };
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return code_of_kind(apportion_flow::outcome::kind_of_io(error), signals);
    }
    FAILED
}
