use super::change::{File, Wish, change};
use super::edit::{Edit, plain_of};
use super::wanted::Wanted;
use crate::cli::{AddArgs, MoveArgs, NewCustomerArgs};
use crate::exit::usage;
use crate::printer::Printer;
use crate::settings::{Accounts, DatedAccount, SettingsFile};
use crate::signals::Signals;
use apportion_model::Day;

/// `customers add`: a customer, or accounts of one that is there.
pub(super) fn add(args: &AddArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let file = File::read(args.settings.config.as_deref(), false)?;
    let mut wanted = wanted_of(&args.customer, &args.new);
    wanted.all = args.accounts.trim() == "all";
    if wanted.all && (args.from.is_some() || args.to.is_some()) {
        return Err(usage("--accounts all has no dates; list the accounts to give them some"));
    }
    if !wanted.all {
        let given = args.accounts.split(',').map(str::trim).filter(|text| !text.is_empty());
        wanted.accounts = given
            .map(|text| account_of(text, args.from.as_deref(), args.to.as_deref()))
            .collect::<anyhow::Result<_>>()?;
        if wanted.accounts.is_empty() {
            return Err(usage("--accounts names no account"));
        }
    }
    refuse_what_only_new_ones_take(&file.entries, &wanted)?;
    let mut wish = Wish::default();
    wanted.wish(&file.entries, false, &mut wish)?;
    change(&file, &wish, &args.change, printer, signals)
}

/// `customers move`: an account ends with its owner and begins with another customer on the same day.
pub(super) fn move_account(args: &MoveArgs, printer: &Printer, signals: &Signals) -> anyhow::Result<u8> {
    let file = File::read(args.settings.config.as_deref(), false)?;
    let on = day(&args.on)?;
    let (owner, entry) = owner_on(&file.entries, &args.account, on)?;
    if owner == args.to_customer {
        return Err(usage(format!("customer {owner} owns account {} on {on} already", args.account)));
    }
    if entry.from.as_deref() == Some(args.on.as_str()) {
        return Err(usage(format!(
            "account {} belongs to customer {owner} from {on} on, so nothing of it would stay there; move the entry in the settings file yourself",
            args.account
        )));
    }
    let mut wanted = wanted_of(&args.to_customer, &args.new);
    wanted.accounts = vec![DatedAccount { from: Some(args.on.clone()), ..entry.clone() }];
    refuse_what_only_new_ones_take(&file.entries, &wanted)?;
    if args.new.url.is_none() && !has(&file.entries, &wanted.id) {
        let there: Vec<&str> = file.entries.customer.iter().map(|entry| entry.id.as_str()).collect();
        return Err(usage(format!(
            "no customer is called {}; there are: {}. For a new one, give its target with --url",
            wanted.id,
            there.join(", ")
        )));
    }
    let ended = Edit::EndAccount {
        customer: owner,
        account: args.account.clone(),
        from: entry.from,
        to: args.on.clone(),
    };
    let mut wish = Wish { edits: vec![ended], ..Wish::default() };
    wanted.wish(&file.entries, false, &mut wish)?;
    change(&file, &wish, &args.change, printer, signals)
}

fn wanted_of(id: &str, new: &NewCustomerArgs) -> Wanted {
    Wanted {
        id: id.to_owned(),
        name: new.name.clone(),
        url: new.url.clone(),
        sharing: new.sharing.clone(),
        ..Wanted::default()
    }
}

fn has(file: &SettingsFile, id: &str) -> bool {
    file.customer.iter().any(|entry| entry.id == id)
}

fn refuse_what_only_new_ones_take(file: &SettingsFile, wanted: &Wanted) -> anyhow::Result<()> {
    let given = [("--name", &wanted.name), ("--url", &wanted.url), ("--sharing", &wanted.sharing)];
    match given.iter().find(|(_, value)| value.is_some()) {
        Some((flag, _)) if has(file, &wanted.id) => Err(usage(format!(
            "customer {} is there already, and {flag} is for a new one; change that in the settings file yourself",
            wanted.id
        ))),
        _ => Ok(()),
    }
}

fn day(text: &str) -> anyhow::Result<Day> {
    Day::parse(text).map_err(|error| usage(error.to_string()))
}

/// Who lists an account on a day, and where in the list.
fn owner_on(file: &SettingsFile, account: &str, on: Day) -> anyhow::Result<(String, DatedAccount)> {
    for customer in &file.customer {
        let Accounts::List(list) = &customer.accounts else {
            return Err(usage(format!(
                "customer {} has accounts = \"all\"; list its accounts before one of them moves",
                customer.id
            )));
        };
        for entry in list.iter().map(plain_of).filter(|entry| entry.id == account) {
            let begun = entry.from.as_deref().map(day).transpose()?.is_none_or(|from| from <= on);
            let goes_on = entry.to.as_deref().map(day).transpose()?.is_none_or(|to| on < to);
            if begun && goes_on {
                return Ok((customer.id.clone(), entry));
            }
        }
    }
    Err(usage(format!(
        "no customer owns account {account} on {on}; `apportion customers add` gives it an owner"
    )))
}

/// Reads `111122223333` or `111122223333@2026-09-01..2026-11-01`, either day of which may be left out.
fn account_of(text: &str, from: Option<&str>, to: Option<&str>) -> anyhow::Result<DatedAccount> {
    let (id, from, to) = match text.split_once('@') {
        None => (text, from, to),
        Some((id, dates)) => {
            let (from, to) = dates.split_once("..").ok_or_else(|| {
                usage(format!(
                    "account {text:?}: dates are written @FROM..TO, as {id}@2026-09-01..2026-11-01; either may be left out"
                ))
            })?;
            (id, Some(from).filter(|day| !day.is_empty()), Some(to).filter(|day| !day.is_empty()))
        }
    };
    for text in [from, to].into_iter().flatten() {
        day(text)?;
    }
    Ok(DatedAccount { id: id.to_owned(), from: from.map(str::to_owned), to: to.map(str::to_owned) })
}
