use super::file::{CheckError, Expected, check_stream};
use super::parquet::check_parquet_file;
use crate::digest::hex;
use crate::outcome::Kind;
use crate::storage::{Bucket, StorageError, read_manifest};
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use apportion_core::columns::{Contract, ExportColumn, HeaderStyle};
use apportion_core::manifest::OwnManifest;
use apportion_core::proof::{CustomerProof, ProofAccounts, ProofFile};
use apportion_model::{BillingPeriod, ExportPlace, Format, Layout, ObjectKey, ReportId};
use serde::Serialize;
use std::collections::HashSet;

const MANIFEST_LIMIT: u64 = 64 << 20;
const PROOF_LIMIT: u64 = 256 << 20;

/// What a consumer finds at one manifest.
#[derive(Debug, Clone, Serialize)]
pub struct ExportVerdict {
    /// The manifest's key.
    pub manifest: String,
    /// The export.
    pub report_id: String,
    /// The month.
    pub billing_period: String,
    /// Our assembly id; blank if the manifest can't be read.
    pub assembly_id: String,
    /// Files that the manifest names.
    pub files: usize,
    /// Rows in them: compare this number with what was imported.
    pub rows: u64,
    /// What isn't as it must be; empty for a good export.
    pub problems: Vec<String>,
}

/// What a consumer finds in a target.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The target.
    pub target: String,
    /// Each export.
    pub exports: Vec<ExportVerdict>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.exports.iter().all(|export| export.problems.is_empty())
    }
}

/// Why a target can't be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The target failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// There is no manifest.
    #[error(
        "{0} holds no manifest (manifests/<period>/<report id>-Manifest.json, or <report id>/<period>/<report id>-Manifest.json) that matches: nothing was delivered here yet, or the target is another one"
    )]
    Nothing(String),
    /// Somebody asked to stop.
    #[error("interrupted; nothing was changed")]
    Interrupted,
}

impl VerifyError {
    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Storage(error) => error.kind(),
            Self::Nothing(_) => Kind::NotFound,
            Self::Interrupted => Kind::Interrupted,
        }
    }
}

/// Reads a target as its consumer would: each manifest, and the files it names, to their last byte.
///
/// # Errors
/// A target that can't be read or holds no manifest. What is wrong with an export is in its verdict.
pub fn verify(
    target: &dyn Bucket,
    periods: Option<&[BillingPeriod]>,
    interrupted: &dyn Fn() -> bool,
) -> Result<Verdict, VerifyError> {
    let mut exports = Vec::new();
    for object in target.list()? {
        let Some((layout, period, report)) = manifest_place(&object.key) else { continue };
        if periods.is_some_and(|wanted| !wanted.contains(&period)) {
            continue;
        }
        if interrupted() {
            return Err(VerifyError::Interrupted);
        }
        exports.push(verify_export(target, &object.key, layout, period, &report)?);
    }
    if exports.is_empty() {
        return Err(VerifyError::Nothing(target.place()));
    }
    Ok(Verdict { target: target.place(), exports })
}

/// Which export a manifest is the pointer of, by its key.
fn manifest_place(key: &str) -> Option<(Layout, BillingPeriod, ReportId)> {
    let (folder, name) = key.rsplit_once('/')?;
    let report = ReportId::new(name.strip_suffix("-Manifest.json")?).ok()?;
    let period = BillingPeriod::parse(folder.rsplit('/').next()?).ok()?;
    let is_pointer =
        |layout: &Layout| ObjectKey::Manifest { layout: *layout, period, report: &report }.to_string() == key;
    let layout = Layout::ALL.into_iter().find(is_pointer)?;
    Some((layout, period, report))
}

fn verify_export(
    target: &dyn Bucket,
    key: &str,
    layout: Layout,
    period: BillingPeriod,
    report: &ReportId,
) -> Result<ExportVerdict, VerifyError> {
    let mut verdict = ExportVerdict {
        manifest: key.to_owned(),
        report_id: report.to_string(),
        billing_period: period.to_string(),
        assembly_id: String::new(),
        files: 0,
        rows: 0,
        problems: Vec::new(),
    };
    let bytes = target.read(key, MANIFEST_LIMIT)?.unwrap_or_default();
    let manifest = match read_manifest(target, &bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            verdict.problems.push(format!("{key}: {error}"));
            return Ok(verdict);
        }
    };
    verdict.assembly_id = manifest.assembly.to_string();
    verdict.files = manifest.keys.len();
    check_places(key, &manifest, period, report, &mut verdict.problems);
    check_assembly_manifest(target, layout, &manifest, &bytes, &mut verdict.problems)?;
    let proof = read_proof(target, &manifest, &mut verdict.problems)?;
    if let Some(proof) = &proof {
        compare_proof(&manifest, proof, &mut verdict.problems);
    }
    verify_files(target, &manifest, proof.as_ref(), &mut verdict)?;
    Ok(verdict)
}

/// The manifest says what its place says, and names only keys of its own assembly.
fn check_places(
    key: &str,
    manifest: &OwnManifest,
    period: BillingPeriod,
    report: &ReportId,
    problems: &mut Vec<String>,
) {
    if manifest.period != period || manifest.report != *report {
        problems.push(format!(
            "{key} is the manifest of report {} and period {}",
            manifest.report, manifest.period
        ));
    }
    let own_folder = format!("/{}/{}/", manifest.period, manifest.assembly);
    for named in manifest.keys.iter().chain([&manifest.proof]) {
        if let Err(error) = ObjectKey::check_relative(named) {
            problems.push(format!("{key}: {error}"));
        } else if !named.contains(&own_folder) {
            problems.push(format!("{key}: {named} isn't in the folder of assembly {}", manifest.assembly));
        }
    }
}

/// The assembly's own manifest says the same, to the last byte.
fn check_assembly_manifest(
    target: &dyn Bucket,
    layout: Layout,
    manifest: &OwnManifest,
    bytes: &[u8],
    problems: &mut Vec<String>,
) -> Result<(), VerifyError> {
    let OwnManifest { account, period, assembly, report, .. } = manifest;
    let place = ExportPlace { layout, account, period: *period, assembly, report };
    let key = ObjectKey::AssemblyManifest(place).to_string();
    if ObjectKey::check_relative(&key).is_err() {
        return Ok(());
    }
    match target.read(&key, MANIFEST_LIMIT)? {
        None => problems.push(format!("{key} isn't there")),
        Some(own) if own != bytes => problems.push(format!("{key} isn't the manifest that is live")),
        Some(_) => {}
    }
    Ok(())
}

/// The columns of an export are those that its contract allows, in the order it sets.
fn check_columns(contract: Contract, columns: &[ExportColumn], problems: &mut Vec<String>) {
    let fixed = contract.fixed();
    let (first, rest) = columns.split_at(fixed.len().min(columns.len()));
    let fixed = fixed.iter().map(|id| ExportColumn::known(*id));
    if !first.iter().cloned().eq(fixed) {
        problems.push(format!("the columns aren't those of contract {}", contract.as_str()));
    }
    for column in rest.iter().filter(|column| !contract.takes(&column.name)) {
        problems.push(format!("column {} is none of contract {}", column.name, contract.as_str()));
    }
    if !rest.is_sorted_by(|left, right| left.name < right.name) {
        problems.push("the columns behind the contract's own aren't in byte order".to_owned());
    }
}

fn read_proof(
    target: &dyn Bucket,
    manifest: &OwnManifest,
    problems: &mut Vec<String>,
) -> Result<Option<CustomerProof>, VerifyError> {
    if ObjectKey::check_relative(&manifest.proof).is_err() {
        return Ok(None);
    }
    let Some(bytes) = target.read(&manifest.proof, PROOF_LIMIT)? else {
        problems.push(format!("{} isn't there", manifest.proof));
        return Ok(None);
    };
    match serde_json::from_slice(&bytes) {
        Ok(proof) => Ok(Some(proof)),
        Err(error) => {
            problems.push(format!("{} is not a customer proof: {error}", manifest.proof));
            Ok(None)
        }
    }
}

fn compare_proof(manifest: &OwnManifest, proof: &CustomerProof, problems: &mut Vec<String>) {
    let named: Vec<&str> = proof.files.iter().map(|file| file.key.as_str()).collect();
    let keys: Vec<&str> = manifest.keys.iter().map(String::as_str).collect();
    if named != keys {
        problems.push(format!(
            "the manifest names {} files, the proof {}, and not the same",
            keys.len(),
            named.len()
        ));
    }
    if proof.columns != manifest.columns || proof.format != manifest.format {
        problems.push("the proof tells other columns or another format than the manifest".to_owned());
    }
    check_columns(proof.contract, &manifest.columns, problems);
    if proof.assembly_id != manifest.assembly
        || proof.report_id != manifest.report
        || proof.billing_period != manifest.period
    {
        problems.push("the proof is of another report, period or assembly".to_owned());
    }
    let by_file: u64 = proof.files.iter().map(|file| file.rows).sum();
    let by_total: u64 = proof.totals.iter().map(|totals| totals.rows).sum();
    if by_file != proof.rows || by_total != proof.rows {
        problems.push(format!(
            "the proof counts {} rows, its files {by_file}, its totals {by_total}",
            proof.rows
        ));
    }
}

fn verify_files(
    target: &dyn Bucket,
    manifest: &OwnManifest,
    proof: Option<&CustomerProof>,
    verdict: &mut ExportVerdict,
) -> Result<(), VerifyError> {
    let accounts: Option<HashSet<Vec<u8>>> =
        proof.and_then(|proof| match (&proof.linked_account, &proof.accounts) {
            (Some(account), _) => Some([account.as_str().as_bytes().to_vec()].into()),
            (None, ProofAccounts::All(_)) => None,
            (None, ProofAccounts::Listed(list)) => {
                Some(list.iter().map(|account| account.id.as_str().as_bytes().to_vec()).collect())
            }
        });
    // Without the proof the style of the header isn't known; that it is missing is told already.
    let style = proof.map_or(HeaderStyle::Snake, |proof| proof.header);
    for key in &manifest.keys {
        if ObjectKey::check_relative(key).is_err() {
            continue;
        }
        let Some(file) = target.open(key)? else {
            verdict.problems.push(format!("{key} isn't there"));
            continue;
        };
        let said = proof.and_then(|proof| proof.files.iter().find(|file| file.key == *key));
        let expected = Expected {
            header: manifest.columns.iter().map(|column| column.title(style).to_owned()).collect(),
            rows: said.map_or(0, |said| said.rows),
            rows_hash: said.and_then(|said| u128::from_str_radix(&said.rows_hash, 16).ok()),
            accounts: accounts.as_ref(),
        };
        let alone = Workers::new(1, Stage::Check, &Meter::default());
        let checked = match manifest.format {
            Format::CsvGz => check_stream(key, file, &expected),
            Format::Parquet => check_parquet_file(key, file, &manifest.columns, &expected, &alone),
        };
        match checked {
            Ok(checked) => {
                verdict.rows += checked.rows;
                compare_bytes(key, said, &checked.sha256, checked.bytes, &mut verdict.problems);
            }
            // Without the proof the number of rows isn't known; that the proof is missing is told already.
            Err(CheckError::Rows { found, .. }) if said.is_none() => verdict.rows += found,
            Err(error) => verdict.problems.push(error.to_string()),
        }
    }
    Ok(())
}

fn compare_bytes(
    key: &str,
    said: Option<&ProofFile>,
    sha256: &[u8; 32],
    bytes: u64,
    problems: &mut Vec<String>,
) {
    let Some(said) = said else { return };
    let found = hex(sha256);
    if said.bytes != bytes || said.sha256 != found {
        problems.push(format!(
            "{key}: {bytes} bytes with SHA-256 {found}, where the proof says {} and {}",
            said.bytes, said.sha256
        ));
    }
}
