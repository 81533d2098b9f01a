//! What the pages tell people to type is typed here, and what they show as its output is what comes.
//!
//! Blocks marked `sh` are read for lines that begin with `apportion `; each page has a folder of its own and its
//! lines run in order. A line must end with 0, or with N where ` # exit N` stands behind it. A block marked `output`
//! holds lines of what the `sh` block before it printed, in their order; `…` stands for any lines. A block marked
//! `sql` is run by DuckDB in the page's folder, if `APPORTION_READERS_PYTHON` names a Python that has it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]

use crate::support::readers_python;
use apportion_testkit::s3::TestS3;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs each statement of a text and prints the last one's table, its cells with a space between.
const SQL: &str = "
import duckdb, sys
for statement in duckdb.extract_statements(sys.argv[1]):
    table = duckdb.execute(statement)
print(*(column[0] for column in table.description))
for row in table.fetchall():
    print(*row)
";

/// The buckets that the pages name, with their owners.
const BUCKETS: [(&str, &str); 2] = [("msp-apportion", "999900001111"), ("acme-eco", "111122223333")];

#[test]
fn what_the_pages_say_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = vec![root.join("README.md")];
    pages.extend(pages_in(&root.join("docs")));
    let mut problems = Vec::new();
    let mut commands = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let folder = tempfile::tempdir().unwrap();
        // The buckets of the pages, in an S3 of our own.
        let server = TestS3::start(&BUCKETS);
        let name = page.strip_prefix(&root).unwrap().display().to_string();
        let mut printed = Some(String::new());
        for block in blocks(&text) {
            match block.language.as_str() {
                "sql" => {
                    commands += 1;
                    printed = match sql(&block.text, folder.path()).transpose() {
                        Ok(output) => output,
                        Err(problem) => {
                            problems.push(format!("{name}: {}\n{problem}", block.text));
                            None
                        }
                    };
                }
                "sh" => {
                    let mut all = String::new();
                    for line in commands_of(&block.text) {
                        commands += 1;
                        match run(&line, folder.path(), &server) {
                            Ok(output) => all.push_str(&output),
                            Err(problem) => problems.push(format!("{name}: {line}\n{problem}")),
                        }
                    }
                    printed = Some(all);
                }
                "output" => {
                    // What couldn't be run has said so already.
                    let Some(printed) = &printed else { continue };
                    if let Err(line) = shows(printed, &block.text) {
                        problems.push(format!("{name}: this line doesn't come, or not in its place: {line}"));
                    }
                }
                _ => {}
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(commands >= 5, "the pages hold hardly any command: is the search for them broken?");
    println!("pages: {commands} commands of {} pages", pages.len());
}

fn pages_in(folder: &Path) -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

struct Block {
    language: String,
    text: String,
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The lines that call the program; one that ends with `\` goes on in the next.
fn commands_of(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("apportion "));
    lines.map(str::to_owned).collect()
}

/// Runs a line, and gives what it printed: stdout, then stderr.
fn run(line: &str, folder: &Path, server: &TestS3) -> Result<String, String> {
    let wanted = line.rsplit_once("# exit ").map_or(0, |(_, code)| code.trim().parse::<i32>().unwrap());
    let program = Path::new(env!("CARGO_BIN_EXE_apportion")).parent().unwrap();
    let mut path = vec![program.to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(folder).env("PATH", std::env::join_paths(path).unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("APPORTION_") {
            command.env_remove(name);
        }
    }
    command.envs(server.environment());
    outcome(&command.output().unwrap(), wanted)
}

/// Runs SQL, and gives what it printed; nothing where there is no DuckDB.
fn sql(text: &str, folder: &Path) -> Option<Result<String, String>> {
    let python = readers_python()?;
    let output = Command::new(python).args(["-c", SQL, text]).current_dir(folder).output().unwrap();
    Some(outcome(&output, 0))
}

fn outcome(output: &Output, wanted: i32) -> Result<String, String> {
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(wanted) {
        Ok(printed)
    } else {
        Err(format!("ended with {} instead of {wanted}:\n{printed}", output.status))
    }
}

/// Whether the shown lines come in that order; else the first that doesn't.
fn shows(printed: &str, shown: &str) -> Result<(), String> {
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut left = printed.lines().map(plain);
    for line in shown.lines().map(plain).filter(|line| !line.is_empty() && line != "…") {
        if !left.any(|printed| printed == line) {
            return Err(line);
        }
    }
    Ok(())
}
