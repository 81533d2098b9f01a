//! Helpers: a place for one test, the program in a clean environment, and reports written by hand.

use crate::harness::is_of_runs;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// What a run of the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Ends the test unless the program ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Ends the test unless stderr holds all of these, in any order.
    #[track_caller]
    pub fn tells(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing in:\n{}", self.err);
        }
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in:\n{}", self.out))
    }
}

/// The program, in a clean environment: whatever the developer has set doesn't count.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    // No test asks a machine of the cloud who it is.
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A folder of a test's own, in which the program runs.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: TempDir::new().unwrap() };
        fs::create_dir(place.at("tmp")).unwrap();
        place
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, its folders included.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.at(path);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }

    /// The program, with its temporary files in `tmp`.
    pub fn command(&self) -> Command {
        let mut command = program(self.folder());
        command.env("TMPDIR", self.at("tmp"));
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Said {
        Said::of(self.command().args(args).output().unwrap())
    }

    /// Every file below a folder with its bytes, but for what tells of runs.
    pub fn tree(&self, path: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let root = self.at(path);
        if root.exists() {
            walk(&root, &root, &mut found);
        }
        found.retain(|key, _| !is_of_runs(key) && key != "msp/");
        found
    }
}

fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // An empty folder is also something that was left behind.
            found.insert(format!("{}/", path.strip_prefix(root).unwrap().display()), Vec::new());
            walk(root, &path, found);
        } else {
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), fs::read(&path).unwrap());
        }
    }
}

/// Two trees that differ are shown by name, not by their bytes.
#[track_caller]
pub fn same_tree(before: &BTreeMap<String, Vec<u8>>, now: &BTreeMap<String, Vec<u8>>) {
    let differing: Vec<&String> =
        before.keys().chain(now.keys()).filter(|name| before.get(*name) != now.get(*name)).collect();
    assert!(differing.is_empty(), "changed, new or gone: {differing:?}");
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zip archive of files with these names.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A batch as a Parquet file.
pub fn parquet(batch: &arrow_array::RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

/// `testdata` of the repository.
pub fn testdata() -> PathBuf {
    workspace().join("testdata")
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Whether a set of tests must not be skipped: `APPORTION_REQUIRE` lists those.
pub fn required(name: &str) -> bool {
    std::env::var("APPORTION_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one.trim() == name))
}

/// Says that something is skipped; fails where it is required.
#[track_caller]
pub fn skip(name: &str, why: &str) {
    assert!(!required(name), "APPORTION_REQUIRE names {name}, but {why}");
    eprintln!("skipped: {name}: {why}");
}

/// A Python that has duckdb, polars, pandas and pyarrow, named by `APPORTION_READERS_PYTHON`.
#[track_caller]
pub fn readers_python() -> Option<PathBuf> {
    let python = std::env::var_os("APPORTION_READERS_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip("readers", "APPORTION_READERS_PYTHON names no Python with duckdb, polars, pandas and pyarrow");
    }
    python
}

/// The columns of a small legacy report.
pub const HEADER: &str = "identity/LineItemId,bill/PayerAccountId,bill/BillingPeriodStartDate,\
lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/ProductCode,\
lineItem/UsageAmount,lineItem/CurrencyCode,lineItem/UnblendedCost";

/// A row of a small legacy report of March 2025.
pub fn row(id: u32, account: &str, day: u32, cost: &str) -> String {
    format!(
        "id{id},999900001111,2025-03-01T00:00:00Z,{account},Usage,2025-03-{day:02}T00:00:00Z,AmazonEC2,1,USD,{cost}"
    )
}

/// The text of a small legacy report of March 2025 with some line items for two accounts.
pub fn small_csv(rows: u32) -> String {
    let mut text = format!("{HEADER}\n");
    for id in 1..=rows {
        let account = if id % 3 == 0 { "444455556666" } else { "111122223333" };
        text.push_str(&row(id, account, 1 + id % 28, &format!("0.{id:04}")));
        text.push('\n');
    }
    text
}

pub const PERIOD_FOLDER: &str = "cur/rpt/20250301-20250401";
pub const MANIFEST: &str = "cur/rpt/20250301-20250401/rpt-Manifest.json";

/// A legacy manifest of March 2025.
pub fn manifest(assembly: &str, files: &[&str]) -> Value {
    let keys: Vec<String> = files.iter().map(|file| format!("{PERIOD_FOLDER}/{assembly}/{file}")).collect();
    json!({
        "assemblyId": assembly,
        "account": "999900001111",
        "columns": [],
        "charset": "UTF-8",
        "compression": "GZIP",
        "contentType": "text/csv",
        "reportName": "rpt",
        "billingPeriod": { "start": "20250301T000000.000Z", "end": "20250401T000000.000Z" },
        "bucket": "msp-cur",
        "reportKeys": keys,
        "additionalArtifactKeys": [],
    })
}

impl Place {
    /// Writes a report of March 2025 into `source`, one gzip file per text.
    pub fn report(&self, assembly: &str, texts: &[&[u8]]) {
        let objects: Vec<Vec<u8>> = texts.iter().map(|text| gzip(text)).collect();
        self.objects(assembly, &objects.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    /// Writes a report of March 2025 into `source`, with these bytes as its objects.
    pub fn objects(&self, assembly: &str, objects: &[&[u8]]) {
        let names: Vec<String> = (1..=objects.len()).map(|number| format!("rpt-{number}.csv.gz")).collect();
        for (name, bytes) in names.iter().zip(objects) {
            self.write(&format!("source/{PERIOD_FOLDER}/{assembly}/{name}"), bytes);
        }
        let manifest = manifest(assembly, &names.iter().map(String::as_str).collect::<Vec<_>>());
        self.write(&format!("source/{MANIFEST}"), manifest.to_string());
    }

    /// Settings for two customers, with everything in this place.
    pub fn two_customers(&self) {
        self.write(
            "apportion.toml",
            "[[source]]\nurl = \"source\"\n\n[msp]\nurl = \"msp\"\n\n\
             [[customer]]\nid = \"acme\"\naccounts = [\"111122223333\"]\n[customer.deliver]\nurl = \"targets/acme\"\n\n\
             [[customer]]\nid = \"beta\"\naccounts = [\"444455556666\"]\n[customer.deliver]\nurl = \"targets/beta\"\n",
        );
    }
}
