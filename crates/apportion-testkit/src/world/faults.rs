use std::hash::{DefaultHasher, Hash, Hasher};

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The process dies; nothing was done.
    Before,
    /// It is done, and the process dies before it hears of it.
    After,
    /// The process dies in the middle of a write to a folder: half of the bytes lie in the file beside. Where nothing
    /// is written it is the same as [`Mode::Before`].
    Torn,
    /// Nothing is done, and the answer is an error.
    Error,
    /// It is done, and the answer is an error.
    ErrorAfter,
}

impl Mode {
    /// Those that leave the process alive or not, in the order of the promise.
    pub const ALL: [Self; 5] = [Self::Before, Self::After, Self::ErrorAfter, Self::Torn, Self::Error];

    /// Whether the process is dead after it.
    pub fn is_death(self) -> bool {
        matches!(self, Self::Before | Self::After | Self::Torn)
    }
}

/// What goes wrong for a process, by the number of its own operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// The nth operation, counted from 1.
    At(u64, Mode),
    /// So many of a hundred operations, with an error before or after they are done; by a seed.
    Errors {
        /// Decides which.
        seed: u64,
        /// How many of a hundred.
        percent: u64,
        /// The first that may; those before go well.
        from: u64,
    },
}

impl Plan {
    pub(super) fn mode_of(self, number: u64) -> Option<Mode> {
        match self {
            Self::Nothing => None,
            Self::At(at, mode) => (at == number).then_some(mode),
            Self::Errors { seed, percent, from } => {
                let mut hasher = DefaultHasher::new();
                (seed, number).hash(&mut hasher);
                let drawn = hasher.finish();
                let mode = if (drawn >> 32) & 1 == 0 { Mode::Error } else { Mode::ErrorAfter };
                (number >= from && drawn % 100 < percent).then_some(mode)
            }
        }
    }
}
