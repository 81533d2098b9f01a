use bytes::Bytes;
use http_body_util::BodyExt;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

/// Keys on a page of a listing: few, so that every test sees several pages.
const PAGE: usize = 7;
/// The least size of a part that isn't the last: S3 has 5 MiB, a test has no time for that.
const LEAST_PART: usize = 1024;

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    etag: String,
    modified: SystemTime,
    metadata: HashMap<String, String>,
}

impl Object {
    fn new(bytes: Bytes, metadata: HashMap<String, String>) -> Self {
        // S3's own tag is no hash that one may rely on; nor is this.
        let etag = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, etag, modified: now(), metadata }
    }

    fn tag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }
}

// A server has a clock.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

struct Upload {
    key: String,
    metadata: HashMap<String, String>,
    parts: BTreeMap<i32, Bytes>,
}

#[derive(Default)]
struct Bucket {
    owner: String,
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Conditions of writes are ignored, as weak stores do.
    is_weak: bool,
}

/// The buckets.
#[derive(Clone)]
pub(super) struct Objects(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    uploads_begun: u64,
}

impl Objects {
    pub(super) fn new(buckets: &[(&str, &str)]) -> Self {
        let bucket = |(name, owner): &(&str, &str)| {
            ((*name).to_owned(), Bucket { owner: (*owner).to_owned(), ..Bucket::default() })
        };
        let buckets = buckets.iter().map(bucket).collect();
        Self(Arc::new(Mutex::new(State { buckets, uploads_begun: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn with<T>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        work(self.state().buckets.get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?)
    }

    /// The same, if the bucket still belongs to whom the caller expects when it is done.
    fn with_owned<T>(
        &self,
        bucket: &str,
        expected: Option<&String>,
        work: impl FnOnce(&mut Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        self.with(bucket, |bucket| match expected {
            Some(owner) if *owner != bucket.owner => Err(s3_error!(AccessDenied)),
            _ => work(bucket),
        })
    }

    pub(super) fn owner(&self, bucket: &str) -> Option<String> {
        self.state().buckets.get(bucket).map(|bucket| bucket.owner.clone())
    }

    pub(super) fn recreate(&self, bucket: &str, owner: &str) {
        let new = Bucket { owner: owner.to_owned(), ..Bucket::default() };
        self.state().buckets.insert(bucket.to_owned(), new);
    }

    pub(super) fn tree(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let objects = state.buckets[bucket].objects.iter();
        objects.map(|(key, object)| (key.clone(), object.bytes.to_vec())).collect()
    }

    pub(super) fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>, modified: Option<SystemTime>) {
        let object = Object::new(bytes.into(), HashMap::new());
        let object = Object { modified: modified.unwrap_or(object.modified), ..object };
        self.state().buckets.get_mut(bucket).unwrap().objects.insert(key.to_owned(), object);
    }

    pub(super) fn remove(&self, bucket: &str, key: &str) {
        self.state().buckets.get_mut(bucket).unwrap().objects.remove(key);
    }

    pub(super) fn weaken(&self, bucket: &str) {
        self.state().buckets.get_mut(bucket).unwrap().is_weak = true;
    }

    pub(super) fn uploads_left(&self, bucket: &str) -> usize {
        self.state().buckets[bucket].uploads.len()
    }
}

/// Whether an object may be written, by the conditions that came with it.
fn check_write(
    bucket: &Bucket,
    key: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if bucket.is_weak {
        return Ok(());
    }
    let now = bucket.objects.get(key);
    match (if_match, now) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey)),
        (Some(ETagCondition::ETag(tag)), Some(now)) if tag.value() != now.etag => {
            return Err(s3_error!(PreconditionFailed));
        }
        _ => {}
    }
    match (if_none_match, now) {
        (Some(ETagCondition::Any), Some(_)) => Err(s3_error!(PreconditionFailed)),
        // S3 takes nothing else here.
        (Some(ETagCondition::ETag(_)), _) => Err(s3_error!(NotImplemented)),
        _ => Ok(()),
    }
}

fn check_read(now: &Object, if_match: Option<&ETagCondition>) -> S3Result<()> {
    match if_match {
        Some(ETagCondition::ETag(tag)) if tag.value() != now.etag => Err(s3_error!(PreconditionFailed)),
        _ => Ok(()),
    }
}

async fn bytes_of(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let body = s3s::Body::from(body);
    Ok(body.collect().await.map_err(|_| s3_error!(IncompleteBody))?.to_bytes())
}

/// Refuses a body that isn't what its checksum says, or that has none: everything that we write has one.
fn check_sum(bytes: &Bytes, told: Option<&String>) -> S3Result<()> {
    let told = told.ok_or_else(|| s3_error!(InvalidRequest, "a checksum is missing"))?;
    if base64(&Sha256::digest(bytes)) == *told { Ok(()) } else { Err(s3_error!(BadDigest)) }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0u32, |sum, place| sum << 8 | u32::from(*three.get(place).unwrap_or(&0)));
        for place in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { '=' } else { digit as char });
        }
    }
    text
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.with(&input.bucket, |bucket| {
            bucket.objects.get(&input.key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
        })?;
        check_read(&object, input.if_match.as_ref())?;
        let whole = object.bytes.len() as u64;
        let mut output = GetObjectOutput {
            e_tag: Some(object.tag()),
            last_modified: Some(object.modified.into()),
            metadata: Some(object.metadata.clone()),
            ..GetObjectOutput::default()
        };
        let bytes = match input.range {
            None => object.bytes,
            Some(range) => {
                let range = range.check(whole)?;
                output.content_range = Some(format!("bytes {}-{}/{whole}", range.start, range.end - 1));
                object.bytes.slice(range.start as usize..range.end as usize)
            }
        };
        output.content_length = Some(bytes.len() as i64);
        output.body = Some(StreamingBlob::from(s3s::Body::from(bytes)));
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let object = self.with(&input.bucket, |bucket| {
            bucket.objects.get(&input.key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
        })?;
        check_read(&object, input.if_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            e_tag: Some(object.tag()),
            content_length: Some(object.bytes.len() as i64),
            last_modified: Some(object.modified.into()),
            metadata: Some(object.metadata),
            ..HeadObjectOutput::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = bytes_of(input.body).await?;
        check_sum(&bytes, input.checksum_sha256.as_ref())?;
        let object = Object::new(bytes, input.metadata.unwrap_or_default());
        let tag = object.tag();
        self.with_owned(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
            check_write(bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            bucket.objects.insert(input.key.clone(), object);
            Ok(())
        })?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(tag), ..PutObjectOutput::default() }))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let deleted = self.with(&input.bucket, |bucket| {
            Ok(input
                .delete
                .objects
                .iter()
                .map(|object| {
                    bucket.objects.remove(&object.key);
                    DeletedObject { key: Some(object.key.clone()), ..DeletedObject::default() }
                })
                .collect())
        })?;
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
        let mut found: Vec<(String, Object)> = self.with(&input.bucket, |bucket| {
            let all = bucket.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
            Ok(all.take(PAGE + 1).map(|(key, object)| (key.clone(), object.clone())).collect())
        })?;
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let next = found.last().map(|(key, _)| key.clone()).filter(|_| more);
        let contents: Vec<s3s::dto::Object> = found
            .into_iter()
            .map(|(key, object)| s3s::dto::Object {
                e_tag: Some(object.tag()),
                size: Some(object.bytes.len() as i64),
                last_modified: Some(object.modified.into()),
                key: Some(key),
                ..s3s::dto::Object::default()
            })
            .collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: Some(contents.len() as i32),
            max_keys: Some(PAGE as i32),
            is_truncated: Some(more),
            next_continuation_token: next,
            contents: Some(contents),
            prefix: input.prefix,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let number = {
            let mut state = self.state();
            state.uploads_begun += 1;
            state.uploads_begun
        };
        let id = format!("upload-{number}");
        self.with(&input.bucket, |bucket| {
            let metadata = input.metadata.clone().unwrap_or_default();
            bucket
                .uploads
                .insert(id.clone(), Upload { key: input.key.clone(), metadata, parts: BTreeMap::new() });
            Ok(())
        })?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = bytes_of(input.body).await?;
        check_sum(&bytes, input.checksum_sha256.as_ref())?;
        let tag = Object::new(bytes.clone(), HashMap::new()).tag();
        self.with(&input.bucket, |bucket| {
            let upload = bucket.uploads.get_mut(&input.upload_id).filter(|upload| upload.key == input.key);
            upload.ok_or_else(|| s3_error!(NoSuchUpload))?.parts.insert(input.part_number, bytes);
            Ok(())
        })?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(tag),
            checksum_sha256: input.checksum_sha256,
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let tag = self.with_owned(&input.bucket, input.expected_bucket_owner.as_ref(), |bucket| {
            let upload = bucket.uploads.get(&input.upload_id).filter(|upload| upload.key == input.key);
            let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
            let named: Vec<i32> = input
                .multipart_upload
                .iter()
                .flat_map(|upload| upload.parts.iter().flatten())
                .filter_map(|part| part.part_number)
                .collect();
            let mut whole = Vec::new();
            for (place, number) in named.iter().enumerate() {
                let part = upload.parts.get(number).ok_or_else(|| s3_error!(InvalidPart))?;
                if part.len() < LEAST_PART && place + 1 < named.len() {
                    return Err(s3_error!(EntityTooSmall));
                }
                whole.extend_from_slice(part);
            }
            check_write(bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref())?;
            let object = Object::new(whole.into(), upload.metadata.clone());
            let tag = object.tag();
            bucket.objects.insert(input.key.clone(), object);
            bucket.uploads.remove(&input.upload_id);
            Ok(tag)
        })?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.with(&input.bucket, |bucket| {
            bucket.uploads.remove(&input.upload_id).map(|_| ()).ok_or_else(|| s3_error!(NoSuchUpload))
        })?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
