use apportion_model::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// What rows of a window are sorted by: 32 bits of the SKU's hash, 48 of the resource id's, and 48 for the seconds of the
/// usage start since 1970, 0 where it is no moment since then. Rows that are alike stand together; which come first matters to nobody.
pub(super) fn sort_key(sku: &[u8], resource: &[u8], usage_start: &[u8]) -> u128 {
    const LOW_48: u128 = (1 << 48) - 1;
    let seconds = Instant::parse(usage_start).map_or(0, |moment| moment.millis().div_euclid(1000).max(0));
    let sku = u128::from(xxh3_64(sku) as u32);
    let resource = u128::from(xxh3_64(resource)) & LOW_48;
    sku << 96 | resource << 48 | seconds.unsigned_abs() as u128 & LOW_48
}
