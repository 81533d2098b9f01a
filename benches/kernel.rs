//! How fast rows become files, step by step and on one thread: `cargo bench -p apportion-flow`.
//!
//! The line items come from the demo's maker, from a seed, so every run measures the same work. Steps: *write* (rows of
//! a batch become text in the windows of their exports), *pack* (windows are sorted, put together, hashed and
//! compressed), *check* (finished files are decoded again and compared). Each line is the median of several passes.
#![allow(clippy::print_stdout, clippy::float_arithmetic)]

use apportion_core::columns::{Contract, ExportColumn, HeaderStyle, known};
use apportion_core::line_item::Batch;
use apportion_core::mask::Mask;
use apportion_flow::check::{Expected, check_file};
use apportion_flow::maker::{MadeCustomer, MakeKind, MakeRequest, make};
use apportion_flow::source::{Reader, Wanted, discover, pin};
use apportion_flow::storage::Folder;
use apportion_flow::timings::Meter;
use apportion_flow::write::{
    Buffers, ExportLane, Gzip, Kernel, Level, Order, Packed, Packer, Packing, SharedTexts, Spool,
    SpooledFile, Window, export_header,
};
use apportion_model::{AssemblyId, BillingPeriod};
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROWS: u64 = 200_000;
const CUSTOMERS: u32 = 10;
/// Bytes of text that rows may share; what a run with the default memory has.
const SHARED: usize = 32 << 20;
/// Bytes of files that a step may write.
const SPOOL: u64 = 4 << 30;
const PASSES: usize = 5;

/// A batch, and those of its rows that are a customer's, each with the customer's place.
struct Routed {
    batch: Batch,
    rows: Vec<(usize, usize)>,
}

/// A full window and the lane that it is of.
type Full = (usize, Window, Packing);

fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    println!("{ROWS} line items, {CUSTOMERS} customers, one thread, medians of {PASSES}; MB are of text\n");
    println!("{:<28} {:>9} {:>12} {:>9} {:>7}", "step", "ns/row", "rows/s", "MB/s", "ratio");
    for kind in [MakeKind::Cur1Parquet, MakeKind::Cur1Csv] {
        let source = folder.path().join(kind.as_str());
        let (customers, batches) = made(kind, &source)?;
        let text = measure_writing(kind, &customers, &batches)?;
        if kind == MakeKind::Cur1Parquet {
            for level in Level::ALL {
                measure_files(level, &customers, &batches, text, &folder.path().join("spool"))?;
            }
        }
    }
    Ok(())
}

/// Makes the line items and reads them; the reading isn't measured here.
fn made(kind: MakeKind, out: &Path) -> Outcome<(Vec<MadeCustomer>, Vec<Routed>)> {
    let request = MakeRequest {
        out: out.to_owned(),
        kind,
        rows: ROWS,
        accounts: CUSTOMERS * 5,
        customers: CUSTOMERS,
        first: BillingPeriod::new(2026, 10)?,
        months: 1,
        seed: 1,
        rows_per_file: ROWS,
    };
    let made = make(&request, &mut |_| true)?;
    let owners: BTreeMap<&[u8], usize> = made
        .customers
        .iter()
        .enumerate()
        .flat_map(|(place, customer)| {
            customer.accounts.iter().map(move |account| (account.id.as_str().as_bytes(), place))
        })
        .collect();
    let bucket = Folder::new(out);
    let found = discover(&bucket)?;
    let delivery = found
        .reports
        .values()
        .flat_map(|report| report.deliveries.values())
        .next()
        .ok_or("the made report isn't found")?;
    let pinned = pin(&bucket, delivery)?;
    let mut reader = Reader::new(&bucket, delivery, &pinned, Wanted::default())?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        let accounts = batch.column(known().well_known().usage_account);
        let owned = (0..batch.rows).filter_map(|row| Some((row, *owners.get(accounts.get(row))?)));
        let rows = owned.collect();
        batches.push(Routed { batch, rows });
    }
    Ok((made.customers, batches))
}

fn lanes(customers: &[MadeCustomer], level: Level) -> Vec<ExportLane> {
    let columns = Contract::Eco.fixed();
    let (packing, buffers) = (packing(level), Buffers::default());
    let lane = |customer: &MadeCustomer| {
        let own = customer.accounts.iter().map(|account| &account.id);
        ExportLane::new(columns, Mask::new(&customer.id, own, true, None), packing.clone(), &buffers)
    };
    customers.iter().map(lane).collect()
}

fn columns() -> Vec<ExportColumn> {
    Contract::Eco.fixed().iter().map(|id| ExportColumn::known(*id)).collect()
}

fn packing(level: Level) -> Packing {
    let header = export_header(&columns(), HeaderStyle::Snake).into();
    Packing { order: Order::Sorted, gzip: Gzip::MultiMember, level, header }
}

/// All rows into windows, each of which `take` gets when it is full: with a kernel and lanes without a past, as a run
/// has them at its begin.
fn write(
    customers: &[MadeCustomer],
    batches: &[Routed],
    level: Level,
    take: &mut dyn FnMut(Full),
) -> SharedTexts {
    let mut kernel = Kernel::new(Contract::Eco.fixed(), SHARED);
    let mut lanes = lanes(customers, level);
    for routed in batches {
        let prepared = kernel.prepare(&routed.batch);
        for (row, place) in &routed.rows {
            if let Some((window, packing)) = lanes[*place].append(&prepared, *row) {
                take((*place, window, packing));
            }
        }
    }
    for (place, lane) in lanes.iter_mut().enumerate() {
        if let Some((window, packing)) = lane.finish() {
            take((place, window, packing));
        }
    }
    kernel.shared_texts()
}

/// The same, with all windows at once.
fn written(customers: &[MadeCustomer], batches: &[Routed], level: Level) -> (Vec<Full>, SharedTexts) {
    let mut full = Vec::new();
    let shared = write(customers, batches, level, &mut |window| full.push(window));
    (full, shared)
}

/// Measures the kernel; returns how many bytes of text all rows are.
fn measure_writing(kind: MakeKind, customers: &[MadeCustomer], batches: &[Routed]) -> Outcome<u64> {
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let begin = Instant::now();
        write(customers, batches, Level::Default, &mut drop);
        times.push(begin.elapsed());
    }
    let (full, shared) = written(customers, batches, Level::Default);
    let meter = Meter::default();
    let packed = pack(full, &shared, customers.len(), &meter)?;
    let rows = packed.iter().map(|(_, packed)| packed.rows).sum();
    let text = text_of(&packed)?;
    show(&format!("write, from {}", kind.as_str()), times, rows, text, None);
    Ok(text)
}

/// Packs windows where they are handed over.
fn pack(full: Vec<Full>, shared: &SharedTexts, lanes: usize, meter: &Meter) -> Outcome<Vec<(usize, Packed)>> {
    std::thread::scope(|scope| {
        let mut packer = Packer::<()>::new(scope, 1, lanes, meter);
        for (lane, window, packing) in full {
            packer.send(lane, window, packing, shared.clone())?;
        }
        Ok(packer.take_ready())
    })
}

/// The text's size: what the last four bytes of each gzip member say.
fn text_of(packed: &[(usize, Packed)]) -> Outcome<u64> {
    let mut text = 0;
    for (_, packed) in packed {
        let mut end = 0;
        for member in &packed.members {
            end += *member as usize;
            let size = packed.bytes.get(end - 4..end).ok_or("a member is shorter than its trailer")?;
            text += u64::from(u32::from_le_bytes(size.try_into()?));
        }
    }
    Ok(text)
}

/// Measures packing at a level, and checking what comes of it.
fn measure_files(
    level: Level,
    customers: &[MadeCustomer],
    batches: &[Routed],
    text: u64,
    folder: &Path,
) -> Outcome<()> {
    let meter = Meter::default();
    let mut times = Vec::new();
    let mut last = Vec::new();
    for _ in 0..PASSES {
        let (full, shared) = written(customers, batches, level);
        let begin = Instant::now();
        last = pack(full, &shared, customers.len(), &meter)?;
        times.push(begin.elapsed());
    }
    let rows = last.iter().map(|(_, packed)| packed.rows).sum();
    let bytes: usize = last.iter().map(|(_, packed)| packed.bytes.len()).sum();
    let level_name = level.as_str();
    show(&format!("pack, level {level_name}"), times, rows, text, Some(bytes as u64));

    let mut spool = Spool::new(folder, &AssemblyId::from_hash(&[0; 32]), SPOOL, customers.len())?;
    let mut files: Vec<(usize, SpooledFile)> = Vec::new();
    for lane in 0..customers.len() {
        spool.set_packing(lane, &packing(level))?;
        for (_, packed) in last.iter().filter(|(of, _)| *of == lane) {
            files.extend(spool.append(lane, packed)?.into_iter().map(|file| (lane, file)));
        }
        files.extend(spool.finish(lane)?.map(|file| (lane, file)));
    }
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let begin = Instant::now();
        check(&files, customers)?;
        times.push(begin.elapsed());
    }
    show(&format!("check, level {level_name}"), times, rows, text, None);
    Ok(())
}

fn check(files: &[(usize, SpooledFile)], customers: &[MadeCustomer]) -> Outcome<()> {
    let header: Vec<String> =
        columns().iter().map(|column| column.title(HeaderStyle::Snake).to_owned()).collect();
    for (lane, file) in files {
        let accounts = customers.get(*lane).into_iter().flat_map(|customer| &customer.accounts);
        let own: HashSet<Vec<u8>> = accounts.map(|account| account.id.as_str().into()).collect();
        let expected = Expected {
            header: header.clone(),
            rows: file.rows,
            rows_hash: Some(file.rows_hash),
            accounts: Some(&own),
        };
        check_file(&file.path, &file.members, &expected)?;
    }
    Ok(())
}

fn show(step: &str, mut times: Vec<Duration>, rows: u64, text: u64, packed: Option<u64>) {
    times.sort_unstable();
    let seconds = times[times.len() / 2].as_secs_f64();
    let (rows, text) = (rows as f64, text as f64);
    let ratio = packed.map_or_else(String::new, |packed| format!("{:.4}", packed as f64 / text));
    println!(
        "{step:<28} {:>9.0} {:>12.0} {:>9.0} {ratio:>7}",
        seconds * 1e9 / rows,
        rows / seconds,
        text / 1e6 / seconds
    );
}
