use crate::cli::{RunArgs, SettingsArgs};
use crate::exit;
use crate::printer::{Head, Printer, count as counts, text};
use crate::settings::{self, ResolvedCustomer, Settings};
use apportion_core::route::Accounts;
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
pub(super) fn list(args: &SettingsArgs, printer: &Printer) -> anyhow::Result<u8> {
    let settings = resolve(args)?;
    let rows: Vec<Vec<String>> = settings.customers.iter().map(row).collect();
    let whole: Vec<_> = settings.customers.iter().map(as_json).collect();
    printer.rows(&HEADS, &rows, &whole)?;
    Ok(exit::OK)
}

/// `customers check`: what resolving refuses is refused; what it lets pass is right.
pub(super) fn check(args: &SettingsArgs, printer: &Printer) -> anyhow::Result<u8> {
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
