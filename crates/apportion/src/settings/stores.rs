use super::file::{DeliverEntry, MspEntry, SourceEntry};
use crate::cli::StoreArgs;
use crate::exit::usage;
use crate::signals;
use apportion_flow::storage::{
    Bucket, Folder, Folders, Network, ObjectBucket, PlaceUrl, Secret, StorageError, StoreOptions, Weather,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The longest external id that AWS takes, and room for a line's end.
const LONGEST_EXTERNAL_ID: usize = 1224;

/// A place that the settings name: a folder, or a bucket of a store.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A folder, or one file of a report.
    Folder(PathBuf),
    /// A bucket, or a prefix in it.
    Store(Arc<StorePlace>),
}

/// A place in a store, and how it is reached.
#[derive(Debug)]
pub(crate) struct StorePlace {
    pub(super) url: PlaceUrl,
    pub(super) options: StoreOptions,
    stores: Arc<Stores>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Store(place) => write!(f, "{}", place.url),
        }
    }
}

impl Place {
    /// Opens it. Nothing is asked of it yet.
    pub(crate) fn open(&self) -> Result<Arc<dyn Bucket>, StorageError> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(Folder::new(folder)),
            Self::Store(place) => {
                Arc::new(ObjectBucket::s3(place.stores.network()?, &place.url, &place.options)?)
            }
        })
    }

    /// The folder, where it is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Store(_) => None,
        }
    }

    /// Whether the settings say that nobody else ever writes there, so that no condition is asked of its store.
    pub(crate) fn has_single_writer(&self) -> bool {
        matches!(self, Self::Store(place) if place.options.single_writer)
    }

    /// Whether it is a folder that isn't there. Of a store that is found out by the first who asks it for something.
    pub(crate) fn is_missing_folder(&self) -> bool {
        self.folder().is_some_and(|folder| !folder.is_dir())
    }
}

/// What the settings say of a place in a store, besides its url.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreEntry {
    endpoint_url: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    profile: Option<String>,
    owner: Option<String>,
    role_arn: Option<String>,
    external_id_file: Option<String>,
    encryption: Option<String>,
    requester_pays: Option<bool>,
    single_writer: Option<bool>,
}

macro_rules! store_entry {
    ($entry:ty) => {
        impl From<&$entry> for StoreEntry {
            fn from(entry: &$entry) -> Self {
                Self {
                    endpoint_url: entry.endpoint_url.clone(),
                    region: entry.region.clone(),
                    path_style: entry.path_style,
                    profile: entry.profile.clone(),
                    owner: entry.owner.clone(),
                    role_arn: entry.role_arn.clone(),
                    external_id_file: entry.external_id_file.clone(),
                    encryption: entry.encryption.clone(),
                    requester_pays: entry.requester_pays,
                    single_writer: entry.single_writer,
                }
            }
        }
    };
}
store_entry!(SourceEntry);
store_entry!(MspEntry);
store_entry!(DeliverEntry);

impl StoreEntry {
    /// The same for one linked account.
    pub(super) fn for_account(&self, marker: &str, account: &str) -> Self {
        let replaced = |text: &Option<String>| text.as_ref().map(|text| text.replace(marker, account));
        Self {
            role_arn: replaced(&self.role_arn),
            external_id_file: replaced(&self.external_id_file),
            owner: replaced(&self.owner),
            ..self.clone()
        }
    }
}

/// How stores are reached, as far as flags and environment say it, and the network that they share.
#[derive(Debug)]
pub(super) struct Stores {
    args: StoreArgs,
    weather: Weather,
    folders: Folders,
    network: OnceLock<Arc<Network>>,
}

impl Stores {
    pub(super) fn new(args: &StoreArgs, folders: Folders) -> anyhow::Result<Arc<Self>> {
        let mut weather = Weather::default();
        if let Some(seconds) = args.stall {
            if !(1..=3600).contains(&seconds) {
                return Err(usage("stall must be 1 to 3600 seconds"));
            }
            weather.stall = Duration::from_secs(seconds);
        }
        Ok(Arc::new(Self { args: args.clone(), weather, folders, network: OnceLock::new() }))
    }

    fn network(&self) -> Result<&Arc<Network>, StorageError> {
        if let Some(network) = self.network.get() {
            return Ok(network);
        }
        let network = Network::new(self.weather, self.folders.clone(), signals::interrupted)?;
        Ok(self.network.get_or_init(|| network))
    }

    /// Reads a place's url; paths are relative to `base`.
    pub(super) fn place(
        self: &Arc<Self>,
        text: &str,
        base: &Path,
        entry: &StoreEntry,
        entry_base: &Path,
    ) -> anyhow::Result<Place> {
        if text.starts_with("s3://") {
            let url: PlaceUrl = text.parse().map_err(usage)?;
            let options =
                self.options(entry, entry_base).map_err(|problem| usage(format!("{url}: {problem}")))?;
            return Ok(Place::Store(Arc::new(StorePlace { url, options, stores: Arc::clone(self) })));
        }
        Ok(Place::Folder(super::paths::folder_of(text, base)?))
    }

    /// A flag beats the settings file, which beats what AWS's own variables say.
    fn options(&self, entry: &StoreEntry, base: &Path) -> Result<StoreOptions, String> {
        let entry = entry.clone();
        let external_id = match &entry.external_id_file {
            None => None,
            Some(_) if entry.role_arn.is_none() => {
                return Err("external_id_file goes with a role_arn, and there is none".to_owned());
            }
            Some(file) => Some(external_id(&base.join(file))?),
        };
        Ok(StoreOptions {
            endpoint_url: self
                .args
                .endpoint_url
                .clone()
                .or(entry.endpoint_url)
                .or_else(|| ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(variable)),
            region: self.args.region.clone().or(entry.region),
            path_style: entry.path_style,
            profile: self.args.profile.clone().or(entry.profile),
            keys: None,
            owner: entry.owner.as_deref().map(str::parse).transpose()?,
            role_arn: entry.role_arn,
            external_id,
            encryption: entry.encryption,
            requester_pays: entry.requester_pays.unwrap_or(false),
            single_writer: entry.single_writer.unwrap_or(false),
        })
    }
}

/// One of AWS's own variables, which no flag stands for.
#[allow(clippy::disallowed_methods)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An external id stands alone in a file, so that it needn't stand in the settings.
fn external_id(file: &Path) -> Result<Secret, String> {
    let wrong = |problem: String| format!("external_id_file {}: {problem}", file.display());
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    if !(2..=LONGEST_EXTERNAL_ID).contains(&text.len()) || text.chars().any(char::is_whitespace) {
        return Err(wrong("an external id has 2 to 1224 characters, in one line, and no blanks".to_owned()));
    }
    Ok(Secret::new(text))
}
