use crate::storage::Bucket;
use crate::write::Order;
use apportion_core::columns::Contract;
use apportion_core::mask::MaskKey;
use apportion_core::route::{Accounts, Membership, MembershipError, RoutedCustomer};
use apportion_model::{AccountId, BillingPeriod, CustomerId, NameError, ReportId, SourceName};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// How a source is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceKindWanted {
    /// By its manifests; a single loose file where there is none.
    #[default]
    Auto,
    /// All loose files together, whatever manifests there are.
    Files,
}

/// Where the line items come from.
#[derive(Clone)]
pub struct SourceRequest {
    /// The bucket or folder.
    pub bucket: Arc<dyn Bucket>,
    /// The source's name.
    pub name: SourceName,
    /// Whether the settings name it; then it is part of the report ids.
    pub named: bool,
    /// Which report, where there are several.
    pub report: Option<String>,
    /// One loose file.
    pub object: Option<String>,
    /// By its manifests, or as loose files.
    pub kind: SourceKindWanted,
}

/// One export for the customer, or one per linked account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One for all accounts.
    Organization,
    /// One per listed account.
    Account,
}

/// Who receives what, where.
#[derive(Clone)]
pub struct Customer {
    /// Id, accounts and what is withheld.
    pub routed: RoutedCustomer,
    /// The name, for people.
    pub name: String,
    /// One export or several.
    pub sharing: Sharing,
    /// Where its exports go.
    pub target: Arc<dyn Bucket>,
    /// The `[account]` folder; None: the first listed account, or the payer.
    pub folder: Option<AccountId>,
    /// Which columns.
    pub contract: Contract,
    /// Which order of rows.
    pub order: Order,
    /// Whether the payer's id stays readable.
    pub payer_kept: bool,
    /// Whether nothing is masked at all.
    pub faithful: bool,
}

/// Where finished files wait.
#[derive(Debug, Clone)]
pub struct SpoolRequest {
    /// The folder; a folder of its own is made in it.
    pub folder: PathBuf,
    /// Most bytes in it.
    pub limit: u64,
}

/// Everything a run must know.
#[derive(Clone)]
pub struct DeliverRequest {
    /// The source.
    pub source: SourceRequest,
    /// Which months; None: all.
    pub periods: Option<Vec<BillingPeriod>>,
    /// All customers, also those that receive nothing in this run.
    pub customers: Vec<Customer>,
    /// Only this one receives; None: all.
    pub only: Option<CustomerId>,
    /// The MSP's place, if there is one.
    pub msp: Option<Arc<dyn Bucket>>,
    /// The mask key, if there is one.
    pub mask_key: Option<MaskKey>,
    /// The spool.
    pub spool: SpoolRequest,
    /// How many threads pack.
    pub threads: usize,
    /// Bytes of memory that the run should stay within; changes no delivered byte.
    pub memory: u64,
    /// Nothing is written.
    pub dry_run: bool,
}

/// A request that contradicts itself: a mistake of the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Account lists.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A report id that can't be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nobody receives anything.
    #[error("no customer is configured; add a [[customer]] to the settings, or give --accounts")]
    NoCustomer,
    /// The one customer isn't there.
    #[error("no customer is called {wanted}; there are: {}", there.join(", "))]
    UnknownCustomer {
        /// Who was asked for.
        wanted: CustomerId,
        /// Who there is.
        there: Vec<String>,
    },
    /// Two exports would be one.
    #[error(
        "two exports are called {report_id} in {target}; give the customers ids that stay different, or targets of their own"
    )]
    SameReport {
        /// The report id.
        report_id: ReportId,
        /// The target.
        target: String,
    },
    /// One export per account, but the accounts aren't known.
    #[error(
        "customer {0} has sharing = \"account\" and accounts = \"all\"; list the accounts, so that each has an export"
    )]
    SharingAll(CustomerId),
}

impl DeliverRequest {
    /// Refuses what can be refused before a byte is read.
    ///
    /// # Errors
    /// Customers that contradict each other, and exports that would be one.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.customers.is_empty() {
            return Err(RequestError::NoCustomer);
        }
        Membership::new(
            self.customers.iter().map(|customer| (&customer.routed.id, &customer.routed.accounts)),
        )?;
        if let Some(wanted) = &self.only
            && !self.customers.iter().any(|customer| customer.routed.id == *wanted)
        {
            let there = self.customers.iter().map(|customer| customer.routed.id.to_string()).collect();
            return Err(RequestError::UnknownCustomer { wanted: wanted.clone(), there });
        }
        let mut seen = BTreeSet::new();
        for customer in &self.customers {
            for (_, report_id) in customer.exports(&self.source)? {
                let target = customer.target.place();
                if !seen.insert((target.clone(), report_id.as_str().to_ascii_lowercase())) {
                    return Err(RequestError::SameReport { report_id, target });
                }
            }
        }
        Ok(())
    }
}

impl Customer {
    /// The customer's exports: the linked account, with `sharing = "account"`, and the report id.
    ///
    /// # Errors
    /// A report id that is too long, or accounts that aren't known.
    pub fn exports(
        &self,
        source: &SourceRequest,
    ) -> Result<Vec<(Option<AccountId>, ReportId)>, RequestError> {
        let mut base = self.routed.id.to_string();
        if source.named {
            base = format!("{base}-{}", source.name);
        }
        if self.sharing == Sharing::Organization {
            return Ok(vec![(None, ReportId::new(&base)?)]);
        }
        let Accounts::Listed(list) = &self.routed.accounts else {
            return Err(RequestError::SharingAll(self.routed.id.clone()));
        };
        let mut exports: Vec<(Option<AccountId>, ReportId)> = Vec::new();
        for account in list {
            // An account that left and came back is listed twice, and has one export.
            if !exports.iter().any(|(linked, _)| linked.as_ref() == Some(&account.id)) {
                exports.push((Some(account.id.clone()), ReportId::new(&format!("{base}-{}", account.id))?));
            }
        }
        Ok(exports)
    }
}
