//! `selftest` on a real folder: what it shows, what it leaves (nothing), and that it turns red.

use crate::support::{Place, Said};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn place() -> Place {
    let place = Place::new();
    place.write("here/something of the user's", "stays");
    place
}

/// Nothing of the test is left, and nothing else is gone.
#[track_caller]
fn tidy(place: &Place) {
    let left: Vec<String> = place.tree("here").into_keys().collect();
    assert_eq!(left, ["something of the user's"]);
}

#[test]
fn a_folder_passes_and_nothing_is_left_behind() {
    let place = place();
    let said = place.run(&["selftest", "--target", "here", "--crashes", "8", "-o", "json"]).expect(0);
    let report = said.json();
    assert_eq!(
        report["exam_passed"].as_array().unwrap().len() as u64,
        report["exam_parts"].as_u64().unwrap()
    );
    assert_eq!(report["crash_points"], 8);
    assert!(report["died"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(report["failures"].as_array().unwrap().len(), 0, "{report:#}");
    tidy(&place);
    let table = place.run(&["selftest", "--target", "here", "--crashes", "0"]).expect(0);
    assert!(table.out.contains("store exam") && table.out.contains("crash points"), "{}", table.out);
    tidy(&place);
    place.run(&["selftest", "--target", "nowhere"]).expect(10).tells(&["nowhere"]);
}

#[test]
fn code_14_for_a_store_that_is_too_weak() {
    let place = place();
    let mut command = place.command();
    command.args(["selftest", "--target", "here"]).env("APPORTION_PLANT", "store-weak");
    let said = Said::of(command.output().unwrap()).expect(14);
    said.tells(&["compare-and-swap", "can't do what a safe commit needs"]);
    tidy(&place);
}

#[cfg(unix)]
#[test]
fn an_interruption_cleans_up() {
    let place = place();
    let mut command = place.command();
    command.args(["selftest", "--target", "here", "--crashes", "1000"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    // What is there changes all the time: only names right below are looked at.
    let begins = || {
        let inside = std::fs::read_dir(place.at("here")).unwrap().map(|entry| entry.unwrap().path());
        inside.into_iter().any(|path| path.join("before/targets").is_dir())
    };
    while !begins() {
        assert!(begun.elapsed() < Duration::from_secs(120), "it never came to a crash point");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Said::of(child.wait_with_output().unwrap()).expect(130).tells(&["interrupted"]);
    tidy(&place);
}
