//! The frozen table of exit codes: docs/exit-codes.md, the program's own, and a real case of each that can be provoked.

use crate::support::{Place, Said, gzip, same_tree, small_csv, workspace};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FROZEN: [u8; 13] = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 130, 143];
const SIGNALS: [u8; 2] = [130, 143];

#[test]
fn the_page_the_program_and_the_help_agree() {
    let page = fs::read_to_string(workspace().join("docs/exit-codes.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .filter(|row: &Vec<&str>| row[0] != "code")
        .collect();
    let told: Vec<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(told, FROZEN);
    let source = fs::read_to_string(workspace().join("crates/apportion/src/exit.rs")).unwrap();
    let mut known: BTreeSet<u8> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.split_once(": u8 = ")?.1.strip_suffix(';'))
        .map(|number| number.parse().unwrap())
        .collect();
    known.extend(SIGNALS);
    assert_eq!(known, FROZEN.into_iter().collect());
    let help = Place::new().run(&["--help"]).expect(0).out;
    for code in FROZEN {
        let there = help.split(|c: char| !c.is_ascii_digit()).any(|word| word == code.to_string());
        assert!(there, "--help doesn't name {code}");
    }
}

fn place() -> Place {
    let place = Place::new();
    place.two_customers();
    place.report("a1", &[small_csv(30).as_bytes()]);
    place
}

fn states(said: &Said) -> Vec<String> {
    let report = said.json();
    let customers = report["periods"][0]["customers"].as_array().unwrap();
    customers.iter().map(|customer| customer["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn code_0_also_when_there_is_nothing_to_do() {
    let place = place();
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["delivered", "delivered"]);
    let before = place.tree("targets");
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["unchanged", "unchanged"]);
    same_tree(&before, &place.tree("targets"));
}

#[test]
fn code_1_for_what_has_no_other() {
    let place = place();
    place.write("msp", "a file where a folder is due");
    place.run(&["deliver"]).expect(1).tells(&["error: ", "msp"]);
    assert!(!place.at("targets/acme/manifests").exists(), "nothing was published");
}

#[test]
fn code_2_for_mistakes() {
    let place = place();
    place.run(&["deliver", "--customer", "nobody"]).expect(2);
    place.run(&["delivr"]).expect(2);
    assert!(!place.at("targets").exists());
}

#[test]
fn code_3_when_one_customer_fails_and_another_does_not() {
    let place = place();
    place.write("targets/acme/manifests", "a file where a folder is due");
    let said = place
        .run(&["deliver", "-o", "json"])
        .expect(3)
        .tells(&["error: acme of 20250301-20250401", "manifests"]);
    assert_eq!(states(&said), ["failed", "delivered"]);
    place.run(&["verify", "--target", "targets/beta"]).expect(0);
    // Mended, the same command delivers the rest, and what was delivered stays.
    place.remove("targets/acme/manifests");
    let beta = place.tree("targets/beta");
    assert_eq!(states(&place.run(&["deliver", "-o", "json"]).expect(0)), ["delivered", "unchanged"]);
    same_tree(&beta, &place.tree("targets/beta"));
    place.run(&["verify"]).expect(0);
    place.run(&["audit"]).expect(0);
}

#[test]
fn code_4_when_a_delivered_file_is_not_what_it_was() {
    let place = place();
    place.run(&["deliver"]).expect(0);
    let name = place.tree("targets/acme").into_keys().find(|name| name.ends_with(".csv.gz")).unwrap();
    let text = crate::support::gunzip(&fs::read(place.at("targets/acme").join(&name)).unwrap());
    let text = String::from_utf8(text).unwrap().replacen("0.0001", "0.0002", 1);
    place.write(&format!("targets/acme/{name}"), gzip(text.as_bytes()));
    place.run(&["verify"]).expect(4).tells(&["error: acme of 20250301-20250401", &name]);
    place.run(&["audit"]).expect(4).tells(&["finding: ", &name]);
}

#[test]
fn code_5_when_the_source_is_not_ready_or_older() {
    let place = place();
    place.run(&["deliver"]).expect(0);
    let newer = place.tree("source");
    place.report("a0", &[small_csv(12).as_bytes(), small_csv(3).as_bytes()]);
    place.remove("source/cur/rpt/20250301-20250401/a0/rpt-2.csv.gz");
    place.run(&["deliver"]).expect(5).tells(&["isn't there", "run again"]);
    // A manifest of an earlier file time: a copy that lags behind.
    place.report("a0", &[small_csv(12).as_bytes()]);
    let manifest = place.at("source/cur/rpt/20250301-20250401/rpt-Manifest.json");
    let past = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&manifest).unwrap().set_modified(past).unwrap();
    let before = place.tree("targets");
    let said = place
        .run(&["deliver"])
        .expect(5)
        .tells(&["newer version of the source", "Deliver from the newer source"]);
    assert!(!said.err.contains("panicked"));
    let manifests = |tree: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<Vec<u8>> {
        tree.iter().filter(|(name, _)| name.contains("/manifests/")).map(|(_, bytes)| bytes.clone()).collect()
    };
    assert_eq!(manifests(&before), manifests(&place.tree("targets")));
    assert!(newer.len() > 3);
}

#[test]
fn code_10_for_what_is_not_there() {
    let place = place();
    place.run(&["verify", "--target", "nowhere"]).expect(10).tells(&["nowhere"]);
    place.run(&["deliver", "--period", "2024-01"]).expect(10);
    place.remove("source");
    place.run(&["deliver"]).expect(10);
    place.run(&["audit"]).expect(10);
}

/// As a user who may not read everything: root may.
#[cfg(unix)]
fn unprivileged(place: &Place) -> Command {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let mut command = place.command();
    if fs::metadata(place.folder()).unwrap().uid() == 0 {
        command.uid(65534);
        for (path, mode) in [("", 0o755), ("tmp", 0o777)] {
            fs::set_permissions(place.at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    command
}

#[cfg(unix)]
#[test]
fn code_12_for_what_may_not_be_read_or_written() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let set =
        |path: &str, mode| fs::set_permissions(place.at(path), fs::Permissions::from_mode(mode)).unwrap();
    let object = "source/cur/rpt/20250301-20250401/a1/rpt-1.csv.gz";
    set(object, 0o000);
    let said = Said::of(unprivileged(&place).args(["deliver"]).output().unwrap());
    said.expect(12).tells(&["rpt-1.csv.gz"]);
    let said = Said::of(unprivileged(&place).args(["audit"]).output().unwrap());
    said.expect(12).tells(&["source/cur/rpt/20250301-20250401/a1/rpt-1.csv.gz"]);
    set(object, 0o644);
    for folder in ["targets", "msp"] {
        fs::create_dir(place.at(folder)).unwrap();
    }
    set("targets", 0o555);
    set("msp", 0o777);
    let said = Said::of(unprivileged(&place).args(["deliver"]).output().unwrap());
    said.expect(12).tells(&["error: acme", "error: beta", "targets/acme"]);
    set("targets", 0o755);
}

#[test]
fn code_13_for_input_that_cannot_be_trusted() {
    let place = place();
    let whole = gzip(small_csv(3000).as_bytes());
    place.objects("a1", &[&whole[..whole.len() / 2]]);
    place.run(&["deliver"]).expect(13);
    place.report("a1", &[small_csv(3000).as_bytes()]);
    place.run(&["deliver", "--spool-limit", "1KiB"]).expect(13).tells(&["spool"]);
    assert!(!place.at("targets/acme/manifests").exists());
}

/// Starts a delivery and waits until it is in the middle of writing.
fn in_the_middle(place: &Place) -> Child {
    let mut command = place.command();
    command.args(["deliver", "-q", "--config", "made/apportion.toml", "--threads", "1"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !place.tree("tmp").keys().any(|name| name.ends_with(".csv.gz")) {
        assert!(begun.elapsed() < Duration::from_secs(120), "it never wrote anything");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
#[test]
fn codes_130_and_143_publish_nothing_and_the_next_run_is_whole() {
    let place = Place::new();
    let make = ["demo", "make", "--out", "made", "--rows", "120000", "--months", "1", "--accounts", "12"];
    place.run(&[&make[..], &["--customers", "4", "-q"]].concat()).expect(0);
    place.run(&["deliver", "-q", "--config", "made/apportion.toml"]).expect(0);
    let undisturbed = (place.tree("made/targets"), place.tree("made/msp"));
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        place.remove("made/targets");
        place.remove("made/msp");
        let child = in_the_middle(&place);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let said = Said::of(child.wait_with_output().unwrap()).expect(code);
        said.tells(&[
            "interrupted",
            "Nothing of the unfinished period was published",
            "run the same command again",
        ]);
        let published = place.tree("made/targets").into_keys().filter(|name| name.contains("-Manifest.json"));
        assert_eq!(published.count(), 0);
        assert!(place.tree("tmp").is_empty(), "left behind: {:?}", place.tree("tmp").keys());
        place.run(&["deliver", "-q", "--config", "made/apportion.toml"]).expect(0);
        same_tree(&undisturbed.0, &place.tree("made/targets"));
        same_tree(&undisturbed.1, &place.tree("made/msp"));
    }
}
