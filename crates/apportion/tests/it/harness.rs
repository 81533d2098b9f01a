//! What the tests of this binary share: places, trees, the program itself.

pub use crate::support::{gunzip, gzip, workspace};

use crate::support::required;
use apportion_model::ObjectKey;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Every file below a folder, by its key.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// A folder of its own, in memory where the system has such a place: the tests sync thousands of small files.
pub fn temp() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("apportion-it-").to_owned();
    let made = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    made.unwrap()
}

/// A number from the environment.
pub fn number_of(variable: &str, default: u64) -> u64 {
    #[allow(clippy::disallowed_methods)] // How much is tested is the environment's to say.
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Whether there is a Python to be the oracle; fails where one is required.
pub fn has_python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(there || !required("python"), "APPORTION_REQUIRE says python, and there is no python3");
    there
}

/// A line that is seen although tests catch what they print.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Reads a tree; a folder that isn't there is an empty one.
pub fn tree(folder: &Path) -> Tree {
    fn walk(root: &Path, folder: &Path, found: &mut Tree) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                if !is_of_runs(&key) {
                    found.insert(key, fs::read(&path).unwrap());
                }
            }
        }
    }
    let mut found = Tree::new();
    walk(folder, folder, &mut found);
    found
}

/// Whether a key of the MSP's place tells of runs, and so differs from run to run: leases and the delivery log.
pub fn is_of_runs(key: &str) -> bool {
    let below = |place: &&str| key.strip_prefix(*place).is_some_and(ObjectKey::tells_of_runs);
    ["", "msp/", "deep/er/"].iter().any(below)
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Copies a folder with its file times, which are the generations of a source.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if old.is_dir() {
            copy(&old, &new);
        } else {
            fs::copy(&old, &new).unwrap();
            let time = fs::metadata(&old).unwrap().modified().unwrap();
            File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        }
    }
}

/// Gives a file a time, in seconds since 1970.
pub fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The text of an object: unpacked if it is packed.
pub fn text_of(key: &str, bytes: &[u8]) -> String {
    let text = if key.ends_with(".gz") { gunzip(bytes) } else { bytes.to_vec() };
    String::from_utf8(text).unwrap()
}

/// Records of a CSV text, the header first.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// One CSV cell, quoted where it must be.
pub fn csv_cell(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// The program, not yet started, without anything of this environment that would steer it.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apportion"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("APPORTION_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--no-progress");
    command
}

/// Runs the program with settings.
pub fn run(what: &str, settings: &Path, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = program(&[what, "--config", settings.to_str().unwrap()]);
    command.args(more).envs(environment.iter().copied());
    command.output().unwrap()
}

/// The exit code, or -1 for a death by signal.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether anything is published below a place: a manifest, or a pointer to a master proof.
pub fn has_manifests(place: &Path) -> bool {
    ["targets", "msp"].iter().any(|name| {
        tree(&place.join(name))
            .keys()
            .any(|key| key.ends_with("-Manifest.json") || key.ends_with("-MasterPointer.json"))
    })
}
