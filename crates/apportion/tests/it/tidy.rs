//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that a look at the files can hold.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const MOST_LINES: usize = 900;
/// The stages, in the order the data travels.
const STAGES: [&str; 7] = ["source", "catalog", "split", "write", "check", "publish", "garbage"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All files of the repository, by their paths in it: those that git knows, or would if they were added. Without
/// git, what lies here.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files: Vec<String> = match listed {
        Ok(listed) if listed.status.success() && !listed.stdout.is_empty() => {
            String::from_utf8_lossy(&listed.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(&root(), &mut found);
            found
        }
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    assert!(files.len() > 50, "hardly any file was found: is the search broken?");
    files
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && ![".git", "target", "apportion-demo"].contains(&name.as_str()) {
            walk(&path, found);
        } else if path.is_file() {
            found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
        }
    }
}

/// The Rust files below a folder, with what isn't a test of them and isn't a comment.
fn sources(below: &str) -> BTreeMap<String, String> {
    let is_source = |file: &String| {
        file.starts_with(below)
            && file.ends_with(".rs")
            && !file.ends_with("/tests.rs")
            && file.split('/').nth(2) == Some("src")
    };
    let found: BTreeMap<String, String> =
        files().into_iter().filter(is_source).map(|file| (file.clone(), code(&read(&file)))).collect();
    assert!(!found.is_empty(), "no source below {below}");
    found
}

fn code(text: &str) -> String {
    let mut code = String::new();
    // Unit tests stand last in their file.
    let lines: Vec<&str> = text.lines().collect();
    for (place, line) in lines.iter().enumerate() {
        if *line == "#[cfg(test)]" && lines.get(place + 1).is_some_and(|next| next.starts_with("mod tests")) {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// Fails with everything that was found.
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_folders_of_the_architecture_are_those_on_disk() {
    let page = read("ARCHITECTURE.md");
    let told: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("/` |").map(|(folder, _)| folder.to_owned()))
        .collect();
    assert!(told.len() > 20, "ARCHITECTURE.md has hardly any folder line: is the search broken?");
    let mut problems: Vec<String> = told
        .iter()
        .filter(|folder| !root().join(folder).is_dir())
        .map(|folder| format!("ARCHITECTURE.md tells of {folder}/, which isn't there"))
        .collect();
    let there: BTreeSet<String> = files()
        .iter()
        .filter(|file| file.starts_with("crates/") && file.split('/').nth(2) == Some("src"))
        .filter_map(|file| Some(file.rsplit_once('/')?.0.to_owned()))
        .collect();
    problems
        .extend(there.difference(&told).map(|folder| format!("ARCHITECTURE.md has no line for {folder}/")));
    none(&problems);
}

#[test]
fn crates_name_only_the_crates_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("apportion-model", &[][..]),
        ("apportion-core", &["apportion-model"]),
        ("apportion-flow", &["apportion-core", "apportion-model"]),
        ("apportion-audit", &["apportion-model"]),
        ("apportion", &["apportion-audit", "apportion-core", "apportion-flow", "apportion-model"]),
        ("apportion-testkit", &["apportion-audit", "apportion-core", "apportion-flow", "apportion-model"]),
    ]);
    let mut problems = Vec::new();
    let mut seen = 0;
    for file in files().iter().filter(|file| file.starts_with("crates/") && file.ends_with("/Cargo.toml")) {
        let manifest: toml::Table = toml::from_str(&read(file)).unwrap();
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let Some(may) = allowed.get(name.as_str()) else {
            problems.push(format!("{file}: crate {name} has no place in the dependency rule"));
            continue;
        };
        seen += 1;
        for (kind, named) in ours(&manifest) {
            let fine = match kind.as_str() {
                // Tests of the auditor must not stand on the splitter either.
                "dev-dependencies" => name != "apportion-audit" || may.contains(&named.as_str()),
                _ => may.contains(&named.as_str()),
            };
            if !fine {
                problems.push(format!("{file}: [{kind}] names {named}"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true))
        {
            problems.push(format!("{file}: the workspace's lints don't hold here"));
        }
    }
    assert_eq!(seen, allowed.len(), "a crate of the dependency rule is gone");
    none(&problems);
}

/// Our crates that a manifest names, in whichever table.
fn ours(manifest: &toml::Table) -> Vec<(String, String)> {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    let mut named = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(dependencies) = table.get(kind).and_then(toml::Value::as_table) else { continue };
            for (name, how) in dependencies {
                let real = how.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                if real.starts_with("apportion") {
                    named.push((kind.to_owned(), real.to_owned()));
                }
            }
        }
    }
    named
}

#[test]
fn a_stage_names_no_other_stage() {
    let mut problems = Vec::new();
    for (file, code) in sources("crates/apportion-flow/src/") {
        let inside = file.trim_start_matches("crates/apportion-flow/src/");
        let own = inside.split_once('/').map_or("", |(folder, _)| folder);
        if own == "run" || inside == "lib.rs" {
            continue;
        }
        let mut forbidden: Vec<&str> = STAGES.into_iter().filter(|stage| *stage != own).collect();
        forbidden.extend(["run", "maker"].into_iter().filter(|other| *other != own));
        if !STAGES.contains(&own) && own != "storage" {
            forbidden.push("storage");
        }
        for other in forbidden {
            // `use crate::{…}` would hide a name from this search.
            for text in [format!("crate::{other}::"), format!("crate::{other};"), format!("crate::{other} ")]
            {
                if code.contains(&text) {
                    problems.push(format!("{file} names {other}: {text}"));
                }
            }
        }
        for text in ["crate::{", "super::super", "crate::*"] {
            if code.contains(text) {
                problems.push(format!("{file}: write {text} out, so that it can be seen what is named"));
            }
        }
    }
    none(&problems);
}

#[test]
fn core_and_model_do_no_io() {
    let mut forbidden: Vec<String> =
        ["fs", "net", "env", "time", "thread", "io", "process"].map(|module| format!("std::{module}")).into();
    forbidden.extend(["tokio", "async ", "std::{", "SystemTime", "File::"].map(str::to_owned));
    let mut problems = Vec::new();
    for below in ["crates/apportion-core/src/", "crates/apportion-model/src/"] {
        for (file, code) in sources(below) {
            for text in forbidden.iter().filter(|text| code.contains(text.as_str())) {
                problems.push(format!("{file} says {text}"));
            }
        }
    }
    none(&problems);
}

#[test]
fn only_the_printer_prints() {
    let mut problems = Vec::new();
    for (file, code) in sources("crates/") {
        if file == "crates/apportion/src/printer.rs" {
            continue;
        }
        for call in ["print", "println", "eprint", "eprintln"].map(|name| format!("{name}!(")) {
            if code
                .lines()
                .any(|line| line.trim_start().starts_with(&call) || line.contains(&format!(" {call}")))
            {
                problems.push(format!("{file} calls {call}…)"));
            }
        }
    }
    none(&problems);
}

#[test]
fn nothing_is_too_long() {
    let settings: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(settings["workspace"]["lints"]["clippy"]["too_many_lines"].as_str(), Some("deny"));
    let clippy: toml::Table = toml::from_str(&read("clippy.toml")).unwrap();
    assert_eq!(clippy["too-many-lines-threshold"].as_integer(), Some(70));
    let mut problems = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".rs")) {
        let text = read(file);
        let lines = text.lines().count();
        if lines > MOST_LINES {
            problems.push(format!("{file} has {lines} lines, more than {MOST_LINES}"));
        }
        if file.contains("/src/") && text.contains("allow(clippy::too_many_lines") {
            problems.push(format!("{file} allows itself a function of more than 70 lines"));
        }
    }
    none(&problems);
}

#[test]
fn every_crate_and_folder_says_what_it_is() {
    let heads = files().into_iter().filter(|file| {
        let parts: Vec<&str> = file.split('/').collect();
        file.starts_with("crates/")
            && parts.get(2) == Some(&"src")
            && matches!(parts.last(), Some(&"mod.rs" | &"lib.rs" | &"main.rs"))
    });
    let silent: Vec<String> = heads
        .filter(|file| !read(file).starts_with("//! "))
        .map(|file| format!("{file} doesn't open with //!"))
        .collect();
    none(&silent);
}

#[test]
fn nothing_is_left_unfinished() {
    // In parts, so that this file doesn't hold them.
    let marks = [["to", "do!("], ["unimple", "mented!("], ["FIX", "ME"], ["XX", "X"], ["db", "g!("]];
    let marks = marks.map(|parts| parts.concat());
    let is_source = |file: &&String| {
        [".rs", ".toml", ".sh", ".py"].iter().any(|end| file.ends_with(end)) || file.starts_with(".ci/")
    };
    let mut problems = Vec::new();
    for file in files().iter().filter(is_source) {
        for (number, line) in read(file).lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                problems.push(format!("{file}:{}: {mark}", number + 1));
            }
        }
    }
    none(&problems);
}

#[test]
fn nothing_tells_where_it_was_written() {
    let words = [
        ["/wo", "rk/"],
        ["/fa", "rm/"],
        [".lib", "rary/"],
        ["/tmp/", "bash_jobs"],
        ["wt-", "docs"],
        ["cla", "ude"],
        ["anthro", "pic"],
        ["sub", "agent"],
    ];
    let words = words.map(|parts| parts.concat());
    let mut problems = Vec::new();
    for file in files() {
        for (number, line) in read(&file).lines().enumerate() {
            let line = line.to_ascii_lowercase();
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                problems.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_link_leads_somewhere() {
    let mut problems = Vec::new();
    let mut links = 0;
    for page in files().iter().filter(|file| file.ends_with(".md")) {
        let folder = root().join(page).parent().unwrap().to_owned();
        for link in links_of(&read(page)) {
            links += 1;
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !folder.join(path).exists() {
                problems.push(format!("{page}: {link} isn't there"));
            }
        }
    }
    assert!(links > 10, "hardly any link was found: is the search broken?");
    none(&problems);
}

/// The targets of `[text](target)` that lie in the repository.
fn links_of(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if !elsewhere {
                links.push(target.to_owned());
            }
        }
    }
    links
}

/// A page names a test as `file.rs::name`, both of which must be there.
#[test]
fn the_tests_that_pages_name_are_there() {
    let folder = "crates/apportion/tests/it/";
    let mut problems = Vec::new();
    let mut named = 0;
    for page in files().iter().filter(|file| file.ends_with(".md")) {
        for (file, test) in read(page).split('`').filter_map(|text| text.split_once(".rs::")) {
            named += 1;
            let path = format!("{folder}{file}.rs");
            let there = files().contains(&path) && read(&path).contains(&format!("#[test]\nfn {test}() {{"));
            if !there {
                problems.push(format!("{page}: {file}.rs has no test {test}"));
            }
        }
    }
    assert!(named > 10, "the pages name hardly any test: is the search broken?");
    none(&problems);
}

/// What docs/formats.md says of a kind or of an export is worth as much as the test behind it.
#[test]
fn every_kind_and_every_export_of_the_page_has_its_test() {
    let page = read("docs/formats.md");
    let mut columns = 0;
    let mut rows = 0;
    let mut problems = Vec::new();
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells.iter().all(|cell| cell.starts_with("---")) {
            continue;
        } else if cells.last() == Some(&"test") {
            columns = cells.len();
        } else if !line.starts_with("| `") {
            columns = 0;
        } else if columns > 0 {
            rows += 1;
            if cells.len() != columns || !cells.last().is_some_and(|cell| cell.contains(".rs::")) {
                problems.push(format!("docs/formats.md: no test is named in: {line}"));
            }
        }
    }
    assert!(rows > 10, "docs/formats.md has hardly any row: is the search broken?");
    none(&problems);
}
