use crate::proof::SourceColumn;
use std::collections::BTreeMap;

/// What became of a source's columns between two deliveries, a sentence for each sort of change.
pub fn drift(before: &[SourceColumn], now: &[SourceColumn]) -> Vec<String> {
    let by_name = |columns: &[SourceColumn]| -> BTreeMap<String, String> {
        columns.iter().map(|column| (column.name.clone(), column.kind.clone())).collect()
    };
    let (before, now) = (by_name(before), by_name(now));
    let only = |here: &BTreeMap<String, String>, there: &BTreeMap<String, String>| -> Vec<String> {
        here.keys().filter(|name| !there.contains_key(*name)).cloned().collect()
    };
    let changed: Vec<String> = now
        .iter()
        .filter_map(|(name, kind)| {
            let old = before.get(name).filter(|old| *old != kind)?;
            Some(format!("{name} ({old}, now {kind})"))
        })
        .collect();
    [
        ("columns that are new", only(&now, &before)),
        ("columns that are gone", only(&before, &now)),
        ("columns of another type", changed),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| format!("{what} ({}): {}", names.len(), names.join(", ")))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_change_is_told() {
        let column = |name: &str, kind: &str| SourceColumn { name: name.into(), kind: kind.into(), files: 1 };
        let before = [column("a", "string"), column("b", "string")];
        let now = [column("b", "double"), column("c", "string")];
        assert_eq!(
            drift(&before, &now),
            [
                "columns that are new (1): c",
                "columns that are gone (1): a",
                "columns of another type (1): b (string, now double)"
            ]
        );
        assert!(drift(&now, &now).is_empty());
    }
}
