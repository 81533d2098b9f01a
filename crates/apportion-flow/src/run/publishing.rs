use super::RunError;
use super::exports::Export;
use super::log::{Entry, append};
use super::proofs::{customer_proof, master_proof};
use super::request::Target;
use super::written::{Pass, Written};
use crate::plant::{Plant, strikes};
use crate::publish::{Commit, PublishError, commit, is_newer_live, put_small};
use crate::source::{SourceError, hash_object};
use crate::storage::{Bucket, StorageError, Swap};
use crate::threads::Workers;
use crate::timings::{Meter, Stage};
use apportion_core::log::{Action, LoggedExport};
use apportion_core::manifest::{OwnManifest, write_own};
use apportion_core::proof::{Generation, MasterEntry, MasterPointer, to_stored_json};
use apportion_model::ObjectKey;

impl Export<'_> {
    pub(super) fn data_key(&self, number: u32) -> String {
        ObjectKey::Data(self.place(), self.format, number).to_string()
    }

    pub(super) fn proof_key(&self) -> String {
        ObjectKey::Proof(self.place()).to_string()
    }

    /// Whether a newer source is live by now. Of a target that has failed it may stay unknown.
    fn is_older_now(&self, generation: &Generation) -> Result<bool, StorageError> {
        if !self.wanted {
            return Ok(false);
        }
        match is_newer_live(self.target.as_ref(), &self.generation_key(), generation) {
            Err(_) if self.failure.is_some() => Ok(false),
            known => known,
        }
    }

    fn fail(&mut self, error: PublishError) {
        self.failure = Some(match error {
            PublishError::Older { .. } => self.older(),
            other => other.into(),
        });
    }
}

/// How often the pointer is put in the place of others that come in between.
const POINTER_TRIES: u32 = 8;

/// Puts the proofs: each customer's in its export, the master proof in the MSP's place. No manifest moves yet.
pub(super) fn put_proofs(
    pass: &Pass<'_>,
    report: &str,
    exports: &mut [Export<'_>],
    written: &Written,
    observations: &[String],
) -> Result<Option<String>, RunError> {
    let meter = pass.watcher.meter();
    on_each(exports, &meter, |exports, place| {
        let export = &exports[place];
        let first = exports.iter().position(|other| other.customer_place == export.customer_place);
        let proof = customer_proof(pass, export, place, first == Some(place), written);
        put_small(export.target.as_ref(), &export.proof_key(), &to_stored_json(&proof))?;
        Ok(())
    })?;
    let Some(msp) = &pass.request.msp else { return Ok(None) };
    let proof = master_proof(pass, report, exports, written, observations.to_vec());
    let source = &pass.source.name;
    let key = ObjectKey::MasterProof { source, period: pass.period, delivery: pass.delivery_id }.to_string();
    let bytes = to_stored_json(&proof);
    meter.time(Stage::Publish, || put_small(msp.as_ref(), &key, &bytes))?;
    // Before the pointer is swapped there.
    msp.prove_conditions(&key, &bytes)?;
    Ok(Some(key))
}

/// The source is still the one that was read.
pub(super) fn re_pin(pass: &Pass<'_>) -> Result<(), RunError> {
    let Some(pinned) = pass.pin.objects.first() else { return Ok(()) };
    let now = hash_object(pass.source.bucket.as_ref(), &pinned.key)?;
    if now.is_some_and(|now| now == *pinned) {
        return Ok(());
    }
    Err(SourceError::Moved { object: pinned.key.clone() }.into())
}

/// Does something for each export that is written, several at once. Where it fails, that export has failed.
fn on_each(
    exports: &mut [Export<'_>],
    meter: &Meter,
    work: impl Fn(&[Export<'_>], usize) -> Result<(), PublishError> + Sync,
) -> Result<(), RunError> {
    let done = Workers::waiting(Stage::Publish, meter).run(exports.len(), |place| {
        exports.get(place).filter(|export| export.is_written()).map_or(Ok(()), |_| work(exports, place))
    });
    for (export, done) in exports.iter_mut().zip(done.ok_or(RunError::Thread)?) {
        if let Err(error) = done {
            export.fail(error);
        }
    }
    Ok(())
}

/// Moves the manifests, and last the MSP's pointer.
pub(super) fn commit_all(
    pass: &Pass<'_>,
    exports: &mut [Export<'_>],
    written: &Written,
    master: Option<&str>,
) -> Result<(), RunError> {
    log(pass, exports, Action::Deliver, |export| export.is_written())?;
    let generation = Generation { generation: pass.pin.generation, source_version: pass.pin.version.clone() };
    let meter = pass.watcher.meter();
    on_each(exports, &meter, |exports, place| {
        commit_export(pass, &exports[place], written, place, &generation)
    })?;
    if exports.iter().any(Export::was_tried) {
        log(pass, exports, Action::NotDelivered, |export| export.was_tried())?;
    }
    let (Some(msp), Some(proof)) = (&pass.request.msp, master) else { return Ok(()) };
    if exports.iter().any(Export::is_older) {
        // A newer source is live somewhere: what the pointer names is newer than this delivery.
        return Ok(());
    }
    if exports.iter().any(|export| export.wanted)
        && exports.iter().all(|export| !export.wanted || export.failure.is_some())
    {
        // Nothing of this delivery is live, and no generation says that it is newer than what is.
        return Ok(());
    }
    let newest = MasterEntry { delivery_id: pass.delivery_id.clone(), proof: proof.to_owned() };
    move_pointer(pass, exports, msp.as_ref(), newest, &generation)
}

/// Makes the MSP's pointer name this delivery, unless a newer source is live by now. Where a target can't say any more what
/// is live there, the pointer stays for the next run, and only that customer's export is told to have failed.
fn move_pointer(
    pass: &Pass<'_>,
    exports: &mut [Export<'_>],
    msp: &dyn Bucket,
    newest: MasterEntry,
    generation: &Generation,
) -> Result<(), RunError> {
    let key = ObjectKey::MasterPointer { source: &pass.source.name, period: pass.period }.to_string();
    let workers = Workers::waiting(Stage::Publish, &pass.watcher.meter());
    for _ in 0..POINTER_TRIES {
        let seen = find_pointer(msp, &key)?;
        // Asked only after the pointer was read: whoever commits something newer from now on swaps after us, or makes
        // this swap fail.
        let older = workers.run(exports.len(), |place| exports[place].is_older_now(generation));
        let older = older.ok_or(RunError::Thread)?;
        if older.iter().any(|is_older| matches!(is_older, Ok(true))) {
            return Ok(());
        }
        let mut is_known = true;
        for (export, is_older) in exports.iter_mut().zip(older) {
            if let Err(error) = is_older {
                export.fail(error.into());
                is_known = false;
            }
        }
        if !is_known {
            return Ok(());
        }
        let (bytes, before) = seen.unzip();
        let new = to_stored_json(&MasterPointer::after(before.flatten(), newest.clone()));
        if bytes.as_ref() == Some(&new) || msp.swap(&key, bytes.as_deref(), &new)? == Swap::Done {
            return Ok(());
        }
    }
    Err(PublishError::Raced { place: msp.place(), manifest: key }.into())
}

/// A pointer's bytes, and what they say if they can be read.
type SeenPointer = Option<(Vec<u8>, Option<MasterPointer>)>;

fn find_pointer(msp: &dyn Bucket, key: &str) -> Result<SeenPointer, RunError> {
    // A month that is delivered every day has a pointer with many entries.
    let bytes = msp.read(key, 16 << 20)?;
    Ok(bytes.map(|bytes| {
        let pointer = serde_json::from_slice(&bytes).ok();
        (bytes, pointer)
    }))
}

/// Writes into the MSP's log what is about to move, or what couldn't be moved.
fn log(
    pass: &Pass<'_>,
    exports: &[Export<'_>],
    action: Action,
    which: fn(&Export<'_>) -> bool,
) -> Result<(), RunError> {
    let (Some(msp), Some(operator)) = (&pass.request.msp, &pass.request.operator) else { return Ok(()) };
    let logged = |export: &Export<'_>| LoggedExport {
        customer: export.customer.routed.id.clone(),
        report_id: export.report.clone(),
        assembly_id: export.assembly.clone(),
        target: export.target.place(),
    };
    let entry = Entry {
        action,
        source: &pass.source.name,
        period: pass.period,
        delivery: pass.delivery_id,
        reason: None,
        exports: exports.iter().filter(|export| which(export)).map(logged).collect(),
    };
    Ok(append(msp.as_ref(), operator, entry)?)
}

fn commit_export(
    pass: &Pass<'_>,
    export: &Export<'_>,
    written: &Written,
    place: usize,
    generation: &Generation,
) -> Result<(), PublishError> {
    let made = written.exports.get(place);
    let mut keys: Vec<String> =
        made.map(|made| made.files.iter().map(|file| file.key.clone()).collect()).unwrap_or_default();
    let has_rows = made.is_some_and(|made| made.files.iter().any(|file| file.rows > 0));
    if (keys.len() > 1 || has_rows) && strikes(Plant::PublishShort) {
        keys.pop();
    }
    let target = export.target.as_ref();
    let manifest = OwnManifest {
        assembly: export.assembly.clone(),
        account: export.folder.clone(),
        report: export.report.clone(),
        period: pass.period,
        bucket: target.bucket_name(),
        format: export.format,
        columns: made.map(|made| made.columns.clone()).unwrap_or_default(),
        keys,
        proof: export.proof_key(),
    };
    let bytes = write_own(&manifest.above(target.prefix()));
    if strikes(Plant::PublishStray) {
        let elsewhere = pass.request.customers.iter().find_map(|other| match &other.target {
            Target::One(other) if other.place() != target.place() => Some(other),
            _ => None,
        });
        if let Some(elsewhere) = elsewhere {
            return swap_blindly(elsewhere.as_ref(), &export.manifest_key(), &bytes);
        }
    }
    let assembly_manifest = ObjectKey::AssemblyManifest(export.place()).to_string();
    put_small(target, &assembly_manifest, &bytes)?;
    commit(
        target,
        &Commit {
            manifest: &export.manifest_key(),
            seen: export.live.bytes.as_deref(),
            bytes: &bytes,
            assembly_manifest: &assembly_manifest,
            generation_key: &export.generation_key(),
            generation,
            seen_generation: export.live.generation.as_ref(),
        },
    )
}

/// What the planted bug does instead of a commit.
fn swap_blindly(target: &dyn Bucket, key: &str, bytes: &[u8]) -> Result<(), PublishError> {
    let seen = target.read(key, 64 << 20)?;
    target.swap(key, seen.as_deref(), bytes)?;
    Ok(())
}
