//! Random rows wait, become Parquet and are checked: whatever batches they came in, on any number of threads.

use crate::check::{CheckError, Expected, check_parquet};
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use crate::write::{Order, SpooledFile, WaitedRows, WaitingLane, write_parquet};
use apportion_core::columns::{Contract, known};
use apportion_core::line_item::{Batch, Cells, OtherColumn, Texts};
use apportion_core::mask::Mask;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Numbers that look random and are the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The cells of a column: as text, number or moment, hardly ever repeated or nearly always, sometimes blank, sometimes
/// no number, quoted in a CSV, or not UTF-8.
fn cell(draw: &mut Draw, column: u64) -> Vec<u8> {
    let number = if column.is_multiple_of(5) { draw.below(1 << 30) } else { draw.below(1 + column % 7) };
    match (column % 11, draw.below(40)) {
        (0, _) | (1, 0..30) => Vec::new(),
        (_, 0) => b"a \"b\", c".to_vec(),
        (_, 1) => vec![0xFF, b'x'],
        (_, 2) => b"-0".to_vec(),
        (2..6, _) => format!("{}.{:07}", number % 9, number).into_bytes(),
        (6, _) => format!("2026-10-{:02}T{:02}:00:00Z", 1 + number % 28, number % 24).into_bytes(),
        _ => format!("text {number}").into_bytes(),
    }
}

/// All rows, a list of cells per known column and two more that have one name.
fn rows(draw: &mut Draw, rows: usize) -> Vec<Vec<Vec<u8>>> {
    let account = known().well_known().usage_account.index();
    let columns = known().count() + 2;
    let draw_cell = |draw: &mut Draw, column: usize| {
        if column == account { b"111122223333".to_vec() } else { cell(draw, column as u64) }
    };
    (0..columns).map(|column| (0..rows).map(|_| draw_cell(draw, column)).collect()).collect()
}

fn cells(draw: &mut Draw, texts: &[Vec<u8>]) -> Cells {
    if texts.iter().all(Vec::is_empty) {
        return Cells::Blank;
    }
    let mut all = Texts::default();
    if draw.below(2) == 0 {
        texts.iter().for_each(|text| all.push(text));
        return Cells::Plain(Arc::new(all));
    }
    let mut distinct: Vec<&Vec<u8>> = texts.iter().collect();
    distinct.sort();
    distinct.dedup();
    distinct.iter().for_each(|text| all.push(text));
    let codes = texts.iter().map(|text| distinct.binary_search(&text).unwrap() as u32).collect();
    Cells::Coded { codes, texts: Arc::new(all) }
}

/// Hands the rows over in batches, some of which go to the disk at once.
fn waited(draw: &mut Draw, columns: &[Vec<Vec<u8>>], contract: Contract, path: &Path) -> WaitedRows {
    let mut lane = WaitingLane::new(contract, Mask::faithful(), Some(path.to_owned()));
    let (mut from, all) = (0, columns[0].len());
    while from < all {
        let to = all.min(from + 1 + draw.below(3000) as usize);
        let mut cells: Vec<Cells> = columns.iter().map(|column| cells(draw, &column[from..to])).collect();
        let other = cells.split_off(known().count()).into_iter().zip(["tags/CostCenter", "tags/costCenter"]);
        let other = other.map(|(cells, header)| OtherColumn {
            name: "resource_tags_user_cost_center".into(),
            header: header.into(),
            cells,
        });
        let batch = Batch {
            object: "some.csv.gz".into(),
            first_row: 1,
            rows: to - from,
            offsets: None,
            known: cells,
            source: Vec::new(),
            other: other.collect(),
        };
        lane.append(&batch, &(0..(to - from) as u32).collect::<Vec<_>>()).unwrap();
        if draw.below(3) == 0 {
            lane.flush().unwrap();
        }
        from = to;
    }
    lane.finish(&mut |_| Ok(())).unwrap()
}

fn workers(threads: usize) -> Workers {
    Workers::new(threads, Stage::Parquet, &Meter::default())
}

fn written(waited: &WaitedRows, order: Order, folder: &Path, threads: usize) -> (Vec<SpooledFile>, String) {
    let mut files = Vec::new();
    let told =
        write_parquet::<crate::write::WriteError>(waited, order, folder, &workers(threads), &mut |file| {
            files.push(file);
            Ok(())
        });
    (files, format!("{:?}", told.unwrap()))
}

#[test]
fn the_same_bytes_from_any_batches_and_threads_and_they_hold_the_rows() {
    let place = tempfile::tempdir().unwrap();
    let mut draw = Draw(7);
    let own: HashSet<Vec<u8>> = [b"111122223333".to_vec()].into();
    for (round, count) in [1, 700, 9_000, 40_000].into_iter().enumerate() {
        let columns = rows(&mut draw, count);
        let (contract, order) =
            [(Contract::Source, Order::Sorted), (Contract::Eco, Order::Source)][round % 2];
        let mut results = Vec::new();
        for threads in [1, 3] {
            let folder = place.path().join(format!("{round}-{threads}"));
            std::fs::create_dir(&folder).unwrap();
            let waited = waited(&mut draw, &columns, contract, &folder.join("waiting"));
            let (files, told) = written(&waited, order, &folder.join("files"), threads);
            assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), count as u64);
            for file in &files {
                let expected = |rows, hash| Expected {
                    header: Vec::new(),
                    rows,
                    rows_hash: Some(hash),
                    accounts: Some(&own),
                };
                let check =
                    |expected| check_parquet(&file.path, &waited.columns, &expected, &workers(threads));
                let checked = check(expected(file.rows, file.rows_hash)).unwrap();
                assert_eq!(checked.bytes, file.bytes);
                let other = check(expected(file.rows, file.rows_hash.wrapping_add(1)));
                assert!(matches!(other, Err(CheckError::Cells { .. })));
                let fewer = check(expected(file.rows + 1, file.rows_hash));
                assert!(matches!(fewer, Err(CheckError::Rows { .. })));
            }
            let bytes: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(&file.path).unwrap()).collect();
            let hashes: Vec<u128> = files.iter().map(|file| file.rows_hash).collect();
            results.push((bytes, hashes, told, waited.columns.clone(), waited.filled.clone()));
        }
        assert!(results[0] == results[1], "round {round}");
    }
}

#[test]
fn an_account_that_is_not_ones_own_is_found_in_its_row() {
    let place = tempfile::tempdir().unwrap();
    let mut columns = rows(&mut Draw(3), 20_000);
    columns[known().well_known().usage_account.index()][18_000] = b"999900001111".to_vec();
    let waited = waited(&mut Draw(5), &columns, Contract::Eco, &place.path().join("waiting"));
    let (files, _) = written(&waited, Order::Source, &place.path().join("files"), 2);
    let own: HashSet<Vec<u8>> = [b"111122223333".to_vec()].into();
    let (rows, rows_hash) = (files[0].rows, Some(files[0].rows_hash));
    let expected = Expected { header: Vec::new(), rows, rows_hash, accounts: Some(&own) };
    let stray = check_parquet(&files[0].path, &waited.columns, &expected, &workers(2));
    assert!(
        matches!(&stray, Err(CheckError::Stray { row: 18_001, account, .. }) if account == "999900001111"),
        "{stray:?}"
    );
}
