use super::super::RunError;
use super::{PeriodError, PeriodsRequest};
use crate::check::CheckError;
use crate::csv_gz::CsvGz;
use crate::storage::Bucket;
use apportion_core::ledger::TotalsJson;
use apportion_core::money::{ExactSum, Number, RepresentationDifference};
use apportion_core::proof::{CustomerProof, MasterExport, MasterProof, ProofFile};
use apportion_model::{AccountId, CustomerId, Format};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const COST: &str = "line_item_unblended_cost";

/// A file of a delivery, and where it lies.
pub(super) struct ShareFile {
    pub(super) place: Arc<dyn Bucket>,
    pub(super) key: String,
    pub(super) format: Format,
    pub(super) sha256: String,
    /// Its columns; None where its header row tells them.
    pub(super) names: Option<Arc<[String]>>,
}

/// All line items of a customer in a delivery, whatever exports they are in; or those in nobody's share.
#[derive(Default)]
pub(super) struct Share {
    pub(super) files: Vec<ShareFile>,
    /// The columns of its files, each one's.
    pub(super) columns: BTreeSet<String>,
    /// Settings that change cells, each by its name.
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) rows: u64,
    /// The unblended cost by currency, from the totals of the proofs.
    pub(super) cost: BTreeMap<String, ExactSum>,
    /// What the files' unblended cost is more than that, because Parquet can't hold it as it came.
    pub(super) difference: RepresentationDifference,
}

impl Share {
    /// What its files hold, without a name of ours.
    pub(super) fn content(&self) -> Vec<&str> {
        let mut hashes: Vec<&str> = self.files.iter().map(|file| file.sha256.as_str()).collect();
        hashes.sort_unstable();
        hashes
    }

    fn add_totals<'a>(&mut self, totals: impl Iterator<Item = &'a TotalsJson>) {
        for totals in totals {
            self.rows += totals.rows;
            let cost = self.cost.entry(totals.key.currency.clone()).or_default();
            let told = totals.sums.get(COST);
            if let Some(sum) = told.and_then(|text| Number::parse(text.as_bytes()).ok().flatten()) {
                cost.add(&sum);
            }
        }
    }

    fn add_files(
        &mut self,
        place: &Arc<dyn Bucket>,
        format: Format,
        files: &[ProofFile],
        names: Option<&Arc<[String]>>,
    ) {
        self.files.extend(files.iter().map(|file| ShareFile {
            place: Arc::clone(place),
            key: file.key.clone(),
            format,
            sha256: file.sha256.clone(),
            names: names.cloned(),
        }));
    }

    fn add_export(&mut self, place: &Arc<dyn Bucket>, proof: &CustomerProof) {
        self.add_totals(proof.totals.iter());
        let names: Arc<[String]> = proof.columns.iter().map(|column| column.name.clone()).collect();
        self.add_files(place, proof.format, &proof.files, Some(&names));
        self.columns.extend(names.iter().cloned());
        let told = proof.representation.iter().find(|told| told.column == COST);
        let told = told.and_then(|told| told.difference.as_deref());
        if let Some(difference) = told.and_then(RepresentationDifference::parse) {
            self.difference.merge(&difference);
        }
        self.settings = vec![
            ("contract", proof.contract.as_str().to_owned()),
            ("privacy", proof.privacy.clone()),
            ("payer", proof.payer.clone()),
            ("mask key", proof.mask_key.clone()),
        ];
    }
}

/// Every customer's share of a delivery by the customer's id, and under a blank name what is in nobody's. Of a share
/// that is there in several formats, csv.gz is read.
pub(super) fn shares_of(
    request: &PeriodsRequest,
    proof: &MasterProof,
) -> Result<BTreeMap<String, Share>, RunError> {
    let mut chosen: BTreeMap<(&CustomerId, Option<&AccountId>), &MasterExport> = BTreeMap::new();
    for export in &proof.customers {
        let share = chosen.entry((&export.customer, export.linked_account.as_ref())).or_insert(export);
        if export.format == Format::CsvGz {
            *share = export;
        }
    }
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for ((customer, _), export) in chosen {
        let target = request.target_of(&proof.source, export).ok_or_else(|| PeriodError::NoTarget {
            report_id: export.report_id.clone(),
            customer: customer.clone(),
        })?;
        let told = target.read(&export.proof, 256 << 20)?;
        let told: Option<CustomerProof> = told.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let told =
            told.ok_or_else(|| PeriodError::Gone { object: format!("{}/{}", target.place(), export.proof) })?;
        shares.entry(customer.to_string()).or_default().add_export(&target, &told);
    }
    let nobody = shares.entry(String::new()).or_default();
    let withheld = proof.withheld.iter().flat_map(|withheld| &withheld.totals);
    nobody.add_totals(withheld.chain(&proof.unassigned.totals).map(|totals| &totals.totals));
    nobody.add_files(&request.msp, Format::CsvGz, &proof.unassigned.files, None);
    // All of them have the same header.
    if let Some(file) = nobody.files.first() {
        nobody.columns.extend(header_of(file)?);
    }
    Ok(shares)
}

fn header_of(file: &ShareFile) -> Result<Vec<String>, RunError> {
    let object = format!("{}/{}", file.place.place(), file.key);
    let Some(open) = file.place.open(&file.key)? else { return Err(PeriodError::Gone { object }.into()) };
    let wrong = |source| PeriodError::File(CheckError::Decode { file: object, source });
    Ok(CsvGz::open(open).map_err(wrong)?.headers)
}
