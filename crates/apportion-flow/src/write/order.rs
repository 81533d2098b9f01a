use apportion_model::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// What rows are sorted by inside a window: first the SKU, then the resource, then the usage start.
///
/// Rows of one SKU and one resource come to stand together, and that is all that compressing asks for; in which order
/// those groups follow each other doesn't matter. So hashes of the two cells stand for them: 32 bits of the SKU's, 48
/// of the resource's. Two groups of one hash are one group of mixed rows, in the same order everywhere. The usage start
/// is its seconds since 1970, or 0 where it is no timestamp.
pub(super) fn sort_key(sku: &[u8], resource: &[u8], usage_start: &[u8]) -> u128 {
    join(hash(sku), hash(resource), seconds(usage_start))
}

/// The part of a sort key that a cell's bytes decide.
pub(super) fn hash(cell: &[u8]) -> u64 {
    if cell.is_empty() { 0 } else { xxh3_64(cell) }
}

/// Seconds since 1970, 0 for what is no timestamp.
pub(super) fn seconds(cell: &[u8]) -> u64 {
    let seconds = Instant::parse(cell).map_or(0, |moment| moment.millis().div_euclid(1000));
    u64::try_from(seconds).unwrap_or(0)
}

/// A sort key of its three parts.
pub(super) fn join(sku: u64, resource: u64, seconds: u64) -> u128 {
    u128::from(sku & 0xFFFF_FFFF) << 96
        | u128::from(resource & 0xFFFF_FFFF_FFFF) << 48
        | u128::from(seconds & 0xFFFF_FFFF_FFFF)
}
