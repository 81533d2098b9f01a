use crate::exit::usage;

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `16GiB`, `500 MiB` or a number of bytes.
pub(super) fn parse_size(text: &str) -> anyhow::Result<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let factor = if unit.is_empty() { Some(1) } else { factor };
    number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| usage(format!("{text:?} is not a size; write 16GiB, 500MiB or a number of bytes")))
}

/// Bytes in the largest unit that gives a whole part, with one digit behind the point.
pub(crate) fn size_text(bytes: u64) -> String {
    let (name, factor) = UNITS.iter().find(|(_, factor)| bytes >= *factor).copied().unwrap_or(("B", 1));
    if factor == 1 {
        return format!("{bytes} B");
    }
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_size("16GiB").unwrap(), 16 << 30);
        assert_eq!(parse_size("5 mib").unwrap(), 5 << 20);
        assert_eq!(parse_size("7").unwrap(), 7);
        for bad in ["", "GiB", "1.5GiB", "-1", "16 apples", "99999999999TiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(size_text(0), "0 B");
        assert_eq!(size_text(1536 << 20), "1.5 GiB");
    }
}
