use super::exports::{Export, lanes_of};
use super::request::DeliverRequest;
use super::{RunError, Watcher};
use crate::check::{CheckError, Checked, Expected, check_file};
use crate::publish::put_data;
use crate::source::FoundDelivery;
use crate::source::{Observations, Pin, Reader, SourceError, Wanted};
use crate::split::{Splitter, Watch};
use crate::storage::Bucket;
use crate::write::{ExportLane, LaneSettings, Packer, Spool, SpooledFile, UnassignedLane, Window};
use apportion_core::columns::{Contract, known};
use apportion_core::ledger::{Destination, FactsReader, Ledger};
use apportion_core::line_item::Batch;
use apportion_core::proof::ProofFile;
use apportion_core::route::Router;
use apportion_model::{AssemblyId, BillingPeriod, ObjectKey};
use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Batches between the reading thread and the splitting one.
const BATCHES_AHEAD: usize = 3;

/// What a pass over a delivery has left: books, and files in their targets that no manifest names yet.
pub(super) struct Written {
    pub(super) ledger: Ledger,
    pub(super) keys: FactsReader,
    pub(super) watch: Watch,
    pub(super) observations: Observations,
    pub(super) object_rows: BTreeMap<String, u64>,
    /// For each export, its files.
    pub(super) files: Vec<Vec<ProofFile>>,
    pub(super) unassigned_files: Vec<ProofFile>,
}

/// What the splitting side shares.
pub(super) struct Pass<'a> {
    pub(super) request: &'a DeliverRequest,
    pub(super) delivery: &'a FoundDelivery,
    pub(super) pin: &'a Pin,
    pub(super) period: BillingPeriod,
    pub(super) delivery_id: &'a AssemblyId,
    pub(super) watcher: &'a dyn Watcher,
}

/// Eighths of the memory that rows may wait in; the rest is for reading ahead, packing and checking.
const WINDOW_EIGHTHS: u64 = 3;

type ReadEnd = (Observations, BTreeMap<String, u64>);

/// Reads, splits, writes, checks and puts, in one pass.
pub(super) fn write(pass: &Pass<'_>, exports: &mut [Export<'_>]) -> Result<Written, RunError> {
    let request = pass.request;
    let with_msp = request.msp.is_some() && !request.dry_run;
    let wanted = Wanted { source: with_msp, other: false };
    let reader = Reader::new(request.source.bucket.as_ref(), pass.delivery, pass.pin, wanted)?;
    let source_columns = reader.source_columns.clone();
    let routed: Vec<_> = request.customers.iter().map(|customer| customer.routed.clone()).collect();
    let router = Router::new(&routed, pass.period).map_err(super::RequestError::from)?;
    let splitter = Splitter::new(
        router,
        lanes_of(routed.len(), exports),
        exports.len(),
        Watch::new(routed.iter().map(|customer| &customer.accounts), pass.period),
    );
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let reading = scope.spawn(move || read_ahead(reader, &sender));
        let lanes = exports.len() + 1;
        let packer = Packer::new(scope, request.threads, lanes);
        let mut writing = Writing::new(pass, exports, packer, with_msp.then_some(source_columns))?;
        let splitter = writing.follow(splitter, batches)?;
        // A source that wasn't read to its end must never look like a short one.
        let (observations, object_rows) = reading.join().ok().flatten().ok_or_else(|| reading_ended(pass))?;
        writing.finish_files()?;
        let (ledger, keys, watch) = splitter.finish();
        writing.compare_with(&ledger)?;
        let (files, unassigned_files) = writing.into_files();
        Ok(Written { ledger, keys, watch, observations, object_rows, files, unassigned_files })
    })
}

type BatchSender = std::sync::mpsc::SyncSender<Result<Batch, SourceError>>;

/// What a decoder that panics leaves: the file can't be trusted.
fn reading_ended(pass: &Pass<'_>) -> RunError {
    let problem = "the decoder gave up on it; nothing was published. Fetch the file again".to_owned();
    SourceError::Parquet { object: pass.delivery.keys.join(", "), problem }.into()
}

/// Reads to the end and tells what was seen besides; None where reading failed, nobody listens any more, or a
/// library panicked on its input.
fn read_ahead(reader: Reader<'_>, sender: &BatchSender) -> Option<ReadEnd> {
    std::panic::catch_unwind(AssertUnwindSafe(|| read_to_end(reader, sender))).ok().flatten()
}

fn read_to_end(mut reader: Reader<'_>, sender: &BatchSender) -> Option<ReadEnd> {
    while let Some(next) = reader.next_batch().transpose() {
        let failed = next.is_err();
        if sender.send(next).is_err() || failed {
            return None;
        }
    }
    Some((reader.observations, reader.object_rows))
}

/// Knows what every lane's files must be.
struct Checker {
    header: Vec<String>,
    unassigned_header: Vec<String>,
    account_place: usize,
    /// For each export, the accounts that may stand in it.
    own: Vec<Option<HashSet<Vec<u8>>>>,
}

impl Checker {
    fn new(exports: &[Export<'_>], source_columns: &[String]) -> Self {
        let columns = Contract::Eco.columns();
        let mut unassigned_header = source_columns.to_vec();
        unassigned_header.extend(["apportion_reason".to_owned(), "apportion_owner".to_owned()]);
        Self {
            header: columns.iter().map(|id| known().get(*id).name.clone()).collect(),
            unassigned_header,
            account_place: columns
                .iter()
                .position(|id| *id == known().well_known().usage_account)
                .unwrap_or(0),
            own: exports.iter().map(Export::own_accounts).collect(),
        }
    }

    fn check(&self, lane: usize, file: &SpooledFile) -> Result<Checked, CheckError> {
        let expected = Expected {
            header: if lane < self.own.len() { &self.header } else { &self.unassigned_header },
            rows: file.rows,
            rows_hash: Some(file.rows_hash),
            accounts: self.own.get(lane).and_then(Option::as_ref).map(|own| (self.account_place, own)),
        };
        check_file(&file.path, &expected)
    }

    /// Checks files on several threads; the results are in the files' order.
    fn check_all(&self, files: &[(usize, SpooledFile)], threads: usize) -> Vec<Result<Checked, CheckError>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(files.len()));
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some((lane, file)) = files.get(place) else { return };
                let checked = self.check(*lane, file);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((place, checked));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(files.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, checked)| checked).collect()
    }
}

/// The writing side of a pass.
struct Writing<'p, 'e, 'r> {
    pass: &'p Pass<'p>,
    exports: &'e mut [Export<'r>],
    lanes: Vec<Option<ExportLane>>,
    unassigned: Option<UnassignedLane>,
    packer: Packer,
    spool: Option<Spool>,
    checker: Checker,
    files: Vec<Vec<ProofFile>>,
    unassigned_files: Vec<ProofFile>,
}

impl<'p, 'e, 'r> Writing<'p, 'e, 'r> {
    fn new(
        pass: &'p Pass<'p>,
        exports: &'e mut [Export<'r>],
        packer: Packer,
        source_columns: Option<Vec<String>>,
    ) -> Result<Self, RunError> {
        let request = pass.request;
        let lanes: Vec<Option<ExportLane>> = exports
            .iter()
            .map(|export| {
                (export.is_written() && !request.dry_run).then(|| {
                    ExportLane::new(LaneSettings {
                        contract: export.customer.contract,
                        order: export.customer.order,
                        mask: export.mask(request.mask_key.as_ref()),
                    })
                })
            })
            .collect();
        let mut headers = vec![ExportLane::header(Contract::Eco); exports.len()];
        headers.push(UnassignedLane::header(source_columns.as_deref().unwrap_or_default()));
        let spool = if request.dry_run {
            None
        } else {
            Some(Spool::new(&request.spool.folder, pass.delivery_id, request.spool.limit, &headers)?)
        };
        Ok(Self {
            pass,
            checker: Checker::new(exports, source_columns.as_deref().unwrap_or_default()),
            files: vec![Vec::new(); exports.len()],
            exports,
            lanes,
            unassigned: source_columns.map(|columns| UnassignedLane::new(columns.len())),
            packer,
            spool,
            unassigned_files: Vec::new(),
        })
    }

    /// Splits each batch and hands its rows over, until the source ends.
    fn follow(
        &mut self,
        mut splitter: Splitter,
        batches: Receiver<Result<Batch, SourceError>>,
    ) -> Result<Splitter, RunError> {
        for batch in batches {
            if self.pass.watcher.interrupted() {
                return Err(RunError::Interrupted);
            }
            let batch = batch?;
            splitter.split(&batch)?;
            for lane in 0..self.lanes.len() {
                self.hand_over(lane, &batch, splitter.rows_of(lane))?;
                splitter.book_export(lane);
            }
            self.hand_over_unassigned(&batch, &splitter)?;
            splitter.book_unassigned();
            self.store_ready()?;
            self.relieve_memory()?;
            self.pass.watcher.advance(batch.rows as u64, 0);
        }
        Ok(splitter)
    }

    fn hand_over(&mut self, place: usize, batch: &Batch, rows: &[u32]) -> Result<(), RunError> {
        let Some(lane) = self.lanes.get_mut(place).and_then(Option::as_mut) else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        let packer = &mut self.packer;
        lane.append(batch, rows, &mut |window, order| packer.send(place, window, order))?;
        Ok(())
    }

    /// Parks the rows of the fullest windows when all of them together wait in too much memory.
    fn relieve_memory(&mut self) -> Result<(), RunError> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let limit = (self.pass.request.memory / 8 * WINDOW_EIGHTHS) as usize;
        let mut waiting: Vec<(usize, &mut ExportLane)> = self
            .lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(place, lane)| Some((place, lane.as_mut()?)))
            .collect();
        let mut total: usize = waiting.iter().map(|(_, lane)| lane.waiting_bytes()).sum();
        if total <= limit {
            return Ok(());
        }
        waiting.sort_by_key(|(_, lane)| std::cmp::Reverse(lane.waiting_bytes()));
        for (place, lane) in waiting {
            // Half, so that it isn't done for every batch.
            if total <= limit / 2 {
                break;
            }
            total -= lane.park(|| spool.parking(place))?;
        }
        Ok(())
    }

    fn hand_over_unassigned(&mut self, batch: &Batch, splitter: &Splitter) -> Result<(), RunError> {
        let Some(lane) = &mut self.unassigned else { return Ok(()) };
        let place = self.lanes.len();
        for unassigned in splitter.unassigned() {
            let owner = unassigned
                .owner
                .and_then(|owner| self.pass.request.customers.get(owner as usize))
                .map_or("", |customer| customer.routed.id.as_str());
            if let Some(window) =
                lane.append(batch, unassigned.row as usize, unassigned.reason.as_str(), owner)
            {
                self.packer.send(place, window, crate::write::Order::Source)?;
            }
        }
        Ok(())
    }

    /// Appends what has been packed to its files; what is finished with that leaves the spool.
    fn store_ready(&mut self) -> Result<(), RunError> {
        for (lane, packed) in self.packer.take_ready() {
            if self.has_failed(lane) {
                continue;
            }
            let Some(spool) = &mut self.spool else { continue };
            if let Some(file) = spool.append(lane, &packed)? {
                let checked = self.checker.check(lane, &file)?;
                self.put(lane, &file, &checked)?;
            }
        }
        Ok(())
    }

    fn has_failed(&self, lane: usize) -> bool {
        self.exports.get(lane).is_some_and(|export| export.failure.is_some())
    }

    /// Puts a checked file where it belongs. A target that fails, fails its customer alone.
    fn put(&mut self, lane: usize, file: &SpooledFile, checked: &Checked) -> Result<(), RunError> {
        let (target, key): (&dyn Bucket, String) = match (self.exports.get(lane), &self.pass.request.msp) {
            (Some(export), _) => {
                (export.customer.target.as_ref(), export.data_key(self.pass.period, file.number))
            }
            (None, Some(msp)) => (msp.as_ref(), self.unassigned_key(file.number)),
            (None, None) => return Ok(()),
        };
        let put = put_data(target, &key, &file.path);
        let said = ProofFile {
            key,
            bytes: checked.bytes,
            sha256: crate::source::hex(&checked.sha256),
            rows: checked.rows,
            rows_hash: format!("{:032x}", checked.rows_hash),
        };
        match (put, self.exports.get_mut(lane)) {
            (Ok(_), Some(_)) => self.files[lane].push(said),
            (Ok(_), None) => self.unassigned_files.push(said),
            (Err(error), Some(export)) => {
                export.failure = Some(error.into());
                self.lanes[lane] = None;
            }
            (Err(error), None) => return Err(error.into()),
        }
        if let Some(spool) = &mut self.spool {
            spool.release(file)?;
        }
        Ok(())
    }

    fn unassigned_key(&self, number: u32) -> String {
        let source = &self.pass.request.source.name;
        ObjectKey::Unassigned { source, period: self.pass.period, delivery: self.pass.delivery_id, number }
            .to_string()
    }

    /// Packs what is left, finishes every lane's last file, checks them on all threads and puts them.
    fn finish_files(&mut self) -> Result<(), RunError> {
        let rest: Vec<(usize, Window, crate::write::Order)> = self
            .lanes
            .iter_mut()
            .enumerate()
            .filter_map(|(place, lane)| {
                let lane = lane.as_mut()?;
                Some((place, lane.finish()?, lane.order()))
            })
            .collect();
        for (place, window, order) in rest {
            self.packer.send(place, window, order)?;
            self.store_ready()?;
        }
        if let Some(window) = self.unassigned.as_mut().and_then(UnassignedLane::finish) {
            self.packer.send(self.lanes.len(), window, crate::write::Order::Source)?;
        }
        self.packer.drain()?;
        self.store_ready()?;
        let mut last = Vec::new();
        for place in 0..=self.lanes.len() {
            let open = self.lanes.get(place).map_or(self.unassigned.is_some(), Option::is_some);
            if let (true, Some(spool)) = (open && !self.has_failed(place), &mut self.spool) {
                last.extend(spool.finish(place)?.map(|file| (place, file)));
            }
        }
        let checked = self.checker.check_all(&last, self.pass.request.threads);
        for ((place, file), checked) in last.iter().zip(checked) {
            self.put(*place, file, &checked?)?;
        }
        Ok(())
    }

    /// What the ledger says was handed over is what the files hold.
    fn compare_with(&self, ledger: &Ledger) -> Result<(), RunError> {
        for (place, files) in self.files.iter().enumerate() {
            if self.lanes[place].is_none() || self.has_failed(place) {
                continue;
            }
            let booked = ledger.get(Destination::Export(place as u32)).map_or(0, |totals| totals.rows());
            compare_rows(self.exports[place].report.as_str(), files, booked)?;
        }
        if self.unassigned.is_some() {
            let nobody = ledger.destinations().filter(|(to, _)| !matches!(to, Destination::Export(_)));
            compare_rows(
                "unassigned",
                &self.unassigned_files,
                nobody.map(|(_, totals)| totals.rows()).sum(),
            )?;
        }
        Ok(())
    }

    fn into_files(self) -> (Vec<Vec<ProofFile>>, Vec<ProofFile>) {
        (self.files, self.unassigned_files)
    }
}

fn compare_rows(name: &str, files: &[ProofFile], booked: u64) -> Result<(), RunError> {
    let found: u64 = files.iter().map(|file| file.rows).sum();
    if found == booked {
        return Ok(());
    }
    Err(CheckError::Rows { file: format!("the files of {name}"), expected: booked, found }.into())
}
