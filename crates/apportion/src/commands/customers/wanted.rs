use super::change::Wish;
use super::edit::{Edit, plain_of};
use crate::exit::usage;
use crate::settings::{Accounts, CustomerEntry, DatedAccount, DeliverEntry, SettingsFile, dated};

/// A customer as somebody wants it: accounts are added, nothing is taken away.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) sharing: Option<String>,
    pub(super) accounts: Vec<DatedAccount>,
    /// `accounts = "all"`.
    pub(super) all: bool,
}

impl Wanted {
    /// The edits that make it so. With `ends`, an account that begins on the day on which the settings have it begin,
    /// and for which an end is wanted, gets that end.
    pub(super) fn wish(&self, file: &SettingsFile, ends: bool, wish: &mut Wish) -> anyhow::Result<()> {
        let Some(there) = file.customer.iter().find(|entry| entry.id == self.id) else {
            wish.edits.push(Edit::NewCustomer(Box::new(self.entry())));
            return Ok(());
        };
        let id = &self.id;
        let list = match &there.accounts {
            Accounts::List(list) if !self.all => list,
            Accounts::List(_) => {
                return Err(usage(format!(
                    "customer {id} is there with a list of accounts; write accounts = \"all\" into the settings file yourself"
                )));
            }
            Accounts::Word(word) => {
                return Err(usage(format!(
                    "customer {id} has accounts = {word:?}, so there is nothing to add; list its accounts first"
                )));
            }
        };
        let list: Vec<DatedAccount> = list.iter().map(plain_of).collect();
        for account in &self.accounts {
            let same = |entry: &&DatedAccount| entry.id == account.id && entry.from == account.from;
            let customer = id.clone();
            match list.iter().find(same) {
                Some(entry) if entry.to == account.to => {
                    wish.notes.push(format!("{id} has account {} already, with the same dates", account.id));
                }
                Some(DatedAccount { to: Some(to), .. }) if ends && account.to.is_none() => wish.notes.push(
                    format!("account {} of {id} ends on {to} in the settings, and that stays", account.id),
                ),
                Some(entry) if ends => wish.edits.push(Edit::EndAccount {
                    customer,
                    account: account.id.clone(),
                    from: entry.from.clone(),
                    to: account.to.clone().unwrap_or_default(),
                }),
                _ => wish.edits.push(Edit::AddAccount { customer, account: account.clone() }),
            }
        }
        Ok(())
    }

    /// As an entry of a settings file.
    pub(super) fn entry(&self) -> CustomerEntry {
        let accounts = self.accounts.iter().cloned();
        CustomerEntry {
            id: self.id.clone(),
            name: self.name.clone(),
            accounts: if self.all {
                Accounts::Word("all".to_owned())
            } else {
                Accounts::List(accounts.map(|DatedAccount { id, from, to }| dated(id, from, to)).collect())
            },
            sharing: self.sharing.clone(),
            deliver: Some(DeliverEntry {
                url: self.url.clone().unwrap_or_else(|| format!("targets/{}", self.id)),
                ..DeliverEntry::default()
            }),
            ..CustomerEntry::default()
        }
    }
}
