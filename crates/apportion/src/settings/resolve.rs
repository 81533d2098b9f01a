use super::customers::{Bases, ResolvedCustomer, parse_accounts};
use super::file::{CustomerEntry, DeliverEntry, SettingsFile, SourceEntry, read_file, read_text};
use super::paths::{Role, folder_of, keep_apart};
use super::sizes::parse_size;
use super::stores::{Place, StoreEntry, Stores};
use crate::cli::{RunArgs, StoreArgs};
use crate::exit::usage;
use apportion_core::mask::MaskKey;
use apportion_core::money::Fraction;
use apportion_core::route::Membership;
use apportion_flow::run::periods::PeriodsRequest;
use apportion_flow::run::{
    Customer, DeliverRequest, RunError, SourceKindWanted, SourceRequest, SpoolRequest,
};
use apportion_flow::storage::Operator;
use apportion_flow::storage::{Folders, StorageError};
use apportion_model::{BillingPeriod, CustomerId, SourceName};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEFAULT_FILE: &str = "apportion.toml";
const DEFAULT_SPOOL_LIMIT: u64 = 16 << 30;
const DEFAULT_MEMORY: u64 = 512 << 20;
/// What reading, packing and checking need besides the rows that wait was measured at up to 200 MiB.
const LEAST_MEMORY: u64 = 256 << 20;
const DEFAULT_ACCEPT_SHARE: Fraction = Fraction::percent(10);

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    /// A flag, or a variable of the environment.
    Flag,
    /// The settings file.
    File,
    /// Nobody said anything.
    Default,
}

/// The source, resolved.
#[derive(Debug, Clone)]
pub(crate) struct SourceSetting {
    /// A bucket, a folder, or one file.
    pub(crate) place: Place,
    pub(crate) name: SourceName,
    pub(crate) named: bool,
    pub(crate) report: Option<String>,
    pub(crate) kind: SourceKindWanted,
}

/// The mask key, and where it was read.
#[derive(Debug, Clone)]
pub(crate) struct MaskKeySetting {
    pub(crate) key: MaskKey,
    pub(crate) file: PathBuf,
}

/// Everything, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) file: Option<PathBuf>,
    pub(crate) sources: Vec<SourceSetting>,
    pub(crate) msp: Option<Place>,
    pub(crate) mask_key: Option<MaskKeySetting>,
    pub(crate) customers: Vec<ResolvedCustomer>,
    pub(crate) only: Option<CustomerId>,
    pub(crate) periods: Option<Vec<BillingPeriod>>,
    pub(crate) spool: PathBuf,
    pub(crate) spool_limit: u64,
    pub(crate) threads: usize,
    pub(crate) memory: u64,
    /// What a change of customers may move without `--accept`.
    pub(crate) accept_share: Fraction,
    /// Whether to wait for another run that is at work on the same.
    pub(crate) wait: bool,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
}

/// Joins flags, environment and file.
pub(crate) fn resolve(args: &RunArgs) -> anyhow::Result<Settings> {
    let (path, file) = find_file(args)?;
    resolve_file(args, path, file)
}

/// What [`resolve`] would say if a settings file held this text.
pub(crate) fn resolve_text(args: &RunArgs, path: &Path, text: &str) -> anyhow::Result<Settings> {
    resolve_file(args, Some(path.to_owned()), read_text(path, text)?)
}

fn resolve_file(args: &RunArgs, path: Option<PathBuf>, file: SettingsFile) -> anyhow::Result<Settings> {
    let base = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let mut resolver = Resolver { args, file, base, origins: BTreeMap::new() };
    let (spool, spool_limit) = resolver.spool()?;
    let folders = Folders { copies: spool.clone(), cache: resolver.cache()? };
    let stores = Stores::new(&args.store, folders)?;
    let sources = resolver.sources(&stores)?;
    let msp = resolver.msp(&stores)?;
    let mask_key = resolver.mask_key()?;
    let (customers, only) = resolver.customers(&stores)?;
    let settings = Settings {
        file: path,
        sources,
        msp,
        mask_key,
        customers,
        only,
        periods: periods_of(args.period.as_deref())?,
        spool,
        spool_limit,
        threads: resolver.threads()?,
        memory: resolver.memory()?,
        accept_share: resolver.accept_share()?,
        wait: args.wait,
        origins: resolver.origins,
    };
    settings.check()?;
    Ok(settings)
}

fn find_file(args: &RunArgs) -> anyhow::Result<(Option<PathBuf>, SettingsFile)> {
    if let Some(path) = &args.config {
        if !path.is_file() {
            return Err(usage(format!(
                "settings file {} isn't there; make one with `apportion init`",
                path.display()
            )));
        }
        return Ok((Some(path.clone()), read_file(path)?));
    }
    let default = Path::new(DEFAULT_FILE);
    // Without settings everything is said by flags; then a file that happens to lie here must not join in.
    if args.accounts.is_none() && default.is_file() {
        return Ok((Some(default.to_owned()), read_file(default)?));
    }
    Ok((None, SettingsFile::default()))
}

/// Reads `2026-10,2026-11`.
pub(crate) fn periods_of(text: Option<&str>) -> anyhow::Result<Option<Vec<BillingPeriod>>> {
    let Some(text) = text else { return Ok(None) };
    let months: Result<BTreeSet<BillingPeriod>, _> =
        text.split(',').map(|month| BillingPeriod::parse_month(month.trim())).collect();
    let months = months.map_err(|error| usage(format!("--period: {error}")))?;
    Ok(Some(months.into_iter().collect()))
}

/// Reads `10%`.
pub(crate) fn accept_share_of(text: &str) -> anyhow::Result<Fraction> {
    Fraction::parse(text).map_err(|error| usage(format!("accept_share: {error}")))
}

struct Resolver<'a> {
    args: &'a RunArgs,
    file: SettingsFile,
    /// What paths of the settings file are relative to.
    base: PathBuf,
    origins: BTreeMap<&'static str, Origin>,
}

impl Resolver<'_> {
    /// The first of flag and file, and remembers which it was.
    fn pick<T>(&mut self, name: &'static str, flag: Option<T>, file: Option<T>) -> Option<(T, Origin)> {
        let picked = match (flag, file) {
            (Some(flag), _) => Some((flag, Origin::Flag)),
            (None, Some(file)) => Some((file, Origin::File)),
            (None, None) => None,
        };
        self.origins.insert(name, picked.as_ref().map_or(Origin::Default, |(_, origin)| origin.clone()));
        picked
    }

    fn path(&self, text: &str, origin: &Origin) -> anyhow::Result<PathBuf> {
        folder_of(text, if *origin == Origin::File { &self.base } else { Path::new("") })
    }

    /// A place; what else is said of it is in the file, whoever named the place.
    fn place(
        &self,
        url: &str,
        origin: &Origin,
        entry: &StoreEntry,
        stores: &Arc<Stores>,
    ) -> anyhow::Result<Place> {
        let base = if *origin == Origin::File { &self.base } else { Path::new("") };
        stores.place(url, base, entry, &self.base)
    }

    /// The sources: the one that a flag names, or those of the file.
    fn sources(&mut self, stores: &Arc<Stores>) -> anyhow::Result<Vec<SourceSetting>> {
        let entries = self.file.source.clone();
        let from_file = (!entries.is_empty()).then_some(());
        let Some((_, origin)) = self.pick("source", self.args.source.as_ref().map(|_| ()), from_file) else {
            return Ok(Vec::new());
        };
        let mut chosen = match (&self.args.source, entries.as_slice()) {
            // Another place for the one source of the file: the name, and with it the report ids, stay.
            (Some(url), [one]) => vec![SourceEntry { url: url.clone(), ..one.clone() }],
            (Some(url), _) => vec![SourceEntry { url: url.clone(), ..SourceEntry::default() }],
            (None, _) => entries,
        };
        if let Some((kind, _)) = self.pick("kind", self.args.kind.clone(), None) {
            chosen.iter_mut().for_each(|entry| entry.kind = Some(kind.clone()));
        }
        let from_file = chosen.first().and_then(|entry| entry.report.clone());
        let report = self.pick("report", self.args.report.clone(), from_file);
        if let Some((report, Origin::Flag)) = report {
            let [one] = chosen.as_mut_slice() else {
                return Err(usage(
                    "--report chooses a report of one source; with several [[source]], write it there",
                ));
            };
            one.report = Some(report);
        }
        chosen.into_iter().map(|entry| self.source(entry, &origin, stores)).collect()
    }

    fn source(
        &self,
        entry: SourceEntry,
        origin: &Origin,
        stores: &Arc<Stores>,
    ) -> anyhow::Result<SourceSetting> {
        let name = entry.name.as_deref().map(SourceName::new).transpose();
        let name = name.map_err(|error| usage(format!("source: {error}")))?;
        let kind = match entry.kind.as_deref() {
            None | Some("auto") => SourceKindWanted::Auto,
            Some("files") => SourceKindWanted::Files,
            Some(kind) => {
                return Err(usage(format!(
                    "source: kind = {kind:?} isn't known in this version; it can be auto (the kind is found from the objects) or files (all loose files of a folder are one report)"
                )));
            }
        };
        Ok(SourceSetting {
            place: self.place(&entry.url, origin, &StoreEntry::from(&entry), stores)?,
            named: name.is_some(),
            name: name.unwrap_or_else(SourceName::unnamed),
            report: entry.report,
            kind,
        })
    }

    fn msp(&mut self, stores: &Arc<Stores>) -> anyhow::Result<Option<Place>> {
        let from_file = self.file.msp.as_ref().and_then(|msp| msp.url.clone());
        let picked = self.pick("msp_target", self.args.msp_target.clone(), from_file);
        let entry = self.file.msp.as_ref().map(StoreEntry::from).unwrap_or_default();
        picked.map(|(url, origin)| self.place(&url, &origin, &entry, stores)).transpose()
    }

    fn mask_key(&mut self) -> anyhow::Result<Option<MaskKeySetting>> {
        let from_file = self.file.msp.as_ref().and_then(|msp| msp.mask_key_file.clone());
        let flag = self.args.mask_key_file.as_ref().map(|path| path.display().to_string());
        let Some((file, origin)) = self.pick("mask_key_file", flag, from_file) else { return Ok(None) };
        let file = self.path(&file, &origin)?;
        let text = std::fs::read(&file).map_err(|error| {
            usage(format!(
                "mask key file {}: {error}. Make one with `apportion init`, or take the setting out",
                file.display()
            ))
        })?;
        let key = MaskKey::new(text.trim_ascii()).ok_or_else(|| {
            usage(format!(
                "mask key file {}: a key must have at least {} bytes",
                file.display(),
                MaskKey::SHORTEST
            ))
        })?;
        Ok(Some(MaskKeySetting { key, file }))
    }

    /// The customers: those of the file, or the one that the flags describe.
    fn customers(
        &mut self,
        stores: &Arc<Stores>,
    ) -> anyhow::Result<(Vec<ResolvedCustomer>, Option<CustomerId>)> {
        let args = self.args;
        let id_of = |text: &str| CustomerId::new(text).map_err(|error| usage(format!("--customer: {error}")));
        if let Some(accounts) = &args.accounts {
            self.origins.insert("customers", Origin::Flag);
            let target = args
                .target
                .clone()
                .ok_or_else(|| usage("--accounts needs --target, the customer's target"))?;
            let accounts = parse_accounts(accounts);
            let mut entry = CustomerEntry {
                id: args.customer.clone().unwrap_or_else(|| first_of(&accounts)),
                accounts,
                deliver: Some(DeliverEntry { url: target, ..DeliverEntry::default() }),
                ..CustomerEntry::default()
            };
            self.override_with_flags(&mut entry);
            let here = Path::new("");
            let bases = Bases { url: here, file: here };
            return Ok((vec![ResolvedCustomer::new(&entry, bases, stores)?], None));
        }
        let only = args.customer.as_deref().map(id_of).transpose()?;
        self.origins
            .insert("customers", if self.file.customer.is_empty() { Origin::Default } else { Origin::File });
        let mut customers = Vec::new();
        for mut entry in self.file.customer.clone() {
            let mut base = self.base.as_path();
            if only.as_ref().is_none_or(|only| only.as_str() == entry.id) {
                self.override_with_flags(&mut entry);
                if let (Some(target), Some(_)) = (&args.target, &only) {
                    entry.deliver.get_or_insert_default().url.clone_from(target);
                    base = Path::new("");
                }
            }
            let bases = Bases { url: base, file: &self.base };
            customers.push(ResolvedCustomer::new(&entry, bases, stores)?);
        }
        if args.target.is_some() && only.is_none() {
            return Err(usage("--target needs --accounts, or --customer to say whose target it is"));
        }
        Ok((customers, only))
    }

    fn override_with_flags(&self, entry: &mut CustomerEntry) {
        let args = self.args;
        let list = |text: &String| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        let deliver = entry.deliver.get_or_insert_default();
        for (flag, setting) in [
            (&args.contract, &mut deliver.contract),
            (&args.layout, &mut deliver.layout),
            (&args.order, &mut deliver.order),
            (&args.header, &mut deliver.header),
            (&args.gzip, &mut deliver.gzip),
            (&args.level, &mut deliver.level),
            (&args.sharing, &mut entry.sharing),
            (&args.privacy, &mut entry.privacy),
            (&args.payer, &mut entry.payer),
        ] {
            if flag.is_some() {
                setting.clone_from(flag);
            }
        }
        if let Some(formats) = &args.formats {
            deliver.formats = Some(list(formats));
        }
        if let Some(types) = &args.withhold {
            entry.withhold = Some(list(types));
        }
    }

    fn spool(&mut self) -> anyhow::Result<(PathBuf, u64)> {
        let run = self.file.run.clone().unwrap_or_default();
        let flag = self.args.spool.as_ref().map(|path| path.display().to_string());
        let folder = match self.pick("spool", flag, run.spool) {
            Some((folder, origin)) => self.path(&folder, &origin)?,
            None => std::env::temp_dir(),
        };
        let limit = match self.pick("spool_limit", self.args.spool_limit.clone(), run.spool_limit) {
            Some((text, _)) => parse_size(&text)?,
            None => DEFAULT_SPOOL_LIMIT,
        };
        Ok((folder, limit))
    }

    fn cache(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let run = self.file.run.clone().unwrap_or_default();
        let flag = self.args.store.cache.as_ref().map(|path| path.display().to_string());
        let picked = self.pick("cache", flag, run.cache);
        picked.map(|(folder, origin)| self.path(&folder, &origin)).transpose()
    }

    fn memory(&mut self) -> anyhow::Result<u64> {
        let run = self.file.run.clone().unwrap_or_default();
        let memory = match self.pick("memory", self.args.memory.clone(), run.memory) {
            Some((text, _)) => parse_size(&text)?,
            None => DEFAULT_MEMORY,
        };
        if memory < LEAST_MEMORY {
            return Err(usage("memory must be at least 256MiB"));
        }
        Ok(memory)
    }

    fn accept_share(&mut self) -> anyhow::Result<Fraction> {
        let run = self.file.run.clone().unwrap_or_default();
        let picked = self.pick("accept_share", None, run.accept_share);
        picked.map_or(Ok(DEFAULT_ACCEPT_SHARE), |(text, _)| accept_share_of(&text))
    }

    fn threads(&mut self) -> anyhow::Result<usize> {
        let run = self.file.run.clone().unwrap_or_default();
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads =
            self.pick("threads", self.args.threads, run.threads).map_or(available, |(threads, _)| threads);
        if (1..=256).contains(&threads) { Ok(threads) } else { Err(usage("threads must be 1 to 256")) }
    }
}

/// Without `--customer`, the customer is called after its first account.
fn first_of(accounts: &super::file::Accounts) -> String {
    match accounts {
        super::file::Accounts::List(list) => match list.first() {
            Some(super::file::AccountEntry::Id(id)) => id.clone(),
            _ => "customer".to_owned(),
        },
        super::file::Accounts::Word(_) => "all".to_owned(),
    }
}

impl Settings {
    /// Everything that can be refused before a byte is read.
    fn check(&self) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        for customer in &self.customers {
            if !seen.insert(customer.id.as_str().to_ascii_lowercase()) {
                return Err(usage(format!(
                    "two customers have the id {}; ids must differ, also in more than upper and lower case",
                    customer.id
                )));
            }
        }
        let sources = self.sources.iter().map(|source| (Role::Source, &source.place));
        let targets = self.customers.iter().enumerate().flat_map(|(position, customer)| {
            let role = Role::Target(position, &customer.id);
            customer.target.places().into_iter().map(move |place| (role, place))
        });
        keep_apart(sources.chain(self.msp.iter().map(|msp| (Role::Msp, msp))).chain(targets))?;
        Membership::new(self.customers.iter().map(|customer| (&customer.id, &customer.accounts)))
            .map_err(|error| usage(error.to_string()))?;
        if let Some(only) = &self.only
            && !self.customers.iter().any(|customer| customer.id == *only)
        {
            let there: Vec<&str> = self.customers.iter().map(|customer| customer.id.as_str()).collect();
            return Err(usage(format!("no customer is called {only}; there are: {}", there.join(", "))));
        }
        Ok(())
    }

    /// The sources, which most commands need.
    pub(crate) fn sources(&self) -> anyhow::Result<&[SourceSetting]> {
        if self.sources.is_empty() {
            return Err(usage(
                "no source; give --source PATH, or a settings file with [[source]] (`apportion init` makes one)",
            ));
        }
        Ok(&self.sources)
    }

    /// What questions about periods need; the source needn't be there.
    pub(crate) fn periods_request(&self, only: Option<SourceName>) -> anyhow::Result<PeriodsRequest> {
        let Some(msp) = &self.msp else {
            return Err(usage(
                "periods are kept in the MSP's place, and none is configured; give --msp-target PATH, or write url under [msp] in the settings",
            ));
        };
        if let Some(only) = &only
            && !self.sources.is_empty()
            && !self.sources.iter().any(|source| source.name == *only)
        {
            let there: Vec<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
            return Err(usage(format!("no source is called {only}; there are: {}", there.join(", "))));
        }
        if msp.is_missing_folder() {
            let message = format!("the MSP's place {msp} isn't there; `apportion deliver` makes it");
            return Err(crate::exit::Failure { code: crate::exit::NOT_FOUND, message }.into());
        }
        Ok(PeriodsRequest {
            msp: msp.open().map_err(RunError::from)?,
            sources: self.source_requests()?,
            customers: self.opened_customers()?,
            only,
            operator: Some(self.operator()),
        })
    }

    /// Who runs this.
    fn operator(&self) -> Operator {
        crate::operator::operator(self.wait)
    }

    /// What the flow is asked for.
    pub(crate) fn request(&self, dry_run: bool) -> anyhow::Result<DeliverRequest> {
        let sources = self.sources()?;
        if self.customers.is_empty() {
            return Err(usage(
                "no customer; give --accounts and --target, or a settings file with [[customer]]",
            ));
        }
        let is_there = |source: &SourceSetting| source.place.folder().is_none_or(Path::exists);
        if let Some(source) = sources.iter().find(|source| !is_there(source)) {
            return Err(crate::exit::Failure {
                code: crate::exit::NOT_FOUND,
                message: format!("source {} isn't there", source.place),
            }
            .into());
        }
        let request = DeliverRequest {
            sources: self.source_requests()?,
            periods: self.periods.clone(),
            customers: self.opened_customers()?,
            only: self.only.clone(),
            msp: self.msp.as_ref().map(Place::open).transpose().map_err(RunError::from)?,
            mask_key: self.mask_key.as_ref().map(|setting| setting.key.clone()),
            spool: SpoolRequest { folder: self.spool.clone(), limit: self.spool_limit },
            threads: self.threads,
            memory: self.memory,
            dry_run,
            operator: Some(self.operator()),
        };
        // Not left to `deliver`: `config check` and `audit` refuse the same.
        request.check().map_err(|error| usage(error.to_string()))?;
        Ok(request)
    }

    /// The sources, opened.
    pub(super) fn source_requests(&self) -> anyhow::Result<Vec<SourceRequest>> {
        Ok(self
            .sources
            .iter()
            .map(SourceSetting::request)
            .collect::<Result<_, _>>()
            .map_err(RunError::from)?)
    }

    /// The customers, with their targets opened.
    pub(crate) fn opened_customers(&self) -> anyhow::Result<Vec<Customer>> {
        let opened = self.customers.iter().map(ResolvedCustomer::opened);
        Ok(opened.collect::<Result<_, _>>().map_err(RunError::from)?)
    }
}

impl SourceSetting {
    /// A place as it is; a file as the one object of its folder.
    pub(super) fn request(&self) -> Result<SourceRequest, StorageError> {
        let file = self.place.folder().filter(|path| path.is_file());
        let (place, object) = match file.and_then(|path| Some((path.parent()?, path.file_name()?))) {
            Some((folder, name)) => {
                let folder = if folder == Path::new("") { Path::new(".") } else { folder };
                (Place::Folder(folder.to_owned()), Some(name.to_string_lossy().into_owned()))
            }
            None => (self.place.clone(), None),
        };
        Ok(SourceRequest {
            bucket: place.open()?,
            name: self.name.clone(),
            named: self.named,
            report: self.report.clone(),
            object,
            kind: self.kind,
        })
    }
}

/// The place that a flag names, besides any settings.
pub(crate) fn place_of(url: &str, args: &StoreArgs) -> anyhow::Result<Place> {
    let here = Path::new("");
    let folders = Folders { copies: std::env::temp_dir(), cache: args.cache.clone() };
    Stores::new(args, folders)?.place(url, here, &StoreEntry::default(), here)
}

impl ResolvedCustomer {
    /// With the targets opened.
    fn opened(&self) -> Result<Customer, StorageError> {
        Ok(Customer {
            routed: apportion_core::route::RoutedCustomer {
                id: self.id.clone(),
                accounts: self.accounts.clone(),
                withhold: self.withhold.clone(),
                carries_split_cost: self.contract.carries_split_cost(),
            },
            name: self.name.clone(),
            sharing: self.sharing,
            target: self.target.open()?,
            layout: self.layout,
            formats: self.formats.clone(),
            header: self.header,
            gzip: self.gzip,
            level: self.level,
            folder: self.folder.clone(),
            contract: self.contract,
            order: self.order,
            payer_kept: self.payer_kept,
            faithful: self.faithful,
        })
    }
}
