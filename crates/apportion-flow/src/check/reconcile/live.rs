use super::report::{ExportState, ReconcileZeros, ReconciledExport};
use super::{ConfiguredExport, Findings, ReconcileRequest, describe, file_problem};
use crate::storage::{Bucket, DocumentError, StorageError, find_document, read_document, read_manifest};
use apportion_core::ledger::ToldTotals;
use apportion_core::manifest::OwnManifest;
use apportion_core::mask::{Mask, MaskKey};
use apportion_core::proof::{
    CUSTOMER_PROOF, CustomerProof, MasterExport, MasterPointer, MasterProof, ProofAccounts, ReasonTotals,
};
use apportion_core::route::Reason;
use apportion_model::{AssemblyId, CustomerId, ObjectKey};
use std::collections::BTreeMap;

const MANIFEST_LIMIT: u64 = 64 << 20;

/// Looks at the exports of one delivery.
pub(super) struct Looking<'a, 'f> {
    pub(super) request: &'a ReconcileRequest,
    pub(super) pointer: &'a MasterPointer,
    pub(super) proof: &'a MasterProof,
    pub(super) findings: &'a mut Findings<'f>,
    pub(super) zeros: &'a mut ReconcileZeros,
    /// Older master proofs, read when an export is behind; None for one that can't be read.
    pub(super) older: BTreeMap<String, Option<MasterProof>>,
}

/// What an export's customer proof said, for what several exports must say together.
struct Seen {
    state: ExportState,
    live: Option<AssemblyId>,
    detail: String,
    /// Whether it tells what was withheld.
    tells_withheld: bool,
}

impl Seen {
    fn of(state: ExportState, detail: impl Into<String>) -> Self {
        Self { state, live: None, detail: detail.into(), tells_withheld: false }
    }
}

impl Looking<'_, '_> {
    /// Every export that the master proof or the settings name.
    pub(super) fn exports(&mut self) -> Vec<ReconciledExport> {
        let proof = self.proof;
        let mut found = Vec::new();
        let mut tellers: BTreeMap<&CustomerId, (bool, bool)> = BTreeMap::new();
        for export in &proof.customers {
            self.findings.customer = Some(export.customer.clone());
            let before = self.findings.list.len();
            let mut seen = self.export(export);
            if self.findings.list.len() > before {
                seen.state = ExportState::Wrong;
            }
            let (all_live, tells) = tellers.entry(&export.customer).or_insert((true, false));
            *all_live &= seen.state == ExportState::Live;
            *tells |= seen.tells_withheld;
            found.push(ReconciledExport {
                customer: export.customer.to_string(),
                report_id: export.report_id.to_string(),
                state: seen.state,
                assembly_id: export.assembly_id.to_string(),
                live_assembly_id: seen.live.map(|live| live.to_string()).unwrap_or_default(),
                detail: seen.detail,
            });
        }
        for withheld in proof.withheld.iter().filter(|withheld| !withheld.totals.is_empty()) {
            if tellers.get(&withheld.customer) == Some(&(true, false)) {
                self.findings.customer = Some(withheld.customer.clone());
                let told = "none of the customer's proofs tells what was withheld, and the master proof does";
                self.findings.say("proof", &self.pointer.newest.proof, told);
            }
        }
        self.findings.customer = None;
        found.extend(self.not_delivered());
        found
    }

    /// Exports that the settings have and the newest delivery doesn't.
    fn not_delivered(&self) -> Vec<ReconciledExport> {
        let period = self.proof.billing_period;
        let due = self.request.exports.iter().filter(|configured| {
            // Who owns nothing in this month came later, and misses nothing of it.
            let owns_something = configured.accounts.bearing_on(period).is_none_or(|list| !list.is_empty());
            configured.source == self.proof.source
                && owns_something
                && self.is_chosen(&configured.customer)
                && !self.proof.customers.iter().any(|export| export.report_id == configured.report)
        });
        due.map(|ConfiguredExport { customer, report, .. }| ReconciledExport {
            customer: customer.to_string(),
            report_id: report.to_string(),
            state: ExportState::NotDelivered,
            assembly_id: String::new(),
            live_assembly_id: String::new(),
            detail: "the settings have it, the newest delivery doesn't".to_owned(),
        })
        .collect()
    }

    fn is_chosen(&self, customer: &CustomerId) -> bool {
        self.request.only.as_ref().is_none_or(|only| only == customer)
    }

    fn export(&mut self, export: &MasterExport) -> Seen {
        if !self.is_chosen(&export.customer) {
            return Seen::of(ExportState::NotChosen, "");
        }
        let request = self.request;
        let configured = request.exports.iter().any(|configured| {
            configured.source == self.proof.source
                && configured.customer == export.customer
                && configured.report == export.report_id
        });
        let target = request.targets.find(&export.customer, export.linked_account.as_ref());
        let Some(target) = target.filter(|_| configured) else {
            return Seen::of(
                ExportState::NotInSettings,
                "the newest delivery has it, the settings don't; deliver again, and its line items are routed anew",
            );
        };
        match self.live_export(target.as_ref(), export) {
            Ok(seen) => seen,
            Err(error) => Seen::of(ExportState::Unreadable, error.to_string()),
        }
    }

    /// The live manifest is the assembly that the master proof names, or one that an older one named.
    fn live_export(&mut self, target: &dyn Bucket, export: &MasterExport) -> Result<Seen, StorageError> {
        let key = &export.manifest;
        if let Err(error) = ObjectKey::check_relative(key) {
            self.findings.say("master proof", &self.pointer.newest.proof, error.to_string());
            return Ok(Seen::of(ExportState::Wrong, ""));
        }
        let Some(bytes) = target.read(key, MANIFEST_LIMIT)? else {
            return Ok(Seen::of(ExportState::Nothing, "nothing is live yet; deliver again"));
        };
        let manifest = match read_manifest(target, &bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.findings.say("manifest", key, error.to_string());
                return Ok(Seen::of(ExportState::Wrong, ""));
            }
        };
        let live = Some(manifest.assembly.clone());
        if manifest.report != export.report_id || manifest.period != self.proof.billing_period {
            let told =
                format!("is the manifest of report {} and period {}", manifest.report, manifest.period);
            self.findings.say("manifest", key, told);
            return Ok(Seen { live, ..Seen::of(ExportState::Wrong, "") });
        }
        if manifest.assembly == export.assembly_id {
            let master = self.proof;
            let tells_withheld = self.compare(target, &manifest, &bytes, export, master)?;
            return Ok(Seen { live, tells_withheld, ..Seen::of(ExportState::Live, "") });
        }
        let Some((older, entry)) = self.older_export(export, &manifest.assembly) else {
            let told = format!(
                "the live assembly is {}, where the newest master proof names {}, and no older one names it: a run ended \
                 before it moved the MSP's pointer (deliver again), or somebody else wrote here",
                manifest.assembly, export.assembly_id
            );
            self.findings.say("manifest", key, told);
            return Ok(Seen { live, ..Seen::of(ExportState::Wrong, "") });
        };
        self.compare(target, &manifest, &bytes, &entry, &older)?;
        let detail = format!(
            "the export of delivery {} is live: it failed or wasn't chosen since; deliver again",
            older.delivery_id
        );
        Ok(Seen { live, ..Seen::of(ExportState::Behind, detail) })
    }

    /// The older delivery that an assembly belongs to.
    fn older_export(
        &mut self,
        export: &MasterExport,
        live: &AssemblyId,
    ) -> Option<(MasterProof, MasterExport)> {
        let msp = self.request.msp.as_ref();
        for entry in &self.pointer.older {
            let proof = self.older.entry(entry.proof.clone()).or_insert_with(|| {
                let found = find_document::<MasterProof>(msp, &entry.proof);
                found.ok().flatten().map(|document| document.value)
            });
            let Some(proof) = proof else { continue };
            let same = |older: &&MasterExport| {
                older.report_id == export.report_id
                    && older.customer == export.customer
                    && older.assembly_id == *live
            };
            if let Some(found) = proof.customers.iter().find(same) {
                return Some((proof.clone(), found.clone()));
            }
        }
        None
    }

    /// An export as it lies there against the master proof that it belongs to; whether it tells what was withheld.
    fn compare(
        &mut self,
        target: &dyn Bucket,
        manifest: &OwnManifest,
        bytes: &[u8],
        export: &MasterExport,
        master: &MasterProof,
    ) -> Result<bool, StorageError> {
        if manifest.proof != export.proof || ObjectKey::check_relative(&export.proof).is_err() {
            let told = format!("names proof {}, the master proof {}", manifest.proof, export.proof);
            self.findings.say("manifest", &export.manifest, told);
            return Ok(false);
        }
        let folder = export.proof.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = format!("{folder}/{}-Manifest.json", manifest.report);
        if target.read(&own, MANIFEST_LIMIT)?.as_deref() != Some(bytes) {
            self.findings.say("manifest", &own, "isn't there, or isn't the manifest that is live");
        }
        let proof: CustomerProof = match read_document(target, &export.proof) {
            Ok(document) => document.value,
            Err(DocumentError::Storage(error)) => return Err(error),
            Err(error) => {
                self.findings.say("proof", &export.proof, error.to_string());
                return Ok(false);
            }
        };
        let mut problems = identity_problems(&proof, export, master);
        problems.extend(totals_problems(
            &proof,
            export,
            master,
            &Told::of(&proof, self.request.mask_key.as_ref()),
        ));
        for problem in problems {
            self.findings.say("proof", &export.proof, problem);
        }
        self.compare_files(target, manifest, &proof, export)?;
        Ok(!proof.withheld.is_empty())
    }

    /// The manifest names the proof's files, and they are there with the proof's sizes.
    fn compare_files(
        &mut self,
        target: &dyn Bucket,
        manifest: &OwnManifest,
        proof: &CustomerProof,
        export: &MasterExport,
    ) -> Result<(), StorageError> {
        if !proof.files.iter().map(|file| &file.key).eq(&manifest.keys) {
            self.zeros.files_not_as_manifest += 1;
            self.findings.say("manifest", &export.manifest, "doesn't name the files that the proof names");
        }
        let own_folder = format!("/{}/{}/", manifest.period, manifest.assembly);
        for file in &proof.files {
            let problem = if file.key.contains(&own_folder) {
                file_problem(target, &file.key, file.bytes)?
            } else {
                Some(format!("isn't in the folder of assembly {}", manifest.assembly))
            };
            if let Some(problem) = problem {
                self.zeros.files_not_as_manifest += 1;
                self.findings.say("file", &file.key, problem);
            }
        }
        Ok(())
    }
}

/// The customer proof is of this export and no other.
fn identity_problems(proof: &CustomerProof, export: &MasterExport, master: &MasterProof) -> Vec<String> {
    let same = proof.proof == CUSTOMER_PROOF
        && proof.customer == export.customer
        && proof.report_id == export.report_id
        && proof.assembly_id == export.assembly_id
        && proof.linked_account == export.linked_account
        && proof.format == export.format
        && proof.billing_period == master.billing_period
        && proof.source_version == master.source_version
        && proof.format_version == master.format_version;
    if same {
        return Vec::new();
    }
    vec![format!(
        "is the {} of report {}, period {}, assembly {}, source version {}, which the master proof doesn't say of it",
        proof.proof, proof.report_id, proof.billing_period, proof.assembly_id, proof.source_version
    )]
}

/// The customer proof counts and sums what the master proof does, and its files hold as many rows.
fn totals_problems(
    proof: &CustomerProof,
    export: &MasterExport,
    master: &MasterProof,
    told: &Told,
) -> Vec<String> {
    let mut problems = Vec::new();
    match (ToldTotals::read(&proof.totals), ToldTotals::read(&export.totals)) {
        (Ok(own), Ok(masters)) => {
            let differences = told.own(&own).differences(&told.masters(&masters));
            problems.extend(
                differences.iter().map(|line| format!("against the master proof: {}", describe(line))),
            );
            let by_file = proof.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.rows));
            if proof.rows != own.rows() || by_file != proof.rows || export.rows != proof.rows {
                problems.push(format!(
                    "counts {} rows, its totals {}, its files {by_file}, the master proof {}",
                    proof.rows,
                    own.rows(),
                    export.rows
                ));
            }
        }
        (Err(error), _) => problems.push(error.to_string()),
        // The master proof's own totals are told there.
        (Ok(_), Err(_)) => {}
    }
    if proof.withheld.is_empty() {
        return problems;
    }
    let masters = master.withheld.iter().find(|withheld| withheld.customer == export.customer);
    let masters: &[ReasonTotals] = masters.map_or(&[], |withheld| &withheld.totals);
    if !same_reasons(&proof.withheld, masters, told) {
        problems.push("tells other withheld line items than the master proof".to_owned());
    }
    problems
}

/// How a customer proof tells the texts of its totals' keys.
enum Told {
    /// Through this mask.
    Masked(Box<Mask>),
    /// Through the mask of a key that isn't at hand: only periods can be compared.
    Unknown,
}

impl Told {
    fn of(proof: &CustomerProof, key: Option<&MaskKey>) -> Self {
        let mask = match (&proof.accounts, proof.privacy.as_str()) {
            (ProofAccounts::All(_), _) | (_, "faithful") => Mask::faithful(),
            (ProofAccounts::Listed(list), _) => {
                let key = key.filter(|key| key.fingerprint() == proof.mask_key);
                if key.is_none() && proof.mask_key != "none" {
                    return Self::Unknown;
                }
                let own = list.iter().map(|account| &account.id);
                Mask::new(&proof.customer, own, proof.payer == "keep", key)
            }
        };
        Self::Masked(Box::new(mask))
    }

    /// The customer proof's own totals, as far as they can be compared.
    fn own(&self, totals: &ToldTotals) -> ToldTotals {
        match self {
            Self::Masked(_) => totals.clone(),
            Self::Unknown => totals.by_period(),
        }
    }

    /// The master proof's, as the customer proof would tell them.
    fn masters(&self, totals: &ToldTotals) -> ToldTotals {
        match self {
            Self::Masked(mask) => totals.masked(mask),
            Self::Unknown => totals.by_period(),
        }
    }
}

/// Whether a customer proof tells the master's totals, reason by reason, in value.
fn same_reasons(own: &[ReasonTotals], masters: &[ReasonTotals], told: &Told) -> bool {
    Reason::ALL.into_iter().all(|reason| {
        let of = |list: &[ReasonTotals]| {
            let chosen = list.iter().filter(|entry| entry.reason == reason).map(|entry| &entry.totals);
            ToldTotals::read(chosen)
        };
        match (of(own), of(masters)) {
            (Ok(own), Ok(masters)) => told.own(&own) == told.masters(&masters),
            _ => false,
        }
    })
}
