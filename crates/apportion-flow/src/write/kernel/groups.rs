use super::{Column, Middle, Shared};
use apportion_core::line_item::{Cells, Texts};
use std::sync::Arc;

/// No group, or a blank cell's code.
const NONE: u32 = u32::MAX;

/// Rows that have the same codes in all shared columns, found without putting their texts together: the column with the
/// most distinct texts (the SKU, as a rule) proposes a group, every other column confirms it. Groups live as long as the
/// dictionaries that their codes belong to.
#[derive(Debug, Default)]
pub(super) struct Groups {
    columns: Vec<GroupColumn>,
    leader: usize,
    /// For each code of the leader, and behind them for its blank cell, the group of the first row that had it.
    by_leader: Vec<u32>,
    texts: Vec<Option<Shared>>,
    buffer: Vec<u8>,
}

/// A column: its dictionary, and the code that each group has in it.
#[derive(Debug, Default)]
struct GroupColumn {
    dictionary: Option<Arc<Texts>>,
    codes: Vec<u32>,
}

impl Groups {
    /// The shared text of each row.
    pub(super) fn texts(&mut self, middle: &mut Middle<'_, '_>, rows: usize) -> Vec<Option<Shared>> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let texts = match self.take_up(middle.prepared.middle_columns(), middle.prepared.places.clone()) {
            true => {
                let groups = self.groups_of(middle, rows, &mut buffer);
                let each = groups.into_iter().enumerate();
                each.map(|(row, group)| match self.texts.get(group as usize) {
                    Some(text) => *text,
                    None => middle.keep(row, &mut buffer),
                })
                .collect()
            }
            false => (0..rows).map(|row| middle.keep(row, &mut buffer)).collect(),
        };
        self.buffer = buffer;
        texts
    }

    /// Begins anew where a dictionary is another. False where a column isn't coded at all.
    fn take_up(&mut self, columns: &[Column<'_>], places: std::ops::Range<usize>) -> bool {
        let mut dictionaries: Vec<Option<&Arc<Texts>>> = vec![None; places.len()];
        for column in columns {
            let Cells::Coded { texts, .. } = column.cells else { return false };
            dictionaries[column.place - places.start] = Some(texts);
        }
        let same = self.columns.len() == places.len()
            && self.columns.iter().zip(&dictionaries).enumerate().all(|(place, (known, now))| {
                match (&known.dictionary, now) {
                    (Some(known), Some(now)) => Arc::ptr_eq(known, now),
                    // Without a dictionary a column can't have been a good leader.
                    (None, Some(_)) => place != self.leader,
                    (_, None) => true,
                }
            });
        if !same {
            self.texts.clear();
            self.columns = places.map(|_| GroupColumn::default()).collect();
        }
        let groups = self.texts.len();
        for (known, now) in self.columns.iter_mut().zip(&dictionaries) {
            if let (None, Some(now)) = (&known.dictionary, now) {
                known.dictionary = Some(Arc::clone(now));
                known.codes = vec![NONE; groups];
            }
        }
        if !same {
            let distinct = |place: usize| dictionaries[place].map_or(0, |texts| texts.len());
            self.leader = (0..dictionaries.len()).max_by_key(|place| distinct(*place)).unwrap_or(0);
            self.by_leader = vec![NONE; distinct(self.leader) + 1];
        }
        true
    }

    /// The group of each row; [`NONE`] where the leader's group isn't the row's.
    fn groups_of(&mut self, middle: &mut Middle<'_, '_>, rows: usize, buffer: &mut Vec<u8>) -> Vec<u32> {
        // By place among the shared columns; a column that is blank in this batch has none.
        let mut codes: Vec<Option<&[u32]>> = vec![None; self.columns.len()];
        for column in middle.prepared.middle_columns() {
            if let Cells::Coded { codes: of_rows, .. } = column.cells {
                codes[column.place - middle.prepared.places.start] = Some(of_rows);
            }
        }
        let code_of = |codes: &Option<&[u32]>, row: usize| {
            codes.and_then(|codes| codes.get(row)).copied().unwrap_or(NONE)
        };
        let blank = self.by_leader.len() - 1;
        let mut groups = Vec::with_capacity(rows);
        for row in 0..rows {
            let code = (code_of(&codes[self.leader], row) as usize).min(blank);
            let mut group = self.by_leader[code];
            if group == NONE {
                group = self.texts.len() as u32;
                self.by_leader[code] = group;
                for (column, codes) in self.columns.iter_mut().zip(&codes) {
                    if column.dictionary.is_some() {
                        column.codes.push(normal(code_of(codes, row), column));
                    }
                }
                self.texts.push(middle.keep(row, buffer));
            }
            groups.push(group);
        }
        for (column, codes) in self.columns.iter().zip(&codes) {
            column.confirm(*codes, &mut groups);
        }
        groups
    }
}

/// A code without a text is a blank cell's.
fn normal(code: u32, column: &GroupColumn) -> u32 {
    if (code as usize) < column.dictionary.as_ref().map_or(0, |texts| texts.len()) { code } else { NONE }
}

impl GroupColumn {
    /// Takes the rows out of groups that have another code here.
    fn confirm(&self, codes: Option<&[u32]>, groups: &mut [u32]) {
        if self.dictionary.is_none() {
            return;
        }
        // A row that is in no group any more has nothing to confirm.
        let differs =
            |group: u32, code: u32| self.codes.get(group as usize).is_some_and(|of_group| *of_group != code);
        let Some(codes) = codes else {
            return groups.iter_mut().filter(|group| differs(**group, NONE)).for_each(|group| *group = NONE);
        };
        // Nearly always none differs, and a look that only looks is fast.
        if groups.iter().zip(codes).fold(false, |any, (group, code)| any | differs(*group, *code)) {
            for (group, code) in groups.iter_mut().zip(codes) {
                if differs(*group, *code) {
                    *group = NONE;
                }
            }
        }
    }
}
