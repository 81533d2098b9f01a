use crate::exit::usage;
use std::path::{Component, Path, PathBuf};

/// Whether a place is a URL rather than a path.
fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A folder that the settings name, relative to `base`.
pub(crate) fn folder_of(text: &str, base: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = text.strip_prefix("file://") {
        return Ok(PathBuf::from(path));
    }
    if is_url(text) {
        return Err(usage(format!(
            "{text}: only folders can be read and written in this version; copy the bucket with `aws s3 sync`, and give the folder"
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

/// Refuses two places of which one lies in the other.
pub(super) fn keep_apart(what: &str, one: &Path, other_what: &str, other: &Path) -> anyhow::Result<()> {
    let (left, right) = (real(one), real(other));
    let relation = if left == right {
        "is the same folder as"
    } else if left.starts_with(&right) {
        "lies within"
    } else if right.starts_with(&left) {
        "contains"
    } else {
        return Ok(());
    };
    Err(usage(format!(
        "{what} {} {relation} {other_what} {}; give it a folder of its own",
        one.display(),
        other.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_touch_are_refused_however_they_are_written() {
        let apart =
            |one: &str, other: &str| keep_apart("target", Path::new(one), "source", Path::new(other)).is_ok();
        assert!(apart("/a/b", "/a/c") && apart("/a/bc", "/a/b"));
        assert!(
            !apart("/a/b", "/a/b/")
                && !apart("/a/b/c", "/a/b")
                && !apart("/a", "/a/b")
                && !apart("/a/x/../b", "/a/b")
        );
    }
}
