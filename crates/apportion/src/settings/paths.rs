use super::stores::Place;
use crate::exit::usage;
use std::path::{Component, Path, PathBuf};

/// Whether a place is a URL rather than a path.
fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A folder that the settings name, relative to `base`.
pub(super) fn folder_of(text: &str, base: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = text.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    if is_url(text) {
        return Err(usage(format!(
            "{text}: only folders and buckets (s3://BUCKET/PREFIX) can be read and written in this version"
        )));
    }
    if text.is_empty() {
        return Err(usage("an empty path was given where a folder is due"));
    }
    Ok(base.join(text))
}

/// A path without symbolic links and dots, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
        if let Ok(found) = clean.canonicalize() {
            clean = found;
        }
    }
    clean
}

/// Whether any two of these places have to be kept apart. Thousands are looked through at once: in the order of their
/// names, what lies within a place comes right behind it. Only of the targets several may be one place, if it is the same
/// word for word.
pub(super) fn any_touch<'a>(
    alone: impl Iterator<Item = &'a Place>,
    targets: impl Iterator<Item = &'a Place>,
) -> bool {
    let site = |place: &Place| match place {
        Place::Folder(path) => real(path),
        Place::Store(store) => PathBuf::from(store.url.to_string()),
    };
    let places = alone.map(|place| (place, false)).chain(targets.map(|place| (place, true)));
    let mut sites: Vec<(PathBuf, &Place, bool)> =
        places.map(|(place, is_target)| (site(place), place, is_target)).collect();
    sites.sort_by(|(left, ..), (right, ..)| left.cmp(right));
    sites.windows(2).any(|pair| match pair {
        [(left, one, true), (right, other, true)] if left == right => !is_same(one, other),
        [(left, ..), (right, ..)] => right.starts_with(left),
        _ => false,
    })
}

/// Whether two places are the same word for word.
pub(super) fn is_same(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Folder(one), Place::Folder(other)) => one == other,
        (Place::Store(one), Place::Store(other)) => one.url == other.url,
        _ => false,
    }
}

/// Refuses two places of which one lies in the other.
pub(super) fn keep_apart(what: &str, one: &Place, other_what: &str, other: &Place) -> anyhow::Result<()> {
    let (within, contains, sort) = match (one, other) {
        (Place::Folder(one), Place::Folder(other)) => {
            let (left, right) = (real(one), real(other));
            (left.starts_with(&right), right.starts_with(&left), "folder")
        }
        // Buckets of different hosts may have one name; whoever has that gives them prefixes.
        (Place::Store(one), Place::Store(other)) => {
            (other.url.contains(&one.url), one.url.contains(&other.url), "place")
        }
        _ => return Ok(()),
    };
    let relation = match (within, contains) {
        (true, true) => format!("is the same {sort} as"),
        (true, false) => "lies within".to_owned(),
        (false, true) => "contains".to_owned(),
        (false, false) => return Ok(()),
    };
    Err(usage(format!("{what} {one} {relation} {other_what} {other}; give it a {sort} of its own")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_touch_are_refused_however_they_are_written() {
        let folder = |path: &str| Place::Folder(PathBuf::from(path));
        let apart =
            |one: &str, other: &str| keep_apart("target", &folder(one), "source", &folder(other)).is_ok();
        let touch = |paths: &[&str]| {
            let places: Vec<Place> = paths.iter().map(|path| folder(path)).collect();
            any_touch(places[..1].iter(), places[1..].iter())
        };
        assert!(apart("/a/b", "/a/c") && apart("/a/bc", "/a/b"));
        assert!(!touch(&["/a/b", "/a/c", "/a/bc", "/a/c", "/b"]));
        assert!(touch(&["/a/b", "/a/b c", "/x", "/a/b/c"]) && touch(&["/x", "/a/b", "/a/x/../b"]));
        assert!(touch(&["/a/b", "/x", "/a/b"]) && touch(&["/x", "/a/b", "/a/b", "/a"]));
        assert!(
            !apart("/a/b", "/a/b/")
                && !apart("/a/b/c", "/a/b")
                && !apart("/a", "/a/b")
                && !apart("/a/x/../b", "/a/b")
        );
    }
}
