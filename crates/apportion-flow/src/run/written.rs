use super::checker::Checker;
use super::exports::{Export, lanes_of};
use super::lanes::{Lane, packing_of};
use super::putting::{Gone, Leaving, Putter};
use super::request::{DeliverRequest, SourceRequest};
use super::{RunError, Watcher};
use crate::check::{CheckError, Checked};
use crate::digest::hex;
use crate::source::FoundDelivery;
use crate::source::{Observations, Pin, Reader, SourceError, Wanted};
use crate::split::{Splitter, Watch};
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use crate::write::{
    Buffers, Gzip, Kernel, Level, Order, Packed, Packer, Packing, Spool, SpooledFile, UnassignedLane,
    WaitedRows, Window, header_line, write_parquet,
};
use apportion_core::columns::{Contract, ExportColumn};
use apportion_core::ledger::{Destination, FactsReader, Ledger};
use apportion_core::line_item::Batch;
use apportion_core::proof::{ProofFile, Representation, SourceColumn};
use apportion_core::route::Router;
use apportion_model::{AssemblyId, BillingPeriod, Format, ObjectKey};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Batches between the reading thread and the splitting one.
const BATCHES_AHEAD: usize = 3;

/// What a pass over a delivery has left: books, and files in their targets that no manifest names yet.
pub(super) struct Written {
    pub(super) ledger: Ledger,
    pub(super) keys: FactsReader,
    pub(super) watch: Watch,
    pub(super) observations: Observations,
    pub(super) object_rows: BTreeMap<String, u64>,
    pub(super) source_columns: Vec<SourceColumn>,
    pub(super) exports: Vec<WrittenExport>,
    pub(super) unassigned_files: Vec<ProofFile>,
}

/// What was written of one export.
#[derive(Debug, Clone, Default)]
pub(super) struct WrittenExport {
    pub(super) columns: Vec<ExportColumn>,
    pub(super) files: Vec<ProofFile>,
    pub(super) representation: Vec<Representation>,
}

/// What the splitting side shares.
pub(super) struct Pass<'a> {
    pub(super) request: &'a DeliverRequest,
    pub(super) source: &'a SourceRequest,
    pub(super) delivery: &'a FoundDelivery,
    pub(super) pin: &'a Pin,
    pub(super) period: BillingPeriod,
    pub(super) delivery_id: &'a AssemblyId,
    pub(super) watcher: &'a dyn Watcher,
}

/// The part of the memory that rows may wait in is a half, less what reading ahead, packing and checking take of that
/// half as well, however much memory there is.
const WAITING_PART: u64 = 2;
const WORKING_BYTES: u64 = 64 << 20;
/// More than the header of a file takes, compressed.
const HEADER_ROOM: u64 = 64 << 10;
/// The part of the memory that texts which rows share may take.
const SHARED_PART: u64 = 16;
/// The part of the memory that files may take while they are put.
const PUTTING_PART: u64 = 8;

type ReadEnd = (Observations, BTreeMap<String, u64>);

/// Reads, splits, writes, checks and puts, in one pass.
pub(super) fn write(
    pass: &Pass<'_>,
    exports: &mut [Export<'_>],
    spool: Option<Spool>,
) -> Result<Written, RunError> {
    let request = pass.request;
    let with_msp = request.msp.is_some() && !request.dry_run;
    let other = exports.iter().any(|export| export.is_written() && export.customer.contract != Contract::Eco);
    let wanted = Wanted { source: with_msp, other };
    let reader = Reader::new(pass.source.bucket.as_ref(), pass.delivery, pass.pin, wanted)?;
    let source_columns = reader.source_columns.clone();
    let columns: Vec<SourceColumn> = reader
        .columns
        .iter()
        .map(|column| SourceColumn { name: column.name.clone(), kind: column.kind(), files: column.files })
        .collect();
    let routed: Vec<_> = request.customers.iter().map(|customer| customer.routed.clone()).collect();
    let router = Router::new(&routed, pass.period).map_err(super::RequestError::from)?;
    let splitter = Splitter::new(
        router,
        lanes_of(routed.len(), exports),
        exports.len(),
        Watch::new(routed.iter().map(|customer| &customer.accounts), pass.period),
        pass.watcher.meter(),
    );
    std::thread::scope(|scope| {
        let lanes = exports.len() + 1;
        let meter = pass.watcher.meter();
        let packer = Packer::new(scope, request.threads, lanes, &meter);
        let putter = Putter::new(scope, request.memory / PUTTING_PART, &meter);
        let mut writing =
            Writing::new(pass, exports, (packer, putter), spool, with_msp.then_some(source_columns))?;
        let mut splitter = splitter;
        let read = if request.threads > 1 {
            let (sender, batches) = sync_channel(BATCHES_AHEAD);
            let meter = meter.clone();
            let reading =
                scope.spawn(move || read_ahead(reader, &meter, &mut |batch| sender.send(batch).is_ok()));
            writing.follow(&mut splitter, batches)?;
            reading.join().ok().flatten()
        } else {
            let mut failure = None;
            let read = read_ahead(reader, &meter, &mut |batch| {
                failure = writing.next(&mut splitter, batch).err();
                failure.is_none()
            });
            failure.map_or(Ok(()), Err)?;
            read
        };
        // A source that wasn't read to its end must never look like a short one.
        let (observations, object_rows) = read.ok_or_else(|| reading_ended(pass))?;
        writing.finish_files()?;
        let (ledger, keys, watch) = splitter.finish();
        writing.compare_with(&ledger)?;
        let (written, unassigned_files) = (writing.written, writing.unassigned_files);
        Ok(Written {
            ledger,
            keys,
            watch,
            observations,
            object_rows,
            source_columns: columns,
            exports: written,
            unassigned_files,
        })
    })
}

/// Takes the next batch, or why there is none; false if nobody wants another.
type TakeBatch<'a> = dyn FnMut(Result<Batch, SourceError>) -> bool + 'a;

/// What a decoder that panics leaves: the file can't be trusted.
fn reading_ended(pass: &Pass<'_>) -> RunError {
    let problem = "the decoder gave up on it; nothing was published. Fetch the file again".to_owned();
    SourceError::Parquet { object: pass.delivery.keys.join(", "), problem }.into()
}

/// Reads to the end and tells what was seen besides; None where reading failed, nobody listens any more, or a
/// library panicked on its input.
fn read_ahead(reader: Reader<'_>, meter: &Meter, take: &mut TakeBatch<'_>) -> Option<ReadEnd> {
    std::panic::catch_unwind(AssertUnwindSafe(|| read_to_end(reader, meter, take))).ok().flatten()
}

fn read_to_end(mut reader: Reader<'_>, meter: &Meter, take: &mut TakeBatch<'_>) -> Option<ReadEnd> {
    while let Some(next) = meter.time(Stage::Read, || reader.next_batch()).transpose() {
        meter.count(Stage::Read, next.as_ref().map_or(0, |batch| batch.rows as u64), 0);
        let failed = next.is_err();
        if !take(next) || failed {
            return None;
        }
    }
    Some((reader.observations, reader.object_rows))
}

/// The writing side of a pass.
struct Writing<'p, 'e, 'r, 's, 'v> {
    pass: &'p Pass<'p>,
    exports: &'e mut [Export<'r>],
    lanes: Vec<Option<Lane>>,
    unassigned: Option<UnassignedLane>,
    unassigned_packing: Packing,
    buffers: Buffers,
    packer: Packer<'s, CheckedFile>,
    putter: Putter<'s, 'v>,
    /// Writes the rows of all exports whose columns are fixed.
    kernel: Kernel,
    /// The rows of the present batch that go straight into a window, each with its lane.
    direct_rows: Vec<(u32, u32)>,
    /// Windows that are full and not yet handed over.
    full: Vec<(usize, Window, Packing)>,
    spool: Option<Spool>,
    checker: Arc<Checker>,
    written: Vec<WrittenExport>,
    unassigned_files: Vec<ProofFile>,
}

/// A finished file, and what its check said.
struct CheckedFile {
    lane: usize,
    file: SpooledFile,
    checked: Result<Checked, CheckError>,
}

impl<'p, 'e, 'r, 's, 'v> Writing<'p, 'e, 'r, 's, 'v> {
    fn new(
        pass: &'p Pass<'p>,
        exports: &'e mut [Export<'r>],
        (packer, putter): (Packer<'s, CheckedFile>, Putter<'s, 'v>),
        mut spool: Option<Spool>,
        source_columns: Option<Vec<String>>,
    ) -> Result<Self, RunError> {
        let request = pass.request;
        let unassigned_titles: Vec<String> = source_columns
            .iter()
            .flatten()
            .cloned()
            .chain(["apportion_reason".to_owned(), "apportion_owner".to_owned()])
            .collect();
        let header = header_line(unassigned_titles.iter().map(String::as_str));
        let unassigned_packing = Packing {
            order: Order::Source,
            gzip: Gzip::MultiMember,
            level: Level::Default,
            header: header.into(),
        };
        if let Some(spool) = &mut spool {
            spool.set_packing(exports.len(), &unassigned_packing)?;
        }
        let buffers = Buffers::default();
        let mut lanes: Vec<Option<Lane>> = (0..exports.len()).map(|_| None).collect();
        for (place, export) in exports.iter().enumerate().filter(|(_, export)| export.is_written()) {
            lanes[place] = Lane::new(export, request.mask_key.as_ref(), spool.as_mut(), place, &buffers)?;
        }
        Ok(Self {
            pass,
            checker: Arc::new(Checker::new(exports, unassigned_titles)),
            written: vec![WrittenExport::default(); exports.len()],
            exports,
            lanes,
            unassigned: source_columns.map(|columns| UnassignedLane::new(columns.len(), &buffers)),
            unassigned_packing,
            buffers,
            packer,
            putter,
            kernel: Kernel::new(Contract::Eco.fixed(), (request.memory / SHARED_PART) as usize),
            direct_rows: Vec::new(),
            full: Vec::new(),
            spool,
            unassigned_files: Vec::new(),
        })
    }

    /// Splits each batch and hands its rows over, until the source ends.
    fn follow(
        &mut self,
        splitter: &mut Splitter,
        batches: Receiver<Result<Batch, SourceError>>,
    ) -> Result<(), RunError> {
        batches.into_iter().try_for_each(|batch| self.next(splitter, batch))
    }

    /// Splits a batch and hands its rows over.
    fn next(&mut self, splitter: &mut Splitter, batch: Result<Batch, SourceError>) -> Result<(), RunError> {
        if self.pass.watcher.interrupted() {
            return Err(RunError::Interrupted);
        }
        let batch = batch?;
        let meter = self.pass.watcher.meter();
        splitter.split(&batch)?;
        meter.count(Stage::Write, batch.rows as u64, 0);
        meter.time(Stage::Write, || self.hand_over_all(&batch, splitter))?;
        meter.time(Stage::Ledger, || {
            for (place, export) in self.exports.iter().enumerate() {
                splitter.book_export(export.share, export.destination(place));
            }
            splitter.book_unassigned();
        });
        self.send_full()?;
        self.store_ready()?;
        self.relieve_memory()?;
        self.pass.watcher.advance(batch.rows as u64, 0);
        Ok(())
    }

    fn hand_over_all(&mut self, batch: &Batch, splitter: &Splitter) -> Result<(), RunError> {
        self.direct_rows.clear();
        for place in 0..self.lanes.len() {
            let rows = splitter.rows_of(self.exports[place].share);
            match &mut self.lanes[place] {
                Some(Lane::Direct(_)) => {
                    self.direct_rows.extend(rows.iter().map(|row| (*row, place as u32)));
                }
                Some(Lane::Waiting(lane)) if !rows.is_empty() => {
                    let bytes = lane.append(batch, rows)?;
                    self.reserve(bytes)?;
                }
                Some(Lane::Waiting(_) | Lane::Written) | None => {}
            }
        }
        self.write_direct_rows(batch);
        self.hand_over_unassigned(batch, splitter)
    }

    /// Row after row, whoever's it is: so each column is read from one end to the other.
    fn write_direct_rows(&mut self, batch: &Batch) {
        if self.direct_rows.is_empty() {
            return;
        }
        self.direct_rows.sort_unstable();
        let prepared = self.kernel.prepare(batch);
        for (row, place) in &self.direct_rows {
            let place = *place as usize;
            if let Some(Lane::Direct(lane)) = &mut self.lanes[place] {
                let full = lane.append(&prepared, *row as usize);
                self.full.extend(full.map(|(window, packing)| (place, window, packing)));
            }
        }
    }

    /// Hands the full windows over to whichever thread is free.
    fn send_full(&mut self) -> Result<(), RunError> {
        if self.full.is_empty() {
            return Ok(());
        }
        let shared = self.kernel.shared_texts();
        for (lane, window, packing) in self.full.drain(..) {
            self.packer.send(lane, window, packing, shared.clone())?;
        }
        Ok(())
    }

    /// Moves the rows of the fullest lanes to the disk when all of them together wait in too much memory.
    fn relieve_memory(&mut self) -> Result<(), RunError> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let mut flushed = 0;
        let limit = (self.pass.request.memory / WAITING_PART).saturating_sub(WORKING_BYTES) as usize;
        let mut waiting: Vec<(usize, &mut Lane)> = self
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
            total -= lane.waiting_bytes();
            match lane {
                Lane::Direct(lane) => {
                    lane.park(|| spool.parking(place))?;
                }
                Lane::Waiting(lane) => {
                    flushed += lane.flush()?;
                }
                Lane::Written => {}
            }
        }
        self.reserve(flushed)
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
                self.full.push((place, window, self.unassigned_packing.clone()));
            }
        }
        Ok(())
    }

    /// Appends what has been packed to its files and has the finished ones checked; what has been checked leaves the
    /// spool.
    fn store_ready(&mut self) -> Result<(), RunError> {
        for (lane, packed) in self.packer.take_ready() {
            self.store(lane, &packed)?;
        }
        self.put_checked()?;
        while let Some(gone) = self.putter.take(false)? {
            self.has_gone(gone)?;
        }
        Ok(())
    }

    /// Sends the files that were found right on their way.
    fn put_checked(&mut self) -> Result<(), RunError> {
        for CheckedFile { lane, file, checked } in self.packer.take_done() {
            self.put(lane, file, &checked?)?;
        }
        Ok(())
    }

    /// A full spool isn't the end while something in it is about to leave.
    fn make_room(&mut self, bytes: u64) -> Result<(), RunError> {
        while self.spool.as_ref().is_some_and(|spool| spool.is_short_of(bytes)) {
            self.put_checked()?;
            if let Some(gone) = self.putter.take(true)? {
                self.has_gone(gone)?;
            } else if !self.packer.wait()? {
                break;
            }
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), RunError> {
        self.make_room(bytes)?;
        Ok(self.spool.as_mut().map_or(Ok(()), |spool| spool.reserve(bytes))?)
    }

    fn store(&mut self, lane: usize, packed: &Packed) -> Result<(), RunError> {
        if self.has_failed(lane) {
            return Ok(());
        }
        // A file may begin with it, and that with a header.
        self.make_room(packed.bytes.len() as u64 + HEADER_ROOM)?;
        let Some(spool) = &mut self.spool else { return Ok(()) };
        for file in spool.append(lane, packed)? {
            self.check(lane, file)?;
        }
        Ok(())
    }

    /// Has a finished file checked by whichever thread is free.
    fn check(&mut self, lane: usize, file: SpooledFile) -> Result<(), RunError> {
        let (checker, meter) = (Arc::clone(&self.checker), self.pass.watcher.meter());
        self.packer.run(Box::new(move || {
            let alone = Workers::new(1, Stage::Check, &meter);
            let checked = checker.check(lane, &file, &alone);
            CheckedFile { lane, file, checked }
        }))?;
        Ok(())
    }

    /// Waits for everything that other threads were given.
    fn settle(&mut self) -> Result<(), RunError> {
        loop {
            self.send_full()?;
            self.store_ready()?;
            if self.packer.wait()? || !self.packer.is_idle() {
                continue;
            }
            match self.putter.take(true)? {
                Some(gone) => self.has_gone(gone)?,
                None => return Ok(()),
            }
        }
    }

    fn has_failed(&self, lane: usize) -> bool {
        self.exports.get(lane).is_some_and(|export| export.failure.is_some())
    }

    /// Sends a checked file to where it belongs.
    fn put(&mut self, lane: usize, file: SpooledFile, checked: &Checked) -> Result<(), RunError> {
        let (target, key) = match (self.exports.get(lane), &self.pass.request.msp) {
            (Some(export), _) if export.failure.is_some() => return self.release(&file),
            (Some(export), _) => (&export.target, export.data_key(file.number)),
            (None, Some(msp)) => (msp, self.unassigned_key(file.number)),
            (None, None) => return Ok(()),
        };
        let said = ProofFile {
            key,
            bytes: checked.bytes,
            sha256: hex(&checked.sha256),
            rows: checked.rows,
            rows_hash: format!("{:032x}", checked.rows_hash),
        };
        self.putter.give(Leaving { lane, file, said, target: Arc::clone(target) });
        Ok(())
    }

    /// Books a file that is in its target. A target that fails, fails its customer alone.
    fn has_gone(&mut self, gone: Gone) -> Result<(), RunError> {
        let Gone { lane, file, said, failure } = gone;
        match (failure, self.exports.get_mut(lane)) {
            (None, Some(_)) => self.written[lane].files.push(said),
            (None, None) => self.unassigned_files.push(said),
            (Some(error), Some(export)) => {
                export.failure = Some(error.into());
                self.lanes[lane] = None;
                if let Some(spool) = &mut self.spool {
                    spool.discard(lane)?;
                }
            }
            (Some(error), None) => return Err(error.into()),
        }
        self.release(&file)
    }

    fn release(&mut self, file: &SpooledFile) -> Result<(), RunError> {
        Ok(self.spool.as_mut().map_or(Ok(()), |spool| spool.release(file))?)
    }

    fn unassigned_key(&self, number: u32) -> String {
        let source = &self.pass.source.name;
        ObjectKey::Unassigned { source, period: self.pass.period, delivery: self.pass.delivery_id, number }
            .to_string()
    }

    /// Packs what is left, writes what waited, finishes every lane's last file, checks them on all threads and puts
    /// them.
    fn finish_files(&mut self) -> Result<(), RunError> {
        for place in 0..self.lanes.len() {
            match self.lanes[place].as_mut() {
                Some(Lane::Direct(lane)) => {
                    self.written[place].columns = lane.columns();
                    self.full.extend(lane.finish().map(|(window, packing)| (place, window, packing)));
                }
                Some(Lane::Waiting(_)) => self.finish_waiting(place)?,
                Some(Lane::Written) | None => {}
            }
            self.send_full()?;
            self.store_ready()?;
        }
        if let Some(window) = self.unassigned.as_mut().and_then(UnassignedLane::finish) {
            self.full.push((self.lanes.len(), window, self.unassigned_packing.clone()));
        }
        self.settle()?;
        self.finish_last_files()
    }

    /// Writes the files of an export whose rows have waited.
    fn finish_waiting(&mut self, place: usize) -> Result<(), RunError> {
        let Some(Lane::Waiting(lane)) = self.lanes[place].take() else { return Ok(()) };
        let Some(spool) = &mut self.spool else {
            self.written[place].columns = lane.finish(&mut |_| Ok(()))?.columns;
            return Ok(());
        };
        let export = &self.exports[place];
        let rows = lane.finish(&mut |bytes| spool.reserve(bytes))?;
        let (path, waited) = (rows.path().to_owned(), rows.bytes());
        self.written[place].columns.clone_from(&rows.columns);
        self.checker.set_columns(place, rows.columns.clone());
        if export.format == Format::Parquet {
            let (order, folder) = (export.customer.order, spool.folder(place).to_owned());
            let (threads, meter) = (self.pass.request.threads, self.pass.watcher.meter());
            let workers = Workers::new(threads, Stage::Parquet, &meter);
            let checkers = Workers::new(threads, Stage::Check, &meter);
            let told = write_parquet::<RunError>(&rows, order, &folder, &workers, &mut |file| {
                self.reserve(file.bytes)?;
                let checked = self.checker.check(place, &file, &checkers)?;
                self.put(place, file, &checked)
            })?;
            self.written[place].representation = told;
        } else {
            let packing = packing_of(export.customer, &rows.columns);
            spool.set_packing(place, &packing)?;
            rows.into_windows::<RunError>(&packing, &self.buffers.clone(), &mut |window, packing| {
                self.full.push((place, window, packing));
                self.send_full()?;
                self.store_ready()
            })?;
        }
        self.lanes[place] = Some(Lane::Written);
        let Some(spool) = &mut self.spool else { return Ok(()) };
        WaitedRows::remove(&path)?;
        spool.give_back(waited);
        Ok(())
    }

    fn finish_last_files(&mut self) -> Result<(), RunError> {
        for place in 0..=self.lanes.len() {
            let open = self.lanes.get(place).map_or(self.unassigned.is_some(), Option::is_some);
            let by_itself = self.exports.get(place).is_some_and(|export| export.format == Format::Parquet);
            if let (true, Some(spool)) = (open && !by_itself && !self.has_failed(place), &mut self.spool)
                && let Some(file) = spool.finish(place)?
            {
                self.check(place, file)?;
                self.store_ready()?;
            }
        }
        self.settle()?;
        // They were put in whatever order they were checked.
        for files in self.written.iter_mut().map(|export| &mut export.files) {
            files.sort_by(|left, right| left.key.cmp(&right.key));
        }
        self.unassigned_files.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(())
    }

    /// What the ledger says was handed over is what the files hold.
    fn compare_with(&self, ledger: &Ledger) -> Result<(), RunError> {
        for (place, written) in self.written.iter().enumerate() {
            if self.lanes[place].is_none() || self.has_failed(place) {
                continue;
            }
            let export = &self.exports[place];
            let booked = ledger.get(export.destination(place)).map_or(0, |totals| totals.rows());
            compare_rows(export.report.as_str(), &written.files, booked)?;
        }
        if self.unassigned.is_some() {
            let nobody = ledger
                .destinations()
                .filter(|(to, _)| matches!(to, Destination::Withheld(..) | Destination::Nobody(_)));
            compare_rows(
                "unassigned",
                &self.unassigned_files,
                nobody.map(|(_, totals)| totals.rows()).sum(),
            )?;
        }
        Ok(())
    }
}

fn compare_rows(name: &str, files: &[ProofFile], booked: u64) -> Result<(), RunError> {
    let found: u64 = files.iter().map(|file| file.rows).sum();
    if found == booked {
        return Ok(());
    }
    Err(CheckError::Rows { file: format!("the files of {name}"), expected: booked, found }.into())
}
