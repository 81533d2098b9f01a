use crate::cli::SchemaArgs;
use crate::exit;
use crate::printer::{Head, Printer, text};
use apportion_core::columns::{Contract, known};
use serde_json::json;

const HEADS: [Head; 2] = [text("column_name"), text("data_type")];

/// `schema`: a contract's columns.
pub(crate) fn run(args: &SchemaArgs, printer: &Printer) -> anyhow::Result<u8> {
    if args.contract != Contract::Eco.as_str() {
        return Err(exit::usage(format!(
            "contract {:?} isn't known in this version; there is: eco",
            args.contract
        )));
    }
    let columns: Vec<_> = Contract::Eco.columns().iter().map(|id| known().get(*id)).collect();
    let rows: Vec<Vec<String>> =
        columns.iter().map(|column| vec![column.name.clone(), column.kind.as_str().to_owned()]).collect();
    let whole = json!({
        "columns": columns
            .iter()
            .map(|column| json!({ "column_name": column.name, "data_type": column.kind.as_str() }))
            .collect::<Vec<_>>()
    });
    printer.rows(&HEADS, &rows, &whole)?;
    Ok(exit::OK)
}
