use super::file::{AccountEntry, Accounts as FileAccounts, CustomerEntry, DeliverEntry};
use super::stores::{Place, StoreEntry, Stores};
use crate::exit::usage;
use apportion_core::columns::{Contract, HeaderStyle};
use apportion_core::route::{Accounts, OwnedAccount};
use apportion_flow::run::{Sharing, Target};
use apportion_flow::storage::StorageError;
use apportion_flow::write::{Gzip, Level, Order};
use apportion_model::{AccountId, CustomerId, Day, Format, Layout};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What paths are relative to: that of the target, which a flag may have named, and those in the file.
#[derive(Clone, Copy)]
pub(super) struct Bases<'a> {
    pub(super) url: &'a Path,
    pub(super) file: &'a Path,
}

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
    pub(crate) target: ResolvedTarget,
    pub(crate) folder: Option<AccountId>,
    pub(crate) contract: Contract,
    pub(crate) layout: Layout,
    pub(crate) formats: Vec<Format>,
    pub(crate) header: HeaderStyle,
    pub(crate) gzip: Gzip,
    pub(crate) level: Level,
    pub(crate) order: Order,
}

/// Where a customer's exports go.
#[derive(Debug, Clone)]
pub(crate) enum ResolvedTarget {
    /// All to one place.
    One(Place),
    /// Each linked account's to a place of its own.
    ByAccount(BTreeMap<AccountId, Place>),
}

/// What stands for the linked account in a target's url.
const ACCOUNT: &str = "{account}";

impl ResolvedTarget {
    fn new(
        deliver: &DeliverEntry,
        bases: Bases<'_>,
        sharing: Sharing,
        accounts: &Accounts,
        stores: &Arc<Stores>,
    ) -> anyhow::Result<Self> {
        let (url, entry) = (&deliver.url, StoreEntry::from(deliver));
        if !url.contains(ACCOUNT) {
            return Ok(Self::One(stores.place(url, bases.url, &entry, bases.file)?));
        }
        let (Sharing::Account, Accounts::Listed(list)) = (sharing, accounts) else {
            return Err(usage(format!(
                "target {url:?} has {ACCOUNT} in it, which needs sharing = \"account\" and a list of accounts"
            )));
        };
        let targets = list.iter().map(|account| {
            let id = account.id.as_str();
            let entry = entry.for_account(ACCOUNT, id);
            let place = stores.place(&url.replace(ACCOUNT, id), bases.url, &entry, bases.file)?;
            Ok((account.id.clone(), place))
        });
        Ok(Self::ByAccount(targets.collect::<anyhow::Result<_>>()?))
    }

    /// Every place.
    pub(crate) fn places(&self) -> Vec<&Place> {
        match self {
            Self::One(place) => vec![place],
            Self::ByAccount(places) => places.values().collect(),
        }
    }

    /// The place of a linked account, or of all accounts together.
    pub(crate) fn place_for(&self, linked: Option<&AccountId>) -> Option<&Place> {
        match self {
            Self::One(place) => Some(place),
            Self::ByAccount(places) => places.get(linked?),
        }
    }

    /// Opens every place.
    pub(super) fn open(&self) -> Result<Target, StorageError> {
        Ok(match self {
            Self::One(place) => Target::One(place.open()?),
            Self::ByAccount(places) => {
                let open = |(id, place): (&AccountId, &Place)| Ok((id.clone(), place.open()?));
                Target::ByAccount(places.iter().map(open).collect::<Result<_, StorageError>>()?)
            }
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let places: Vec<String> = self.places().iter().map(ToString::to_string).collect();
        places.join(", ")
    }
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
    /// Resolves one entry.
    pub(super) fn new(entry: &CustomerEntry, bases: Bases<'_>, stores: &Arc<Stores>) -> anyhow::Result<Self> {
        let id = CustomerId::new(&entry.id).map_err(|error| usage(format!("customer: {error}")))?;
        let wrong = &|problem: String| usage(format!("customer {id}: {problem}"));
        // A flag may have made the section where the file has none.
        let deliver = entry.deliver.as_ref().filter(|deliver| !deliver.url.is_empty()).ok_or_else(|| {
            wrong("no target; add [customer.deliver] with `url = \"FOLDER\"`, or give --target".to_owned())
        })?;
        let accounts = accounts(&entry.accounts).map_err(wrong)?;
        let word = |name, word: &Option<String>, allowed: &[&str]| {
            choice(name, word.as_deref(), allowed).map_err(wrong)
        };
        let sharing = match word("sharing", &entry.sharing, &["organization", "account"])? {
            0 => Sharing::Organization,
            _ => Sharing::Account,
        };
        let layout = Layout::ALL[word("layout", &deliver.layout, &Layout::ALL.map(Layout::as_str))?];
        let header = match (&deliver.header, layout) {
            (None, Layout::Aws) => HeaderStyle::Slash,
            (header, _) => {
                HeaderStyle::ALL[word("header", header, &HeaderStyle::ALL.map(HeaderStyle::as_str))?]
            }
        };
        let contract = word("contract", &deliver.contract, &Contract::ALL.map(Contract::as_str))?;
        let folder = deliver.account.as_deref().map(AccountId::from_settings).transpose();
        Ok(Self {
            name: entry.name.clone().unwrap_or_else(|| id.to_string()),
            withhold: entry.withhold.clone().unwrap_or_default(),
            payer_kept: word("payer", &entry.payer, &["keep", "mask"])? == 0,
            faithful: word("privacy", &entry.privacy, &["mask", "faithful"])? == 1,
            target: ResolvedTarget::new(deliver, bases, sharing, &accounts, stores)
                .map_err(|error| wrong(error.to_string()))?,
            accounts,
            sharing,
            folder: folder.map_err(|error| wrong(error.to_string()))?,
            contract: Contract::ALL[contract],
            layout,
            formats: formats(deliver).map_err(wrong)?,
            header,
            gzip: Gzip::ALL[word("gzip", &deliver.gzip, &Gzip::ALL.map(Gzip::as_str))?],
            level: Level::ALL[word("level", &deliver.level, &Level::ALL.map(Level::as_str))?],
            order: match word("order", &deliver.order, &["sorted", "source"])? {
                0 => Order::Sorted,
                _ => Order::Source,
            },
            id,
        })
    }
}

fn formats(deliver: &DeliverEntry) -> Result<Vec<Format>, String> {
    let Some(words) = &deliver.formats else { return Ok(vec![Format::CsvGz]) };
    if words.is_empty() {
        return Err("formats is empty; write formats = [\"csv.gz\"]".to_owned());
    }
    let mut formats = Vec::new();
    for word in words {
        let format = Format::ALL[choice("formats", Some(word), &Format::ALL.map(Format::as_str))?];
        if formats.contains(&format) {
            return Err(format!("formats names {format} twice"));
        }
        formats.push(format);
    }
    Ok(formats)
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
