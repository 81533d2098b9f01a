use super::RunError;
use super::exports::Export;
use super::request::Customer;
use crate::write::{Buffers, ExportLane, Packing, Spool, WaitingLane, export_header};
use apportion_core::columns::{Contract, ExportColumn};
use apportion_core::mask::MaskKey;
use apportion_model::Format;

/// The rows of one export on their way into files.
pub(super) enum Lane {
    /// Encoded as they come.
    Direct(ExportLane),
    /// Encoded when the last one is known.
    Waiting(WaitingLane),
    /// All of them are in files.
    Written,
}

/// How the windows of an export with these columns are packed.
pub(super) fn packing_of(customer: &Customer, columns: &[ExportColumn]) -> Packing {
    Packing {
        order: customer.order,
        gzip: customer.gzip,
        level: customer.level,
        header: export_header(columns, customer.header).into(),
    }
}

impl Lane {
    /// The lane of an export, being at this place of the spool; without a spool, it only notes the columns, where
    /// the rows decide them.
    pub(super) fn new(
        export: &Export<'_>,
        mask_key: Option<&MaskKey>,
        spool: Option<&mut Spool>,
        place: usize,
        buffers: &Buffers,
    ) -> Result<Option<Self>, RunError> {
        let (customer, mask) = (export.customer, export.mask(mask_key));
        let contract = customer.contract;
        let Some(spool) = spool else {
            return Ok(
                (contract != Contract::Eco).then(|| Self::Waiting(WaitingLane::new(contract, mask, None)))
            );
        };
        if contract != Contract::Eco || export.format == Format::Parquet {
            return Ok(Some(Self::Waiting(WaitingLane::new(contract, mask, Some(spool.waiting(place))))));
        }
        let columns: Vec<ExportColumn> = contract.fixed().iter().map(|id| ExportColumn::known(*id)).collect();
        let packing = packing_of(customer, &columns);
        spool.set_packing(place, &packing)?;
        Ok(Some(Self::Direct(ExportLane::new(contract.fixed(), mask, packing, buffers))))
    }

    /// Bytes that wait in memory.
    pub(super) fn waiting_bytes(&self) -> usize {
        match self {
            Self::Direct(lane) => lane.waiting_bytes(),
            Self::Waiting(lane) => lane.waiting_bytes(),
            Self::Written => 0,
        }
    }
}
