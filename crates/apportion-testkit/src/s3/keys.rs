use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A role: who may take it, and what it may do.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy asks for; None if it asks for none.
    pub external_id: Option<String>,
    /// The one bucket that it may use.
    pub bucket: String,
    /// How long its sessions say that they last, in seconds.
    pub seconds: u64,
}

/// A session of a role.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) secret: String,
    pub(super) token: String,
    bucket: String,
    /// What the session policy leaves: resources, each perhaps with a star at its end.
    resources: Option<Vec<String>>,
    /// Whether it may list the bucket as a whole, which S3 asks for before it says that an object isn't there.
    lists: bool,
    over: bool,
}

impl Session {
    /// Whether the session may touch an object (or, without a key, the bucket).
    fn may(&self, bucket: &str, key: Option<&str>) -> bool {
        let arn = match key {
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let matches = |resource: &String| match resource.strip_suffix('*') {
            Some(start) => arn.starts_with(start),
            None => arn == *resource,
        };
        self.bucket == bucket && self.resources.as_ref().is_none_or(|resources| resources.iter().any(matches))
    }
}

#[derive(Default)]
struct Known {
    owner: Option<(String, String)>,
    roles: BTreeMap<String, Role>,
    sessions: BTreeMap<String, Session>,
}

/// Who may sign.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<Mutex<Known>>);

impl Keys {
    pub(super) fn new(access_key: &str, secret_key: &str) -> Self {
        let keys = Self::default();
        keys.known().owner = Some((access_key.to_owned(), secret_key.to_owned()));
        keys
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    pub(super) fn add_role(&self, role: Role) {
        self.known().roles.insert(role.arn.clone(), role);
    }

    pub(super) fn remove_role(&self, arn: &str) {
        self.known().roles.remove(arn);
    }

    pub(super) fn expire_sessions(&self) {
        self.known().sessions.values_mut().for_each(|session| session.over = true);
    }

    /// Takes a role; None if its trust policy says no.
    pub(super) fn assume(
        &self,
        arn: &str,
        external_id: Option<&str>,
        policy: Option<&str>,
    ) -> Option<(String, Session, u64)> {
        let mut known = self.known();
        let role = known.roles.get(arn)?.clone();
        if role.external_id.is_some() && role.external_id.as_deref() != external_id {
            return None;
        }
        let number = known.sessions.len();
        let session = Session {
            secret: format!("marked-session-secret-{number}"),
            token: format!("marked-session-token-{number}"),
            bucket: role.bucket,
            resources: policy.map(resources_of),
            lists: policy.is_none_or(|policy| {
                policy.contains("\"s3:ListBucket\"") && !policy.contains("\"StringLike\":{\"s3:prefix\"")
            }),
            over: false,
        };
        let key = format!("ASIATESTKIT{number:09}");
        known.sessions.insert(key.clone(), session.clone());
        Some((key, session, role.seconds))
    }

    /// Whether a key may know that an object isn't there.
    pub(super) fn may_list(&self, access_key: &str) -> bool {
        self.known().sessions.get(access_key).is_none_or(|session| session.lists)
    }

    /// Why a call may not be: S3's code and message. `token` is what came with it.
    pub(super) fn refusal(
        &self,
        access_key: &str,
        token: Option<&str>,
        bucket: &str,
        key: Option<&str>,
    ) -> Option<(u16, &'static str)> {
        let known = self.known();
        let Some(session) = known.sessions.get(access_key) else {
            return token.map(|_| (400, "InvalidToken"));
        };
        if token != Some(session.token.as_str()) {
            return Some((400, "InvalidToken"));
        }
        if session.over {
            return Some((400, "ExpiredToken"));
        }
        (!session.may(bucket, key)).then_some((403, "AccessDenied"))
    }
}

/// The resources of a policy's statements that allow something about S3.
fn resources_of(policy: &str) -> Vec<String> {
    policy
        .split("\"Resource\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|resource| resource.starts_with("arn:"))
        .map(str::to_owned)
        .collect()
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.known();
        let owner = known.owner.iter().find(|(key, _)| key == access_key).map(|(_, secret)| secret);
        let session = || known.sessions.get(access_key).map(|session| &session.secret);
        match owner.or_else(session) {
            Some(secret) => Ok(secret.as_str().into()),
            None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}
