use super::RunError;
use super::request::{DeliverRequest, SourceRequest};
use crate::catalog::{master_pointer, master_proof};
use crate::digest::hex;
use crate::source::{FoundDelivery, payer_of};
use apportion_core::proof::MasterProof;
use apportion_model::{AccountId, ObjectKey};

/// Whose bill a delivery is, as the newest master proof tells it, if that was made of a delivery which passes;
/// nothing of the source is read for it.
pub(super) fn told_payers(
    request: &DeliverRequest,
    source: &SourceRequest,
    delivery: &FoundDelivery,
    is_the_same: impl Fn(&MasterProof) -> bool,
) -> Result<Vec<AccountId>, RunError> {
    let Some(msp) = &request.msp else { return Ok(Vec::new()) };
    let key = ObjectKey::MasterPointer { source: &source.name, period: delivery.period }.to_string();
    let Some(pointer) = master_pointer(msp.as_ref(), &key)? else { return Ok(Vec::new()) };
    let proof = master_proof(msp.as_ref(), &pointer.newest.proof)?.filter(is_the_same);
    Ok(proof.map(|proof| proof.payers).unwrap_or_default())
}

/// Whose bill a delivery is: told by the newest master proof where that was made under the same manifest, else by
/// the first line item.
pub(super) fn payers_of(
    request: &DeliverRequest,
    source: &SourceRequest,
    delivery: &FoundDelivery,
) -> Result<Vec<AccountId>, RunError> {
    let manifest = delivery.manifest_sha256.map(|sha256| hex(&sha256));
    let told = told_payers(request, source, delivery, |proof| {
        manifest.is_some() && proof.source_objects.first().map(|object| &object.sha256) == manifest.as_ref()
    })?;
    if !told.is_empty() {
        return Ok(told);
    }
    Ok(payer_of(source.bucket.as_ref(), delivery)?.into_iter().collect())
}
