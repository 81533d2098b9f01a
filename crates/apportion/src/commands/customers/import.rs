use super::change::{File, Wish, change};
use super::edit::plain_of;
use super::wanted::Wanted;
use crate::cli::ImportArgs;
use crate::exit::{self, usage};
use crate::printer::Printer;
use crate::settings::{Accounts, DatedAccount, SettingsFile};
use crate::signals::Signals;
use serde::Deserialize;

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
pub(super) fn import(args: &ImportArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let wanted = read_csv(args)?;
    let Some(into) = &args.into else {
        let customer = wanted.iter().map(Wanted::entry).collect();
        printer.data(&toml::to_string(&SettingsFile { customer, ..SettingsFile::default() })?)?;
        printer.note("nothing was written; give --into FILE to add these customers to a settings file");
        return Ok(exit::OK);
    };
    let file = File::read(Some(into), true)?;
    let mut wish = Wish::default();
    for customer in &wanted {
        customer.wish(&file.entries, true, &mut wish)?;
    }
    say_what_stays(&file.entries, &wanted, &mut wish);
    change(&file, &wish, &args.change, printer, signals)
}

fn read_csv(args: &ImportArgs) -> anyhow::Result<Vec<Wanted>> {
    let name = args.file.display();
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(&args.file)
        .map_err(|error| usage(format!("{name}: {error}")))?;
    let mut customers: Vec<Wanted> = Vec::new();
    for row in reader.deserialize() {
        let row: ImportRow = row.map_err(|error| {
            usage(format!("{name}: {error}. The header must be customer,account and if wanted name,from,to"))
        })?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let account = DatedAccount { id: row.account, from: given(row.from), to: given(row.to) };
        match customers.iter_mut().find(|customer| customer.id == row.customer) {
            Some(customer) => customer.accounts.push(account),
            None => customers.push(Wanted {
                url: Some(args.targets.replace("{customer}", &row.customer)),
                id: row.customer,
                name: given(row.name),
                accounts: vec![account],
                ..Wanted::default()
            }),
        }
    }
    if customers.is_empty() {
        return Err(usage(format!("{name} holds no customer")));
    }
    Ok(customers)
}

/// A list may be longer or shorter than the settings; what it doesn't name is nobody's to remove.
fn say_what_stays(file: &SettingsFile, wanted: &[Wanted], wish: &mut Wish) {
    let (mut customers, mut accounts) = (Vec::new(), 0);
    for entry in &file.customer {
        let Some(customer) = wanted.iter().find(|customer| customer.id == entry.id) else {
            customers.push(entry.id.as_str());
            continue;
        };
        if let Accounts::List(list) = &entry.accounts {
            let named = |id: &str| customer.accounts.iter().any(|account| account.id == id);
            accounts += list.iter().filter(|account| !named(&plain_of(account).id)).count();
        }
        if customer.name.is_some() && customer.name != entry.name {
            wish.notes
                .push(format!("customer {} has another name in the settings, and that stays", entry.id));
        }
    }
    if !customers.is_empty() {
        wish.notes.push(format!(
            "{} customers of the settings are not in the list and stay: {}",
            customers.len(),
            customers.join(", ")
        ));
    }
    if accounts > 0 {
        wish.notes.push(format!(
            "{accounts} accounts of the settings, of customers in the list, are not in it and stay"
        ));
    }
}
