use super::bucket::ObjectBucket;
use super::budget::Budget;
use super::credentials::{Credentials, Secret, StaticKeys, TakenRole};
use super::network::Network;
use super::remembered::Remembered;
use super::wire::{Wire, WireConnector};
use crate::outcome::Kind;
use crate::storage::StorageError;
use http::HeaderValue;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, Checksum, S3ConditionalPut};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// Tries that one place may take beyond the first, so that a broken one doesn't use up what the run has.
const PLACE_TRIES: u64 = 40;

/// A place of an object store: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceUrl {
    bucket: String,
    /// Without slashes at its ends; empty for the whole bucket.
    prefix: String,
}

impl FromStr for PlaceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("s3://").ok_or_else(|| format!("{text}: write s3://BUCKET/PREFIX"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let is_good = (3..=63).contains(&bucket.len())
            && bucket.chars().all(|letter| is_plain(letter) || letter == '-' || letter == '.')
            && bucket.starts_with(is_plain)
            && bucket.ends_with(is_plain)
            && !bucket.contains("..");
        if !is_good {
            return Err(format!(
                "{text}: {bucket:?} can't be a bucket's name: 3 to 63 of lower-case letters, digits, hyphens and dots"
            ));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !prefix.is_empty() {
            apportion_model::ObjectKey::check_relative(prefix).map_err(|error| format!("{text}: {error}"))?;
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for PlaceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl PlaceUrl {
    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether the other place is this one or lies within it.
    pub fn contains(&self, other: &Self) -> bool {
        let below = other.prefix.strip_prefix(&self.prefix);
        self.bucket == other.bucket
            && (self.prefix.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// How a place is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Another host than AWS's, as `http://127.0.0.1:9000`.
    pub endpoint_url: Option<String>,
    /// The bucket's region; the profile's or the environment's, if it isn't given.
    pub region: Option<String>,
    /// Whether the bucket's name goes in the path (true) or in the host's name; with an endpoint of one's own in the
    /// path, if it isn't given.
    pub path_style: Option<bool>,
    /// The profile to take credentials from.
    pub profile: Option<String>,
    /// Keys instead of a profile's.
    pub keys: Option<StaticKeys>,
    /// The account that must own the bucket: sent, signed, with every request.
    pub owner: Option<BucketOwner>,
    /// The role that is taken for this place.
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for.
    pub external_id: Option<Secret>,
    /// How the store encrypts: `AES256`, or the id of a KMS key; by the bucket's default, if it isn't given.
    pub encryption: Option<String>,
    /// Whether whoever asks pays.
    pub requester_pays: bool,
    /// Nobody else ever writes there: for stores without conditional writes, which are refused otherwise.
    pub single_writer: bool,
}

/// The account that owns a bucket, as requests say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketOwner(HeaderValue);

impl FromStr for BucketOwner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_account = text.len() == 12 && text.bytes().all(|digit| digit.is_ascii_digit());
        let header = HeaderValue::from_str(text).ok().filter(|_| is_account);
        header.map(Self).ok_or_else(|| format!("owner = {text:?} isn't an account id of 12 digits"))
    }
}

/// A role for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleOptions {
    /// Which one.
    pub arn: String,
    /// What its trust policy asks for.
    pub external_id: Option<Secret>,
    /// The session's name, as the bucket's owner sees it in his log.
    pub session: String,
    /// What of the role the session may use.
    pub policy: String,
}

impl RoleOptions {
    fn new(options: &StoreOptions, url: &PlaceUrl) -> Option<Self> {
        let arn = options.role_arn.clone()?;
        let external_id = options.external_id.clone();
        Some(Self { policy: policy_of(&arn, url), arn, external_id, session: "apportion".to_owned() })
    }
}

/// The most that a session may do: read and write below the place's own prefix, and list it. Whatever else the role can do,
/// this session can't. It may list the bucket without a prefix, too: AWS asks for exactly that before it says 404 instead
/// of 403 of an object that isn't there.
fn policy_of(role: &str, url: &PlaceUrl) -> String {
    // Other partitions (aws-cn, aws-us-gov) have their own.
    let partition = role.split(':').nth(1).filter(|partition| !partition.is_empty()).unwrap_or("aws");
    let bucket = format!("arn:{partition}:s3:::{}", url.bucket);
    let below = if url.prefix.is_empty() { String::new() } else { format!("{}/", url.prefix) };
    // In a policy `*`, `?` and `$` mean something.
    let below = below.replace('$', "${$}").replace('*', "${*}").replace('?', "${?}");
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                "Resource": format!("{bucket}/{below}*"),
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": bucket,
                "Condition": { "StringLikeIfExists": { "s3:prefix": format!("{below}*") } },
            },
            {
                "Effect": "Allow",
                "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                "Resource": "*",
                "Condition": { "StringLike": { "kms:ViaService": "s3.*.amazonaws.com" } },
            },
        ],
    })
    .to_string()
}

impl ObjectBucket {
    /// Opens a place. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// Options that can't be.
    pub fn s3(network: &Arc<Network>, url: &PlaceUrl, options: &StoreOptions) -> Result<Self, StorageError> {
        let wrong = |problem: String| StorageError::Remote {
            place: url.to_string(),
            key: String::new(),
            doing: "opening",
            problem,
            kind: Kind::Usage,
        };
        let chain = network.chain(options.profile.clone(), options.region.clone(), options.keys.clone());
        let region = network.wait(chain.region()).unwrap_or_else(|| "us-east-1".to_owned());
        let credentials: Arc<dyn Credentials> = match RoleOptions::new(options, url) {
            Some(role) => Arc::new(TakenRole::new(chain, role)),
            None => chain,
        };
        let wire = Wire {
            shared: Arc::clone(&network.shared),
            budget: Budget::new(PLACE_TRIES),
            credentials,
            region: region.clone(),
            owner: options.owner.clone().map(|owner| owner.0),
            requester_pays: options.requester_pays,
            single_writer: options.single_writer,
            answered: AtomicBool::new(false),
            first: Mutex::new(()),
            given_up: OnceLock::new(),
        };
        // The wire signs and tries again; the library must do neither.
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&url.bucket)
            .with_region(region)
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(retry)
            .with_http_connector(WireConnector(Arc::new(wire)));
        let in_path =
            options.path_style.unwrap_or(options.endpoint_url.is_some() || url.bucket.contains('.'));
        builder = builder.with_virtual_hosted_style_request(!in_path);
        if let Some(endpoint) = &options.endpoint_url {
            builder = builder.with_endpoint(endpoint_of(endpoint, &url.bucket, in_path).map_err(wrong)?);
        }
        match options.encryption.as_deref() {
            None => {}
            Some("AES256") => {
                let key = object_store::aws::AmazonS3ConfigKey::from_str("aws_server_side_encryption")
                    .map_err(|error| wrong(error.to_string()))?;
                builder = builder.with_config(key, "AES256");
            }
            Some(key) => builder = builder.with_sse_kms_encryption(key),
        }
        let store = builder.build().map_err(|error| wrong(error.to_string()))?;
        let prefix = if url.prefix.is_empty() { String::new() } else { format!("{}/", url.prefix) };
        let endpoint = options.endpoint_url.as_deref().unwrap_or_default();
        let remembered = Remembered::load(network.folders.cache.as_deref(), endpoint, &url.bucket);
        let (place, bucket) = (url.to_string(), url.bucket.clone());
        Ok(Self::new(Arc::clone(network), Arc::new(store), place, bucket, prefix, remembered)
            .with_single_writer(options.single_writer))
    }
}

/// The library wants the bucket's name in the endpoint, where it isn't in the path.
fn endpoint_of(endpoint: &str, bucket: &str, in_path: bool) -> Result<String, String> {
    let endpoint = endpoint.trim_end_matches('/');
    let (scheme, host) = endpoint
        .split_once("://")
        .filter(|(scheme, host)| {
            matches!(*scheme, "http" | "https") && !host.is_empty() && !host.contains('@')
        })
        .ok_or_else(|| {
            format!("endpoint_url = {endpoint:?} isn't one; write http://HOST:PORT or https://HOST")
        })?;
    Ok(if in_path { endpoint.to_owned() } else { format!("{scheme}://{bucket}.{host}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PlaceUrl {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_read_and_those_that_cannot_be_are_refused() {
        for text in ["s3://acme-eco", "s3://acme-eco/a", "s3://acme.eco/a/b c"] {
            assert_eq!(url(text).to_string(), text);
        }
        assert_eq!(url("s3://acme-eco/a/").to_string(), "s3://acme-eco/a");
        for bad in [
            "acme",
            "s3://",
            "s3://Acme",
            "s3://ab",
            "s3://acme_eco",
            "s3://acme//a",
            "s3://acme/../b",
            "s3://a..b",
        ] {
            assert!(bad.parse::<PlaceUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_contains_what_lies_below_it() {
        let contains = |one: &str, other: &str| url(one).contains(&url(other));
        assert!(contains("s3://bucket", "s3://bucket/a") && contains("s3://bucket/a", "s3://bucket/a/b"));
        assert!(contains("s3://bucket/a", "s3://bucket/a/"));
        assert!(!contains("s3://bucket/a", "s3://bucket/ab") && !contains("s3://bucket/a", "s3://bucket"));
        assert!(!contains("s3://bucket", "s3://bucket2"));
    }

    #[test]
    fn a_session_is_narrowed_to_the_place() {
        let policy = policy_of("arn:aws-cn:iam::111122223333:role/writer", &url("s3://acme-eco/a*b"));
        assert!(policy.contains("\"arn:aws-cn:s3:::acme-eco/a${*}b/*\""), "{policy}");
        assert!(policy.contains("\"s3:prefix\":\"a${*}b/*\""), "{policy}");
        // AWS takes no longer ones.
        assert!(policy.len() < 2048);
    }

    #[test]
    fn an_owner_is_an_account() {
        for (text, is_good) in
            [("111122223333", true), ("acme", false), ("11112222333", false), ("11112222333\u{665}", false)]
        {
            assert_eq!(text.parse::<BucketOwner>().is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn an_endpoint_has_the_bucket_where_it_belongs() {
        assert_eq!(endpoint_of("http://127.0.0.1:9000/", "acme", true).unwrap(), "http://127.0.0.1:9000");
        assert_eq!(endpoint_of("https://s3.example", "acme", false).unwrap(), "https://acme.s3.example");
        for bad in ["127.0.0.1:9000", "ftp://host", "http://", "http://key:secret@host"] {
            assert!(endpoint_of(bad, "acme", true).is_err(), "{bad}");
        }
    }
}
