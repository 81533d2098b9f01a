use super::*;
use flate2::read::MultiGzDecoder;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use proptest::prelude::*;
use std::io::Read;

const EFFORT: Effort = Effort { table_bits: 13, patience: 6 };

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(EFFORT).gzip(text, &mut out);
    out
}

/// What two libraries that share no code with us read.
fn assert_is_of(packed: &[u8], text: &[u8]) {
    let mut read = vec![0; text.len()];
    assert_eq!(Decompressor::new().gzip_decompress(packed, &mut read).unwrap(), text.len());
    assert!(read == text);
    read.clear();
    MultiGzDecoder::new(packed).read_to_end(&mut read).unwrap();
    assert!(read == text);
}

/// Lines of cells of which each row draws some, and the others are those of the row before.
fn lines(rows: usize, mut seed: u64) -> Vec<u8> {
    let mut draw = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    let mut cells = vec![0; 40];
    let mut text = Vec::new();
    for row in 0..rows {
        for _ in 0..draw(6) {
            let (cell, bits) = (draw(40), draw(40));
            cells[cell as usize] = draw(1 << bits);
        }
        cells[0] = row as u64 * 77_777;
        let line: Vec<String> = cells.iter().map(u64::to_string).collect();
        text.extend_from_slice(line.join(",,").as_bytes());
        text.push(b'\n');
    }
    text
}

#[test]
fn texts_at_the_edges_come_back() {
    let far = |distance: usize| {
        let mut text = b"what comes again".to_vec();
        text.extend((0..distance - text.len()).map(|place| ((place * place) >> 7) as u8));
        text.extend_from_slice(b"what comes again");
        text
    };
    let runs = [1, 2, 7, 8, 9, 257, 258, 259, 260, 261, 516, 517, 70_000].map(|length| vec![b'x'; length]);
    let fars = [32_767, 32_768, 32_769].map(far);
    let all_bytes: Vec<u8> = (0..=255).collect();
    // Counts that grow like Fibonacci's numbers have the longest codes.
    let mut skewed = Vec::new();
    let (mut one, mut next) = (1, 1);
    for byte in 0..26 {
        skewed.extend((0..one).flat_map(|place| [byte, (place % 3) as u8 + 100]));
        (one, next) = (next, one + next);
    }
    for text in runs.into_iter().chain(fars).chain([Vec::new(), all_bytes, skewed]) {
        assert_is_of(&gzip(&text), &text);
    }
}

#[test]
fn blocks_end_anywhere_in_a_line() {
    for rows in [0, 1, 2_000, 9_000] {
        let text = lines(rows, 7);
        for cut in [0, 1, 5] {
            let text = &text[..text.len() - cut.min(text.len())];
            assert_is_of(&gzip(text), text);
        }
    }
}

#[test]
fn what_was_compressed_before_decides_nothing() {
    let mut deflater = Deflater::new(EFFORT);
    let (first, second) = (lines(3_000, 1), lines(3_000, 2));
    deflater.gzip(&first, &mut Vec::new());
    let mut out = Vec::new();
    deflater.gzip(&second, &mut out);
    assert!(out == gzip(&second));
}

#[test]
fn line_items_become_about_as_small_as_by_a_library() {
    let text = lines(9_000, 3);
    let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap());
    let mut packed = vec![0; compressor.gzip_compress_bound(text.len())];
    let library = compressor.gzip_compress(&text, &mut packed).unwrap();
    let own = gzip(&text).len();
    assert!(own * 100 < library * 115, "{own} bytes where a library has {library}");
}

proptest! {
    #[test]
    fn any_text_comes_back(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..20),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..300),
        table_bits in 1u32..16,
        patience in 0u32..8,
    ) {
        let text: Vec<u8> = order.iter().flat_map(|piece| piece.get(&pieces).clone()).collect();
        let mut out = Vec::new();
        Deflater::new(Effort { table_bits, patience }).gzip(&text, &mut out);
        assert_is_of(&out, &text);
    }
}
