//! Numbers of line items.
//!
//! What comes in: whole numbers of ten-billionths (a cost, a rate or an amount with ten decimals). What goes out:
//! their products, rounded to ten decimals as AWS rounds, and their text. What it must never do: touch a float.

/// One dollar, hour or gigabyte.
pub(super) const ONE: i64 = 10_000_000_000;

/// `left * right`, rounded half away from zero to ten decimals.
pub(super) fn times(left: i64, right: i64) -> i64 {
    divided(i128::from(left) * i128::from(right), i128::from(ONE))
}

/// `value * part / whole`, rounded half away from zero.
pub(super) fn portion(value: i64, part: i64, whole: i64) -> i64 {
    divided(i128::from(value) * i128::from(part), i128::from(whole.max(1)))
}

fn divided(product: i128, by: i128) -> i64 {
    let half = if product < 0 { -(by / 2) } else { by / 2 };
    ((product + half) / by) as i64
}

/// Digits of a value, and where its point is.
struct Digits {
    buffer: [u8; 20],
    /// Index of the first digit.
    first: usize,
    /// Index behind the last digit that isn't a trailing zero of the fraction.
    end: usize,
}

fn digits(value: i64) -> Digits {
    let mut buffer = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut first = 20;
    while rest > 0 {
        first -= 1;
        buffer[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let mut end = 20;
    while end > first && buffer[end - 1] == b'0' {
        end -= 1;
    }
    Digits { buffer, first, end }
}

/// Plain notation with at least one decimal and no more than needed: `21.6`, `0.0`, `-0.0000000007`.
pub(super) fn write_plain(out: &mut Vec<u8>, value: i64) {
    if value == 0 {
        out.extend_from_slice(b"0.0");
        return;
    }
    if value < 0 {
        out.push(b'-');
    }
    let found = digits(value);
    if found.first >= 10 {
        out.push(b'0');
    } else {
        out.extend_from_slice(&found.buffer[found.first..10]);
    }
    out.push(b'.');
    out.extend_from_slice(&found.buffer[10..found.end.max(11)]);
}

/// As a CUR 2.0 export writes doubles: plain between a thousandth and ten million, else `1.0E-5`.
pub(super) fn write_exponent(out: &mut Vec<u8>, value: i64) {
    let size = value.unsigned_abs();
    if size == 0 || (10_000_000..100_000_000_000_000_000).contains(&size) {
        write_plain(out, value);
        return;
    }
    if value < 0 {
        out.push(b'-');
    }
    let found = digits(value);
    out.push(found.buffer[found.first]);
    out.push(b'.');
    if found.first + 1 < found.end {
        out.extend_from_slice(&found.buffer[found.first + 1..found.end]);
    } else {
        out.push(b'0');
    }
    out.push(b'E');
    let exponent = 9 - found.first as i64;
    if exponent < 0 {
        out.push(b'-');
    }
    out.push(b'0' + exponent.unsigned_abs() as u8);
}

/// A rate, always with ten decimals: `0.0116000000`.
pub(super) fn rate_text(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    format!("{sign}{}.{:010}", size / ONE as u64, size % ONE as u64)
}

/// A price as people write it in a description: `0.192`, `3.00`.
pub(super) fn price_text(value: i64) -> String {
    let text = rate_text(value);
    let short = text.trim_end_matches('0');
    let decimals = short.len() - short.find('.').map_or(short.len(), |at| at + 1);
    text[..short.len() + 2usize.saturating_sub(decimals)].to_string()
}
