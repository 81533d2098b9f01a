use super::RunError;
use super::payers::told_payers;
use super::request::{Customer, DeliverRequest, PlannedExport, SourceRequest};
use crate::catalog::{self, CatalogError, Live, Standing, assembly_id};
use crate::source::{self, FoundDelivery, Observations, Pin};
use crate::split::Lanes;
use crate::storage::Bucket;
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use apportion_core::columns::Contract;
use apportion_core::ledger::Destination;
use apportion_core::mask::{Mask, MaskKey};
use apportion_core::proof::{AllAccounts, Generation, ProofAccounts};
use apportion_core::route::{Accounts, OwnedAccount};
use apportion_model::{
    AccountId, AssemblyId, BillingPeriod, ExportPlace, Format, Layout, ObjectKey, ReportId,
};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// One export of one delivery: who, under which names, and where it stands.
pub(super) struct Export<'a> {
    pub(super) customer_place: usize,
    pub(super) customer: &'a Customer,
    /// The place of the export whose share this one holds: its own, or that of the same share's first format.
    pub(super) share: usize,
    pub(super) linked: Option<AccountId>,
    pub(super) format: Format,
    pub(super) report: ReportId,
    pub(super) target: Arc<dyn Bucket>,
    pub(super) period: BillingPeriod,
    pub(super) folder: AccountId,
    pub(super) accounts: ProofAccounts,
    pub(super) assembly: AssemblyId,
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
    contract: Contract,
    layout: Layout,
    format: Format,
    header: &'a str,
    order: &'a str,
    gzip: &'a str,
    level: &'a str,
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

pub(super) fn gzip(customer: &Customer, format: Format) -> &'static str {
    match format {
        Format::CsvGz => customer.gzip.as_str(),
        Format::Parquet => "none",
    }
}

pub(super) fn level(customer: &Customer, format: Format) -> &'static str {
    match format {
        Format::CsvGz => customer.level.as_str(),
        Format::Parquet => "none",
    }
}

/// The accounts of a customer that bear on a month.
fn accounts_of(customer: &Customer, period: BillingPeriod) -> ProofAccounts {
    match customer.routed.accounts.bearing_on(period) {
        None => ProofAccounts::All(AllAccounts::All),
        Some(list) => ProofAccounts::Listed(list.into_iter().cloned().collect()),
    }
}

/// What all exports of a delivery are made for.
pub(super) struct Delivered<'a> {
    pub(super) request: &'a DeliverRequest,
    pub(super) source: &'a SourceRequest,
    pub(super) delivery: &'a FoundDelivery,
    pub(super) pin: &'a Pin,
    pub(super) meter: &'a Meter,
}

/// All exports of a delivery.
pub(super) fn exports_of<'a>(
    delivered: &Delivered<'a>,
    observations: &mut Observations,
) -> Result<Vec<Export<'a>>, RunError> {
    let Delivered { request, source, delivery, pin, meter } = *delivered;
    let period = delivery.period;
    let mut exports: Vec<Export<'a>> = Vec::new();
    let mut payer = None;
    for (customer_place, customer) in request.customers.iter().enumerate() {
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
        for planned in customer.exports(source)? {
            let folder = match folder_of(customer, planned.linked.as_ref()) {
                Some(folder) => folder,
                None => match told_folder(delivered, customer, &planned)? {
                    Some(payer) => payer,
                    None => payer_of(delivered, &mut payer)?,
                },
            };
            let same_share =
                |other: &Export<'_>| other.customer_place == customer_place && other.linked == planned.linked;
            let mut export = Export {
                customer_place,
                customer,
                share: exports.iter().position(same_share).unwrap_or(exports.len()),
                linked: planned.linked,
                format: planned.format,
                report: planned.report,
                target: planned.target,
                period,
                folder,
                accounts: accounts.clone(),
                assembly: AssemblyId::from_source(""),
                live: Live::default(),
                standing: Standing::New,
                wanted,
                failure: None,
            };
            export.assembly = identify(&export, &pin.version, request.mask_key.as_ref());
            exports.push(export);
        }
    }
    look_at_all(&mut exports, pin, meter)?;
    Ok(exports)
}

/// Looks at what is live of each export that is wanted; a target that can't be read fails its customer alone.
fn look_at_all(exports: &mut [Export<'_>], pin: &Pin, meter: &Meter) -> Result<(), RunError> {
    let looks = Workers::waiting(Stage::Pin, meter).run(exports.len(), |place| {
        let export = exports.get(place).filter(|export| export.wanted)?;
        Some(catalog::live(export.target.as_ref(), &export.manifest_key(), &export.generation_key()))
    });
    for (export, look) in exports.iter_mut().zip(looks.ok_or(RunError::Thread)?) {
        if let Some(live) = look {
            export.take_look(live, pin);
        }
    }
    Ok(())
}

/// The payer that the live export's folder is called after, if that export was made of this very source and the
/// master proof says that it has no other payer: then no line item has to be read to know it.
fn told_folder(
    delivered: &Delivered<'_>,
    customer: &Customer,
    planned: &PlannedExport,
) -> Result<Option<AccountId>, RunError> {
    let Delivered { request, source, delivery, pin, .. } = *delivered;
    let version = &pin.version;
    let told = told_payers(request, source, delivery, |proof| proof.source_version == *version)?;
    let [payer] = told.as_slice() else { return Ok(None) };
    let (layout, period, report) = (customer.layout, delivery.period, &planned.report);
    let manifest = ObjectKey::Manifest { layout, period, report }.to_string();
    let generation = ObjectKey::Generation { layout, period, report }.to_string();
    // A target that can't be read is told when the export is looked at.
    let Ok(live) = catalog::live(planned.target.as_ref(), &manifest, &generation) else { return Ok(None) };
    let is_same = live.generation.is_some_and(|live| live.source_version == *version)
        && live.manifest.is_some_and(|live| live.account == *payer);
    Ok(is_same.then(|| payer.clone()))
}

/// The payer of a delivery, looked up once and only where a folder is called after it.
fn payer_of(delivered: &Delivered<'_>, known: &mut Option<AccountId>) -> Result<AccountId, RunError> {
    if let Some(payer) = known {
        return Ok(payer.clone());
    }
    let Delivered { source, delivery, .. } = delivered;
    let found = source::payer_of(source.bucket.as_ref(), delivery)?;
    // A delivery without a line item has no payer to name the folder after.
    Ok(known.insert(found.unwrap_or_else(|| AccountId::from_data("000000000000"))).clone())
}

impl Export<'_> {
    /// What stands in the keys of its objects.
    pub(super) fn place(&self) -> ExportPlace<'_> {
        ExportPlace {
            layout: self.customer.layout,
            account: &self.folder,
            period: self.period,
            assembly: &self.assembly,
            report: &self.report,
        }
    }

    pub(super) fn manifest_key(&self) -> String {
        ObjectKey::Manifest { layout: self.customer.layout, period: self.period, report: &self.report }
            .to_string()
    }

    pub(super) fn generation_key(&self) -> String {
        ObjectKey::Generation { layout: self.customer.layout, period: self.period, report: &self.report }
            .to_string()
    }

    /// The side of the ledger that it is booked on, being at this place of the list.
    pub(super) fn destination(&self, place: usize) -> Destination {
        if self.share == place {
            Destination::Export(place as u32)
        } else {
            Destination::Copy { place: place as u32, of: self.share as u32 }
        }
    }

    /// Whether rows are to be written for it.
    pub(super) fn is_written(&self) -> bool {
        self.wanted && self.failure.is_none() && self.standing == Standing::New
    }

    /// Whether it was to be written, and failed.
    pub(super) fn was_tried(&self) -> bool {
        self.wanted && self.failure.is_some() && self.standing == Standing::New
    }

    /// Whether it is refused because a newer source is live.
    pub(super) fn is_older(&self) -> bool {
        matches!(self.failure, Some(RunError::Older { .. }))
    }

    fn take_look(&mut self, live: Result<Live, CatalogError>, pin: &Pin) {
        match live {
            Err(error) => self.failure = Some(error.into()),
            Ok(live) => {
                let source = Generation { generation: pin.generation, source_version: pin.version.clone() };
                self.standing = live.standing(&self.assembly, &source);
                self.live = live;
                if let Standing::Newer(_) = self.standing {
                    self.failure = Some(self.older());
                }
            }
        }
    }

    pub(super) fn older(&self) -> RunError {
        RunError::Older {
            target: self.target.place(),
            report_id: self.report.to_string(),
            period: self.period,
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

/// The `[account]` of the layout; None: the payer.
fn folder_of(customer: &Customer, linked: Option<&AccountId>) -> Option<AccountId> {
    if let Some(folder) = linked.or(customer.folder.as_ref()) {
        return Some(folder.clone());
    }
    match &customer.routed.accounts {
        Accounts::Listed(list) => list.first().map(|OwnedAccount { id, .. }| id.clone()),
        Accounts::All => None,
    }
}

/// The assembly id of an export, were it made of that version of the source.
pub(super) fn identify(export: &Export<'_>, source_version: &str, mask_key: Option<&MaskKey>) -> AssemblyId {
    let customer = export.customer;
    assembly_id(&Identity {
        source_version,
        customer: customer.routed.id.as_str(),
        accounts: &export.accounts,
        linked_account: export.linked.as_ref(),
        report_id: &export.report,
        folder: &export.folder,
        contract: customer.contract,
        layout: customer.layout,
        format: export.format,
        header: customer.header.as_str(),
        order: customer.order.as_str(),
        gzip: gzip(customer, export.format),
        level: level(customer, export.format),
        withhold: &customer.routed.withhold,
        privacy: privacy(customer),
        payer: payer(customer),
        mask_key: &key_text(customer, mask_key),
    })
}

/// For each customer, the shares of its exports.
pub(super) fn lanes_of(customers: usize, exports: &[Export<'_>]) -> Vec<Lanes> {
    let mut lanes: Vec<Lanes> = (0..customers).map(|_| Lanes::ByAccount(HashMap::new())).collect();
    for (place, export) in (0u32..).zip(exports).filter(|(place, export)| export.share == *place as usize) {
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
