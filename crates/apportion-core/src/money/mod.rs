//! Money: exact decimals and exact sums.
//!
//! What comes in: the text of a cell. What goes out: a [`Number`] that is exactly what the text says, and sums
//! of such numbers that are exactly their sum. What it must never do: calculate with a float, round, or wrap
//! around.

mod number;
mod representation;
mod sum;

pub use number::{Number, NumberProblem};
pub use representation::RepresentationDifference;
pub use sum::ExactSum;
