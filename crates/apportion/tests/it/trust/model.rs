//! The commit protocol on its own, as steps of writers: every order of all steps, with a crash or a lost answer at
//! each, is gone through. The same model with an order or a swap that is wrong must show what goes wrong with it.
//!
//! One export stands for all: its manifest, the generation beside it, and the MSP's pointer. Versions of the source
//! are numbers. What the code does in one operation is one step here.

use crate::harness::say;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Version 0 is live when it begins; version 2 is the newest.
type Version = u8;
const NEWEST: Version = 2;
/// How often a writer begins anew.
const TRIES: u8 = 3;

/// What lies in the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stores {
    /// The source as it is now.
    source: Version,
    /// Which versions' data are there, one bit each; and which versions' proofs.
    data: u8,
    proofs: u8,
    manifest: Version,
    generation: Version,
    pointer: Version,
}

/// What a writer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Next {
    Pin,
    LookAtManifest,
    LookAtGeneration,
    PutData,
    PutProof,
    PinAgain,
    ReadGeneration,
    SwapGeneration,
    SwapManifest,
    ReadPointer,
    LookForNewer,
    SwapPointer,
    Nothing,
}

/// A run, and what it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Writer {
    /// A copy of the source that stays as it is; None for the source itself.
    copy: Option<Version>,
    next: Next,
    version: Version,
    tries: u8,
    seen_manifest: Version,
    seen_generation: Version,
    /// What a swap compares with.
    read: Version,
    /// Its export's data or proof couldn't be put.
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State<const N: usize> {
    stores: Stores,
    writers: [Writer; N],
    /// How many crashes and lost answers may still come.
    faults: u8,
}

/// What is done otherwise than the product does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// The manifest is swapped before the data are put.
    ManifestFirst,
    /// A swap doesn't compare.
    BlindSwap,
    /// The generation is replaced whatever it is.
    GenerationUnread,
    /// The pointer is moved whatever is live.
    PointerUnread,
}

/// What happens to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Done,
    /// The writer is dead before it.
    Crash,
    /// It is done, and its writer takes it for failed.
    AnswerLost,
    /// It isn't done, and its writer knows.
    Failed,
}

fn bit(version: Version) -> u8 {
    1 << version
}

impl Writer {
    fn new(copy: Option<Version>) -> Self {
        let (version, seen_manifest, seen_generation, read) = (0, 0, 0, 0);
        Self { copy, next: Next::Pin, version, tries: 1, seen_manifest, seen_generation, read, failed: false }
    }

    /// Does the next step, and says what comes after it.
    fn step(&mut self, stores: &mut Stores, wrong: Wrong) -> Next {
        let version = self.version;
        match self.next {
            Next::Pin => {
                self.version = self.copy.unwrap_or(stores.source);
                self.failed = false;
                Next::LookAtManifest
            }
            Next::LookAtManifest => {
                self.seen_manifest = stores.manifest;
                Next::LookAtGeneration
            }
            Next::LookAtGeneration => {
                self.seen_generation = stores.generation;
                if stores.generation > version {
                    Next::Nothing
                } else if self.seen_manifest == version && stores.generation == version {
                    // It is live already: the pointer alone may be behind.
                    Next::ReadPointer
                } else if wrong == Wrong::ManifestFirst {
                    Next::ReadGeneration
                } else {
                    Next::PutData
                }
            }
            Next::PutData => {
                stores.data |= bit(version);
                Next::PutProof
            }
            Next::PutProof => {
                stores.proofs |= bit(version);
                if wrong == Wrong::ManifestFirst { Next::ReadPointer } else { Next::PinAgain }
            }
            Next::PinAgain if self.copy.is_none() && stores.source != version => {
                self.tries += 1;
                if self.tries > TRIES { Next::Nothing } else { Next::Pin }
            }
            Next::PinAgain if self.failed => Next::Nothing,
            Next::PinAgain => Next::ReadGeneration,
            _ => self.step_of_commit(stores, wrong),
        }
    }

    fn step_of_commit(&mut self, stores: &mut Stores, wrong: Wrong) -> Next {
        let version = self.version;
        let swaps = |now: Version, seen: Version| now == seen || wrong == Wrong::BlindSwap;
        match self.next {
            Next::ReadGeneration => {
                self.read = stores.generation;
                let is_newer = self.read > version && self.read != self.seen_generation;
                if is_newer && wrong != Wrong::GenerationUnread {
                    Next::Nothing
                } else {
                    Next::SwapGeneration
                }
            }
            Next::SwapGeneration if swaps(stores.generation, self.read) => {
                stores.generation = version;
                Next::SwapManifest
            }
            Next::SwapGeneration => Next::ReadGeneration,
            Next::SwapManifest => {
                if swaps(stores.manifest, self.seen_manifest) {
                    stores.manifest = version;
                }
                match wrong {
                    Wrong::ManifestFirst => Next::PutData,
                    // Somebody else was there first.
                    _ if stores.manifest != version => Next::Nothing,
                    _ => Next::ReadPointer,
                }
            }
            Next::ReadPointer => {
                self.read = stores.pointer;
                Next::LookForNewer
            }
            Next::LookForNewer => {
                let is_newer = stores.generation > version && wrong != Wrong::PointerUnread;
                if is_newer { Next::Nothing } else { Next::SwapPointer }
            }
            Next::SwapPointer if swaps(stores.pointer, self.read) => {
                stores.pointer = version;
                Next::Nothing
            }
            Next::SwapPointer => Next::ReadPointer,
            _ => Next::Nothing,
        }
    }

    /// What comes after a step whose answer was an error: the run goes on, for the sake of other exports, as far
    /// as nothing of this one is needed.
    fn fail(&mut self) -> Next {
        match self.next {
            Next::PutData | Next::PutProof => {
                self.failed = true;
                Next::PinAgain
            }
            // Where no export could be committed the pointer stays.
            _ => Next::Nothing,
        }
    }
}

impl<const N: usize> State<N> {
    fn new(copies: [Option<Version>; N]) -> Self {
        let stores = Stores {
            source: if copies.contains(&None) { NEWEST - 1 } else { NEWEST },
            data: bit(0),
            proofs: bit(0),
            manifest: 0,
            generation: 0,
            pointer: 0,
        };
        Self { stores, writers: copies.map(Writer::new), faults: 1 }
    }

    /// Every state that one step leads to.
    fn followers(&self, wrong: Wrong) -> Vec<Self> {
        let mut found = Vec::new();
        if self.stores.source < NEWEST {
            found.push(Self { stores: Stores { source: NEWEST, ..self.stores }, ..*self });
        }
        for place in (0..N).filter(|place| self.writers[*place].next != Next::Nothing) {
            let lucks = [Luck::Done, Luck::Crash, Luck::AnswerLost, Luck::Failed];
            for luck in lucks.into_iter().take(if self.faults > 0 { 4 } else { 1 }) {
                let mut state = *self;
                let writer = &mut state.writers[place];
                let taken = *writer;
                if matches!(luck, Luck::Done | Luck::AnswerLost) {
                    writer.next = writer.step(&mut state.stores, wrong);
                }
                if luck != Luck::Done {
                    *writer = taken;
                    writer.next = if luck == Luck::Crash { Next::Nothing } else { writer.fail() };
                }
                state.faults -= u8::from(luck != Luck::Done);
                found.push(state);
            }
        }
        found
    }

    /// What must hold wherever one is.
    fn problem(&self) -> Option<&'static str> {
        let Stores { data, proofs, manifest, generation, .. } = self.stores;
        if data & proofs & bit(manifest) == 0 {
            return Some("the manifest names what isn't there");
        }
        (generation < manifest).then_some("the generation is older than the manifest")
    }

    /// What must hold of each step.
    fn problem_of_step(&self, next: &Self) -> Option<&'static str> {
        let (before, after) = (&self.stores, &next.stores);
        if after.manifest < before.manifest {
            Some("the manifest goes back")
        } else if after.generation < before.generation {
            Some("the generation goes back")
        } else if after.pointer < before.pointer {
            Some("the pointer goes back")
        } else {
            None
        }
    }

    /// When all have ended, one run that is let alone makes the newest live.
    fn problem_of_end(&self, wrong: Wrong) -> Option<&'static str> {
        if self.writers.iter().any(|writer| writer.next != Next::Nothing) {
            return None;
        }
        let mut stores = Stores { source: NEWEST, ..self.stores };
        let mut writer = Writer::new(None);
        while writer.next != Next::Nothing {
            writer.next = writer.step(&mut stores, wrong);
        }
        let live = [stores.manifest, stores.generation, stores.pointer];
        (live != [NEWEST; 3]).then_some("a run that is let alone doesn't make the newest live")
    }
}

/// The way to a state, from the beginning, and one step further.
fn way_to<const N: usize>(
    came_from: &HashMap<State<N>, Option<State<N>>>,
    state: State<N>,
    last: Option<State<N>>,
) -> Vec<State<N>> {
    let before = |one: &State<N>| came_from.get(one).copied().flatten();
    let mut way: Vec<State<N>> = std::iter::successors(Some(state), before).collect();
    way.reverse();
    way.extend(last);
    way
}

/// Goes through all that can happen; returns how many states there are, or what goes wrong, with the way to it.
fn explore<const N: usize>(
    copies: [Option<Version>; N],
    wrong: Wrong,
) -> Result<usize, (&'static str, Vec<State<N>>)> {
    let begin = State::new(copies);
    let mut came_from = HashMap::from([(begin, None)]);
    let mut ahead = VecDeque::from([begin]);
    while let Some(state) = ahead.pop_front() {
        if let Some(problem) = state.problem().or_else(|| state.problem_of_end(wrong)) {
            return Err((problem, way_to(&came_from, state, None)));
        }
        for next in state.followers(wrong) {
            if let Some(problem) = state.problem_of_step(&next) {
                return Err((problem, way_to(&came_from, state, Some(next))));
            }
            if let Entry::Vacant(new) = came_from.entry(next) {
                new.insert(Some(state));
                ahead.push_back(next);
            }
        }
    }
    Ok(came_from.len())
}

/// The source itself, which becomes newer at any moment, and copies that lag behind.
const COPIES: [Option<Version>; 3] = [None, Some(1), Some(NEWEST)];

/// All pairs of writers; the first thing that goes wrong.
fn explore_pairs(wrong: Wrong) -> Result<usize, &'static str> {
    let mut states = 0;
    for first in COPIES {
        for second in COPIES {
            states += explore([first, second], wrong).map_err(|(problem, _)| problem)?;
        }
    }
    Ok(states)
}

#[test]
fn every_order_of_the_commit_protocol_is_safe() {
    let mut states = 0;
    for first in COPIES {
        for second in COPIES {
            match explore([first, second], Wrong::Nothing) {
                Ok(more) => states += more,
                Err((problem, way)) => {
                    let way: Vec<String> = way.iter().map(|state| format!("{state:?}")).collect();
                    panic!("{first:?} and {second:?}: {problem}:\n{}", way.join("\n"));
                }
            }
        }
    }
    assert!(states > 10_000, "{states}");
    say(&format!("trust: {states} states of two writers and a crash or lost answer, all of them"));
}

#[test]
fn what_is_wrong_with_the_protocol_is_found_out() {
    assert_eq!(explore_pairs(Wrong::ManifestFirst), Err("the manifest names what isn't there"));
    assert_eq!(explore_pairs(Wrong::BlindSwap), Err("the generation goes back"));
    assert_eq!(explore_pairs(Wrong::GenerationUnread), Err("the generation goes back"));
    assert_eq!(explore_pairs(Wrong::PointerUnread), Err("the pointer goes back"));
}
