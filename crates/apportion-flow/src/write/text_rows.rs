use super::buffers::Buffers;
use super::order;
use super::window::Window;
use apportion_core::columns::{ColumnId, known};
use apportion_core::csv::push_cell;

/// The places, among an export's columns, of the three columns that rows are sorted by.
pub(super) fn sort_keys(find: impl Fn(ColumnId) -> Option<usize>) -> [Option<usize>; 3] {
    let columns = known().well_known();
    [columns.sku, columns.resource_id, columns.usage_start].map(find)
}

/// Writes rows as CSV text into a window, cell by cell.
#[derive(Debug)]
pub(super) struct TextRows {
    window: Window,
    width: usize,
    keys: [Option<usize>; 3],
    /// The parts of the present row's sort key, and the place of its last cell.
    key: [u64; 3],
    column: usize,
}

impl TextRows {
    pub(super) fn new(width: usize, keys: [Option<usize>; 3], buffers: &Buffers) -> Self {
        Self { window: Window::new(buffers), width, keys, key: [0; 3], column: 0 }
    }

    pub(super) fn begin(&mut self) {
        self.window.begin();
        self.key = [0; 3];
        self.column = 0;
    }

    /// A cell that isn't blank; places must come in ascending order.
    #[inline]
    pub(super) fn cell(&mut self, place: usize, cell: &[u8]) {
        self.blanks_to(place);
        push_cell(self.window.buffer(), cell);
        let ([sku, resource, usage_start], place) = (self.keys, Some(place));
        let [of_sku, of_resource, of_start] = &mut self.key;
        if place == sku {
            *of_sku = order::hash(cell);
        } else if place == resource {
            *of_resource = order::hash(cell);
        } else if place == usage_start {
            *of_start = order::seconds(cell);
        }
    }

    fn blanks_to(&mut self, place: usize) {
        for _ in self.column..place {
            self.window.buffer().push(b',');
        }
        self.column = place.max(self.column);
    }

    pub(super) fn end(&mut self) {
        self.blanks_to(self.width.saturating_sub(1));
        self.window.buffer().push(b'\n');
        let [sku, resource, seconds] = self.key;
        self.window.end(order::join(sku, resource, seconds), None, 0);
    }

    /// The window, if it is full.
    pub(super) fn take_full(&mut self) -> Option<Window> {
        self.window.is_full().then(|| self.window.take())
    }

    /// The last window, if it holds anything.
    pub(super) fn take_rest(&mut self) -> Option<Window> {
        let window = self.window.take();
        (!window.is_empty()).then_some(window)
    }
}
