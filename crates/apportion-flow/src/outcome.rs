//! How things end: the kinds of failure that every stage sorts its errors into.

/// What sort of failure an error is. The program maps each to one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Anything that has no kind of its own.
    Failed,
    /// Settings or input of a kind that isn't read: a person must decide.
    Usage,
    /// The ledger doesn't balance.
    Unbalanced,
    /// The source isn't ready, or moved while it was read.
    SourceMoved,
    /// There is nothing where something was named.
    NotFound,
    /// Another run is at work on the same.
    Held,
    /// Credentials or permissions don't suffice.
    Permission,
    /// A limit is exceeded, or input can't be trusted.
    Limit,
    /// The store can't do what a safe commit needs.
    StoreTooWeak,
    /// Somebody asked to stop.
    Interrupted,
}

/// An error on its way through an `std::io::Error`, which keeps its kind.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Carried {
    /// What sort of failure it is.
    pub kind: Kind,
    /// What is said of it.
    pub text: String,
}

/// Why reading or writing a file failed, as a kind.
pub fn kind_of_io(error: &std::io::Error) -> Kind {
    if let Some(carried) = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>()) {
        return carried.kind;
    }
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Kind::Permission,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Limit,
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Failed,
    }
}
