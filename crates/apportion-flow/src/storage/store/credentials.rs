use super::open::RoleOptions;
use async_trait::async_trait;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials as AwsCredentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use object_store::aws::AwsCredential;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, OnceCell};

/// Credentials are renewed so long before they end.
const BEFORE_END: Duration = Duration::from_secs(300);
/// A role's session; short, because a new one costs one call.
const SESSION: Duration = Duration::from_secs(3600);

/// A text that is nobody's business: it can be used, and neither printed nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who must send it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Keys that are given instead of looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The access key's id.
    pub key_id: String,
    /// The secret access key.
    pub secret: Secret,
    /// The session's token, if they are a session's.
    pub token: Option<Secret>,
}

impl StaticKeys {
    fn credentials(&self) -> AwsCredentials {
        let token = self.token.as_ref().map(|token| token.expose().to_owned());
        AwsCredentials::new(&self.key_id, self.secret.expose(), token, None, "given")
    }
}

/// Where a place's credentials come from.
#[async_trait]
pub(super) trait Credentials: fmt::Debug + Send + Sync {
    /// Credentials that are good now; with `renew`, not those of last time. Or why there are none, and whether asking
    /// again may help.
    async fn get(&self, renew: bool) -> Result<Arc<AwsCredential>, (bool, String)>;
}

/// The last credentials, and when they end.
type Last = Mutex<Option<(Arc<AwsCredential>, Option<SystemTime>)>>;

/// AWS's own chain: environment, profile, SSO, web identity, container, instance. Places with the same profile and region
/// share one.
pub(super) struct Chain {
    profile: Option<String>,
    region: Option<String>,
    keys: Option<StaticKeys>,
    config: OnceCell<SdkConfig>,
    last: Last,
}

/// A role, taken with the credentials of a chain, for one place.
pub(super) struct TakenRole {
    base: Arc<Chain>,
    role: RoleOptions,
    provider: OnceCell<SharedCredentialsProvider>,
    last: Last,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl fmt::Debug for TakenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenRole").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Chain {
    pub(super) fn new(profile: Option<String>, region: Option<String>, keys: Option<StaticKeys>) -> Self {
        Self { profile, region, keys, config: OnceCell::new(), last: Mutex::default() }
    }

    async fn config(&self) -> &SdkConfig {
        self.config
            .get_or_init(|| async {
                let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
                let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
                if let Some(profile) = &self.profile {
                    loader = loader.profile_name(profile);
                }
                if let Some(keys) = &self.keys {
                    loader = loader.credentials_provider(keys.credentials());
                }
                // Given, so that nobody asks an instance for it.
                let region = self.region().await.unwrap_or_else(|| "us-east-1".to_owned());
                loader.region(Region::new(region)).load().await
            })
            .await
    }

    async fn provider(&self) -> Result<SharedCredentialsProvider, String> {
        let provider = self.config().await.credentials_provider();
        provider.ok_or_else(|| "no source of credentials is built in".to_owned())
    }

    fn whose(&self) -> String {
        match &self.profile {
            Some(profile) => format!("profile {profile}"),
            None => "AWS's chain (environment, profile, SSO, web identity, container, instance)".to_owned(),
        }
    }

    /// The region that goes with the credentials, if any is configured.
    pub(super) async fn region(&self) -> Option<String> {
        match &self.region {
            Some(region) => Some(region.clone()),
            None => configured_region(self.profile.as_deref()).await,
        }
    }
}

impl TakenRole {
    pub(super) fn new(base: Arc<Chain>, role: RoleOptions) -> Self {
        Self { base, role, provider: OnceCell::new(), last: Mutex::default() }
    }

    async fn provider(&self) -> Result<&SharedCredentialsProvider, String> {
        self.provider
            .get_or_try_init(|| async {
                let (config, base) = (self.base.config().await, self.base.provider().await?);
                let mut assume = AssumeRoleProvider::builder(&self.role.arn)
                    .configure(config)
                    .session_name(&self.role.session)
                    .session_length(SESSION)
                    .policy(&self.role.policy);
                if let Some(external_id) = &self.role.external_id {
                    assume = assume.external_id(external_id.expose());
                }
                Ok(SharedCredentialsProvider::new(assume.build_from_provider(base).await))
            })
            .await
    }
}

// When credentials end is told by the clock on the wall; no delivered byte depends on it.
#[allow(clippy::disallowed_methods)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Asks a provider, unless what it said last is still good.
async fn asked(
    provider: &SharedCredentialsProvider,
    last: &Last,
    renew: bool,
    whose: impl Fn() -> String,
    advice: &str,
) -> Result<Arc<AwsCredential>, (bool, String)> {
    let mut last = last.lock().await;
    if let Some((credential, end)) = last.as_ref()
        && !renew
        && end.is_none_or(|end| end > now() + BEFORE_END)
    {
        return Ok(Arc::clone(credential));
    }
    let given = provider.provide_credentials().await.map_err(|error| {
        let cause = chain_of(&error);
        (false, format!("{} gives no credentials: {}. {advice}", whose(), cause.trim_end_matches('.')))
    })?;
    let credential = Arc::new(credential_of(&given));
    *last = Some((Arc::clone(&credential), given.expiry()));
    Ok(credential)
}

#[async_trait]
impl Credentials for Chain {
    async fn get(&self, renew: bool) -> Result<Arc<AwsCredential>, (bool, String)> {
        let provider = self.provider().await.map_err(|problem| (false, problem))?;
        let advice = "Sign in (aws sso login), or name a profile that has credentials";
        asked(&provider, &self.last, renew, || self.whose(), advice).await
    }
}

#[async_trait]
impl Credentials for TakenRole {
    async fn get(&self, renew: bool) -> Result<Arc<AwsCredential>, (bool, String)> {
        let provider = self.provider().await.map_err(|problem| (false, problem))?;
        let advice = "Check that its trust policy names this identity and the external id, and that the identity may take it";
        asked(provider, &self.last, renew, || format!("role {}", self.role.arn), advice).await
    }
}

/// The region of the environment or the profile; an instance isn't asked.
async fn configured_region(profile: Option<&str>) -> Option<String> {
    use aws_config::environment::region::EnvironmentVariableRegionProvider;
    use aws_config::meta::region::ProvideRegion;
    use aws_config::profile::ProfileFileRegionProvider;
    let found = match profile {
        // A profile that is named beats the environment.
        Some(profile) => ProfileFileRegionProvider::builder().profile_name(profile).build().region().await,
        None => None,
    };
    let found = match found {
        Some(region) => Some(region),
        None => EnvironmentVariableRegionProvider::new().region().await,
    };
    match found {
        Some(region) => Some(region.to_string()),
        None => ProfileFileRegionProvider::builder().build().region().await.map(|region| region.to_string()),
    }
}

fn credential_of(given: &AwsCredentials) -> AwsCredential {
    AwsCredential {
        key_id: given.access_key_id().to_owned(),
        secret_key: given.secret_access_key().to_owned(),
        token: given.session_token().map(str::to_owned),
    }
}

/// An error with its causes, in one line.
fn chain_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_printed() {
        let role = RoleOptions {
            arn: "arn:aws:iam::111122223333:role/writer".to_owned(),
            external_id: Some(Secret::new("marked-secret")),
            session: "apportion".to_owned(),
            policy: String::new(),
        };
        let chain = TakenRole::new(Arc::new(Chain::new(None, None, None)), role);
        let texts =
            [format!("{:?}", Secret::new("marked-secret")), format!("{chain:?}"), format!("{chain:#?}")];
        assert!(texts.iter().all(|text| !text.contains("marked-secret")), "{texts:?}");
    }
}
