//! Each check is seen to turn red, through the real program: a bug is planted, and the check whose duty it is says
//! so. A check that never turned red proves nothing.

use crate::harness::{Tree, code, has_manifests, run, say, stderr, temp, tree, workspace};
use crate::read_back::is_data;
use crate::small_report::{Look, deliver, delivered_looking, make, make_looking};
use apportion_flow::plant::Plant;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Output;

const ROWS: usize = 60;

/// Which check must turn red.
enum Red {
    /// `deliver` itself, exit 4 with this word, nothing published.
    Deliver(&'static str),
    /// `verify` of this target, and `audit`.
    VerifyAndAudit(&'static str),
    /// `audit` alone, with this finding: a consumer can't know.
    Audit(&'static str),
    /// `selftest`, which examines the store; `selftest.rs` holds it.
    Selftest,
}

fn expected(name: &str) -> Red {
    match name {
        "split-drop" | "split-double" => Red::Deliver("does not balance"),
        "split-stray" => Red::Deliver("isn't this customer's"),
        "write-cell" => Red::Deliver("the cells aren't those"),
        "write-drop" => Red::Deliver("rows where"),
        "write-byte" => Red::Deliver("not what was handed over"),
        "mask-skip" => Red::Audit("foreign_cell"),
        "column-stray" => Red::Audit("columns"),
        "publish-short" | "publish-cut" => Red::VerifyAndAudit("t0"),
        // The first customer's manifest lies in the second's target.
        "publish-stray" => Red::VerifyAndAudit("t1"),
        "store-weak" => Red::Selftest,
        other => panic!("no test says what catches {other}"),
    }
}

fn verify(place: &Path, target: &str) -> Output {
    let target = place.join("targets").join(target);
    let mut command = crate::harness::program(&["verify", "--target", target.to_str().unwrap()]);
    command.output().unwrap()
}

fn audit(settings: &Path) -> (i32, Value) {
    let out = run("audit", settings, &["--output", "json"], &[]);
    let report = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", stderr(&out)));
    (code(&out), report)
}

/// Nothing is planted: nobody says anything.
fn all_green(place: &Path, settings: &Path) {
    for target in ["t0", "t1"] {
        assert_eq!(code(&verify(place, target)), 0);
    }
    let (code, report) = audit(settings);
    assert_eq!(code, 0, "{report}");
}

/// Whether a bug can strike at all: `eco` has no column but its own.
fn can_strike(look: Look, name: &str) -> bool {
    name != "column-stray" || look == Look::Waiting
}

#[test]
fn every_planted_bug_is_caught_by_the_check_whose_duty_it_is() {
    let mut caught = 0;
    for look in [Look::Plain, Look::Waiting, Look::Parquet] {
        let (good, good_settings) = delivered_looking(look, ROWS);
        all_green(good.path(), &good_settings);
        let wanted = tree(&good.path().join("targets"));
        for (name, _) in Plant::NAMES.iter().filter(|(name, _)| can_strike(look, name)) {
            caught_in(look, name, &wanted);
            caught += 1;
        }
    }
    say(&format!("planted: {} bugs, {caught} times caught", Plant::NAMES.len()));
}

fn caught_in(look: Look, name: &str, wanted: &Tree) {
    let place = temp();
    let settings = make_looking(look, place.path(), 1, ROWS);
    let out = deliver(&settings, &[("APPORTION_PLANT", name)]);
    let said = format!("{look:?}: {}", stderr(&out));
    assert!(said.contains(&format!("planted the bug {name}")), "{name}: {said}");
    match expected(name) {
        Red::Deliver(word) => {
            assert_eq!(code(&out), 4, "{name}: {said}");
            assert!(said.contains(word), "{name}: {said}");
            assert!(!has_manifests(place.path()), "{name}: published");
            assert_eq!(fs::read_dir(place.path().join("spool")).unwrap().count(), 0, "{name}");
            recovered(place.path(), &settings, wanted, name);
        }
        Red::VerifyAndAudit(target) => {
            assert_eq!(code(&out), 0, "{name}: {said}");
            let verified = verify(place.path(), target);
            assert_eq!(code(&verified), 4, "{name}: {}", stderr(&verified));
            let (code, report) = audit(&settings);
            assert_eq!(code, 4, "{name}: {report}");
        }
        Red::Audit(finding) => {
            assert_eq!(code(&out), 0, "{name}: {said}");
            let (code, report) = audit(&settings);
            assert_eq!(code, 4, "{name}: {report}");
            let zeros = report["periods"][0]["zeros"]["cells_of_others"].as_u64();
            assert!(name != "mask-skip" || zeros.is_some_and(|cells| cells > 0), "{name}: {report}");
            assert!(report["findings"].to_string().contains(finding), "{name}: {report}");
        }
        Red::Selftest => assert_eq!(code(&out), 0, "{name}: {said}"),
    }
}

/// Without the bug the next run goes through; where the sick one left other bytes, it says so and publishes nothing
/// of that customer until they are moved away, for data objects are never overwritten.
fn recovered(place: &Path, settings: &Path, wanted: &Tree, name: &str) {
    let targets = place.join("targets");
    let out = deliver(settings, &[]);
    if code(&out) != 0 {
        assert!(stderr(&out).contains("exists with other bytes"), "{name}: {}", stderr(&out));
        for (key, bytes) in tree(&targets).iter().filter(|(key, _)| !is_data(key)) {
            assert!(&wanted[key] == bytes, "{name}: {key}");
        }
        for folder in ["t0", "t1"] {
            fs::remove_dir_all(targets.join(folder)).unwrap();
        }
        let out = deliver(settings, &[]);
        assert_eq!(code(&out), 0, "{name}: {}", stderr(&out));
    }
    assert!(tree(&targets) == *wanted, "{name}: other bytes afterwards");
}

#[test]
fn an_unknown_bug_is_said_to_be_unknown() {
    let place = temp();
    let out = deliver(&make(place.path(), 1, 6), &[("APPORTION_PLANT", "nonsense")]);
    assert_eq!(code(&out), 0);
    assert!(stderr(&out).contains("no bug is called nonsense"));
}

/// All Rust sources of the crates that are shipped.
fn sources() -> Vec<(String, String)> {
    let crates = workspace().join("crates");
    let mut found = Vec::new();
    for name in ["apportion", "apportion-flow", "apportion-core", "apportion-model", "apportion-audit"] {
        let folder = crates.join(name).join("src");
        for (key, bytes) in tree(&folder).into_iter().filter(|(key, _)| key.ends_with(".rs")) {
            found.push((format!("{name}/{key}"), String::from_utf8(bytes).unwrap()));
        }
    }
    assert!(found.len() > 40, "{} sources", found.len());
    found
}

#[test]
fn a_build_for_users_contains_none_of_it() {
    for (file, text) in sources() {
        let hook = file == "apportion/commands/plant.rs";
        for word in ["APPORTION_PLANT", "APPORTION_KILL_AT", "APPORTION_COUNT_WRITES"] {
            assert!(hook || !text.contains(word), "{file} knows {word}");
        }
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // In the program, the module and each call of it stand behind the condition.
            if file.starts_with("apportion/") && !hook && line.contains("plant") && !line.contains("//") {
                assert!(
                    lines[number - 1].trim() == "#[cfg(debug_assertions)]",
                    "{file}:{}: {line}",
                    number + 1
                );
            }
            // Elsewhere a bug is only ever asked for, by functions that are constants in such a build.
            if file.starts_with("apportion-flow/")
                && file != "apportion-flow/plant.rs"
                && line.contains("Plant::")
            {
                let line = line.replace("plant::Plant::", "Plant::");
                assert!(
                    line.contains("strikes(Plant::") || line.contains("is_planted(Plant::"),
                    "{file}:{}: {line}",
                    number + 1
                );
            }
        }
        if file == "apportion-flow/plant.rs" {
            for function in text.split("pub fn ").skip(1) {
                let name = function.split('(').next().unwrap();
                let acts = ["is_planted", "strikes", "write_point"].contains(&name);
                assert!(acts == function.contains("cfg!(debug_assertions)"), "{name}");
                assert!(acts || ["plant", "kill_at", "writes"].contains(&name), "{name} is new");
            }
        }
    }
}
