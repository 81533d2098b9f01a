use super::exports::{Export, gzip, key_text, level, payer, privacy};
use super::written::{Pass, Written};
use crate::digest::hex;
use apportion_core::ledger::{Destination, KeyedTotals};
use apportion_core::mask::Mask;
use apportion_core::proof::{
    CUSTOMER_PROOF, CustomerProof, FORMAT_VERSION, MASTER_PROOF, MasterExport, MasterProof, MasterUnassigned,
    MasterWithheld, ProofFile, ReasonTotals,
};

/// What was withheld from a customer, by reason; as the customer may read it, where a mask is given.
fn withheld_from(written: &Written, customer: usize, mask: Option<&Mask>) -> Vec<ReasonTotals> {
    reasons(written, mask, |to| match to {
        Destination::Withheld(reason, owner) if owner as usize == customer => Some(reason),
        _ => None,
    })
}

fn reasons(
    written: &Written,
    mask: Option<&Mask>,
    choose: impl Fn(Destination) -> Option<apportion_core::route::Reason>,
) -> Vec<ReasonTotals> {
    let told = |totals: &KeyedTotals| match mask {
        Some(mask) => totals.to_masked_json(&written.keys, mask),
        None => totals.to_json(&written.keys),
    };
    written
        .ledger
        .destinations()
        .filter_map(|(to, totals)| Some((choose(to)?, totals)))
        .flat_map(|(reason, totals)| {
            told(totals).into_iter().map(move |totals| ReasonTotals { reason, totals })
        })
        .collect()
}

/// The proof of one export: what it holds, and nothing of anybody else.
pub(super) fn customer_proof(
    pass: &Pass<'_>,
    export: &Export<'_>,
    place: usize,
    first: bool,
    written: &Written,
) -> CustomerProof {
    let customer = export.customer;
    let totals = written.ledger.get(export.destination(place));
    let file = written.exports.get(place);
    let mask = export.mask(pass.request.mask_key.as_ref());
    CustomerProof {
        proof: CUSTOMER_PROOF.to_owned(),
        format_version: FORMAT_VERSION,
        customer: customer.routed.id.clone(),
        accounts: export.accounts.clone(),
        linked_account: export.linked.clone(),
        report_id: export.report.clone(),
        assembly_id: export.assembly.clone(),
        billing_period: pass.period,
        contract: customer.contract,
        layout: customer.layout,
        format: export.format,
        header: customer.header,
        order: customer.order.as_str().to_owned(),
        gzip: gzip(customer, export.format).to_owned(),
        level: level(customer, export.format).to_owned(),
        columns: file.map(|written| written.columns.clone()).unwrap_or_default(),
        privacy: privacy(customer).to_owned(),
        payer: payer(customer).to_owned(),
        mask_key: key_text(customer, pass.request.mask_key.as_ref()),
        withhold: customer.routed.withhold.clone(),
        source_version: pass.pin.version.clone(),
        rows: totals.map_or(0, |totals| totals.rows()),
        files: file.map(|written| written.files.clone()).unwrap_or_default(),
        totals: totals.map(|totals| totals.to_masked_json(&written.keys, &mask)).unwrap_or_default(),
        withheld: if first { withheld_from(written, export.customer_place, Some(&mask)) } else { Vec::new() },
        representation: file.map(|written| written.representation.clone()).unwrap_or_default(),
    }
}

/// The proof of the whole delivery.
pub(super) fn master_proof(
    pass: &Pass<'_>,
    report: &str,
    exports: &[Export<'_>],
    written: &Written,
    observations: Vec<String>,
) -> MasterProof {
    let customers = exports
        .iter()
        .enumerate()
        .map(|(place, export)| {
            let totals = written.ledger.get(export.destination(place));
            MasterExport {
                customer: export.customer.routed.id.clone(),
                report_id: export.report.clone(),
                assembly_id: export.assembly.clone(),
                linked_account: export.linked.clone(),
                format: export.format,
                manifest: export.manifest_key(),
                proof: export.proof_key(),
                rows: totals.map_or(0, |totals| totals.rows()),
                totals: totals.map(|totals| totals.to_json(&written.keys)).unwrap_or_default(),
            }
        })
        .collect();
    let withheld = pass
        .request
        .customers
        .iter()
        .enumerate()
        .map(|(place, customer)| MasterWithheld {
            customer: customer.routed.id.clone(),
            totals: withheld_from(written, place, None),
        })
        .filter(|withheld| !withheld.totals.is_empty())
        .collect();
    let in_no_share = written
        .ledger
        .destinations()
        .filter(|(to, _)| matches!(to, Destination::Withheld(..) | Destination::Nobody(_)));
    MasterProof {
        proof: MASTER_PROOF.to_owned(),
        format_version: FORMAT_VERSION,
        source: pass.source.name.clone(),
        report: report.to_owned(),
        kind: pass.delivery.kind.as_str().to_owned(),
        billing_period: pass.period,
        source_assembly_id: pass.delivery.assembly.clone(),
        source_version: pass.pin.version.clone(),
        source_objects: source_objects(pass, written),
        delivery_id: pass.delivery_id.clone(),
        source_totals: written.ledger.source().to_json(&written.keys),
        customers,
        withheld,
        unassigned: MasterUnassigned {
            rows: in_no_share.map(|(_, totals)| totals.rows()).sum(),
            totals: reasons(written, None, |to| match to {
                Destination::Nobody(reason) => Some(reason),
                _ => None,
            }),
            files: written.unassigned_files.clone(),
        },
        payers: written.watch.payers(),
        columns: written.source_columns.clone(),
        observations,
    }
}

fn source_objects(pass: &Pass<'_>, written: &Written) -> Vec<ProofFile> {
    pass.pin
        .objects
        .iter()
        .map(|object| ProofFile {
            key: object.key.clone(),
            bytes: object.bytes,
            sha256: hex(&object.sha256),
            rows: written.object_rows.get(&object.key).copied().unwrap_or(0),
            rows_hash: String::new(),
        })
        .collect()
}
