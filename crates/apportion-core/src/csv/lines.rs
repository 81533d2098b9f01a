use crate::line_item::Texts;
use crate::proof::row_hash;
use std::ops::Range;

/// The cells of one column: a code per row, and for each code the cell as it stands in a line of a CSV.
///
/// A code without a text is a blank cell, and so is one that isn't there.
#[derive(Debug, Clone, Copy)]
pub struct LineColumn<'a> {
    /// One per row, or a single one that all rows have.
    pub codes: &'a [u32],
    /// One per code: what [`super::push_cell`] makes of a cell.
    pub texts: &'a Texts,
}

/// Ends every cell of a line but the last.
const SEPARATOR: u8 = b',';

/// Pairs of codes up to which two columns may be put together.
const PAIRS: usize = 1 << 16;

/// The sum of the hashes of some rows, each hashed as its line of a CSV without the line's end.
pub fn lines_hash(columns: &[LineColumn<'_>], rows: Range<usize>) -> u128 {
    // What no row of these changes is put together once: most columns.
    let mut fixed = Vec::new();
    let mut cells: Vec<Cells<'_>> = Vec::new();
    let mut from = 0;
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            fixed.push(SEPARATOR);
        }
        let codes = match column.codes {
            [_] => column.codes,
            codes => codes.get(rows.clone()).unwrap_or_default(),
        };
        let first = codes.first().copied().unwrap_or(u32::MAX);
        if codes.iter().all(|code| *code == first) {
            fixed.extend_from_slice(column.texts.get(first as usize));
        } else {
            cells.push(Cells { before: from..fixed.len(), codes, texts: column.texts });
            from = fixed.len();
        }
    }
    let parts = parts_of(&cells, rows.len(), &fixed);
    let rest = fixed.get(from..).unwrap_or_default();
    let (mut sum, mut line) = (0u128, Vec::new());
    for row in 0..rows.len() {
        line.clear();
        for part in &parts {
            let code = part.codes.get(row).copied().unwrap_or(u32::MAX);
            line.extend_from_slice(part.texts.get(code as usize));
        }
        line.extend_from_slice(rest);
        sum = sum.wrapping_add(row_hash(&line));
    }
    sum
}

/// Cells that aren't the same in all rows, and what stands before them.
struct Cells<'a> {
    before: Range<usize>,
    codes: &'a [u32],
    texts: &'a Texts,
}

/// Cells of columns that follow each other, put together with what stands before each.
struct Part {
    codes: Vec<u32>,
    texts: Texts,
}

/// Puts columns together that have few combinations of cells: most columns of a CUR are decided by a few others. What
/// remains to be done for each row is then little.
fn parts_of(cells: &[Cells<'_>], rows: usize, fixed: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(first) = cells.get(from) {
        let (mut codes, mut firsts) = (Vec::with_capacity(rows), Vec::new());
        // Every column by itself is a combination with nothing.
        combine(&mut codes, &mut firsts, first, 1, rows, usize::MAX);
        let mut to = from + 1;
        while let Some(next) = cells.get(to) {
            let (before, most) = (firsts.len(), (rows / 8).max(1));
            if before * (next.texts.len() + 1) > PAIRS || before > most {
                break;
            }
            let mut with_next = codes.clone();
            let mut firsts_with_next = Vec::new();
            if !combine(&mut with_next, &mut firsts_with_next, next, before, rows, most) {
                break;
            }
            (codes, firsts, to) = (with_next, firsts_with_next, to + 1);
        }
        let mut texts = Texts::default();
        for row in firsts {
            texts.push_with(|text| {
                for cells in cells.get(from..to).unwrap_or_default() {
                    text.extend_from_slice(fixed.get(cells.before.clone()).unwrap_or_default());
                    let code = cells.codes.get(row).copied().unwrap_or(u32::MAX);
                    text.extend_from_slice(cells.texts.get(code as usize));
                }
            });
        }
        parts.push(Part { codes, texts });
        from = to;
    }
    parts
}

/// Replaces each row's code, below `before`, by one for its combination with the row's cell of another column; `firsts`
/// gets the first row of each. False if there are more than `most`.
fn combine(
    codes: &mut Vec<u32>,
    firsts: &mut Vec<usize>,
    next: &Cells<'_>,
    before: usize,
    rows: usize,
    most: usize,
) -> bool {
    codes.resize(rows, 0);
    let texts = next.texts.len() + 1;
    let mut met = vec![u32::MAX; before * texts];
    for (row, (code, other)) in codes.iter_mut().zip(next.codes).enumerate() {
        // A blank cell is the first.
        let other = match other.wrapping_add(1) as usize {
            other if other < texts => other,
            _ => 0,
        };
        let Some(met) = met.get_mut(*code as usize * texts + other) else { continue };
        if *met == u32::MAX {
            if firsts.len() >= most {
                return false;
            }
            *met = firsts.len() as u32;
            firsts.push(row);
        }
        *code = *met;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::push_cell;

    #[test]
    fn lines_are_hashed_as_they_would_be_written() {
        let mut texts = Texts::default();
        for cell in [&b"a"[..], b"b,c", b"\"", b"d"] {
            texts.push_with(|bytes| push_cell(bytes, cell));
        }
        let codes: [&[u32]; 4] = [&[0], &[1, 2, u32::MAX], &[], &[3, 0, 3]];
        let columns = codes.map(|codes| LineColumn { codes, texts: &texts });
        let hash = |lines: &[&str]| {
            lines.iter().fold(0u128, |sum, line| sum.wrapping_add(row_hash(line.as_bytes())))
        };
        assert_eq!(lines_hash(&columns, 0..3), hash(&["a,\"b,c\",,d", "a,\"\"\"\",,a", "a,,,d"]));
        assert_eq!(lines_hash(&columns, 1..2), hash(&["a,\"\"\"\",,a"]));
        assert_eq!(lines_hash(&columns[1..], 2..3), hash(&[",,d"]));
        assert_eq!(lines_hash(&columns, 3..3), 0);
    }

    proptest::proptest! {
        #[test]
        fn columns_put_together_change_nothing(
            seeds in proptest::collection::vec((1u32..60, 0u64..u64::MAX), 1..12),
            rows in 1usize..600,
        ) {
            let mut texts = Texts::default();
            (0..50).for_each(|number| texts.push(format!("cell {number}").as_bytes()));
            // Each row's code by a generator of its own; those beyond the texts are blank.
            let codes: Vec<Vec<u32>> = seeds
                .iter()
                .map(|(most, seed)| {
                    let code = |row: u64| (row.wrapping_mul(*seed) >> 40) as u32 % most;
                    (0..rows as u64).map(|row| code(row).wrapping_sub(1)).collect()
                })
                .collect();
            let columns: Vec<_> = codes.iter().map(|codes| LineColumn { codes, texts: &texts }).collect();
            let line = |row: usize| {
                let cell = |codes: &Vec<u32>| texts.get(codes[row] as usize).to_vec();
                row_hash(&codes.iter().map(cell).collect::<Vec<_>>().join(&SEPARATOR))
            };
            let due = (0..rows).fold(0u128, |sum, row| sum.wrapping_add(line(row)));
            proptest::prop_assert_eq!(lines_hash(&columns, 0..rows), due);
        }
    }
}
