use super::keys::Keys;
use super::objects::now;
use super::sts::time_text;
use http::Method;
use std::time::Duration;

/// Where a container asks for its credentials.
pub(super) const CONTAINER: &str = "/testkit/container";
/// The role of the machine that the server stands for, as a container or an instance asks for its credentials.
pub const MACHINE_ROLE: &str = "arn:aws:iam::999900001111:role/machine";

/// Answers what a container or an instance of the cloud asks its surroundings for; None if it's none of that.
pub(super) fn answer(keys: &Keys, method: &Method, path: &str) -> Option<(u16, String)> {
    const INSTANCE: &str = "/latest/meta-data/iam/security-credentials";
    match (method.as_str(), path) {
        ("PUT", "/latest/api/token") => Some((200, "token".to_owned())),
        ("GET", path) if path.trim_end_matches('/') == INSTANCE => Some((200, "machine".to_owned())),
        ("GET", path) if path == CONTAINER || path == format!("{INSTANCE}/machine") => {
            Some(credentials(keys).map_or_else(|| (404, String::new()), |text| (200, text)))
        }
        (_, path) if path.starts_with("/latest/") => Some((404, String::new())),
        _ => None,
    }
}

fn credentials(keys: &Keys) -> Option<String> {
    let (key, session, seconds) = keys.assume(MACHINE_ROLE, None, None)?;
    let (start, end) = (time_text(now()), time_text(now() + Duration::from_secs(seconds)));
    Some(format!(
        "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"{start}\",\"AccessKeyId\":\"{key}\",\
         \"SecretAccessKey\":\"{}\",\"Token\":\"{}\",\"Expiration\":\"{end}\"}}",
        session.secret, session.token,
    ))
}
