//! Object stores: S3 and whatever speaks it, and a store in memory for tests.
//!
//! What comes in: a place's url and how it is reached. What goes out: a [`Bucket`](super::Bucket). A runtime for the
//! network is hidden in it. What it must never do: hold an object whole in memory that isn't a small document, read
//! two versions of an object as one, print a secret, or try again without an end.

mod bucket;
mod budget;
mod conditions;
mod copies;
mod credentials;
mod network;
mod open;
mod remembered;
mod upload;
mod wire;

pub use bucket::{ObjectBucket, PAYLOAD_BYTES};
pub use credentials::{Secret, StaticKeys};
pub use network::{Folders, Network, Weather};
pub use open::{BucketOwner, PlaceUrl, RoleOptions, StoreOptions};

pub(super) use copies::LocalCopy;
