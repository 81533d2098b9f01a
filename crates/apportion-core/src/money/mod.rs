//! Money: exact decimals and exact sums.
//!
//! What comes in: the text of a cell. What goes out: a [`Number`] that is exactly what the text says, sums of
//! such numbers that are exactly their sum, and how much of a whole a part is. What it must never do: calculate with
//! a float, round, or wrap around.

mod fraction;
mod number;
mod representation;
mod sum;

pub use fraction::{Fraction, FractionError};
pub use number::{Number, NumberProblem};
pub use representation::{DifferenceSum, RepresentationDifference};
pub use sum::ExactSum;
