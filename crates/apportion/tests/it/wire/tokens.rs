//! Sessions that end, roles that are somebody else's, and a bucket that becomes a stranger's, at every single call of a run
//! of the program: the same bytes, or a clean refusal, and never a byte in the wrong place.

use super::{Lane, Scene, in_lanes};
use crate::harness::{Tree, code, number_of, program, say, stderr, write};
use crate::s3::{BUCKETS, ROWS, left_in};
use apportion_testkit::s3::{Call, Operation, Role, TestS3};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

const STRANGER: &str = "666600000666";

fn arn(bucket: &str) -> String {
    let owner = BUCKETS.iter().find(|(name, _)| *name == bucket).unwrap().1;
    format!("arn:aws:iam::{owner}:role/{bucket}")
}

/// Settings by which every bucket is reached by a role of its own.
fn with_roles() -> Scene {
    let scene = Scene::new(ROWS, |bucket| {
        format!("role_arn = \"{}\"\nexternal_id_file = \"{bucket}.external-id\"\n", arn(bucket))
    });
    for (bucket, _) in BUCKETS {
        let file = scene.place.path().join(format!("{bucket}.external-id"));
        write(&file, external_id(bucket).as_bytes());
    }
    scene
}

fn external_id(bucket: &str) -> String {
    format!("marked-external-id-{bucket}")
}

fn add_roles(server: &TestS3) {
    for (bucket, _) in BUCKETS {
        let (arn, external_id) = (arn(bucket), Some(external_id(bucket)));
        server.add_role(Role { arn, external_id, bucket: bucket.to_owned(), seconds: 3600 });
    }
}

/// Delivers, and looks for secrets in what is said.
fn deliver(lane: &Lane, settings: &Path) -> Output {
    let mut command = program(&["deliver", "--threads", "1", "--spool", lane.spool.to_str().unwrap()]);
    command.arg("--config").arg(settings).env_clear().envs(lane.server.environment());
    let out = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
    assert!(!said.contains("marked-"), "a secret in:\n{said}");
    out
}

/// A plain run brings everything to where one run would have brought it.
fn recover(scene: &Scene, lane: &Lane, when: &str) {
    lane.server.clear_plan();
    add_roles(&lane.server);
    let out = deliver(lane, &scene.settings);
    assert_eq!(code(&out), 0, "{when}: {}", stderr(&out));
    scene.check_done(&lane.server, when);
}

/// Does something at one call of the next run, counted from 0, before that call is looked at. Tells whether it came to that:
/// a run doesn't always have quite the same number of calls.
fn at_call(lane: &Lane, at: u64, what: impl Fn(&TestS3) + Send + Sync + 'static) -> Arc<AtomicBool> {
    let (seen, server): (AtomicU64, Weak<TestS3>) = (AtomicU64::new(0), Arc::downgrade(&lane.server));
    let struck = Arc::new(AtomicBool::new(false));
    let strikes = Arc::clone(&struck);
    lane.server.plan(move |_: &Call| {
        if seen.fetch_add(1, Ordering::Relaxed) == at
            && let Some(server) = server.upgrade()
        {
            strikes.store(true, Ordering::Relaxed);
            what(&server);
        }
        None
    });
    struck
}

/// The calls of a run to which nothing happens.
fn calls_of(scene: &Scene) -> u64 {
    let calls = AtomicU64::new(0);
    in_lanes(scene, 1, 1, |_, lane| {
        recover(scene, lane, "nothing happened");
        let all = lane.server.calls();
        let is_by_role =
            |call: &Call| call.operation == Operation::AssumeRole || call.access_key.starts_with("ASIA");
        assert!(all.iter().all(is_by_role));
        assert_eq!(all.iter().filter(|call| call.operation == Operation::AssumeRole).count(), BUCKETS.len());
        calls.store(all.len() as u64, Ordering::Relaxed);
    });
    calls.into_inner()
}

#[test]
fn sessions_may_end_at_every_call() {
    let scene = with_roles();
    let calls = calls_of(&scene);
    in_lanes(&scene, 2, calls, |at, lane| {
        add_roles(&lane.server);
        at_call(lane, at, TestS3::expire_sessions);
        let out = deliver(lane, &scene.settings);
        assert_eq!(code(&out), 0, "call {at}: {}", stderr(&out));
        scene.check_done(&lane.server, &format!("call {at}"));
    });
    say(&format!("tokens: sessions that end at each of {calls} calls"));
}

#[test]
fn sessions_that_end_for_good_at_any_call_are_a_clean_refusal() {
    let scene = with_roles();
    let (calls, refused) = (calls_of(&scene), AtomicU64::new(0));
    in_lanes(&scene, 2, calls, |at, lane| {
        add_roles(&lane.server);
        at_call(lane, at, |server| {
            BUCKETS.iter().for_each(|(bucket, _)| server.remove_role(&arn(bucket)));
            server.expire_sessions();
        });
        let (out, when) = (deliver(lane, &scene.settings), format!("call {at} of {calls}"));
        match code(&out) {
            // What was left to do was to give back the lease.
            0 => scene.check_done(&lane.server, &when),
            // With 3, where something was live already, and some target could no longer be asked.
            3 | 12 => {
                refused.fetch_add(1, Ordering::Relaxed);
                assert!(stderr(&out).contains("trust policy"), "{when}: {}", stderr(&out));
            }
            other => panic!("{when}: exit {other}: {}", stderr(&out)),
        }
        scene.check_live(&lane.server, &when);
        recover(&scene, lane, &when);
    });
    let refused = refused.into_inner();
    assert!(refused * 10 > calls * 9, "{refused} of {calls}");
    say(&format!(
        "tokens: no new sessions from each of {calls} calls on: {refused} were refused, the rest was done"
    ));
}

/// What buckets hold but those that are called so.
fn but(server: &TestS3, bucket: &str) -> Vec<Tree> {
    let all = BUCKETS[1..].iter().zip(left_in(server));
    all.filter(|((name, _), _)| *name != bucket).map(|(_, tree)| tree).collect()
}

#[test]
fn a_wrong_external_id_or_anothers_role_gets_nothing() {
    let scene = with_roles();
    let file = scene.place.path().join("wrong.toml");
    let text = std::fs::read_to_string(&scene.settings).unwrap();
    in_lanes(&scene, 1, 1, |_, lane| {
        let begun = left_in(&lane.server);
        for (bucket, _) in BUCKETS {
            let id = format!("{bucket}.external-id");
            let mut cases = vec![("external id", text.replace(&id, "other.external-id"))];
            write(&scene.place.path().join("other.external-id"), b"marked-wrong-external-id");
            for (other, _) in BUCKETS.iter().filter(|(other, _)| *other != bucket) {
                let with_role =
                    text.replace(&arn(bucket), &arn(other)).replace(&id, &format!("{other}.external-id"));
                cases.push((other, with_role));
            }
            for (what, settings) in cases {
                let when = format!("{bucket} by {what}");
                assert_ne!(settings, text);
                write(&file, settings.as_bytes());
                scene.reset(&lane.server);
                add_roles(&lane.server);
                let out = deliver(lane, &file);
                let is_a_customers = bucket.starts_with("target");
                assert_eq!(code(&out), if is_a_customers { 3 } else { 12 }, "{when}: {}", stderr(&out));
                let wrote = |call: &Call| call.bucket == bucket && call.operation == Operation::Put;
                let now = left_in(&lane.server);
                for (((name, _), now), begun) in BUCKETS[1..].iter().zip(&now).zip(&begun) {
                    assert!(
                        (is_a_customers && *name != bucket) || now == begun,
                        "{when}: {name} has changed"
                    );
                }
                // Not even an attempt to write comes where no reading was allowed.
                assert!(!lane.server.calls().iter().any(wrote), "{when}");
            }
        }
        scene.reset(&lane.server);
        recover(&scene, lane, "afterwards");
    });
}

#[test]
fn a_bucket_that_becomes_a_strangers_at_any_call_gets_no_byte() {
    let scene = with_roles();
    let calls = calls_of(&scene);
    let strangers = AtomicU64::new(0);
    let buckets = if number_of("APPORTION_CASES", 200) < 2000 { &BUCKETS[2..3] } else { &BUCKETS[..] };
    in_lanes(&scene, 2, calls * buckets.len() as u64, |number, lane| {
        let ((bucket, owner), at) = (buckets[(number / calls) as usize], number % calls);
        let when = format!("{bucket} at call {at}");
        add_roles(&lane.server);
        let struck = at_call(lane, at, move |server| server.recreate(bucket, STRANGER));
        let out = deliver(lane, &scene.settings);
        let said = stderr(&out);
        if !struck.load(Ordering::Relaxed) {
            assert_eq!(code(&out), 0, "{when}: {said}");
            return;
        }
        strangers.fetch_add(1, Ordering::Relaxed);
        assert!([0, 3, 5, 12].contains(&code(&out)), "{when}: {said}");
        assert!(lane.server.tree(bucket).is_empty(), "{when}: bytes at a stranger's");
        if bucket.starts_with("target") {
            assert!([0, 3].contains(&code(&out)), "{when}: {said}");
            assert!(code(&out) == 0 || said.contains("isn't account"), "{when}: {said}");
            // Nobody else minds.
            let others = scene.wanted.iter().zip(&BUCKETS[1..]).filter(|(_, (name, _))| *name != bucket);
            let keys = |tree: &Tree| {
                tree.keys().filter(|key| key.starts_with("manifests")).cloned().collect::<Vec<_>>()
            };
            for (found, (due, (name, _))) in but(&lane.server, bucket).iter().zip(others) {
                assert_eq!(keys(found), keys(due), "{when}: {name}");
            }
        }
        // It is its owner's again, and empty.
        lane.server.recreate(bucket, owner);
        if bucket == "source" {
            lane.server.put_folder("source", "", &scene.place.path().join("source"));
        }
        if bucket != "msp-place" {
            recover_from_nothing(&scene, lane, &when);
        }
        lane.server.recreate(bucket, owner);
        lane.server.put_folder("source", "", &scene.place.path().join("source"));
    });
    let strangers = strangers.into_inner();
    assert!(strangers * 10 > calls * 9 * buckets.len() as u64, "{strangers} of {calls} each");
    say(&format!("tokens: {strangers} times a bucket became a stranger's, at each call: 0 bytes there"));
}

/// A run from where a bucket has lost everything: the newer delivery is there whole.
fn recover_from_nothing(scene: &Scene, lane: &Lane, when: &str) {
    lane.server.clear_plan();
    let out = deliver(lane, &scene.settings);
    assert_eq!(code(&out), 0, "{when}: {}", stderr(&out));
    for ((name, _), (found, due)) in BUCKETS[1..].iter().zip(left_in(&lane.server).iter().zip(&scene.wanted))
    {
        for (key, bytes) in found {
            assert!(due.get(key) == Some(bytes), "{when}: {name}/{key}");
        }
    }
    scene.check_live_is_newest(&lane.server, when);
}
