//! Settings: flags, environment and file become one resolved value, before a byte of a source is read.
//!
//! What comes in: what was typed, and the settings file. What goes out: [`Settings`], with the origin of every value,
//! or one clear error. What it must never do: leave a mistake for a later stage to find.

mod customers;
mod file;
mod paths;
mod places;
mod resolve;
mod sizes;
mod stores;

pub(crate) use customers::ResolvedCustomer;
pub(crate) use file::{
    AccountEntry, Accounts, CustomerEntry, DatedAccount, DeliverEntry, MspEntry, SettingsFile, SourceEntry,
    dated, read_text,
};
pub(crate) use resolve::{
    Origin, Settings, SourceSetting, accept_share_of, periods_of, place_of, resolve, resolve_text,
};
pub(crate) use sizes::size_text;
pub(crate) use stores::Place;
