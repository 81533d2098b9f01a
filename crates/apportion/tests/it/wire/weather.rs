//! A server whose every call may fail, hang or lie: a run succeeds or fails cleanly, nobody finds a torn export, and the
//! next run in good weather ends with the same bytes.
//!
//! Of 5,000 seeds, 2,500 are run: so many fit into two minutes of two processors. The other faults of the promise are those
//! of `trust/faults.rs`, which needs no network.

use super::{Lane, Scene, hasty, in_lanes};
use crate::harness::say;
use crate::random_report::Draw;
use crate::s3::ROWS;
use crate::trust::{figure, is_clean};
use apportion_flow::run::{Unwatched, deliver};
use apportion_testkit::s3::{Call, Fault, PASSING, seeded};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whoever tries again comes through, with new credentials where those have ended.
fn passing() -> Vec<Fault> {
    [&PASSING[..], &[Fault::Expired, Fault::Stall]].concat()
}

/// No try helps against these.
const LASTING: [Fault; 3] = [Fault::Denied, Fault::Skewed, Fault::Redirected];

/// While they wait for pauses and stalls, others work.
const LANES: usize = 5;

/// A run in good weather, which must bring everything to where one run would have brought it. Returns its calls.
fn recover(scene: &Scene, lane: &Lane, when: &str) -> usize {
    lane.server.clear_plan();
    lane.server.forget_calls();
    let done = deliver(&lane.good, &Unwatched);
    assert!(is_clean(&done), "{when}: {done:?}");
    scene.check_done(&lane.server, when);
    lane.server.calls().len()
}

#[test]
fn in_any_weather_a_run_succeeds_or_fails_cleanly_and_the_next_one_ends_with_the_same_bytes() {
    let scene = Scene::new(ROWS, |_| String::new());
    let runs = figure(2_500);
    let [clean, struck] = [const { AtomicU64::new(0) }; 2];
    in_lanes(&scene, LANES, runs, |seed, lane| {
        let server = &lane.server;
        let mut draw = Draw::new(seed ^ 0x3ea7);
        // What no try helps against would end nearly every run at its first calls.
        let (faults, from) = if draw.percent(25) {
            ([&passing()[..], &LASTING].concat(), draw.below(70))
        } else {
            (passing(), 0)
        };
        let (strikes, first) = (seeded(seed, 30, &faults), Mutex::new(None));
        server.plan(move |call: &Call| {
            let first = *first.lock().unwrap().get_or_insert(call.number);
            strikes(&Call { number: call.number - first, ..call.clone() })
                .filter(|_| call.number - first >= from as u64)
        });
        let done = deliver(&scene.request(server, &hasty(), &lane.spool, |_, _| {}), &Unwatched);
        let when = format!("seed {seed}");
        struck.fetch_add(server.calls().len() as u64, Ordering::Relaxed);
        scene.check_live(server, &when);
        if is_clean(&done) {
            clean.fetch_add(1, Ordering::Relaxed);
            // Who says that all is delivered must be right.
            scene.check_done(server, &when);
        }
        recover(&scene, lane, &when);
    });
    let (clean, struck) = (clean.into_inner(), struck.into_inner());
    assert!(clean > 0 && clean < runs, "{clean} of {runs} runs clean");
    say(&format!(
        "trust: {runs} fault runs over HTTP, {struck} calls at 30 %, {clean} runs clean all the same"
    ));
}

#[test]
fn at_a_tenth_of_faults_a_run_makes_at_most_twice_the_calls() {
    let scene = Scene::new(ROWS, |_| String::new());
    let plain = Mutex::new(0);
    in_lanes(&scene, 1, 1, |_, lane| *plain.lock().unwrap() = recover(&scene, lane, "nothing happened"));
    let plain = plain.into_inner().unwrap();
    let (runs, counts, failed) = (figure(500), Mutex::new(Vec::new()), AtomicU64::new(0));
    in_lanes(&scene, LANES, runs, |seed, lane| {
        let server = &lane.server;
        server.plan(seeded(seed, 10, &passing()));
        let done = deliver(&scene.request(server, &hasty(), &lane.spool, |_, _| {}), &Unwatched);
        failed.fetch_add(u64::from(!is_clean(&done)), Ordering::Relaxed);
        counts.lock().unwrap().push(server.calls().len());
        scene.check_live(server, &format!("seed {seed}"));
    });
    let mut counts = counts.into_inner().unwrap();
    counts.sort_unstable();
    let (median, sum) = (counts[counts.len() / 2], counts.iter().sum::<usize>());
    let failed = failed.into_inner();
    let text = format!(
        "weather: {runs} runs at 10 %, calls of {plain}: median {median}, mean {}, most {}; {failed} failed cleanly",
        sum / counts.len(),
        counts[counts.len() - 1]
    );
    assert!(median <= 2 * plain && sum <= 2 * plain * counts.len(), "{text}");
    assert!(failed * 20 <= runs, "{text}");
    say(&text);
}
