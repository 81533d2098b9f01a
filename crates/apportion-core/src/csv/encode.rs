/// Whether a cell must be quoted to come back as it is.
#[inline]
pub fn needs_quotes(cell: &[u8]) -> bool {
    // Looks at every byte, because that is done many at a time.
    cell.iter().fold(false, |found, byte| found | matches!(byte, b'"' | b',' | b'\n' | b'\r'))
}

/// Appends a cell, quoted only where it must be.
#[inline]
pub fn push_cell(out: &mut Vec<u8>, cell: &[u8]) {
    if needs_quotes(cell) {
        out.push(b'"');
        for part in cell.split_inclusive(|byte| *byte == b'"') {
            out.extend_from_slice(part);
            if part.last() == Some(&b'"') {
                out.push(b'"');
            }
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(cell);
    }
}

/// Appends cells with commas between them: the line of csv.gz without its end.
#[inline]
pub fn push_row<'a>(out: &mut Vec<u8>, cells: impl Iterator<Item = &'a [u8]>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        push_cell(out, cell);
    }
}
