//! The least that a delivery can cost, on all threads: `cargo bench -p apportion-flow --bench floor -- SOURCE DELIVERED`.
//!
//! SOURCE is a folder with a month as Parquet, DELIVERED one with the csv.gz files that a run made of it. Measured is what no
//! order of doing things avoids: decoding the source into columns, compressing the text of the delivered files in members
//! as they are, and decoding those again. No line item is routed, booked, written, sorted, hashed or compared. Each line
//! is the time of all threads together, and the median of several passes; compare it with `deliver --timings`.
#![allow(clippy::print_stdout, clippy::float_arithmetic)]

use apportion_flow::write::{Compressors, Level};
use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PASSES: usize = 3;
const BATCH_ROWS: usize = 8192;

fn main() -> Outcome<()> {
    let folders: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [source, delivered] = folders.as_slice() else {
        println!("floor: needs two folders, a month as Parquet and what was delivered of it");
        return Ok(());
    };
    let threads = std::thread::available_parallelism()?.get();
    let groups = row_groups(Path::new(source))?;
    let texts = texts(Path::new(delivered))?;
    let bytes: usize = texts.iter().map(Vec::len).sum();
    println!(
        "{threads} threads, medians of {PASSES}; {} row groups, {} members, {bytes} bytes of text",
        groups.len(),
        texts.len()
    );
    let decode = measure("decode the source", threads, groups.len(), &|place| {
        let (path, metadata, group) = &groups[place];
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(path)?, metadata.clone());
        for batch in reader.with_row_groups(vec![*group]).with_batch_size(BATCH_ROWS).build()? {
            std::hint::black_box(batch?);
        }
        Ok(())
    })?;
    for level in Level::ALL {
        let mut members: Vec<Vec<u8>> = Vec::new();
        for text in &texts {
            let mut member = Vec::new();
            Compressors::default().compress(level, text, &mut member)?;
            members.push(member);
        }
        let name = level.as_str();
        let compress = measure(&format!("compress, level {name}"), threads, texts.len(), &|place| {
            let mut member = Vec::with_capacity(texts[place].len() / 4);
            Compressors::default().compress(level, &texts[place], &mut member)?;
            std::hint::black_box(member);
            Ok(())
        })?;
        let again = measure(&format!("decode again, level {name}"), threads, texts.len(), &|place| {
            let mut text = vec![0; texts[place].len()];
            Decompressor::new().gzip_decompress(&members[place], &mut text)?;
            std::hint::black_box(text);
            Ok(())
        })?;
        let floor = decode + compress + again;
        println!("floor, level {name}: {:.2} s of all threads", floor.as_secs_f64());
    }
    Ok(())
}

/// Does so many pieces of work on all threads; the time of all threads together.
fn measure(
    what: &str,
    threads: usize,
    pieces: usize,
    work: &(dyn Fn(usize) -> Outcome<()> + Sync),
) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..PASSES {
        let next = AtomicUsize::new(0);
        let spent = std::thread::scope(|scope| {
            let thread = || -> Outcome<Duration> {
                let begin = Instant::now();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= pieces {
                        return Ok(begin.elapsed());
                    }
                    work(place)?;
                }
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
            running
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a thread gave up")?)
                .sum::<Outcome<Duration>>()
        })?;
        times.push(spent);
    }
    times.sort();
    let median = times[PASSES / 2];
    println!("{what:<28} {:>6.2} s", median.as_secs_f64());
    Ok(median)
}

type RowGroup = (PathBuf, ArrowReaderMetadata, usize);

fn row_groups(folder: &Path) -> Outcome<Vec<RowGroup>> {
    let mut groups = Vec::new();
    for path in files(folder, ".parquet")? {
        let metadata = ArrowReaderMetadata::load(&File::open(&path)?, Default::default())?;
        let count = metadata.metadata().num_row_groups();
        groups.extend((0..count).map(|group| (path.clone(), metadata.clone(), group)));
    }
    Ok(groups)
}

/// The text of each gzip member.
fn texts(folder: &Path) -> Outcome<Vec<Vec<u8>>> {
    let mut texts = Vec::new();
    for path in files(folder, ".csv.gz")? {
        let bytes = std::fs::read(&path)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut decoder = GzDecoder::new(rest);
            let mut text = Vec::new();
            decoder.read_to_end(&mut text)?;
            rest = decoder.into_inner();
            texts.push(text);
        }
    }
    Ok(texts)
}

fn files(folder: &Path, ending: &str) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
