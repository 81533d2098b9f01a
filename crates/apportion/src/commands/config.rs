use crate::cli::RunArgs;
use crate::exit;
use crate::printer::{Head, Printer, text};
use crate::settings::{self, Origin, Settings, SettingsFile, SourceSetting, size_text};
use serde_json::{Map, Value};

/// `config show`: the settings as they are resolved.
pub(crate) fn show(args: &RunArgs, origin: bool, printer: &Printer) -> anyhow::Result<u8> {
    let settings = settings::resolve(args)?;
    let values = values(&settings);
    let mut heads: Vec<Head> = vec![text("setting"), text("value")];
    if origin {
        heads.push(text("origin"));
    }
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|(name, value)| {
            let mut row = vec![name.clone(), value.clone()];
            if origin {
                row.push(origin_of(&settings, name));
            }
            row
        })
        .collect();
    let whole: Map<String, Value> = rows
        .iter()
        .map(|row| {
            let value = Value::String(row[1].clone());
            let value = match row.get(2) {
                Some(origin) => serde_json::json!({ "value": value, "origin": origin }),
                None => value,
            };
            (row[0].clone(), value)
        })
        .collect();
    printer.rows(&heads, &rows, &whole)?;
    Ok(exit::OK)
}

fn origin_of(settings: &Settings, name: &str) -> String {
    let section = name.split('.').next().unwrap_or(name);
    match settings.origins.get(section) {
        Some(Origin::Flag) => "flag or environment".to_owned(),
        Some(Origin::File) => {
            settings.file.as_ref().map_or_else(String::new, |file| file.display().to_string())
        }
        Some(Origin::Default) | None => "default".to_owned(),
    }
}

fn values(settings: &Settings) -> Vec<(String, String)> {
    let none = || "(none)".to_owned();
    let of_sources = |tell: &dyn Fn(&SourceSetting) -> Option<String>| {
        let told: Vec<String> = settings.sources.iter().filter_map(tell).collect();
        if told.is_empty() { none() } else { told.join(", ") }
    };
    let customers = settings
        .customers
        .iter()
        .map(|customer| (format!("customers.{}", customer.id), customer.target.text()));
    let mut values: Vec<(String, String)> = [
        ("source", of_sources(&|source| Some(source.place.to_string()))),
        ("source.name", of_sources(&|source| Some(source.name.to_string()))),
        ("report", of_sources(&|source| source.report.clone())),
        ("msp_target", settings.msp.as_ref().map_or_else(none, ToString::to_string)),
        // Where the key is, and which it is; never the key.
        (
            "mask_key_file",
            settings.mask_key.as_ref().map_or_else(none, |setting| {
                format!("{} (fingerprint {})", setting.file.display(), setting.key.fingerprint())
            }),
        ),
        ("spool", settings.spool.display().to_string()),
        ("spool_limit", size_text(settings.spool_limit)),
        ("threads", settings.threads.to_string()),
        ("memory", size_text(settings.memory)),
        ("accept_share", settings.accept_share.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    values.extend(customers);
    values
}

/// `config check`.
pub(crate) fn check(args: &RunArgs, printer: &Printer) -> anyhow::Result<u8> {
    let settings = settings::resolve(args)?;
    settings.request(true)?;
    printer.note(&format!("all right: {} customers", settings.customers.len()));
    super::deliver::notes_before(&settings, printer);
    Ok(exit::OK)
}

/// `config schema`.
pub(crate) fn schema(printer: &Printer) -> anyhow::Result<u8> {
    let schema = schemars::schema_for!(SettingsFile);
    printer.data(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(exit::OK)
}
