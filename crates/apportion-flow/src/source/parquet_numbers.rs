use super::parquet_cells::CellProblem;
use apportion_core::line_item::{Cells, Texts};
use apportion_model::Instant;
use arrow_array::types::{
    Date32Type, Float64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, cast::AsArray};
use arrow_schema::{DataType, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// Distinct values after which a dictionary is begun anew: some months of hours.
const DISTINCT: usize = 4096;
/// Values that are found without hashing them well.
const RECENT: usize = 1024;

/// Gives equal values of a column one code, over all batches of a file; doubles that hardly ever repeat stay as they
/// are.
#[derive(Default)]
pub(super) struct Repeated {
    codes: HashMap<u64, u32>,
    /// Where each value was found last, by a few of its bits.
    recent: Vec<(u64, u32)>,
    texts: Arc<Texts>,
    is_plain: bool,
}

impl Repeated {
    /// A column of doubles or moments as cells; None for one of another type.
    pub(super) fn cells_of(&mut self, array: &ArrayRef) -> Option<Result<Cells, CellProblem>> {
        Some(match array.data_type() {
            DataType::Float64 => {
                let doubles = array.as_primitive::<Float64Type>();
                if self.is_plain { plain(doubles) } else { self.doubles(doubles) }
            }
            DataType::Date32 => {
                let millis = |value| i64::from(value).checked_mul(86_400_000);
                self.moments(array.as_primitive::<Date32Type>(), i64::from, millis)
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                let millis = |value: i64| value.checked_mul(1000);
                self.moments(array.as_primitive::<TimestampSecondType>(), |value| value, millis)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.moments(array.as_primitive::<TimestampMillisecondType>(), |value| value, Some)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let millis = |value| whole(value, 1000);
                self.moments(array.as_primitive::<TimestampMicrosecondType>(), |value| value, millis)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let millis = |value| whole(value, 1_000_000);
                self.moments(array.as_primitive::<TimestampNanosecondType>(), |value| value, millis)
            }
            _ => return None,
        })
    }

    fn doubles(&mut self, array: &PrimitiveArray<Float64Type>) -> Result<Cells, CellProblem> {
        let before = self.begin();
        let cells = self.coded(array, f64::to_bits, write_double)?;
        // Where one in eight is new, looking for it costs more than it saves.
        self.is_plain = (self.texts.len() - before) * 8 > array.len();
        Ok(cells)
    }

    fn moments<T: ArrowPrimitiveType>(
        &mut self,
        array: &PrimitiveArray<T>,
        key: impl Fn(T::Native) -> i64,
        millis: impl Fn(T::Native) -> Option<i64>,
    ) -> Result<Cells, CellProblem> {
        self.begin();
        self.coded(array, |value| key(value) as u64, |value, text| write_moment(millis(value), text))
    }

    /// How many values there are, after a dictionary that has become too large is given up.
    fn begin(&mut self) -> usize {
        if self.texts.len() > DISTINCT || self.recent.is_empty() {
            self.codes.clear();
            // No value has this code, so nothing is found.
            self.recent = vec![(0, u32::MAX); RECENT];
            self.texts = Arc::default();
        }
        self.texts.len()
    }

    fn coded<T: ArrowPrimitiveType>(
        &mut self,
        array: &PrimitiveArray<T>,
        key: impl Fn(T::Native) -> u64,
        write: impl Fn(T::Native, &mut Vec<u8>) -> Result<(), String>,
    ) -> Result<Cells, CellProblem> {
        let mut codes = vec![u32::MAX; array.len()];
        let mut last = (0, u32::MAX);
        for (row, (value, place)) in array.values().iter().zip(&mut codes).enumerate() {
            if array.is_null(row) {
                continue;
            }
            let key = key(*value);
            if last.0 != key || last.1 == u32::MAX {
                let slot = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - RECENT.ilog2());
                last = self.recent[slot as usize];
                if last.0 != key || last.1 == u32::MAX {
                    let code = self.code_of(key, |text| write(*value, text));
                    last = (key, code.map_err(|text| CellProblem { row, text })?);
                    self.recent[slot as usize] = last;
                }
            }
            *place = last.1;
        }
        Ok(Cells::Coded { codes: codes.into(), texts: Arc::clone(&self.texts) })
    }

    #[inline(never)]
    fn code_of(
        &mut self,
        key: u64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
    ) -> Result<u32, String> {
        if let Some(code) = self.codes.get(&key) {
            return Ok(*code);
        }
        let texts = Arc::make_mut(&mut self.texts);
        let code = texts.len() as u32;
        let mut wrong = Ok(());
        texts.push_with(|text| wrong = write(text));
        wrong?;
        self.codes.insert(key, code);
        Ok(code)
    }
}

fn whole(value: i64, unit: i64) -> Option<i64> {
    (value % unit == 0).then(|| value / unit)
}

fn write_moment(millis: Option<i64>, text: &mut Vec<u8>) -> Result<(), String> {
    // Years 1 to 9999.
    const RANGE: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;
    let millis = millis
        .filter(|millis| RANGE.contains(millis))
        .ok_or("the timestamp is finer than a millisecond or outside the years 1 to 9999")?;
    Instant::from_millis(millis).write_to(text);
    Ok(())
}

/// Doubles as a text per row.
fn plain(array: &PrimitiveArray<Float64Type>) -> Result<Cells, CellProblem> {
    let mut texts = Texts::with_capacity(array.len(), array.len() * 16);
    for (row, value) in array.values().iter().enumerate() {
        if array.is_null(row) {
            texts.push(&[]);
            continue;
        }
        let mut wrong = Ok(());
        texts.push_with(|text| wrong = write_double(*value, text));
        wrong.map_err(|text| CellProblem { row, text })?;
    }
    Ok(Cells::Plain(Arc::new(texts)))
}

/// Appends a double's shortest round-trip decimal, in plain notation; `-0` is `0`.
pub(super) fn write_double(value: f64, text: &mut Vec<u8>) -> Result<(), String> {
    if value == 0f64 {
        text.push(b'0');
        return Ok(());
    }
    if !value.is_finite() {
        return Err(format!("{value} is not a finite number"));
    }
    let start = text.len();
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value).as_bytes();
    // An exponent has at most a sign and three digits.
    let tail = shortest.len().saturating_sub(5);
    match shortest[tail..].iter().position(|byte| *byte == b'e') {
        None => text.extend_from_slice(shortest.strip_suffix(b".0").unwrap_or(shortest)),
        Some(mark) => write_plain(&shortest[..tail + mark], &shortest[tail + mark + 1..], text),
    }
    if may_lie_between(value, text.get(start..).unwrap_or_default()) {
        text.truncate(start);
        text.extend_from_slice(value.to_string().as_bytes());
    }
    Ok(())
}

/// Whether a double may lie exactly between two decimals of that many digits, of which zmij takes the even one and
/// `Display` the greater: then its fractional bits, and so its decimals, are one more than those written.
fn may_lie_between(value: f64, text: &[u8]) -> bool {
    // Neighbouring doubles are never so far apart that fewer than 16 digits could lie between.
    if text.len() < 16 {
        return false;
    }
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7FF) as u32;
    // From 2^53 on what lies between are integers.
    if exponent >= 1023 + 53 {
        return true;
    }
    let significand = bits & ((1 << 52) - 1) | 1 << 52;
    let fractional_bits = (1075 - exponent).saturating_sub(significand.trailing_zeros());
    let decimals = text.iter().rposition(|byte| *byte == b'.').map_or(0, |point| text.len() - point - 1);
    fractional_bits as usize == decimals + 1
}

/// Appends a number written with an exponent as one without.
fn write_plain(mantissa: &[u8], exponent: &[u8], text: &mut Vec<u8>) {
    let (is_below_one, digits) = match exponent.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, exponent),
    };
    let shift = digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    let (sign, mantissa) = match mantissa.split_first() {
        Some((b'-', rest)) => (&b"-"[..], rest),
        _ => (&b""[..], mantissa),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (before, behind) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or_default());
    let behind = if behind == b"0" { &[][..] } else { behind };
    text.extend_from_slice(sign);
    if is_below_one {
        // There is one digit before the point.
        text.extend_from_slice(b"0.");
        text.resize(text.len() + shift.saturating_sub(1), b'0');
        text.extend_from_slice(before);
        text.extend_from_slice(behind);
        return;
    }
    text.extend_from_slice(before);
    text.extend_from_slice(&behind[..shift.min(behind.len())]);
    text.resize(text.len() + shift.saturating_sub(behind.len()), b'0');
    if behind.len() > shift {
        text.push(b'.');
        text.extend_from_slice(&behind[shift..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Float64Array, TimestampMillisecondArray};

    fn same_as_display(value: f64) {
        let mut text = Vec::new();
        write_double(value, &mut text).unwrap();
        let expected = if value == 0.0 { "0".to_owned() } else { value.to_string() };
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{:x}", value.to_bits());
    }

    /// A sequence that fills all 64 bits evenly.
    fn bits(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|place| {
            let mixed = place.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        })
    }

    #[test]
    fn doubles_are_written_as_display_writes_them() {
        for value in bits(200_000).map(f64::from_bits).filter(|value| value.is_finite()) {
            same_as_display(value);
        }
        for value in bits(20_000) {
            // Subnormals, integers, amounts of a report, and what sums of them look like.
            same_as_display(f64::from_bits(value >> (12 + value % 52)));
            same_as_display((value >> (value % 64)) as f64);
            same_as_display((value % 1_000_000_000) as f64 / 1e10);
            same_as_display(-((value % 100_000_000) as f64) / 1e8);
            same_as_display((value % 1000) as f64 * 0.0416 + 0.1);
            same_as_display((value % 3) as f64 * 1e-7);
            // What lies exactly between two decimals has few fractional bits.
            for fraction in [1, 2, 3, 8, 11, 20, 25, 33] {
                let odd = (value >> (11 + value % 50)) | 1;
                same_as_display(odd as f64 / (1u64 << fraction) as f64);
            }
        }
        for (integer, fraction) in (0..54).flat_map(|bits| (0..54).map(move |fraction| (bits, fraction))) {
            let value = (1u64 << integer) as f64 + 1.0 / (1u64 << fraction) as f64;
            same_as_display(value);
            same_as_display(-value * 3.0);
        }
        for exponent in -324..=308 {
            for digits in ["1", "-1", "9", "1.5", "2.2250738585072014", "4.9", "9.007199254740993"] {
                let value: f64 = format!("{digits}e{exponent}").parse().unwrap();
                same_as_display(if value.is_finite() { value } else { 0.0 });
            }
        }
        for power in 0..=0x7FE {
            for low in [0, 1, 0x000F_FFFF_FFFF_FFFF] {
                same_as_display(f64::from_bits(power << 52 | low));
            }
        }
        [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE].into_iter().for_each(same_as_display);
    }

    #[test]
    fn what_repeats_is_coded_and_nothing_changes() {
        let mut doubles = Repeated::default();
        for batch in 0..4u32 {
            // 0 and -0 are one text of two values; beyond the second batch nearly every value is a new one.
            let value = |row: u32| match (batch, row % 5) {
                (_, 0) => None,
                (_, 1) => Some(-0.0),
                (0 | 1, _) => Some(f64::from(row % 7) / 4.0),
                _ => Some(f64::from(batch * 10_000 + row) / 7.0),
            };
            let array: ArrayRef = Arc::new(Float64Array::from_iter((0..9000).map(value)));
            let cells = doubles.cells_of(&array).and_then(Result::ok).unwrap();
            assert_eq!(matches!(cells, Cells::Coded { .. }), batch < 3);
            for row in 0..9000 {
                let expected = value(row).map_or(String::new(), |value| (value + 0.0).to_string());
                assert_eq!(cells.get(row as usize), expected.as_bytes(), "{batch} {row}");
            }
        }
        let mut moments = Repeated::default();
        for batch in 0..3i64 {
            let value = |row: i64| (row % 3 > 0).then_some((batch * 4000 + row) * 1000 / 2 * 2);
            let array: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter((0..9000).map(value)));
            let cells = moments.cells_of(&array).and_then(Result::ok).unwrap();
            for row in 0..9000 {
                let expected =
                    value(row).map_or(String::new(), |value| Instant::from_millis(value).to_string());
                assert_eq!(cells.get(row as usize), expected.as_bytes(), "{batch} {row}");
            }
        }
    }

    #[test]
    fn a_value_that_is_no_cell_is_named_by_its_row() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]));
        let problem = Repeated::default().cells_of(&array).and_then(Result::err).unwrap();
        assert_eq!((problem.row, problem.text.as_str()), (2, "NaN is not a finite number"));
        let array: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, i64::MAX]));
        assert_eq!(Repeated::default().cells_of(&array).and_then(Result::err).unwrap().row, 1);
    }
}
