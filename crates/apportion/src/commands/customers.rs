use crate::cli::{ImportArgs, RunArgs, SettingsArgs};
use crate::exit;
use crate::printer::{Head, Printer, count as counts, text};
use crate::settings::{
    self, Accounts as FileAccounts, CustomerEntry, DeliverEntry, ResolvedCustomer, Settings, SettingsFile,
};
use anyhow::Context;
use apportion_core::route::Accounts;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

const HEADS: [Head; 6] = [
    text("customer"),
    text("name"),
    counts("accounts"),
    text("first account"),
    text("sharing"),
    text("target"),
];

fn resolve(args: &SettingsArgs) -> anyhow::Result<Settings> {
    let settings = settings::resolve(&RunArgs { config: args.config.clone(), ..RunArgs::default() })?;
    if settings.customers.is_empty() {
        let file = settings.file.as_deref().unwrap_or(Path::new("apportion.toml"));
        return Err(exit::usage(format!(
            "no customer in {}; add a [[customer]], or use `apportion customers import`",
            file.display()
        )));
    }
    Ok(settings)
}

/// `customers list`.
pub(crate) fn list(args: &SettingsArgs, printer: &Printer) -> anyhow::Result<u8> {
    let settings = resolve(args)?;
    let rows: Vec<Vec<String>> = settings.customers.iter().map(row).collect();
    let whole: Vec<_> = settings.customers.iter().map(as_json).collect();
    printer.rows(&HEADS, &rows, &whole)?;
    Ok(exit::OK)
}

/// `customers check`: what resolving refuses is refused; what it lets pass is right.
pub(crate) fn check(args: &SettingsArgs, printer: &Printer) -> anyhow::Result<u8> {
    let settings = resolve(args)?;
    let accounts: usize =
        settings.customers.iter().map(|customer| count(&customer.accounts).unwrap_or(0)).sum();
    printer
        .note(&format!("{} customers with {accounts} listed accounts: all right", settings.customers.len()));
    if !settings.sources.is_empty() {
        printer.note(
            "`apportion plan` compares them with the source: accounts that nobody owns are shown by reason",
        );
    }
    Ok(exit::OK)
}

fn count(accounts: &Accounts) -> Option<usize> {
    match accounts {
        Accounts::All => None,
        Accounts::Listed(list) => Some(list.len()),
    }
}

fn sharing(customer: &ResolvedCustomer) -> &'static str {
    match customer.sharing {
        apportion_flow::run::Sharing::Organization => "organization",
        apportion_flow::run::Sharing::Account => "account",
    }
}

fn row(customer: &ResolvedCustomer) -> Vec<String> {
    let first = match &customer.accounts {
        Accounts::All => String::new(),
        Accounts::Listed(list) => list.first().map(|account| account.id.to_string()).unwrap_or_default(),
    };
    vec![
        customer.id.to_string(),
        customer.name.clone(),
        count(&customer.accounts).map_or_else(|| "all".to_owned(), |count| count.to_string()),
        first,
        sharing(customer).to_owned(),
        customer.target.text(),
    ]
}

fn as_json(customer: &ResolvedCustomer) -> serde_json::Value {
    json!({
        "customer": customer.id,
        "name": customer.name,
        "accounts": match &customer.accounts {
            Accounts::All => json!("all"),
            Accounts::Listed(list) => json!(list),
        },
        "sharing": sharing(customer),
        "target": customer.target.text(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportRow {
    customer: String,
    account: String,
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// `customers import`: a CSV becomes settings.
pub(crate) fn import(args: &ImportArgs, printer: &Printer) -> anyhow::Result<u8> {
    let entries = read_csv(args)?;
    let text = toml::to_string(&SettingsFile { customer: entries.clone(), ..SettingsFile::default() })?;
    let Some(into) = &args.into else {
        printer.data(&text)?;
        printer.note("nothing was written; give --into FILE to add these customers to a settings file");
        return Ok(exit::OK);
    };
    let old = if into.exists() {
        settings::read_file(into)?;
        std::fs::read_to_string(into).with_context(|| format!("settings file {}", into.display()))?
    } else {
        String::new()
    };
    let new = format!("{}\n{text}", old.trim_end());
    write_checked(into, new.trim_start())?;
    printer.note(&format!(
        "{}: {} customers were added; `apportion plan` shows what that changes",
        into.display(),
        entries.len()
    ));
    Ok(exit::OK)
}

fn read_csv(args: &ImportArgs) -> anyhow::Result<Vec<CustomerEntry>> {
    let name = args.file.display();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(&args.file)
        .map_err(|error| exit::usage(format!("{name}: {error}")))?;
    let mut entries: Vec<CustomerEntry> = Vec::new();
    for row in reader.deserialize() {
        let row: ImportRow = row.map_err(|error| {
            exit::usage(format!(
                "{name}: {error}. The header must be customer,account and if wanted name,from,to"
            ))
        })?;
        let account = settings::dated(row.account, row.from, row.to);
        match entries.iter_mut().find(|entry| entry.id == row.customer) {
            Some(entry) => {
                if let FileAccounts::List(list) = &mut entry.accounts {
                    list.push(account);
                }
            }
            None => entries.push(CustomerEntry {
                deliver: Some(DeliverEntry {
                    url: args.targets.replace("{customer}", &row.customer),
                    ..DeliverEntry::default()
                }),
                id: row.customer,
                name: row.name.filter(|name| !name.is_empty()),
                accounts: FileAccounts::List(vec![account]),
                ..CustomerEntry::default()
            }),
        }
    }
    if entries.is_empty() {
        return Err(exit::usage(format!("{name} holds no customer")));
    }
    Ok(entries)
}

/// Writes a settings file only if all of it is right; the old one stays otherwise.
fn write_checked(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, text).with_context(|| format!("writing {}", beside.display()))?;
    let checked = settings::resolve(&RunArgs { config: Some(beside.clone()), ..RunArgs::default() });
    if let Err(error) = checked {
        std::fs::remove_file(&beside).with_context(|| format!("removing {}", beside.display()))?;
        return Err(error.context(format!("{} was left as it was", path.display())));
    }
    std::fs::rename(&beside, path).with_context(|| format!("writing {}", path.display()))
}
