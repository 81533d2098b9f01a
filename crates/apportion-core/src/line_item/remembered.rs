use super::{Cells, Texts};
use std::sync::{Arc, Weak};

/// What was worked out of a column's cells, so that it is worked out once per text of a dictionary, and not anew
/// where a cell is the same as the one before it.
///
/// `T::default()` stands for "not worked out yet": a cell that comes to it is only worked out again. What is worked
/// out must depend on the cell's bytes alone, because it is kept over batches as long as they share a dictionary.
#[derive(Debug)]
pub struct Remembered<T> {
    /// Whose texts `values` are of. Held weakly: the address can't be another dictionary's as long as this exists,
    /// and the texts themselves go when the last batch goes.
    texts: Weak<Texts>,
    /// One per text, and a last one for codes without a text.
    values: Vec<T>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { texts: Weak::new(), values: Vec::new() }
    }
}

impl<T: Clone + Default + PartialEq> Remembered<T> {
    /// Begins with the column's cells of a batch.
    pub fn of<'a>(&'a mut self, cells: &'a Cells) -> Reading<'a, T> {
        if let Cells::Coded { texts, .. } = cells
            && !std::ptr::eq(self.texts.as_ptr(), Arc::as_ptr(texts))
        {
            self.texts = Arc::downgrade(texts);
            self.values.clear();
            self.values.resize(texts.len() + 1, T::default());
        }
        Reading { cells, values: &mut self.values, last: (&[], T::default()) }
    }
}

/// A column's cells of one batch, and what is remembered of them.
#[derive(Debug)]
pub struct Reading<'a, T> {
    cells: &'a Cells,
    values: &'a mut [T],
    last: (&'a [u8], T),
}

impl<'a, T: Default + PartialEq> Reading<'a, T> {
    /// What a row's cell comes to; `work` works it out.
    ///
    /// # Errors
    /// What `work` says. It isn't remembered.
    #[inline]
    pub fn get<E>(&mut self, row: usize, work: impl FnOnce(&'a [u8]) -> Result<T, E>) -> Result<&T, E> {
        let cells = self.cells;
        if let Cells::Coded { codes, texts } = cells {
            let code = codes.get(row).map_or(usize::MAX, |code| *code as usize).min(texts.len());
            let value = &mut self.values[code];
            if *value == T::default() {
                *value = work(texts.get(code))?;
            }
            return Ok(value);
        }
        let cell = cells.get(row);
        if cell != self.last.0 || self.last.1 == T::default() {
            self.last = (cell, work(cell)?);
        }
        Ok(&self.last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn coded(codes: &[u32], texts: &Arc<Texts>) -> Cells {
        Cells::Coded { codes: codes.into(), texts: Arc::clone(texts) }
    }

    fn texts(list: &[&str]) -> Arc<Texts> {
        let mut texts = Texts::default();
        list.iter().for_each(|text| texts.push(text.as_bytes()));
        Arc::new(texts)
    }

    #[test]
    fn a_dictionary_is_worked_out_once_and_never_taken_for_another() {
        let mut remembered = Remembered::<Option<Vec<u8>>>::default();
        let mut worked = 0;
        let mut look = |cells: &Cells, rows: usize| -> Vec<String> {
            let mut reading = remembered.of(cells);
            let mut work = |cell: &[u8]| {
                worked += 1;
                Ok::<_, Infallible>(Some(cell.to_vec()))
            };
            let read = |row| {
                let value = reading.get(row, &mut work).unwrap().clone().unwrap();
                String::from_utf8(value).unwrap()
            };
            (0..rows).map(read).collect()
        };
        let first = texts(&["a", "b"]);
        assert_eq!(look(&coded(&[0, 1, 0, u32::MAX, 2], &first), 6), ["a", "b", "a", "", "", ""]);
        assert_eq!(look(&coded(&[1, 0], &first), 2), ["b", "a"]);
        let second = texts(&["b", "c"]);
        assert_eq!(look(&coded(&[0, 1], &second), 2), ["b", "c"]);
        drop(second);
        for _ in 0..10 {
            let other = texts(&["x", "y"]);
            assert_eq!(look(&coded(&[0, 1, 1], &other), 3), ["x", "y", "y"]);
        }
        assert_eq!(look(&Cells::Plain(texts(&["a", "a", "", "b"])), 4), ["a", "a", "", "b"]);
        assert_eq!(look(&Cells::Blank, 2), ["", ""]);
        assert_eq!(worked, 3 + 2 + 20 + 3 + 1);
    }
}
