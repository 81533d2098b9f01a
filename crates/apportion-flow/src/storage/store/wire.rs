use super::budget::{Budget, pause};
use super::credentials::Credentials;
use super::network::{LOOK, Shared};
use crate::outcome::Kind;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use object_store::aws::AwsAuthorizer;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpService,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Bytes per second that an upload is given time for, before it counts as stalled.
const SLOWEST: u64 = 128 << 10;
/// No answer is larger, but documents that say so by a [`BodyLimit`].
const MOST_BYTES: u64 = 64 << 20;
/// How long the request in hand may still take once somebody asked to stop.
const LAST: Duration = Duration::from_secs(5);

/// The most bytes that an answer may have; of a larger one nothing is read, and its size is still told.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit(pub(super) u64);

/// Every request of one place goes through here: it gets the owner that is expected, is signed with credentials that
/// are good now, is watched, and is made again where that helps.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) shared: Arc<Shared>,
    pub(super) budget: Budget,
    pub(super) credentials: Arc<dyn Credentials>,
    pub(super) region: String,
    pub(super) owner: Option<HeaderValue>,
    pub(super) requester_pays: bool,
    /// Nobody else writes there, and the store may not know conditions.
    pub(super) single_writer: bool,
    /// Whether it has answered at all; until then it's asked one thing at a time, so that a place which never does takes
    /// one connection from the others, and is given up once.
    pub(super) answered: AtomicBool,
    pub(super) first: Mutex<()>,
    /// Why the place isn't asked any more in this run.
    pub(super) given_up: OnceLock<Trouble>,
}

/// Gives a store its wire.
#[derive(Debug)]
pub(super) struct WireConnector(pub(super) Arc<Wire>);

#[derive(Debug)]
struct WireService(Arc<Wire>);

impl HttpConnector for WireConnector {
    fn connect(&self, _: &object_store::ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(WireService(Arc::clone(&self.0))))
    }
}

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}{}", tries(*.attempts))]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) problem: String,
    attempts: u32,
    next: Next,
}

/// What helps against a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    Again,
    NewCredentials,
}

fn tries(attempts: u32) -> String {
    if attempts > 1 { format!(" ({attempts} tries)") } else { String::new() }
}

impl Trouble {
    fn new(kind: Kind, problem: impl Into<String>) -> Self {
        Self { kind, problem: problem.into(), attempts: 1, next: Next::Nothing }
    }

    fn passing(problem: impl Into<String>) -> Self {
        Self { next: Next::Again, ..Self::new(Kind::Failed, problem) }
    }
}

#[async_trait]
impl HttpService for WireService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        self.0.call(parts, body).await.map_err(|trouble| HttpError::new(HttpErrorKind::Unknown, trouble))
    }
}

impl Wire {
    async fn call(&self, parts: http::request::Parts, body: Bytes) -> Result<HttpResponse, Trouble> {
        let weather = self.shared.weather;
        let _turn = self.turn().await;
        // What was begun is still taken back, and what became of a write is looked at: once.
        let is_last = matches!(parts.method, Method::DELETE | Method::HEAD);
        let tries = match self.given_up.get() {
            None => weather.tries,
            Some(_) if is_last => 1,
            Some(trouble) => return Err(trouble.clone()),
        };
        let (mut attempt, mut renew) = (1, false);
        loop {
            let trouble = match self.attempt(&parts, &body, renew).await {
                Ok(response) => {
                    self.shared.budget.earn();
                    self.budget.earn();
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(trouble) => Trouble { attempts: attempt, ..trouble },
            };
            if trouble.next == Next::Nothing {
                return Err(trouble);
            }
            if attempt >= tries {
                // Whoever else waits for this place would wait as long, and others with him.
                let problem = format!("{}; it isn't asked again in this run", trouble.problem);
                let _ = self.given_up.set(Trouble { problem, ..trouble.clone() });
                return Err(trouble);
            }
            if self.shared.is_interrupted() {
                return Err(interrupted(attempt));
            }
            if !(self.budget.spend() && self.shared.budget.spend()) {
                let problem = format!(
                    "{}; it isn't tried again, because too much has failed already. Wait until the store is well, and run again: what is there already is kept",
                    trouble.problem
                );
                return Err(Trouble { problem, ..trouble });
            }
            attempt += 1;
            renew = trouble.next == Next::NewCredentials;
            self.rest(pause(attempt, weather.pause, Duration::from_secs(20))).await;
        }
    }

    /// The turn of one who asks a place that hasn't answered yet; afterwards nobody needs one.
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let answered = || self.answered.load(Ordering::Relaxed);
        if answered() {
            return None;
        }
        Some(self.first.lock().await).filter(|_| !answered())
    }

    /// Waits, but not once somebody asked to stop.
    async fn rest(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && !self.shared.is_interrupted() {
            let part = left.min(LOOK);
            tokio::time::sleep(part).await;
            left -= part;
        }
    }

    async fn attempt(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        renew: bool,
    ) -> Result<HttpResponse, Trouble> {
        let _permit = self.shared.connections.acquire().await;
        tokio::select! {
            done = self.exchange(parts, body, renew) => done,
            () = self.shared.until_interrupted(LAST) => Err(interrupted(1)),
        }
    }

    async fn exchange(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        renew: bool,
    ) -> Result<HttpResponse, Trouble> {
        let request = self.signed(parts, body, renew).await?;
        let stall = self.shared.weather.stall;
        let patience = stall + Duration::from_secs(body.len() as u64 / SLOWEST);
        let response = tokio::time::timeout(patience, self.shared.http.execute(request))
            .await
            .map_err(|_| stalled(patience))?
            .map_err(unreachable)?;
        let (head, stream) = response.into_parts();
        // Only an object's size is told; what has no ETag is an error, whatever the status says.
        let is_object = head.status.is_success() && head.headers.contains_key(header::ETAG);
        let told_limit = parts.extensions.get::<BodyLimit>().filter(|_| is_object);
        let limit = told_limit.map_or(MOST_BYTES, |limit| limit.0);
        let told = length(&head.headers);
        if parts.method == Method::HEAD {
            return self.judge(parts, head, Bytes::new());
        }
        if is_object && told.is_some_and(|told| told > limit) {
            return Ok(HttpResponse::from_parts(head, Bytes::new().into()));
        }
        let mut text = BytesMut::new();
        let mut stream = stream;
        while let Some(frame) =
            tokio::time::timeout(stall, stream.frame()).await.map_err(|_| stalled(stall))?
        {
            if let Ok(data) = frame.map_err(unreachable)?.into_data() {
                text.extend_from_slice(&data);
            }
            if text.len() as u64 > limit {
                return Err(Trouble::new(Kind::Limit, format!("the answer has more than {limit} bytes")));
            }
        }
        if told.is_some_and(|told| told != text.len() as u64) {
            return Err(Trouble::passing("the answer was cut short"));
        }
        self.judge(parts, head, text.freeze())
    }

    async fn signed(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        renew: bool,
    ) -> Result<HttpRequest, Trouble> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        if let Some(owner) = &self.owner {
            request.headers_mut().insert("x-amz-expected-bucket-owner", owner.clone());
        }
        if is_completion(parts) && !self.single_writer {
            // Data objects are never overwritten, however they were put together.
            request.headers_mut().insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        // Who gives them may be several requests away.
        let patience = 2 * self.shared.weather.stall;
        let given = tokio::time::timeout(patience, self.credentials.get(renew)).await;
        let late = || (true, format!("nobody gave credentials within {} seconds", patience.as_secs()));
        let given = given.map_err(|_| late()).flatten();
        let credential = given.map_err(|(is_passing, problem)| {
            let next = if is_passing { Next::Again } else { Next::Nothing };
            Trouble { next, ..Trouble::new(Kind::Permission, problem) }
        })?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_request_payer(self.requester_pays)
            .authorize(&mut request, None);
        Ok(request)
    }

    /// An answer as it is, or what it says went wrong. What the caller must decide (not there, a condition that
    /// doesn't hold) isn't a failure.
    fn judge(
        &self,
        parts: &http::request::Parts,
        head: http::response::Parts,
        text: Bytes,
    ) -> Result<HttpResponse, Trouble> {
        let status = head.status;
        let code = tag(&text, "Code").unwrap_or_default();
        let message = tag(&text, "Message").unwrap_or_default();
        if status.is_success() {
            if is_object(parts)
                && !(head.headers.contains_key(header::ETAG)
                    && head.headers.contains_key(header::LAST_MODIFIED))
            {
                // Its size and its time would be taken for the object's, and it may be no object at all.
                return Err(Trouble::passing(format!(
                    "the store answered {status} without ETag and Last-Modified"
                )));
            }
            return if is_error_inside(parts, &head.headers, &text) {
                Err(Trouble::passing(format!(
                    "the store answered {status} with an error inside: {code} {message}"
                )))
            } else {
                Ok(HttpResponse::from_parts(head, text.into()))
            };
        }
        let said = format!("{status}{}{code}: {message}", if code.is_empty() { "" } else { " " });
        let said = said.trim_end_matches([':', ' ']);
        Err(match (status, code.as_str()) {
            (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
                let problem = format!(
                    "the credentials have expired, and no newer ones could be had: {said}. Sign in again"
                );
                Trouble { next: Next::NewCredentials, ..Trouble::new(Kind::Permission, problem) }
            }
            // With the answer to a HEAD comes no text that says which.
            (StatusCode::BAD_REQUEST, _) if parts.method == Method::HEAD => {
                let problem = format!(
                    "{said}: mostly credentials that have expired, or another region than {}",
                    self.region
                );
                Trouble { next: Next::NewCredentials, ..Trouble::new(Kind::Permission, problem) }
            }
            (_, "RequestTimeTooSkewed") => Trouble::new(Kind::Permission, skewed(&head.headers)),
            (_, "NoSuchBucket") => Trouble::new(
                Kind::NotFound,
                format!("there is no such bucket: {said}. Check the url and, where one is set, endpoint_url"),
            ),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Trouble::new(Kind::Permission, format!("{said}. {}", self.permission_advice(&code)))
            }
            (StatusCode::CONFLICT, _)
            | (
                _,
                "RequestTimeout" | "SlowDown" | "InternalError" | "OperationAborted" | "IncompleteBody"
                | "BadDigest",
            ) => Trouble::passing(said),
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, _) => Trouble::passing(said),
            (status, _) if status == StatusCode::NOT_IMPLEMENTED => {
                Trouble::new(Kind::StoreTooWeak, format!("the store can't do this: {said}"))
            }
            (status, _) if status.is_server_error() => Trouble::passing(said),
            (status, _) if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                Trouble::new(Kind::Usage, self.region_advice(&head.headers, said))
            }
            (
                StatusCode::NOT_FOUND
                | StatusCode::PRECONDITION_FAILED
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE,
                _,
            ) => return Ok(HttpResponse::from_parts(head, text.into())),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                Trouble::new(Kind::Usage, self.region_advice(&head.headers, said))
            }
            _ => Trouble::new(Kind::Failed, said),
        })
    }

    fn permission_advice(&self, code: &str) -> String {
        match code {
            "InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch" => {
                "The credentials aren't known or are wrong: check AWS_PROFILE or the keys".to_owned()
            }
            _ => match self.owner.as_ref().and_then(|owner| owner.to_str().ok()) {
                Some(owner) => format!(
                    "Either the bucket isn't account {owner}'s (owner in the settings), or the identity may not do this: allow it in the bucket's policy and in the identity's (without s3:ListBucket, an object that isn't there is refused, too)"
                ),
                None => "The identity may not do this: allow it in the bucket's policy and in the identity's (without s3:ListBucket, an object that isn't there is refused, too)".to_owned(),
            },
        }
    }

    fn region_advice(&self, headers: &HeaderMap, said: &str) -> String {
        match headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok()) {
            Some(region) => {
                format!("the bucket is in region {region}, not {}; write region = {region:?}", self.region)
            }
            None => {
                format!("{said}: the bucket isn't in region {}; set region to the bucket's own", self.region)
            }
        }
    }
}

fn interrupted(attempts: u32) -> Trouble {
    Trouble {
        attempts,
        ..Trouble::new(Kind::Interrupted, "interrupted; what is live is as it was, and running again goes on")
    }
}

fn stalled(patience: Duration) -> Trouble {
    Trouble::passing(format!("the store said nothing for {} seconds", patience.as_secs()))
}

fn unreachable(error: HttpError) -> Trouble {
    // The cause of the cause is what says something.
    let (mut text, mut source) = (error.to_string(), std::error::Error::source(&error));
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    match error.kind() {
        HttpErrorKind::Connect => Trouble::passing(format!(
            "the store can't be reached: {text}. Check endpoint_url, region and the network"
        )),
        _ => Trouble::passing(format!("the connection broke: {text}")),
    }
}

fn skewed(headers: &HeaderMap) -> String {
    let theirs = headers.get(header::DATE).and_then(|date| date.to_str().ok()).unwrap_or("another time");
    format!("this machine's clock is off: the store has {theirs}. Set the clock, and run again")
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request for an object, or for what is known of one; listings go to the bucket itself.
fn is_object(parts: &http::request::Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
        && !parts.uri.query().unwrap_or_default().contains("list-type=")
}

/// The request that puts the parts of an upload together.
fn is_completion(parts: &http::request::Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    parts.method == Method::POST && query.split('&').any(|pair| pair.starts_with("uploadId="))
}

/// S3 can answer 200 before it knows the outcome, and say in the text that it failed. An object's own text may be
/// anything; but with an object comes its ETag.
fn is_error_inside(parts: &http::request::Parts, headers: &HeaderMap, text: &[u8]) -> bool {
    let start = text.get(..512).unwrap_or(text);
    let start = String::from_utf8_lossy(start);
    let is_error = start.trim_start_matches('\u{feff}').trim_start().strip_prefix("<?xml").map_or_else(
        || start.trim_start().starts_with("<Error"),
        |rest| rest.split_once("?>").is_some_and(|(_, rest)| rest.trim_start().starts_with("<Error")),
    );
    is_error && (parts.method != Method::GET || !headers.contains_key(header::ETAG))
}

/// The text of the first element of that name.
fn tag(text: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(text.get(..8192).unwrap_or(text)).ok()?;
    if !text.contains("<Error") {
        return None;
    }
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    // It goes to people's terminals: one line, nothing that steers.
    Some(value.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect())
}
