use apportion_model::{AccountId, BillingPeriod, CustomerId, Day};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// An account of a customer, for a range of days.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnedAccount {
    /// Which.
    pub id: AccountId,
    /// The first day; None: since ever.
    pub from: Option<Day>,
    /// The day after the last; None: for ever.
    pub to: Option<Day>,
}

impl OwnedAccount {
    /// Whether the account is the customer's on that day.
    pub fn holds(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }

    /// Whether the account is the customer's on any day of a month.
    pub fn touches(&self, period: BillingPeriod) -> bool {
        self.from.is_none_or(|from| from < period.end()) && self.to.is_none_or(|to| period.start() < to)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.from.is_none_or(|from| other.to.is_none_or(|to| from < to))
            && other.from.is_none_or(|from| self.to.is_none_or(|to| from < to))
    }
}

/// The accounts of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Every account that is not blank.
    All,
    /// These, in the order they were listed.
    Listed(Vec<OwnedAccount>),
}

impl Accounts {
    /// The accounts as far as they bear on a month; None for `All`.
    pub fn bearing_on(&self, period: BillingPeriod) -> Option<Vec<&OwnedAccount>> {
        match self {
            Self::All => None,
            Self::Listed(list) => Some(list.iter().filter(|account| account.touches(period)).collect()),
        }
    }
}

/// Account lists that contradict each other or say nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Two customers claim one account on one day.
    #[error(
        "account {account} is claimed by customer {first} and by customer {second} on the same day; give each a `from` or `to` date, or list it once"
    )]
    ClaimedTwice {
        /// Which account.
        account: AccountId,
        /// The customer that lists it first.
        first: CustomerId,
        /// The other one, or the same again.
        second: CustomerId,
    },
    /// A customer with `accounts = "all"` beside others.
    #[error(
        "customer {all} has accounts = \"all\", so no other customer ({other}) can own an account; list its accounts instead"
    )]
    AllBesideOthers {
        /// Who has all.
        all: CustomerId,
        /// Another customer.
        other: CustomerId,
    },
    /// A customer without accounts.
    #[error("customer {0} lists no accounts; list them, or write accounts = \"all\" if everything is meant")]
    Empty(CustomerId),
    /// Dates that hold no day.
    #[error("customer {customer}: account {account} ends ({to}) on or before the day it begins ({from})")]
    NoDay {
        /// Whose.
        customer: CustomerId,
        /// Which account.
        account: AccountId,
        /// The first day.
        from: Day,
        /// The day after the last.
        to: Day,
    },
}

/// What is true of an account on whatever day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A customer owns it, by its place.
    Always(u32),
    /// It is listed; [`Membership::owner`] says whose it is on a day.
    ByDay,
    /// Nobody lists it.
    Unlisted,
}

/// Who owns which account when.
#[derive(Debug)]
pub struct Membership {
    everything: Option<u32>,
    by_account: HashMap<Box<[u8]>, Vec<(OwnedAccount, u32)>>,
}

impl Membership {
    /// # Errors
    /// See [`MembershipError`].
    pub fn new<'a>(
        customers: impl Iterator<Item = (&'a CustomerId, &'a Accounts)>,
    ) -> Result<Self, MembershipError> {
        let customers: Vec<_> = customers.collect();
        let mut membership = Self { everything: None, by_account: HashMap::new() };
        for (place, (id, accounts)) in (0u32..).zip(&customers) {
            match accounts {
                Accounts::All => {
                    if let Some((other, _)) = customers.iter().find(|(other, _)| other != id) {
                        return Err(MembershipError::AllBesideOthers {
                            all: (*id).clone(),
                            other: (*other).clone(),
                        });
                    }
                    membership.everything = Some(place);
                }
                Accounts::Listed(list) if list.is_empty() => {
                    return Err(MembershipError::Empty((*id).clone()));
                }
                Accounts::Listed(list) => {
                    for account in list {
                        membership.claim(account, place, &customers)?;
                    }
                }
            }
        }
        Ok(membership)
    }

    fn claim(
        &mut self,
        account: &OwnedAccount,
        customer: u32,
        customers: &[(&CustomerId, &Accounts)],
    ) -> Result<(), MembershipError> {
        let name = |place: u32| customers.get(place as usize).map(|(id, _)| (*id).clone());
        if let (Some(from), Some(to), Some(customer)) = (account.from, account.to, name(customer))
            && to <= from
        {
            return Err(MembershipError::NoDay { customer, account: account.id.clone(), from, to });
        }
        let claims = self.by_account.entry(account.id.as_str().as_bytes().into()).or_default();
        if let Some((_, other)) = claims.iter().find(|(claimed, _)| claimed.overlaps(account))
            && let (Some(first), Some(second)) = (name(*other), name(customer))
        {
            return Err(MembershipError::ClaimedTwice { account: account.id.clone(), first, second });
        }
        claims.push((account.clone(), customer));
        Ok(())
    }

    /// Without the claims that don't touch a month: who left before a delivery's month has no share in it, not even
    /// of line items of earlier bills. Its export would know the account neither in its proof nor in its mask.
    pub fn bearing_on(mut self, period: BillingPeriod) -> Self {
        for claims in self.by_account.values_mut() {
            claims.retain(|(claim, _)| claim.touches(period));
        }
        self
    }

    /// The customer that owns an account on a day.
    #[inline]
    pub fn owner(&self, account: &[u8], day: Day) -> Option<u32> {
        if self.everything.is_some() {
            return self.everything;
        }
        let claims = self.by_account.get(account)?;
        claims.iter().find(|(claim, _)| claim.holds(day)).map(|(_, customer)| *customer)
    }

    /// What is true of an account on whatever day.
    pub(super) fn standing(&self, account: &[u8]) -> Standing {
        if let Some(customer) = self.everything {
            return Standing::Always(customer);
        }
        match self.by_account.get(account).map(Vec::as_slice) {
            None => Standing::Unlisted,
            Some([(OwnedAccount { from: None, to: None, .. }, customer)]) => Standing::Always(*customer),
            Some(_) => Standing::ByDay,
        }
    }

    /// Whether any customer lists an account, for whatever dates.
    pub fn is_listed(&self, account: &[u8]) -> bool {
        self.by_account.contains_key(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Option<Day> {
        (!text.is_empty()).then(|| Day::parse(text).unwrap())
    }

    fn owned(id: &str, from: &str, to: &str) -> OwnedAccount {
        OwnedAccount { id: AccountId::from_settings(id).unwrap(), from: day(from), to: day(to) }
    }

    fn membership(customers: &[(&str, Vec<OwnedAccount>)]) -> Result<Membership, MembershipError> {
        let customers: Vec<_> = customers
            .iter()
            .map(|(id, list)| (CustomerId::new(id).unwrap(), Accounts::Listed(list.clone())))
            .collect();
        Membership::new(customers.iter().map(|(id, accounts)| (id, accounts)))
    }

    #[test]
    fn an_account_that_moves_has_one_owner_each_day() {
        let moved = membership(&[
            ("a", vec![owned("111122223333", "", "2026-10-12")]),
            ("b", vec![owned("111122223333", "2026-10-12", "2026-11-01")]),
        ])
        .unwrap();
        let owner = |text| moved.owner(b"111122223333", Day::parse(text).unwrap());
        assert_eq!([owner("2020-01-01"), owner("2026-10-11")], [Some(0), Some(0)]);
        assert_eq!([owner("2026-10-12"), owner("2026-10-31"), owner("2026-11-01")], [Some(1), Some(1), None]);
        assert!(moved.is_listed(b"111122223333") && !moved.is_listed(b"111122223334"));
        let november = moved.bearing_on(BillingPeriod::new(2026, 11).unwrap());
        assert_eq!(november.owner(b"111122223333", Day::parse("2026-10-31").unwrap()), None);
        assert!(november.is_listed(b"111122223333"));
    }

    #[test]
    fn contradictions_are_refused() {
        let twice = membership(&[
            ("a", vec![owned("111122223333", "", "2026-10-13")]),
            ("b", vec![owned("111122223333", "2026-10-12", "")]),
        ]);
        assert!(matches!(twice, Err(MembershipError::ClaimedTwice { .. })));
        assert!(matches!(membership(&[("a", vec![])]), Err(MembershipError::Empty(_))));
        let backwards = membership(&[("a", vec![owned("111122223333", "2026-10-12", "2026-10-12")])]);
        assert!(matches!(backwards, Err(MembershipError::NoDay { .. })));
        let (a, b) = (CustomerId::new("a").unwrap(), CustomerId::new("b").unwrap());
        let list = Accounts::Listed(vec![owned("111122223333", "", "")]);
        let all = Membership::new([(&a, &Accounts::All), (&b, &list)].into_iter());
        assert!(matches!(all, Err(MembershipError::AllBesideOthers { .. })));
    }

    /// Every assignment of four accounts to three customers or nobody: each account has exactly the owner it
    /// was given.
    #[test]
    fn all_small_assignments() {
        for assignment in 0..4u32.pow(4) {
            let owner_of = |account: u32| assignment / 4u32.pow(account) % 4;
            let mut lists: Vec<Vec<OwnedAccount>> = vec![Vec::new(); 3];
            for account in 0..4 {
                if let Some(list) = lists.get_mut(owner_of(account) as usize) {
                    list.push(owned(&format!("{account:012}"), "", ""));
                }
            }
            let named: Vec<(String, Vec<OwnedAccount>)> = (0..)
                .map(|index| format!("c{index}"))
                .zip(lists)
                .filter(|(_, list)| !list.is_empty())
                .collect();
            let places: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
            let borrowed: Vec<(&str, Vec<OwnedAccount>)> =
                named.iter().map(|(name, list)| (name.as_str(), list.clone())).collect();
            let table = membership(&borrowed).unwrap();
            for account in 0..4 {
                let found = table.owner(format!("{account:012}").as_bytes(), Day::EPOCH);
                let expected = places.iter().position(|name| *name == format!("c{}", owner_of(account)));
                assert_eq!(found.map(|place| place as usize), expected);
            }
        }
    }
}
