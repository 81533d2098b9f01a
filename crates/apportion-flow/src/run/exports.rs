use super::request::{Customer, DeliverRequest};
use super::{RequestError, RunError};
use crate::catalog::{self, Live, Standing, assembly_id};
use crate::source::{Observations, Pin};
use crate::split::Lanes;
use apportion_core::mask::{Mask, MaskKey};
use apportion_core::proof::{AllAccounts, Generation, ProofAccounts};
use apportion_core::route::{Accounts, OwnedAccount};
use apportion_model::{AccountId, AssemblyId, BillingPeriod, ObjectKey, ReportId};
use serde::Serialize;
use std::collections::HashMap;

/// One export of one delivery: who, under which names, and where it stands.
pub(super) struct Export<'a> {
    pub(super) customer_place: usize,
    pub(super) customer: &'a Customer,
    pub(super) linked: Option<AccountId>,
    pub(super) report: ReportId,
    pub(super) folder: AccountId,
    pub(super) accounts: ProofAccounts,
    pub(super) assembly: AssemblyId,
    pub(super) manifest_key: String,
    pub(super) generation_key: String,
    pub(super) live: Live,
    pub(super) standing: Standing,
    /// Whether this run is to deliver it.
    pub(super) wanted: bool,
    /// Why it can't be delivered, once it is known that it can't.
    pub(super) failure: Option<RunError>,
}

/// Everything that decides a byte of an export, in the form the assembly id is taken of.
#[derive(Serialize)]
struct Identity<'a> {
    source_version: &'a str,
    customer: &'a str,
    accounts: &'a ProofAccounts,
    linked_account: Option<&'a AccountId>,
    report_id: &'a ReportId,
    folder: &'a AccountId,
    contract: &'a str,
    layout: &'a str,
    format: &'a str,
    header: &'a str,
    order: &'a str,
    gzip: &'a str,
    level: i32,
    withhold: &'a [String],
    privacy: &'a str,
    payer: &'a str,
    mask_key: &'a str,
}

/// How the settings that a proof tells are written.
pub(super) fn privacy(customer: &Customer) -> &'static str {
    if customer.faithful { "faithful" } else { "mask" }
}

pub(super) fn payer(customer: &Customer) -> &'static str {
    if customer.payer_kept { "keep" } else { "mask" }
}

pub(super) fn key_text(customer: &Customer, key: Option<&MaskKey>) -> String {
    match key {
        Some(key) if !customer.faithful => key.fingerprint(),
        _ => "none".to_owned(),
    }
}

/// The accounts of a customer that bear on a month.
fn accounts_of(customer: &Customer, period: BillingPeriod) -> ProofAccounts {
    match customer.routed.accounts.bearing_on(period) {
        None => ProofAccounts::All(AllAccounts::All),
        Some(list) => ProofAccounts::Listed(list.into_iter().cloned().collect()),
    }
}

/// All exports of a delivery. The payer is that of its first line item.
pub(super) fn exports_of<'a>(
    request: &'a DeliverRequest,
    period: BillingPeriod,
    pin: &Pin,
    payer_account: Option<&AccountId>,
    observations: &mut Observations,
) -> Result<Vec<Export<'a>>, RunError> {
    let mut exports = Vec::new();
    for (place, customer) in request.customers.iter().enumerate() {
        let wanted = request.only.as_ref().is_none_or(|only| *only == customer.routed.id);
        let accounts = accounts_of(customer, period);
        if let ProofAccounts::Listed(list) = &accounts
            && list.is_empty()
        {
            observations.note(format!(
                "customer {} owns no account in {}",
                customer.routed.id,
                period.month_text()
            ));
        }
        for (linked, report) in customer.exports(&request.source)? {
            let folder = folder_of(customer, linked.as_ref(), payer_account)?;
            let assembly = identify(request, customer, pin, &accounts, linked.as_ref(), &report, &folder);
            let manifest_key = ObjectKey::EcoManifest { period, report: &report }.to_string();
            let generation_key = ObjectKey::EcoGeneration { period, report: &report }.to_string();
            let mut export = Export {
                customer_place: place,
                customer,
                linked,
                folder,
                accounts: accounts.clone(),
                assembly,
                manifest_key,
                generation_key,
                report,
                live: Live::default(),
                standing: Standing::New,
                wanted,
                failure: None,
            };
            if wanted {
                export.look(pin, period);
            }
            exports.push(export);
        }
    }
    Ok(exports)
}

impl Export<'_> {
    /// Whether rows are to be written for it.
    pub(super) fn is_written(&self) -> bool {
        self.wanted && self.failure.is_none() && self.standing == Standing::New
    }

    /// What is live in the target. A target that can't be read fails this customer alone.
    fn look(&mut self, pin: &Pin, period: BillingPeriod) {
        match catalog::live(self.customer.target.as_ref(), &self.manifest_key, &self.generation_key) {
            Err(error) => self.failure = Some(error.into()),
            Ok(live) => {
                let source = Generation { generation: pin.generation, source_version: pin.version.clone() };
                self.standing = live.standing(&self.assembly, &source);
                self.live = live;
                if let Standing::Newer(_) = self.standing {
                    self.failure = Some(RunError::Older {
                        target: self.customer.target.place(),
                        report_id: self.report.to_string(),
                        period,
                    });
                }
            }
        }
    }

    /// What its customer may not read.
    pub(super) fn mask(&self, key: Option<&MaskKey>) -> Mask {
        match &self.accounts {
            ProofAccounts::Listed(list) if !self.customer.faithful => Mask::new(
                &self.customer.routed.id,
                list.iter().map(|account| &account.id),
                self.customer.payer_kept,
                key,
            ),
            _ => Mask::faithful(),
        }
    }

    /// The accounts whose line items may stand in it; None for all.
    pub(super) fn own_accounts(&self) -> Option<std::collections::HashSet<Vec<u8>>> {
        match (&self.linked, &self.accounts) {
            (Some(linked), _) => Some([linked.as_str().as_bytes().to_vec()].into()),
            (None, ProofAccounts::All(_)) => None,
            (None, ProofAccounts::Listed(list)) => {
                Some(list.iter().map(|account| account.id.as_str().as_bytes().to_vec()).collect())
            }
        }
    }
}

/// The `[account]` of the layout.
fn folder_of(
    customer: &Customer,
    linked: Option<&AccountId>,
    payer: Option<&AccountId>,
) -> Result<AccountId, RequestError> {
    if let Some(linked) = linked {
        return Ok(linked.clone());
    }
    if let Some(folder) = &customer.folder {
        return Ok(folder.clone());
    }
    match &customer.routed.accounts {
        Accounts::Listed(list) => {
            list.first().map(|OwnedAccount { id, .. }| id.clone()).ok_or(RequestError::NoCustomer)
        }
        // A delivery without a line item has no payer to name the folder after.
        Accounts::All => Ok(payer.cloned().unwrap_or_else(|| AccountId::from_data("000000000000"))),
    }
}

fn identify(
    request: &DeliverRequest,
    customer: &Customer,
    pin: &Pin,
    accounts: &ProofAccounts,
    linked: Option<&AccountId>,
    report: &ReportId,
    folder: &AccountId,
) -> AssemblyId {
    assembly_id(&Identity {
        source_version: &pin.version,
        customer: customer.routed.id.as_str(),
        accounts,
        linked_account: linked,
        report_id: report,
        folder,
        contract: customer.contract.as_str(),
        layout: "eco",
        format: "csv.gz",
        header: "snake",
        order: customer.order.as_str(),
        gzip: "multi-member",
        level: crate::write::LEVEL,
        withhold: &customer.routed.withhold,
        privacy: privacy(customer),
        payer: payer(customer),
        mask_key: &key_text(customer, request.mask_key.as_ref()),
    })
}

/// For each customer, the lanes of its exports.
pub(super) fn lanes_of(customers: usize, exports: &[Export<'_>]) -> Vec<Lanes> {
    let mut lanes: Vec<Lanes> = (0..customers).map(|_| Lanes::ByAccount(HashMap::new())).collect();
    for (place, export) in (0u32..).zip(exports) {
        let Some(customer) = lanes.get_mut(export.customer_place) else { continue };
        match (&export.linked, customer) {
            (Some(linked), Lanes::ByAccount(by_account)) => {
                by_account.insert(linked.clone(), place);
            }
            (_, customer) => *customer = Lanes::One(place),
        }
    }
    lanes
}
