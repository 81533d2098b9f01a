use super::stores::Place;
use crate::exit::usage;
use apportion_model::CustomerId;
use std::cmp::Ordering;
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

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// The MSP's place.
    Msp,
    /// A target of this customer, who stands at this position in the settings.
    Target(usize, &'a CustomerId),
    /// A source.
    Source,
}

impl Role<'_> {
    fn text(self) -> String {
        match self {
            Self::Msp => "the MSP's place".to_owned(),
            Self::Target(_, customer) => format!("target of customer {customer}"),
            Self::Source => "the source".to_owned(),
        }
    }

    /// Of two that touch, which one is told first: the one that can best be moved.
    fn rank(self) -> (u8, usize) {
        match self {
            Self::Msp => (2, 0),
            Self::Target(position, _) => (1, position),
            Self::Source => (0, 0),
        }
    }
}

/// A place, what it is for, and where it really lies.
struct Site<'a> {
    role: Role<'a>,
    place: &'a Place,
    real: PathBuf,
}

impl Site<'_> {
    /// Sources may share a place, as targets of one customer do, and those of several if they are the same word for word.
    fn may_touch(&self, other: &Self) -> bool {
        match (self.role, other.role) {
            (Role::Source, Role::Source) => true,
            (Role::Target(one, _), Role::Target(another, _)) => {
                one == another || is_same(self.place, other.place)
            }
            _ => false,
        }
    }
}

/// Refuses places of which one lies in another. Thousands are looked at together: in the order of their names, what lies
/// within a place follows it, so each is compared with those around it alone.
pub(super) fn keep_apart<'a>(places: impl Iterator<Item = (Role<'a>, &'a Place)>) -> anyhow::Result<()> {
    let mut sites: Vec<Site<'_>> = places
        .map(|(role, place)| {
            // Buckets of different hosts may have one name; whoever has that gives them prefixes.
            let real = match place {
                Place::Folder(path) => real(path),
                Place::Store(store) => PathBuf::from(store.url.to_string()),
            };
            Site { role, place, real }
        })
        .collect();
    sites.sort_by(|left, right| left.real.cmp(&right.real));
    let mut around: Vec<&Site<'_>> = Vec::new();
    for site in &sites {
        while around.pop_if(|outer| !site.real.starts_with(&outer.real)).is_some() {}
        if let Some(outer) = around.iter().find(|outer| !outer.may_touch(site)) {
            return Err(refused(outer, site));
        }
        around.push(site);
    }
    Ok(())
}

fn refused(outer: &Site<'_>, inner: &Site<'_>) -> anyhow::Error {
    let sort = if matches!(outer.place, Place::Folder(_)) { "folder" } else { "place" };
    let told_first = inner.role.rank().cmp(&outer.role.rank());
    let (site, other) = if told_first == Ordering::Less { (outer, inner) } else { (inner, outer) };
    let relation = match told_first {
        _ if outer.real == inner.real => format!("is the same {sort} as"),
        Ordering::Less => "contains".to_owned(),
        _ => "lies within".to_owned(),
    };
    let (what, other_what) = (site.role.text(), other.role.text());
    usage(format!(
        "{what} {} {relation} {other_what} {}; give it a {sort} of its own",
        site.place, other.place
    ))
}

/// Whether two places are the same word for word.
fn is_same(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Folder(one), Place::Folder(other)) => one == other,
        (Place::Store(one), Place::Store(other)) => one.url == other.url,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a source and of targets, each of a customer of its own.
    fn said(source: &str, targets: &[&str]) -> String {
        let folder = |path: &str| Place::Folder(PathBuf::from(path));
        let (source, targets): (Place, Vec<Place>) =
            (folder(source), targets.iter().map(|path| folder(path)).collect());
        let ids: Vec<CustomerId> =
            (0..targets.len()).map(|at| CustomerId::new(&format!("c{at}")).unwrap()).collect();
        let roles = ids.iter().enumerate().map(|(at, id)| Role::Target(at, id));
        let places = roles.zip(&targets).chain([(Role::Source, &source)]);
        keep_apart(places).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn places_that_touch_are_refused_however_they_are_written() {
        for apart in [&["/a/c", "/a/bc", "/a/c", "/b"][..], &["/a/b c", "/a/bb"], &["/x/y", "/x/y", "/x/y2"]]
        {
            assert_eq!(said("/a/b", apart), "", "{apart:?}");
        }
        for (targets, words) in [
            (&["/a/b c", "/x", "/a/b/c"][..], "c2 /a/b/c lies within the source /a/b"),
            (&["/x", "/a/x/../b"], "c1 /a/x/../b is the same folder as the source"),
            (&["/a/b/"], "c0 /a/b/ is the same folder as the source"),
            (&["/y", "/a"], "c1 /a contains the source"),
            (&["/x/y", "/x/y", "/x/y/z/v", "/x"], "c3 /x contains target of customer c0 /x/y"),
            (&["/x/y", "/x/z/../y"], "c1 /x/z/../y is the same folder as target of customer c0 /x/y"),
            (&["/x/y/z", "/x/y 2", "/x/y"], "c2 /x/y contains target of customer c0 /x/y/z"),
        ] {
            let said = said("/a/b", targets);
            assert!(said.contains(words), "{targets:?}: {said}");
        }
    }
}
