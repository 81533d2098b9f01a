use super::{Body, Bucket, Put, StorageError, Swap};
use std::io::Read;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

/// Keys that lead out of a place or that stores disagree about.
const REFUSED: [&str; 11] = ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/./b", "a/..", "a\\b", "a\0b"];
/// Keys that look odd and must work, as real reports have them.
const ODD: [&str; 5] = [
    "exam/BILLING_PERIOD=2026-04/2026-04-16T15:24:15.653Z-x/a..b.csv.gz",
    "exam/größe/東京",
    "exam/ with spaces /+%20&=@",
    "exam/.hidden",
    "exam/deep/er/and/deep/er/still",
];
/// Far more than any object of the exam has.
const LIMIT: u64 = 1 << 20;

/// A promise of [`Bucket`] that is broken, or a failure in the middle of the exam.
type Broken = String;
/// One part of the exam.
type Check = fn(&Examined<'_>) -> Result<(), Broken>;

/// The parts of the exam, in their order: later ones find what earlier ones left.
const CHECKS: [(&str, Check); 10] = [
    ("a put creates, and never overwrites", puts),
    ("a put of a file", files),
    ("reads and their limits", reads),
    ("odd keys", odd_keys),
    ("keys that lead out are refused", refused_keys),
    ("compare-and-swap", swaps),
    ("of racing swaps one wins", racing_swaps),
    ("of racing puts one creates", racing_puts),
    ("a delete takes one object and no other", deletes),
    ("a listing is whole and in order", listing),
];

/// What an exam found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exam {
    /// The parts that were passed.
    pub passed: Vec<&'static str>,
    /// The part that wasn't, and the promise that is broken.
    pub broken: Option<(&'static str, String)>,
}

/// What is examined.
struct Examined<'a> {
    bucket: &'a dyn Bucket,
    /// A local folder for bodies.
    scratch: &'a Path,
}

/// How many parts the exam has.
pub const PARTS: usize = CHECKS.len();

/// Examines a bucket that holds nothing below `exam/`; `scratch` is a local folder for the bodies of puts. What the
/// exam puts stays.
pub fn examine(bucket: &dyn Bucket, scratch: &Path) -> Exam {
    let examined = Examined { bucket, scratch };
    let mut exam = Exam { passed: Vec::new(), broken: None };
    for (name, check) in CHECKS {
        match check(&examined) {
            Ok(()) => exam.passed.push(name),
            Err(broken) => {
                exam.broken = Some((name, broken));
                break;
            }
        }
    }
    exam
}

/// What isn't so, is said.
fn must(holds: bool, promise: impl Into<String>) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(promise.into()) }
}

fn failed(error: StorageError) -> Broken {
    error.to_string()
}

impl Examined<'_> {
    fn content(&self, key: &str) -> Result<Option<Vec<u8>>, Broken> {
        self.bucket.read(key, LIMIT).map_err(failed)
    }

    /// The object has exactly these bytes (None: it isn't there).
    fn has(&self, key: &str, wanted: Option<&[u8]>, promise: &str) -> Result<(), Broken> {
        must(self.content(key)?.as_deref() == wanted, format!("{key}: {promise}"))
    }

    fn put(&self, key: &str, body: Body<'_>, wanted: Put) -> Result<(), Broken> {
        let put = self.bucket.put_new(key, body).map_err(failed)?;
        must(put == wanted, format!("{key}: the put says {put:?} instead of {wanted:?}"))
    }

    fn diverges(&self, key: &str, body: Body<'_>) -> Result<(), Broken> {
        let refused = self.bucket.put_new(key, body);
        must(
            matches!(refused, Err(StorageError::Divergent { .. })),
            format!("{key}: a put of other bytes isn't refused: {refused:?}"),
        )
    }

    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8], wanted: Swap) -> Result<(), Broken> {
        let swap = self.bucket.swap(key, seen, new).map_err(failed)?;
        must(swap == wanted, format!("{key}: the swap says {swap:?} instead of {wanted:?}"))
    }

    fn absent(&self, key: &str) -> Result<(), Broken> {
        self.has(key, None, "is there, and must not be")?;
        let info = self.bucket.info(key).map_err(failed)?;
        must(info.is_none(), format!("{key}: something is known of an object that isn't there"))
    }
}

fn puts(on: &Examined<'_>) -> Result<(), Broken> {
    let key = "exam/put";
    on.absent(key)?;
    must(on.bucket.open(key).map_err(failed)?.is_none(), "an object that was never put can be opened")?;
    on.put(key, Body::Bytes(b"first"), Put::Created)?;
    on.put(key, Body::Bytes(b"first"), Put::AlreadyThere)?;
    for other in [&b"other"[..], b"firs", b"first2", b""] {
        on.diverges(key, Body::Bytes(other))?;
    }
    on.has(key, Some(b"first"), "a refused put changed the object")?;
    on.put("exam/empty", Body::Bytes(b""), Put::Created)?;
    on.has("exam/empty", Some(b""), "an object of 0 bytes is an object")?;
    let info = on.bucket.info("exam/empty").map_err(failed)?;
    must(info.is_some_and(|info| info.bytes == 0), "an object of 0 bytes has no size of 0")?;
    on.put("exam/empty", Body::Bytes(b""), Put::AlreadyThere)
}

fn files(on: &Examined<'_>) -> Result<(), Broken> {
    let local = |error: std::io::Error| format!("the scratch folder {}: {error}", on.scratch.display());
    let path = on.scratch.join("body");
    // Larger than any buffer, and not of one byte.
    let mut body: Vec<u8> = (0..300_000u32).flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(&path, &body).map_err(local)?;
    on.put("exam/file", Body::File(&path), Put::Created)?;
    on.put("exam/file", Body::File(&path), Put::AlreadyThere)?;
    on.put("exam/file", Body::Bytes(&body), Put::AlreadyThere)?;
    must(path.exists(), "a put took its file away")?;
    let mut found = Vec::new();
    let opened = on.bucket.open("exam/file").map_err(failed)?;
    let mut opened = opened.ok_or("exam/file can't be opened")?;
    opened.read_to_end(&mut found).map_err(local)?;
    must(found == body, "exam/file has other bytes than were put")?;
    if let Some(last) = body.last_mut() {
        *last ^= 1;
    }
    std::fs::write(&path, &body).map_err(local)?;
    on.diverges("exam/file", Body::File(&path))?;
    std::fs::remove_file(&path).map_err(local)?;
    let missing = on.bucket.put_new("exam/no-file", Body::File(&path));
    must(missing.is_err(), "a body that isn't there was put")?;
    on.absent("exam/no-file")
}

fn reads(on: &Examined<'_>) -> Result<(), Broken> {
    let enough = on.bucket.read("exam/put", 5).map_err(failed)?;
    must(enough.as_deref() == Some(b"first"), "a limit that is just enough isn't")?;
    let refused = on.bucket.read("exam/put", 4);
    must(
        matches!(refused, Err(StorageError::TooLarge { bytes: 5, limit: 4, .. })),
        format!("a limit that is too small isn't heeded: {refused:?}"),
    )?;
    let info = on.bucket.info("exam/put").map_err(failed)?.ok_or("nothing is known of exam/put")?;
    must((info.key.as_str(), info.bytes) == ("exam/put", 5), format!("exam/put is known as {info:?}"))?;
    // After 2020, before 2200, in milliseconds.
    let plausible = 1_577_836_800_000..7_258_118_400_000;
    must(plausible.contains(&info.modified), format!("exam/put was written at {}", info.modified))?;
    // A key that ends where a folder begins, or goes on behind an object, names nothing.
    must(on.bucket.info("exam").map_err(failed)?.is_none(), "a folder is taken for an object")?;
    ["exam/put/below", "exam/pu", "exam/put2"].into_iter().try_for_each(|key| on.absent(key))
}

fn odd_keys(on: &Examined<'_>) -> Result<(), Broken> {
    ODD.into_iter().try_for_each(|key| {
        on.put(key, Body::Bytes(key.as_bytes()), Put::Created)?;
        on.has(key, Some(key.as_bytes()), "doesn't hold what was put")
    })
}

fn refused_keys(on: &Examined<'_>) -> Result<(), Broken> {
    let long = format!("exam/{}", "a/".repeat(600) + "a");
    for key in REFUSED.into_iter().chain([long.as_str()]) {
        let is_refused = |error: StorageError| matches!(error, StorageError::Key { .. });
        let refused = [
            on.bucket.put_new(key, Body::Bytes(b"x")).is_err_and(is_refused),
            on.bucket.swap(key, None, b"x").is_err_and(is_refused),
            on.bucket.read(key, 9).is_err_and(is_refused),
            on.bucket.info(key).is_err_and(is_refused),
            on.bucket.open(key).is_err_and(is_refused),
            on.bucket.delete(key).is_err_and(is_refused),
        ];
        must(
            refused == [true; 6],
            format!("key {key:?} isn't refused by each of put, swap, read, info, open, delete"),
        )?;
    }
    Ok(())
}

fn swaps(on: &Examined<'_>) -> Result<(), Broken> {
    let key = "exam/pointers/swap";
    on.swap(key, Some(b"seen"), b"new", Swap::Lost)?;
    on.has(key, None, "a lost swap wrote")?;
    on.swap(key, None, b"one", Swap::Done)?;
    for seen in [None, Some(&b"on"[..]), Some(b"")] {
        on.swap(key, seen, b"two", Swap::Lost)?;
    }
    on.has(key, Some(b"one"), "a lost swap wrote")?;
    on.swap(key, Some(b"one"), b"", Swap::Done)?;
    on.has(key, Some(b""), "a swap to 0 bytes didn't")?;
    on.swap(key, None, b"two", Swap::Lost)?;
    on.swap(key, Some(b""), b"two", Swap::Done)?;
    on.has(key, Some(b"two"), "a swap that was done didn't")
}

/// Of many swaps from one state exactly one wins, round after round.
fn racing_swaps(on: &Examined<'_>) -> Result<(), Broken> {
    let key = "exam/pointers/race";
    let mut seen: Option<Vec<u8>> = None;
    for round in 0..25 {
        let (wins, failures) = (AtomicU32::new(0), AtomicU32::new(0));
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (wins, failures, seen, start) = (&wins, &failures, &seen, &start);
                scope.spawn(move || {
                    start.wait();
                    let new = format!("{round} {thread}");
                    match on.bucket.swap(key, seen.as_deref(), new.as_bytes()) {
                        Ok(Swap::Done) => wins.fetch_add(1, Ordering::Relaxed),
                        Ok(Swap::Lost) => 0,
                        Err(_) => failures.fetch_add(1, Ordering::Relaxed),
                    };
                });
            }
        });
        let (wins, failures) = (wins.into_inner(), failures.into_inner());
        must(wins == 1 && failures == 0, format!("round {round}: {wins} swaps won, {failures} failed"))?;
        seen = on.content(key)?;
        let prefix = format!("{round} ");
        let is_ours = seen.as_ref().is_some_and(|now| now.starts_with(prefix.as_bytes()));
        must(is_ours, format!("round {round}: the object holds what no swap of the round wrote"))?;
    }
    Ok(())
}

/// Of many puts of one key with different bytes exactly one creates it, and it is whole.
fn racing_puts(on: &Examined<'_>) -> Result<(), Broken> {
    for round in 0..10 {
        let key = format!("exam/puts/{round}");
        let (created, failures) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..6u8 {
                let (key, created, failures) = (&key, &created, &failures);
                scope.spawn(move || {
                    let body = vec![thread; 70_000];
                    match on.bucket.put_new(key, Body::Bytes(&body)) {
                        Ok(Put::Created) => created.fetch_add(1, Ordering::Relaxed),
                        Err(StorageError::Divergent { .. }) => 0,
                        _ => failures.fetch_add(1, Ordering::Relaxed),
                    };
                });
            }
        });
        let (created, failures) = (created.into_inner(), failures.into_inner());
        must(
            created == 1 && failures == 0,
            format!("{key}: {created} puts created it, {failures} ended otherwise"),
        )?;
        let found = on.content(&key)?.unwrap_or_default();
        let is_one = found.len() == 70_000 && found.iter().all(|byte| Some(byte) == found.first());
        must(is_one, format!("{key} is a mixture"))?;
    }
    Ok(())
}

fn deletes(on: &Examined<'_>) -> Result<(), Broken> {
    let delete = |key: &str, wanted: bool| {
        let deleted = on.bucket.delete(key).map_err(failed)?;
        must(deleted == wanted, format!("{key}: the delete says {deleted} instead of {wanted}"))
    };
    let (one, other) = ("exam/deleted/one", "exam/deleted/other");
    delete(one, false)?;
    for key in [one, other] {
        on.put(key, Body::Bytes(key.as_bytes()), Put::Created)?;
    }
    for not_an_object in ["exam/deleted", "exam/deleted/on", "exam/deleted/one/below"] {
        delete(not_an_object, false)?;
    }
    on.has(one, Some(one.as_bytes()), "a delete of another key took it")?;
    delete(one, true)?;
    delete(one, false)?;
    on.absent(one)?;
    on.has(other, Some(other.as_bytes()), "a delete of the object beside it took it")?;
    on.put(one, Body::Bytes(b"anew"), Put::Created)?;
    on.has(one, Some(b"anew"), "what was put after a delete isn't what is there")?;
    delete(one, true)?;
    delete(other, true)?;
    // A swap finds that nothing is there.
    let pointer = "exam/pointers/deleted";
    on.swap(pointer, None, b"one", Swap::Done)?;
    delete(pointer, true)?;
    on.swap(pointer, Some(b"one"), b"two", Swap::Lost)?;
    on.absent(pointer)
}

fn listing(on: &Examined<'_>) -> Result<(), Broken> {
    let list = on.bucket.list().map_err(failed)?;
    let keys: Vec<&str> = list.iter().map(|object| object.key.as_str()).collect();
    must(keys.is_sorted(), "the listing isn't in the order of keys")?;
    let mut due: Vec<String> = ["put", "empty", "file", "pointers/swap", "pointers/race"]
        .iter()
        .map(|name| format!("exam/{name}"))
        .chain(ODD.iter().map(|key| (*key).to_owned()))
        .chain((0..10).map(|round| format!("exam/puts/{round}")))
        .collect();
    due.sort_unstable();
    let found: Vec<&str> = keys.into_iter().filter(|key| key.starts_with("exam/")).collect();
    must(found == due, format!("the listing holds other objects, or what a write left behind: {found:?}"))?;
    list.iter().try_for_each(|object| {
        let known = on.bucket.info(&object.key).map_err(failed)?;
        must(known.as_ref() == Some(object), format!("{}: known otherwise than listed", object.key))
    })
}
