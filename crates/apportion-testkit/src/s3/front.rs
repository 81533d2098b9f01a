use super::faults::{Fault, Operation, Plan};
use super::gauge::Gauge;
use super::keys::Keys;
use super::machine;
use super::objects::Objects;
use super::sts::{assume_role, decoded};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use s3s::service::S3Service;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// One call, as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one, from 1.
    pub number: u64,
    /// What it asks for.
    pub operation: Operation,
    /// The bucket; blank where there is none.
    pub bucket: String,
    /// The key; blank where there is none.
    pub key: String,
    /// The owner that it expects, if that is signed.
    pub owner: Option<String>,
    /// Whose key has signed it.
    pub access_key: String,
    /// Bytes of its body.
    pub bytes: u64,
}

/// A body that may break off.
pub(super) struct Answer {
    rest: Bytes,
    whole: u64,
    cut: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(if !self.rest.is_empty() {
            Some(Ok(Frame::data(std::mem::take(&mut self.rest))))
        } else if self.cut {
            Some(Err(io::ErrorKind::ConnectionReset.into()))
        } else {
            None
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole)
    }
}

/// What stands before the buckets.
pub(super) struct Front {
    pub(super) objects: Objects,
    pub(super) keys: Keys,
    service: S3Service,
    plan: Mutex<Arc<Plan>>,
    calls: Mutex<Vec<Call>>,
    number: AtomicU64,
    /// Microseconds that every answer takes longer.
    delay: AtomicU64,
    began: Instant,
    times: Mutex<Vec<(Call, u64, u64)>>,
    pub(super) under_way: Gauge,
    pub(super) connections: Gauge,
}

type Answered = io::Result<Response<Answer>>;

impl Front {
    pub(super) fn new(objects: Objects, keys: Keys, service: S3Service) -> Self {
        Self {
            objects,
            keys,
            service,
            plan: Mutex::new(Arc::new(Plan(Box::new(|_| None)))),
            calls: Mutex::default(),
            number: AtomicU64::new(0),
            delay: AtomicU64::new(0),
            began: Instant::now(),
            times: Mutex::default(),
            under_way: Gauge::default(),
            connections: Gauge::default(),
        }
    }

    pub(super) fn set_plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = Arc::new(plan);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn forget_calls(&self) {
        self.calls.lock().unwrap().clear();
        self.times.lock().unwrap().clear();
    }

    pub(super) fn set_delay(&self, time: Duration) {
        self.delay.store(time.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn times(&self) -> Vec<(Call, u64, u64)> {
        self.times.lock().unwrap().clone()
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if let Some((status, text)) = machine::answer(&self.keys, &head.method, head.uri.path()) {
            let mut answer = response(status, text);
            let seconds = http::HeaderValue::from_static("21600");
            answer.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", seconds);
            return Ok(answer);
        }
        let call = self.call_of(&head, body.len() as u64);
        self.calls.lock().unwrap().push(call.clone());
        let _under_way = self.under_way.enter();
        let came = self.began.elapsed();
        let delay = Duration::from_micros(self.delay.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let answer = self.answer_to(head, body, &call).await;
        let (came, answered) = (came.as_micros() as u64, self.began.elapsed().as_micros() as u64);
        self.times.lock().unwrap().push((call, came, answered));
        answer
    }

    async fn answer_to(&self, head: http::request::Parts, body: Bytes, call: &Call) -> Answered {
        let plan = Arc::clone(&self.plan.lock().unwrap());
        let fault = (plan.0)(call);
        match fault {
            Some(Fault::Before) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Stall) => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                return Err(io::ErrorKind::TimedOut.into());
            }
            Some(Fault::Error) => return Ok(error(500, "InternalError")),
            Some(Fault::SlowDown) => return Ok(error(503, "SlowDown")),
            Some(Fault::Expired) => return Ok(error(400, "ExpiredToken")),
            Some(Fault::Denied) => return Ok(error(403, "AccessDenied")),
            Some(Fault::Skewed) => {
                let mut answer = error(403, "RequestTimeTooSkewed");
                let date = http::HeaderValue::from_static("Mon, 05 Oct 2026 12:00:00 GMT");
                answer.headers_mut().insert(http::header::DATE, date);
                return Ok(answer);
            }
            Some(Fault::Redirected) => {
                let mut answer = error(301, "PermanentRedirect");
                let region = http::HeaderValue::from_static("ap-southeast-2");
                answer.headers_mut().insert("x-amz-bucket-region", region);
                return Ok(answer);
            }
            Some(Fault::ErrorInside) => return Ok(error(200, "InternalError")),
            _ => {}
        }
        let is_head = head.method == Method::HEAD;
        let answer = self.done(head, body, call).await?;
        match fault {
            Some(Fault::After) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::ErrorAfter) => Ok(error(500, "InternalError")),
            Some(Fault::Truncated) if !is_head => {
                let (head, mut body) = answer.into_parts();
                body.rest.truncate(body.rest.len() / 2);
                body.cut = true;
                Ok(Response::from_parts(head, body))
            }
            Some(Fault::Truncated) => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(answer),
        }
    }

    async fn done(&self, head: http::request::Parts, body: Bytes, call: &Call) -> Answered {
        if call.operation == Operation::AssumeRole {
            let (status, text) = assume_role(&self.keys, &body);
            return Ok(response(status, text));
        }
        if let Some((status, code)) = self.refusal(&head.headers, call) {
            return Ok(error(status, code));
        }
        let request = Request::from_parts(head, s3s::Body::from(body));
        let answer = self.service.call(request).await.map_err(|_| io::Error::other("the service failed"))?;
        let (head, body) = answer.into_parts();
        if head.status == StatusCode::NOT_FOUND && !self.keys.may_list(&call.access_key) {
            return Ok(error(403, "AccessDenied"));
        }
        let length =
            head.headers.get(http::header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        let rest = body.collect().await.map_err(|error| io::Error::other(error.to_string()))?.to_bytes();
        let whole = length.unwrap_or(rest.len() as u64);
        Ok(Response::from_parts(head, Answer { rest, whole, cut: false }))
    }

    /// What S3 refuses before it looks at the request itself. The signature is checked by the service behind.
    fn refusal(&self, headers: &HeaderMap, call: &Call) -> Option<(u16, &'static str)> {
        let signed = signed_headers(headers);
        let is_signed = |name: &http::HeaderName| signed.iter().any(|signed| signed == name.as_str());
        if headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !is_signed(name)) {
            return Some((403, "AccessDenied"));
        }
        let token = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
        let key = Some(call.key.as_str()).filter(|key| !key.is_empty());
        if let Some(refusal) = self.keys.refusal(&call.access_key, token, &call.bucket, key) {
            return Some(refusal);
        }
        match self.objects.owner(&call.bucket) {
            None => Some((404, "NoSuchBucket")),
            Some(owner) => (call.owner.is_some() && call.owner.as_deref() != Some(owner.as_str()))
                .then_some((403, "AccessDenied")),
        }
    }

    fn call_of(&self, head: &http::request::Parts, bytes: u64) -> Call {
        let (bucket, key) = place_of(&head.uri);
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let credential = text("authorization").split("Credential=").nth(1).unwrap_or_default();
        let signed = signed_headers(&head.headers);
        let owner = Some(text("x-amz-expected-bucket-owner").to_owned());
        Call {
            number: self.number.fetch_add(1, Ordering::Relaxed) + 1,
            operation: operation_of(&head.method, &head.uri, &bucket, &key),
            bucket,
            key,
            owner: owner.filter(|owner| {
                !owner.is_empty() && signed.iter().any(|name| name == "x-amz-expected-bucket-owner")
            }),
            access_key: credential.split('/').next().unwrap_or_default().to_owned(),
            bytes,
        }
    }
}

fn signed_headers(headers: &HeaderMap) -> Vec<String> {
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap_or_default();
    signed.split(',').next().unwrap_or_default().split(';').map(str::to_owned).collect()
}

fn place_of(uri: &Uri) -> (String, String) {
    let path = uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    // In a path a plus is a plus.
    (bucket.to_owned(), decoded(&key.replace('+', "%2B")))
}

fn operation_of(method: &Method, uri: &Uri, bucket: &str, key: &str) -> Operation {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match (method.as_str(), key.is_empty()) {
        ("POST", true) if bucket.is_empty() => Operation::AssumeRole,
        ("POST", true) if has("delete") => Operation::Delete,
        ("GET", true) if has("list-type") => Operation::List,
        ("GET", false) => Operation::Get,
        ("HEAD", false) => Operation::Head,
        ("PUT", false) if has("partNumber") => Operation::Part,
        ("PUT", false) => Operation::Put,
        ("POST", false) if has("uploads") => Operation::Begin,
        ("POST", false) if has("uploadId") => Operation::Complete,
        ("DELETE", false) if has("uploadId") => Operation::Abort,
        ("DELETE", false) => Operation::Delete,
        _ => Operation::Other,
    }
}

fn response(status: u16, text: impl Into<Bytes>) -> Response<Answer> {
    let rest = text.into();
    let whole = rest.len() as u64;
    let mut response = Response::new(Answer { rest, whole, cut: false });
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    response
}

fn error(status: u16, code: &str) -> Response<Answer> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>on cue</Message></Error>"
    );
    response(status, text)
}
