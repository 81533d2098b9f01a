use super::codes::Code;

/// Bits that fill no byte yet, between two blocks.
#[derive(Debug, Default)]
pub(super) struct Bits {
    waiting: u64,
    count: u32,
}

/// Appends bits, the lowest first.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    waiting: u64,
    count: u32,
}

impl Bits {
    /// A writer that begins with the bits that wait and has room for so many more.
    pub(super) fn writer<'a>(&self, out: &'a mut Vec<u8>, room: usize) -> BitWriter<'a> {
        let at = out.len();
        // Eight bytes are written at once, wherever the last bit falls.
        out.resize(at + (room + self.count as usize) / 8 + 16, 0);
        BitWriter { out, at, waiting: self.waiting, count: self.count }
    }

    /// Writes the bits of the last byte.
    pub(super) fn end(self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.waiting as u8);
        }
    }
}

impl BitWriter<'_> {
    /// Adds some bits. Between two calls of [`Self::flush`] there is room for 56.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.waiting |= bits << self.count;
        self.count += count;
    }

    /// Adds a code.
    #[inline]
    pub(super) fn put_code(&mut self, code: Code) {
        self.put(u64::from(code.bits), u32::from(code.length));
    }

    /// Hands whole bytes on.
    #[inline]
    pub(super) fn flush(&mut self) {
        if let Some(place) = self.out.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&self.waiting.to_le_bytes());
        }
        let bytes = self.count / 8;
        self.at += bytes as usize;
        self.waiting >>= bytes * 8;
        self.count %= 8;
    }

    /// The bits that wait for more.
    pub(super) fn finish(self) -> Bits {
        self.out.truncate(self.at);
        Bits { waiting: self.waiting, count: self.count }
    }
}
