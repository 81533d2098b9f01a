use crate::cli::SelftestArgs;
use crate::exit::{self, Failure};
use crate::printer::{Head, Printer, text};
use crate::progress::Progress;
use crate::signals::Signals;
use anyhow::{Context, bail};
use apportion_flow::check::{VerifyError, verify};
use apportion_flow::maker::{Made, MakeKind, MakeRequest, ROWS_PER_FILE, make};
use apportion_flow::run::Watcher;
use apportion_flow::storage::{EXAM_PARTS, Folder, examine};
use apportion_model::{BillingPeriod, ObjectKey};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const HEADS: [Head; 3] = [text("test"), text("result"), text("detail")];
/// Line items of the bill that is live, and of the one that takes its place: small, so that a hundred runs and more
/// take less than a minute.
const ROWS: [u64; 2] = [400, 500];
/// How many runs go on at once: they mostly wait for the disk. Measured and killed runs have the same company.
const LANES: u32 = 4;

/// What `selftest --output json` prints.
#[derive(Serialize)]
struct SelftestReport {
    folder: String,
    exam_parts: usize,
    exam_passed: Vec<&'static str>,
    exam_broken: Option<String>,
    crash_points: u32,
    died: u32,
    run_milliseconds: u64,
    failures: Vec<String>,
    seconds: u64,
}

/// A folder that is gone when the test ends, however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path) -> anyhow::Result<Self> {
        let mut random = [0; 6];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
        let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = base.join(format!("apportion-selftest-{name}"));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed would be told by nobody; the verdict is what counts.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `selftest`: the store's exam, and runs that are killed, on the user's own machine.
pub(crate) fn run(args: &SelftestArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let began = Instant::now();
    let base = args.target.clone().unwrap_or_else(std::env::temp_dir);
    if !base.is_dir() {
        let message = format!("{} isn't a folder; name one that is there with --target", base.display());
        return Err(Failure { code: exit::NOT_FOUND, message }.into());
    }
    // Made absolute: the runs that are killed are processes of their own.
    let base = fs::canonicalize(&base).with_context(|| format!("looking at {}", base.display()))?;
    let scratch = Scratch::new(&base)?;
    let progress = Progress::new(printer, signals);
    progress.stage("examining the store", None);
    let exam = examine(&Folder::new(scratch.0.join("store")), &scratch.0);
    let mut report = SelftestReport {
        folder: base.display().to_string(),
        exam_parts: EXAM_PARTS,
        exam_passed: exam.passed,
        exam_broken: exam.broken.map(|(part, broken)| format!("{part}: {broken}")),
        crash_points: 0,
        died: 0,
        run_milliseconds: 0,
        failures: Vec::new(),
        seconds: 0,
    };
    if report.exam_broken.is_none() {
        crash(args.crashes, &scratch.0, &progress, &mut report)?;
    }
    progress.finish();
    report.seconds = began.elapsed().as_secs();
    print(&report, printer)?;
    Ok(match (&report.exam_broken, report.failures.is_empty()) {
        (Some(_), _) => exit::STORE_TOO_WEAK,
        (None, false) => exit::FAILED,
        (None, true) => exit::OK,
    })
}

fn print(report: &SelftestReport, printer: &Printer) -> anyhow::Result<()> {
    let row = |test: &str, good: bool, detail: String| {
        vec![test.to_owned(), if good { "passed" } else { "FAILED" }.to_owned(), detail]
    };
    let parts = format!("{} of {} parts", report.exam_passed.len(), report.exam_parts);
    let mut rows = vec![row("store exam", report.exam_broken.is_none(), parts)];
    if report.exam_broken.is_none() {
        let detail = format!(
            "{} points, {} died in mid-run; an undisturbed run takes {} ms",
            report.crash_points, report.died, report.run_milliseconds
        );
        rows.push(row("crash points", report.failures.is_empty(), detail));
    }
    printer.rows(&HEADS, &rows, report)?;
    if let Some(broken) = &report.exam_broken {
        printer.line(&format!(
            "error: the store can't do what a safe commit needs: {broken}. Deliver to another file system"
        ));
    }
    for failure in &report.failures {
        printer.line(&format!("error: {failure}"));
    }
    if report.exam_broken.is_none() && report.failures.is_empty() {
        printer.note(&format!(
            "{}: whenever a run dies, readers find whole exports, and the next run ends with the same bytes ({} s)",
            report.folder, report.seconds
        ));
    }
    Ok(())
}

/// Every file below a folder, by its path.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// Two bills of one MSP, a place where the first is live, and what a run that nobody kills makes of it.
struct Scene {
    program: PathBuf,
    folder: PathBuf,
    before: PathBuf,
    new: PathBuf,
    wanted: Tree,
    took: Duration,
}

/// Kills runs at moments spread evenly over a run's time.
fn crash(
    points: u32,
    scratch: &Path,
    progress: &Progress<'_>,
    report: &mut SelftestReport,
) -> anyhow::Result<()> {
    let stop = || -> anyhow::Result<()> {
        if progress.interrupted() {
            return Err(Failure {
                code: progress.interrupted_code(),
                message: "interrupted; what the test made is removed again".to_owned(),
            }
            .into());
        }
        Ok(())
    };
    progress.stage("making two bills and delivering them undisturbed", None);
    let scene = match Scene::new(scratch) {
        Ok(scene) => scene,
        // A signal reaches the runs, too.
        Err(error) => return stop().and(Err(error)),
    };
    report.run_milliseconds = u64::try_from(scene.took.as_millis()).unwrap_or(u64::MAX);
    let told = Mutex::new(report);
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (scene, told) = (&scene, &told);
            scope.spawn(move || {
                for point in (0..points).filter(|point| point % LANES == lane) {
                    if progress.interrupted() {
                        return;
                    }
                    // In the middle of each of so many equal parts.
                    let nanos = scene.took.as_nanos() * u128::from(2 * point + 1) / u128::from(2 * points);
                    let moment = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                    let ended = scene.point(&format!("point-{point}"), moment);
                    let mut report = told.lock().unwrap_or_else(PoisonError::into_inner);
                    report.crash_points += 1;
                    progress.stage(&format!("crash point {} of {points}", report.crash_points), None);
                    match ended {
                        Ok(died) => report.died += u32::from(died),
                        Err(error) => {
                            report.failures.push(format!("killed after {} ms: {error:#}", moment.as_millis()))
                        }
                    }
                }
            });
        }
    });
    stop()?;
    let report = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    if points > 0 && report.died == 0 && report.failures.is_empty() {
        report.failures.push(
            "no run died in its middle, so nothing is shown; the machine's speed changed, run again"
                .to_owned(),
        );
    }
    Ok(())
}

impl Scene {
    fn new(scratch: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("looking for this program's own file")?;
        let (old, new) = (scratch.join("source-old"), scratch.join("source-new"));
        let made = bill(&old, ROWS[0])?;
        bill(&new, ROWS[1])?;
        let before = scratch.join("before");
        fs::create_dir(&before)?;
        super::demo::write_settings(&before, &made.customers, None)?;
        let mut scene = Self {
            program,
            folder: scratch.to_owned(),
            before,
            new,
            wanted: Tree::new(),
            took: Duration::ZERO,
        };
        scene.finish(&scene.before, &old)?;
        let undisturbed: Vec<anyhow::Result<(Duration, Tree)>> = std::thread::scope(|scope| {
            let scene = &scene;
            let runs: Vec<_> = (0..LANES)
                .map(|lane| scope.spawn(move || scene.undisturbed(&format!("undisturbed-{lane}"))))
                .collect();
            let ended = |_| Err(anyhow::anyhow!("a thread that watched a run ended"));
            runs.into_iter().map(|run| run.join().unwrap_or_else(ended)).collect()
        });
        let mut took = Vec::new();
        for run in undisturbed {
            let (time, found) = run?;
            if !scene.wanted.is_empty() && scene.wanted != found {
                bail!("two undisturbed runs end with different bytes");
            }
            took.push(time);
            scene.wanted = found;
        }
        took.sort_unstable();
        scene.took = took.get(took.len() / 2).copied().unwrap_or_default();
        Ok(scene)
    }

    /// How long a run takes that nobody kills, and what it leaves.
    fn undisturbed(&self, name: &str) -> anyhow::Result<(Duration, Tree)> {
        let place = self.fresh(name)?;
        let began = Instant::now();
        self.finish(&place, &self.new)?;
        let took = began.elapsed();
        let found = tree(&place)?;
        fs::remove_dir_all(&place)?;
        Ok((took, found))
    }

    /// A new place where the first bill is live.
    fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let place = self.folder.join(name);
        copy(&self.before, &place)?;
        Ok(place)
    }

    fn command(&self, place: &Path, source: &Path) -> Command {
        let mut command = Command::new(&self.program);
        // The settings of whoever tests must not steer the runs.
        command.env_clear().current_dir(place).stdin(Stdio::null()).stdout(Stdio::null());
        command.args(["deliver", "--quiet", "--threads", "2", "--config", "apportion.toml"]);
        command.arg("--source").arg(source).arg("--spool").arg(place.join("spool"));
        command
    }

    /// A run that nobody kills.
    fn finish(&self, place: &Path, source: &Path) -> anyhow::Result<()> {
        let done = self.command(place, source).output().context("starting a run")?;
        if !done.status.success() {
            bail!(
                "a run that nobody killed ended with {}: {}",
                done.status,
                String::from_utf8_lossy(&done.stderr).trim_end()
            );
        }
        Ok(())
    }

    /// Kills a run at a moment, looks at what is there as its readers would, runs again, and compares; whether the run
    /// died before its end.
    fn point(&self, name: &str, moment: Duration) -> anyhow::Result<bool> {
        let place = self.fresh(name)?;
        let mut child =
            self.command(&place, &self.new).stderr(Stdio::null()).spawn().context("starting a run")?;
        std::thread::sleep(moment);
        child.kill().context("killing a run")?;
        let died = !child.wait().context("waiting for a killed run")?.success();
        self.readers_view(&place)?;
        self.finish(&place, &self.new)?;
        let found = tree(&place)?;
        for (path, bytes) in &self.wanted {
            match found.get(path) {
                None => bail!("the next run ends without {}", path.display()),
                Some(other) if other != bytes => bail!("the next run ends with another {}", path.display()),
                Some(_) => {}
            }
        }
        if let Some(more) = found.keys().find(|path| !self.wanted.contains_key(*path)) {
            bail!("the next run leaves {} behind", more.display());
        }
        fs::remove_dir_all(&place)?;
        Ok(died)
    }

    /// Every manifest that is there names whole files.
    fn readers_view(&self, place: &Path) -> anyhow::Result<()> {
        let targets = fs::read_dir(place.join("targets")).context("looking at the targets")?;
        for target in targets {
            let target = target.context("looking at the targets")?.path();
            let verdict = match verify(&Folder::new(&target), None, &|| false) {
                Err(VerifyError::Nothing(_)) => bail!("{} holds no manifest any more", target.display()),
                verdict => verdict?,
            };
            if let Some(problem) = verdict.exports.iter().flat_map(|export| &export.problems).next() {
                bail!("a reader finds in {}: {problem}", target.display());
            }
        }
        Ok(())
    }
}

/// A small bill of one month. The seed, and with it accounts and customers, is always the same.
fn bill(out: &Path, rows: u64) -> anyhow::Result<Made> {
    let request = MakeRequest {
        out: out.to_owned(),
        kind: MakeKind::Cur1Csv,
        rows,
        accounts: 4,
        customers: 2,
        first: BillingPeriod::new(2026, 10)?,
        months: 1,
        seed: 1,
        rows_per_file: ROWS_PER_FILE,
    };
    Ok(make(&request, &mut |_| true)?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let old = entry?.path();
        let new = to.join(old.file_name().unwrap_or_default());
        if old.is_dir() {
            copy(&old, &new)?;
        } else {
            fs::copy(&old, &new).with_context(|| format!("copying {}", old.display()))?;
        }
    }
    Ok(())
}

/// Every file of a place but for what tells of runs; an empty spool is no file.
fn tree(place: &Path) -> anyhow::Result<Tree> {
    fn walk(root: &Path, folder: &Path, found: &mut Tree) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                walk(root, &path, found)?;
            } else {
                let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                let name = path.strip_prefix(root).unwrap_or(&path);
                let in_msp = name.strip_prefix("msp").ok().and_then(Path::to_str);
                if !in_msp.is_some_and(ObjectKey::tells_of_runs) {
                    found.insert(name.to_owned(), bytes);
                }
            }
        }
        Ok(())
    }
    let mut found = Tree::new();
    walk(place, place, &mut found)?;
    Ok(found)
}
