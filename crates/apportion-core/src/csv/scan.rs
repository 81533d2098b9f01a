use super::Limits;

/// Bytes that are looked at together.
const BLOCK: usize = 64;

/// Walks the bytes that can end a field or open a quoted one, 64 bytes at a time.
///
/// It takes the common records: fields with or without quotes, line ends of either kind. Of all others (a record that
/// isn't whole or isn't right, one near a limit) it says so and leaves them to the splitter that goes byte by byte,
/// so that what is refused, and with which words, is decided in one place.
pub(super) struct Scanner {
    /// Where the present 64 bytes begin.
    base: usize,
    /// Commas among them that are still ahead, a bit each.
    commas: u64,
    /// The same for quotes and line ends.
    others: u64,
}

impl Scanner {
    /// A scanner that stands nowhere yet.
    pub(super) fn new() -> Self {
        Self { base: usize::MAX, commas: 0, others: 0 }
    }

    /// Goes to a place; all before it is done with.
    fn seek(&mut self, bytes: &[u8], at: usize) {
        let base = at - at % BLOCK;
        if base != self.base {
            self.load(bytes, base);
        }
        let ahead = u64::MAX << (at % BLOCK);
        self.commas &= ahead;
        self.others &= ahead;
    }

    fn load(&mut self, bytes: &[u8], base: usize) {
        self.base = base;
        let rest = bytes.get(base..).unwrap_or_default();
        (self.commas, self.others) = match rest.first_chunk::<BLOCK>() {
            Some(block) => masks(block),
            None => {
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                masks(&block)
            }
        };
    }

    /// The bounds of one record's fields, which fill `slots`, and where the next record begins. None for a record
    /// that must be looked at byte by byte. No field or record that reaches a limit is taken. The places of fields
    /// with `""` in them are added to `doubled`.
    pub(super) fn record(
        &mut self,
        bytes: &[u8],
        start: usize,
        limits: &Limits,
        slots: &mut [(u32, u32)],
        doubled: &mut Vec<usize>,
    ) -> Option<usize> {
        let record_limit = start.saturating_add(limits.record);
        let (mut from, mut filled) = (start, 0);
        self.seek(bytes, start);
        loop {
            let end = self.base + BLOCK;
            if end > record_limit || end - from > limits.field {
                return None;
            }
            // Commas before the next byte of another kind end one field each.
            let mut commas = self.commas & self.others.wrapping_sub(1) & !self.others;
            self.commas ^= commas;
            while commas != 0 {
                let at = self.base + commas.trailing_zeros() as usize;
                *slots.get_mut(filled)? = (from as u32, at as u32);
                filled += 1;
                from = at + 1;
                commas &= commas - 1;
            }
            if self.others == 0 {
                if end >= bytes.len() {
                    return None;
                }
                self.load(bytes, end);
                continue;
            }
            let at = self.base + self.others.trailing_zeros() as usize;
            self.others &= self.others - 1;
            if bytes.get(at) == Some(&b'"') {
                // Inside an unquoted field it is a byte like any other.
                if at == from {
                    let (close, next, is_last) = self.quoted(bytes, at, limits, filled, doubled)?;
                    if close > record_limit || close - at > limits.field {
                        return None;
                    }
                    *slots.get_mut(filled)? = (at as u32 + 1, close as u32);
                    filled += 1;
                    if is_last {
                        return (filled == slots.len()).then_some(next);
                    }
                    from = next;
                }
                continue;
            }
            let next = line_end(bytes, at)?;
            *slots.get_mut(filled)? = (from as u32, at as u32);
            return (filled + 1 == slots.len()).then_some(next);
        }
    }

    /// The closing quote of the field whose opening one is at `open`, where the next field or record begins, and
    /// whether the field is its record's last.
    fn quoted(
        &mut self,
        bytes: &[u8],
        open: usize,
        limits: &Limits,
        place: usize,
        doubled: &mut Vec<usize>,
    ) -> Option<(usize, usize, bool)> {
        let mut has_doubled = false;
        loop {
            if self.others == 0 {
                let end = self.base + BLOCK;
                if end >= bytes.len() || end + BLOCK - open > limits.field {
                    return None;
                }
                self.load(bytes, end);
                continue;
            }
            let at = self.base + self.others.trailing_zeros() as usize;
            self.others &= self.others - 1;
            if bytes.get(at) != Some(&b'"') {
                continue;
            }
            let behind = at + 1;
            match bytes.get(behind) {
                Some(b'"') => {
                    has_doubled = true;
                    self.seek(bytes, behind + 1);
                    continue;
                }
                Some(b',') => self.seek(bytes, behind + 1),
                _ => {
                    let next = line_end(bytes, behind)?;
                    if has_doubled {
                        doubled.push(place);
                    }
                    return Some((at, next, true));
                }
            }
            if has_doubled {
                doubled.push(place);
            }
            return Some((at, behind + 1, false));
        }
    }
}

/// Where the next record begins, if a line ends at a place.
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes.get(at)?, bytes.get(at + 1)) {
        (b'\n', _) => Some(at + 1),
        (b'\r', Some(b'\n')) => Some(at + 2),
        _ => None,
    }
}

/// Which of 64 bytes are commas, and which are quotes or line ends.
#[inline]
fn masks(block: &[u8; BLOCK]) -> (u64, u64) {
    let (mut commas, mut others, mut any) = ([0; BLOCK], [0; BLOCK], 0);
    for ((byte, comma), other) in block.iter().zip(&mut commas).zip(&mut others) {
        *comma = u8::from(*byte == b',');
        *other = u8::from(*byte == b'"') | u8::from(*byte == b'\n') | u8::from(*byte == b'\r');
        any |= *other;
    }
    (pack(&commas), if any == 0 { 0 } else { pack(&others) })
}

/// 64 bytes of 0 or 1 as bits.
#[inline]
fn pack(flags: &[u8; BLOCK]) -> u64 {
    // The product's highest byte has a bit of each of the eight bytes, in their order.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (words, _) = flags.as_chunks::<8>();
    let bits = words.iter().map(|word| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56);
    bits.enumerate().fold(0, |mask, (place, bits)| mask | bits << (8 * place))
}
