//! `kill -9` at any moment of the program itself: whoever follows a manifest then finds everything that it names, and the
//! next run ends with the bytes of a run that nobody killed.

use super::{Scene, in_lanes};
use crate::harness::{program, say};
use crate::random_report::Draw;
use crate::s3::{BUCKETS, good};
use crate::trust::figure;
use apportion_testkit::s3::TestS3;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Line items of the report.
const ROWS: usize = 300;
/// So many of a hundred recoveries are killed, too.
const AGAIN: usize = 30;

/// Kills a run after so long; false if it was done before.
fn killed(server: &TestS3, settings: &Path, spool: &Path, after: Duration) -> bool {
    let mut command = program(&["deliver", "--threads", "2", "--spool", spool.to_str().unwrap()]);
    command.arg("--config").arg(settings).env_clear().envs(server.environment());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

#[test]
fn a_run_that_is_killed_at_any_moment_harms_nothing() {
    let scene = Scene::new(ROWS, |_| String::new());
    let took = {
        let server = scene.started();
        // The first run of a process also fetches it from the disk.
        (0..3)
            .map(|_| {
                scene.reset(&server);
                let began = Instant::now();
                good(&server, &["deliver"], &scene.settings);
                scene.check_done(&server, "nothing happened");
                began.elapsed()
            })
            .min()
            .unwrap()
    };
    let due = figure(300);
    let [died, lived, again, left] = [const { AtomicU64::new(0) }; 4];
    // More than enough: the lanes stop when so many have died.
    in_lanes(&scene, 2, due * 4, |number, lane| {
        let (server, spool) = (&lane.server, &lane.spool);
        if died.load(Ordering::Relaxed) >= due {
            return;
        }
        let mut draw = Draw::new(number ^ 0x9111);
        for attempt in 0.. {
            // Two lanes take longer than one, and a recovery less.
            let moment = took.mul_f64(1.4 * draw.below(1000) as f64 / 1000.0);
            let is_dead = killed(server, &scene.settings, spool, moment);
            if is_dead { &died } else { &lived }.fetch_add(1, Ordering::Relaxed);
            again.fetch_add(u64::from(is_dead && attempt > 0), Ordering::Relaxed);
            scene.check_live(server, &format!("{number}: killed after {moment:?}"));
            if !draw.percent(AGAIN) {
                break;
            }
        }
        good(server, &["deliver", "--spool", spool.to_str().unwrap()], &scene.settings);
        scene.check_done(server, &format!("{number}: after the kill"));
        let uploads: usize = BUCKETS.iter().map(|(name, _)| server.uploads_left(name)).sum();
        left.fetch_add(uploads as u64, Ordering::Relaxed);
    });
    let [died, lived, again, left] = [died, lived, again, left].map(AtomicU64::into_inner);
    assert!(died >= due && lived < 2 * died, "{died} of {} runs died", died + lived);
    say(&format!(
        "trust: {died} kills of {} runs over HTTP, {again} of them of recoveries; {left} uploads left behind",
        died + lived
    ));
}
