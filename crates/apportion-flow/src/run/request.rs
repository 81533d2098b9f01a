use crate::storage::Bucket;
use crate::storage::Operator;
use crate::write::{Gzip, Level, Order};
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::mask::MaskKey;
use apportion_core::route::{Accounts, Membership, MembershipError, RoutedCustomer};
use apportion_model::{
    AccountId, BillingPeriod, CustomerId, Format, Layout, NameError, ReportId, SourceName,
};
use std::collections::{BTreeMap, BTreeSet};
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
    pub target: Target,
    /// How their objects lie there.
    pub layout: Layout,
    /// In which formats; each has exports of its own.
    pub formats: Vec<Format>,
    /// How the columns of a csv.gz are called.
    pub header: HeaderStyle,
    /// How many members a csv.gz has.
    pub gzip: Gzip,
    /// How hard a csv.gz is compressed.
    pub level: Level,
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

/// Where the exports of a customer go.
#[derive(Clone)]
pub enum Target {
    /// All to one place.
    One(Arc<dyn Bucket>),
    /// Each linked account's to a place of its own.
    ByAccount(BTreeMap<AccountId, Arc<dyn Bucket>>),
}

/// An export of a customer, before there is a delivery.
#[derive(Clone)]
pub struct PlannedExport {
    /// The one account, with `sharing = "account"`.
    pub linked: Option<AccountId>,
    /// The format.
    pub format: Format,
    /// The report id.
    pub report: ReportId,
    /// Where it goes.
    pub target: Arc<dyn Bucket>,
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
    /// The sources, in the order of the settings.
    pub sources: Vec<SourceRequest>,
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
    /// Who runs it, for lease and log in the MSP's place; without one there is neither.
    pub operator: Option<Operator>,
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
    /// No source.
    #[error("no source is configured; give --source, or add a [[source]] to the settings")]
    NoSource,
    /// Two sources of one name would write over each other's proofs.
    #[error("two sources are called {0}; give each [[source]] a `name` of its own (one may go without)")]
    SameSource(SourceName),
    /// Two sources hold the same bill.
    #[error(
        "sources {first} and {second} both hold {period} of payer {payer}; delivered both, its line items would count twice. Take one of them out, or choose months with --period"
    )]
    SameBill {
        /// A source.
        first: SourceName,
        /// The other.
        second: SourceName,
        /// The month that both hold.
        period: BillingPeriod,
        /// The payer.
        payer: AccountId,
    },
    /// An account without a target.
    #[error("customer {customer}: account {account} has no target")]
    NoTarget {
        /// Whose.
        customer: CustomerId,
        /// Which account.
        account: AccountId,
    },
    /// No format at all.
    #[error("customer {0} has no format; write formats = [\"csv.gz\"]")]
    NoFormat(CustomerId),
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
        let mut names = BTreeSet::new();
        let mut seen = BTreeSet::new();
        if self.sources.is_empty() {
            return Err(RequestError::NoSource);
        }
        for source in &self.sources {
            if !names.insert(source.name.as_str().to_ascii_lowercase()) {
                return Err(RequestError::SameSource(source.name.clone()));
            }
            for customer in &self.customers {
                for export in customer.exports(source)? {
                    let target = export.target.place();
                    if !seen.insert((target.clone(), export.report.as_str().to_ascii_lowercase())) {
                        return Err(RequestError::SameReport { report_id: export.report, target });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Customer {
    /// The customer's exports of a source: one per format, and with `sharing = "account"` per linked account.
    ///
    /// # Errors
    /// A report id that is too long, accounts that aren't known, an account without a target.
    pub fn exports(&self, source: &SourceRequest) -> Result<Vec<PlannedExport>, RequestError> {
        let mut base = self.routed.id.to_string();
        if source.named {
            base = format!("{base}-{}", source.name);
        }
        if self.formats.is_empty() {
            return Err(RequestError::NoFormat(self.routed.id.clone()));
        }
        let mut exports = Vec::new();
        for linked in self.linked_accounts()? {
            let name = linked.as_ref().map_or_else(|| base.clone(), |account| format!("{base}-{account}"));
            for format in &self.formats {
                exports.push(PlannedExport {
                    report: ReportId::new(&format!("{name}{}", format.report_suffix()))?,
                    target: self.target_of(linked.as_ref())?,
                    linked: linked.clone(),
                    format: *format,
                });
            }
        }
        Ok(exports)
    }

    /// The accounts that have exports of their own; None for all accounts together.
    fn linked_accounts(&self) -> Result<Vec<Option<AccountId>>, RequestError> {
        if self.sharing == Sharing::Organization {
            return Ok(vec![None]);
        }
        let Accounts::Listed(list) = &self.routed.accounts else {
            return Err(RequestError::SharingAll(self.routed.id.clone()));
        };
        let mut linked: Vec<Option<AccountId>> = Vec::new();
        for account in list {
            // An account that left and came back is listed twice, and has one export.
            if !linked.contains(&Some(account.id.clone())) {
                linked.push(Some(account.id.clone()));
            }
        }
        Ok(linked)
    }

    fn target_of(&self, linked: Option<&AccountId>) -> Result<Arc<dyn Bucket>, RequestError> {
        match (&self.target, linked) {
            (Target::One(target), _) => Ok(Arc::clone(target)),
            (Target::ByAccount(targets), Some(account)) => targets.get(account).cloned().ok_or_else(|| {
                RequestError::NoTarget { customer: self.routed.id.clone(), account: account.clone() }
            }),
            (Target::ByAccount(_), None) => Err(RequestError::SharingAll(self.routed.id.clone())),
        }
    }
}
