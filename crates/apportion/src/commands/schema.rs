use crate::cli::SchemaArgs;
use crate::exit;
use crate::printer::{Head, Printer, text};
use apportion_core::columns::{Contract, ExportColumn};
use serde_json::json;

const HEADS: [Head; 3] = [text("column_name"), text("data_type"), text("header")];

/// `schema`: a contract's columns.
pub(crate) fn run(args: &SchemaArgs, printer: &Printer) -> anyhow::Result<u8> {
    let contract =
        Contract::ALL.into_iter().find(|contract| contract.as_str() == args.contract).ok_or_else(|| {
            exit::usage(format!(
                "contract {:?} isn't known; there are: {}",
                args.contract,
                Contract::ALL.map(Contract::as_str).join(", ")
            ))
        })?;
    let columns: Vec<ExportColumn> = contract.fixed().iter().map(|id| ExportColumn::known(*id)).collect();
    let rows: Vec<Vec<String>> = columns
        .iter()
        .map(|column| vec![column.name.clone(), column.kind.as_str().to_owned(), column.header.clone()])
        .collect();
    let whole = json!({
        "columns": columns
            .iter()
            .map(|column| json!({ "column_name": column.name, "data_type": column.kind.as_str() }))
            .collect::<Vec<_>>()
    });
    printer.rows(&HEADS, &rows, &whole)?;
    match contract {
        Contract::Eco => {}
        Contract::EcoExtended => printer.note(
            "and the tags, cost categories and further discounts that have a value in the export, in byte order",
        ),
        Contract::Source => printer.note("and all other columns of the source that have a value in the export, in byte order"),
    }
    Ok(exit::OK)
}
