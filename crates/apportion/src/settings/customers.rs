use super::file::{AccountEntry, Accounts as FileAccounts, CustomerEntry, DeliverEntry};
use super::paths::folder_of;
use crate::exit::usage;
use apportion_core::columns::Contract;
use apportion_core::route::{Accounts, OwnedAccount};
use apportion_flow::run::Sharing;
use apportion_flow::write::Order;
use apportion_model::{AccountId, CustomerId, Day};
use std::path::{Path, PathBuf};

/// A customer whose settings are all right.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedCustomer {
    pub(crate) id: CustomerId,
    pub(crate) name: String,
    pub(crate) accounts: Accounts,
    pub(crate) sharing: Sharing,
    pub(crate) withhold: Vec<String>,
    pub(crate) payer_kept: bool,
    pub(crate) faithful: bool,
    pub(crate) target: PathBuf,
    pub(crate) folder: Option<AccountId>,
    pub(crate) contract: Contract,
    pub(crate) order: Order,
}

/// Reads `--accounts`: ids separated by commas, or `all`.
pub(crate) fn parse_accounts(text: &str) -> FileAccounts {
    if text.trim() == "all" {
        return FileAccounts::Word("all".to_owned());
    }
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    FileAccounts::List(ids.map(|id| AccountEntry::Id(id.to_owned())).collect())
}

impl ResolvedCustomer {
    /// Resolves one entry; paths are relative to `base`.
    pub(super) fn new(entry: &CustomerEntry, base: &Path) -> anyhow::Result<Self> {
        let id = CustomerId::new(&entry.id).map_err(|error| usage(format!("customer: {error}")))?;
        let wrong = |problem: String| usage(format!("customer {id}: {problem}"));
        // A flag may have made the section where the file has none.
        let deliver = entry.deliver.as_ref().filter(|deliver| !deliver.url.is_empty()).ok_or_else(|| {
            wrong("no target; add [customer.deliver] with `url = \"FOLDER\"`, or give --target".to_owned())
        })?;
        check_deliver(deliver).map_err(wrong)?;
        let folder = deliver.account.as_deref().map(AccountId::from_settings).transpose();
        Ok(Self {
            name: entry.name.clone().unwrap_or_else(|| id.to_string()),
            accounts: accounts(&entry.accounts).map_err(wrong)?,
            sharing: match choice("sharing", entry.sharing.as_deref(), &["organization", "account"])
                .map_err(wrong)?
            {
                0 => Sharing::Organization,
                _ => Sharing::Account,
            },
            withhold: entry.withhold.clone().unwrap_or_default(),
            payer_kept: choice("payer", entry.payer.as_deref(), &["keep", "mask"]).map_err(wrong)? == 0,
            faithful: choice("privacy", entry.privacy.as_deref(), &["mask", "faithful"]).map_err(wrong)? == 1,
            target: folder_of(&deliver.url, base).map_err(|error| wrong(error.to_string()))?,
            folder: folder.map_err(|error| wrong(error.to_string()))?,
            contract: Contract::Eco,
            order: match choice("order", deliver.order.as_deref(), &["sorted", "source"]).map_err(wrong)? {
                0 => Order::Sorted,
                _ => Order::Source,
            },
            id,
        })
    }
}

fn check_deliver(deliver: &DeliverEntry) -> Result<(), String> {
    choice("layout", deliver.layout.as_deref(), &["eco"])?;
    choice("contract", deliver.contract.as_deref(), &["eco"])?;
    let formats = deliver.formats.as_deref().unwrap_or_default();
    if deliver.formats.is_some() && formats.is_empty() {
        return Err("formats is empty; write formats = [\"csv.gz\"]".to_owned());
    }
    formats.iter().try_for_each(|format| choice("formats", Some(format), &["csv.gz"]).map(|_| ()))
}

/// The place of a word among those that are allowed; the first if none was written.
fn choice(name: &str, word: Option<&str>, allowed: &[&str]) -> Result<usize, String> {
    let Some(word) = word else { return Ok(0) };
    allowed.iter().position(|known| *known == word).ok_or_else(|| {
        let meant = allowed.iter().find(|known| strsim::damerau_levenshtein(word, known) <= 2);
        let hint = meant.map_or_else(String::new, |known| format!("; did you mean {known:?}?"));
        format!("{name} = {word:?} isn't known in this version; it can be {}{hint}", allowed.join(" or "))
    })
}

fn accounts(entry: &FileAccounts) -> Result<Accounts, String> {
    let list = match entry {
        FileAccounts::Word(word) if word == "all" => return Ok(Accounts::All),
        FileAccounts::Word(word) => {
            return Err(format!(
                "accounts = {word:?} is neither \"all\" nor a list; write accounts = [\"{word}\"]"
            ));
        }
        FileAccounts::List(list) => list,
    };
    if list.is_empty() {
        return Err("no accounts are listed; list them, or write accounts = \"all\" if everything is meant"
            .to_owned());
    }
    list.iter().map(account).collect::<Result<_, _>>().map(Accounts::Listed)
}

fn account(entry: &AccountEntry) -> Result<OwnedAccount, String> {
    let id_of = |id: &str| AccountId::from_settings(id).map_err(|error| error.to_string());
    let day = |text: &Option<String>| {
        text.as_deref().map(Day::parse).transpose().map_err(|error| error.to_string())
    };
    match entry {
        AccountEntry::Id(id) => Ok(OwnedAccount { id: id_of(id)?, from: None, to: None }),
        AccountEntry::Dated(dated) => {
            Ok(OwnedAccount { id: id_of(&dated.id)?, from: day(&dated.from)?, to: day(&dated.to)? })
        }
        AccountEntry::Number(number) => Err(format!(
            "account {number} is written as a number, which loses leading zeros; put it in quotes"
        )),
    }
}
