//! A year of daily runs in fast motion: AWS grows and restates its months, accounts move, targets fail, runs are
//! killed. Every evening the four zeros are zero; at the end everything that is live is what one run from scratch
//! makes of the last source and the last settings.

mod aws;
mod customers;

use crate::harness::{Tree, code, number_of, program, say, stderr, temp, tree, write};
use crate::random_report::Draw;
use aws::Aws;
use customers::Customers;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

/// What happened in a year, for the line that says so.
#[derive(Default)]
struct Happened {
    restatements: usize,
    moves: usize,
    failures: usize,
    crashes: usize,
    locked: BTreeSet<String>,
    waiting: BTreeSet<String>,
}

struct Year<'a> {
    place: &'a Path,
    draw: Draw,
    aws: Aws,
    customers: Customers,
    happened: Happened,
}

#[test]
fn a_year_of_days_ends_where_one_run_from_scratch_ends() {
    let days = number_of("APPORTION_DAYS", 75) as i32;
    let place = temp();
    let mut draw = Draw::new(365);
    let customers = Customers::new(&mut draw);
    let aws = Aws::new(customers.all_accounts());
    let mut year = Year { place: place.path(), draw, aws, customers, happened: Happened::default() };
    for day in 0..days {
        year.day(day);
    }
    year.compare_with_one_run();
    let Happened { restatements, moves, failures, crashes, locked, waiting } = year.happened;
    assert!(restatements > days as usize / 20 && moves > 0 && failures > 0 && crashes > 0);
    say(&format!(
        "year: {days} days, {restatements} restatements, {moves} moves, {failures} failures, {crashes} crashes, \
         {} months locked and {} of them waiting, four zeros every day, equal to one run from scratch",
        locked.len(),
        waiting.len()
    ));
}

impl Year<'_> {
    fn program(&self, what: &[&str], more: &[&str]) -> Command {
        let settings = self.place.join("apportion.toml");
        let mut command = program(what);
        command.args(["--config", settings.to_str().unwrap()]).args(more);
        command
    }

    fn deliver(&self, environment: &[(&str, String)]) -> Output {
        let spool = self.place.join("spool");
        let mut command = self.program(&["deliver"], &["--spool", spool.to_str().unwrap(), "--threads", "2"]);
        command.envs(environment.iter().map(|(name, value)| (*name, value.clone()))).output().unwrap()
    }

    fn day(&mut self, day: i32) {
        let mut changed = self.aws.pass_a_day(day, &mut self.draw);
        if self.draw.percent(35) {
            let restated = self.aws.restate(day, &mut self.draw);
            self.happened.restatements += restated.len();
            changed.extend(restated);
        }
        if self.draw.percent(8) {
            self.customers.move_one(day, &mut self.draw);
            self.happened.moves += 1;
            changed.insert(aws::month_of(day));
        }
        self.aws.write(&self.place.join("source"), &changed, day);
        write(&self.place.join("apportion.toml"), self.customers.settings().as_bytes());
        if self.draw.percent(6) {
            self.fail_one_target();
        }
        if self.draw.percent(8) {
            self.crash();
        }
        self.deliver_well(day);
        self.audit(&changed);
        self.lock(day);
    }

    /// One customer's target is broken for a run: the others get theirs.
    fn fail_one_target(&mut self) {
        let target = self.place.join("targets").join(self.customers.one(&mut self.draw));
        let hidden = target.with_extension("hidden");
        let was_there = target.exists();
        if was_there {
            std::fs::rename(&target, &hidden).unwrap();
        }
        write(&target, b"not a folder");
        let out = self.deliver(&[]);
        assert_eq!(code(&out), 3, "{}", stderr(&out));
        std::fs::remove_file(&target).unwrap();
        if was_there {
            std::fs::rename(&hidden, &target).unwrap();
        }
        self.happened.failures += 1;
    }

    /// A run dies before one of its writes.
    fn crash(&mut self) {
        let at = self.draw.within(1..400).to_string();
        let out = self.deliver(&[("APPORTION_KILL_AT", at)]);
        self.happened.crashes += usize::from(out.status.code().is_none());
    }

    fn deliver_well(&mut self, day: i32) {
        let out = self.deliver(&[]);
        let waiting = self.aws.changed_since_locked();
        let expected = if waiting.is_empty() { 0 } else { 3 };
        assert_eq!(code(&out), expected, "day {day}, waiting {waiting:?}: {}", stderr(&out));
        self.happened.waiting = waiting;
    }

    /// The auditor finds nothing in the months that changed today.
    fn audit(&self, changed: &BTreeSet<String>) {
        let months: Vec<&str> =
            changed.iter().filter(|month| !self.aws.is_locked(month)).map(String::as_str).collect();
        if months.is_empty() {
            return;
        }
        let out = self.program(&["audit"], &["--period", &months.join(",")]).output().unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        for zero in ["rows unexplained", "money unexplained", "cells of others", "files not as manifest says"]
        {
            let told = stderr(&out);
            let line = told.lines().find(|line| line.starts_with(zero)).unwrap_or_else(|| panic!("{told}"));
            assert!(line.trim_end().ends_with(" 0"), "{line}");
        }
    }

    /// On the 20th the month before last is closed, now and then.
    fn lock(&mut self, day: i32) {
        let Some(month) = self.aws.month_to_close(day).filter(|_| self.draw.percent(60)) else { return };
        let out = self.program(&["periods", "lock", &month], &["--reason", "closed"]).output().unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        self.aws.lock(&month);
        self.happened.locked.insert(month);
    }

    /// What the live manifests name, those of months that wait apart, is what one run makes of it all.
    fn compare_with_one_run(&self) {
        let scratch = temp();
        let settings = scratch.path().join("apportion.toml");
        write(&settings, self.customers.settings().as_bytes());
        std::os::unix::fs::symlink(self.place.join("source"), scratch.path().join("source")).unwrap();
        let out = program(&["deliver", "--config", settings.to_str().unwrap()]).output().unwrap();
        assert_eq!(code(&out), 0, "{}", stderr(&out));
        let apart = |key: &str| self.happened.locked.iter().any(|month| key.contains(&aws::period_of(month)));
        let (year, once) = (live(&self.place.join("targets")), live(&scratch.path().join("targets")));
        let (year, once) = (without(year, apart), without(once, apart));
        assert!(once.len() > 40, "{} objects", once.len());
        let differing: Vec<&String> =
            year.keys().chain(once.keys()).filter(|key| year.get(*key) != once.get(*key)).collect();
        assert!(differing.is_empty(), "{} objects differ: {differing:?}", differing.len());
        let (year, once) = (masters(&self.place.join("msp")), masters(&scratch.path().join("msp")));
        let (year, once) = (without(year, apart), without(once, apart));
        assert_eq!(year.keys().collect::<Vec<_>>(), once.keys().collect::<Vec<_>>());
        assert!(year == once, "the master proofs differ");
    }
}

fn without(tree: Tree, apart: impl Fn(&str) -> bool) -> Tree {
    tree.into_iter().filter(|(key, _)| !apart(key)).collect()
}

/// The manifests that are live, and every object that they name.
fn live(targets: &Path) -> Tree {
    let mut named = Tree::new();
    for target in std::fs::read_dir(targets).unwrap() {
        let target = target.unwrap();
        let objects = tree(&target.path());
        let name = target.file_name().into_string().unwrap();
        let manifests = objects.iter().filter(|(key, _)| is_pointer(key));
        for (key, bytes) in manifests {
            let manifest: Value = serde_json::from_slice(bytes).unwrap();
            let artifacts = manifest["additionalArtifactKeys"].as_array().unwrap();
            let keys = manifest["reportKeys"].as_array().unwrap().iter();
            for object in keys.chain(artifacts.iter().map(|artifact| &artifact["name"])) {
                let object = object.as_str().unwrap();
                named.insert(format!("{name}/{object}"), objects[object].clone());
            }
            named.insert(format!("{name}/{key}"), bytes.clone());
        }
    }
    named
}

/// Whether a key is that of a manifest that moves, not of one assembly's own.
fn is_pointer(key: &str) -> bool {
    let above = |key: &str| key.rsplit('/').nth(1).unwrap_or_default().len() == "20250101-20250201".len();
    key.ends_with("-Manifest.json") && above(key)
}

/// The newest master proof of each month, and the unassigned files that it names.
fn masters(msp: &Path) -> Tree {
    let objects = tree(msp);
    let mut newest = BTreeMap::new();
    for (_, bytes) in objects.iter().filter(|(key, _)| key.ends_with("-MasterPointer.json")) {
        let pointer: Value = serde_json::from_slice(bytes).unwrap();
        let key = pointer["proof"].as_str().unwrap();
        let proof: Value = serde_json::from_slice(&objects[key]).unwrap();
        for file in proof["unassigned"]["files"].as_array().unwrap() {
            let key = file["key"].as_str().unwrap();
            newest.insert(key.to_owned(), objects[key].clone());
        }
        newest.insert(key.to_owned(), objects[key].clone());
    }
    newest
}
