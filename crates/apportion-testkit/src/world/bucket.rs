use super::{Asked, Operation, Process, State, Weakness};
use apportion_flow::storage::{Body, Bucket, ObjectInfo, Opened, Put, StorageError, Swap};
use apportion_model::ObjectKey;
use std::sync::Arc;

/// A bucket as one process sees it.
pub(super) struct WorldBucket {
    process: Arc<Process>,
    name: String,
}

/// What a folder writes first: the file beside, under the name that it has there.
fn beside(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.partial"),
        None => format!(".{key}.partial"),
    }
}

impl WorldBucket {
    pub(super) fn new(process: Arc<Process>, name: &str) -> Self {
        Self { process, name: name.to_owned() }
    }

    fn asked<'a>(&'a self, operation: Operation, key: &'a str) -> Result<Asked<'a>, StorageError> {
        if operation != Operation::List {
            ObjectKey::check_relative(key)
                .map_err(|source| StorageError::Key { place: self.place(), source })?;
        }
        Ok(Asked { operation, bucket: &self.name, key })
    }

    /// Something that writes nothing.
    fn look<T>(
        &self,
        operation: Operation,
        key: &str,
        look: impl FnOnce(&State) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        self.process.operate(
            &self.asked(operation, key)?,
            |state| look(state).map(|answer| (answer, false)),
            |_| false,
        )
    }

    fn info_of(&self, state: &State, key: &str) -> Option<ObjectInfo> {
        let object = state.get(&self.name, key)?;
        let bytes = object.content.bytes().len() as u64;
        Some(ObjectInfo { key: key.to_owned(), bytes, modified: object.modified })
    }

    fn io<'a>(
        &self,
        key: &'a str,
        doing: &'static str,
    ) -> impl FnOnce(std::io::Error) -> StorageError + use<'a> {
        let place = self.place();
        move |source| StorageError::Io { place, key: key.to_owned(), doing, source }
    }

    /// A write that is cut off: whatever the object was, it still is. Nothing is written beside an object that isn't
    /// as it was `seen`.
    fn tear(&self, key: &str, seen: Option<&[u8]>, bytes: &[u8]) -> impl FnOnce(&mut State) -> bool + use<> {
        let (name, key) = (self.name.clone(), key.to_owned());
        let (seen, half) = (seen.map(<[u8]>::to_vec), bytes[..bytes.len() / 2].to_vec());
        move |state| {
            let now = state.get(&name, &key).map(|object| object.content.bytes());
            let begins = now == seen.as_deref();
            if begins {
                state.put(&name, &beside(&key), half);
            }
            begins
        }
    }
}

impl Bucket for WorldBucket {
    fn place(&self) -> String {
        self.name.clone()
    }

    fn bucket_name(&self) -> String {
        self.name.clone()
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, StorageError> {
        self.look(Operation::List, "", |state| {
            Ok(state.objects(&self.name).filter_map(|(key, _)| self.info_of(state, key)).collect())
        })
    }

    fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StorageError> {
        self.look(Operation::Info, key, |state| Ok(self.info_of(state, key)))
    }

    fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.look(Operation::Read, key, |state| {
            let Some(object) = state.get(&self.name, key) else { return Ok(None) };
            let bytes = object.content.bytes().len() as u64;
            if bytes > limit {
                return Err(StorageError::TooLarge {
                    place: self.place(),
                    key: key.to_owned(),
                    bytes,
                    limit,
                });
            }
            Ok(Some(object.content.bytes().to_vec()))
        })
    }

    fn open(&self, key: &str) -> Result<Option<Opened>, StorageError> {
        self.look(Operation::Open, key, |state| {
            let Some(object) = state.get(&self.name, key) else { return Ok(None) };
            object.content.open().map(|file| Some(file.into())).map_err(self.io(key, "opening"))
        })
    }

    fn put_new(&self, key: &str, body: Body<'_>) -> Result<Put, StorageError> {
        let asked = self.asked(Operation::PutNew, key)?;
        let bytes = match body {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::File(from) => std::fs::read(from).map_err(self.io(key, "reading the spooled file of"))?,
        };
        let tear = self.tear(key, None, &bytes);
        let work = |state: &mut State| {
            let tidied = state.remove(&self.name, &beside(key));
            match state.get(&self.name, key) {
                Some(object) if object.content.bytes() == bytes => Ok((Put::AlreadyThere, tidied)),
                Some(_) => Err(StorageError::Divergent { place: self.place(), key: key.to_owned() }),
                None => {
                    if !self.process.world.forgets(state, key) {
                        state.put(&self.name, key, bytes);
                    }
                    Ok((Put::Created, true))
                }
            }
        };
        self.process.operate(&asked, work, tear)
    }

    /// Its conditions hold: there is nothing to try.
    fn prove_conditions(&self, _: &str, _: &[u8]) -> Result<(), StorageError> {
        Ok(())
    }

    fn swap(&self, key: &str, seen: Option<&[u8]>, new: &[u8]) -> Result<Swap, StorageError> {
        let asked = self.asked(Operation::Swap, key)?;
        let blind = self.process.world.weakness == Weakness::SwapsBlindly;
        let work = |state: &mut State| {
            let now = state.get(&self.name, key).map(|object| object.content.bytes());
            if now != seen && !blind {
                return Ok((Swap::Lost, false));
            }
            state.remove(&self.name, &beside(key));
            state.put(&self.name, key, new.to_vec());
            Ok((Swap::Done, true))
        };
        self.process.operate(&asked, work, self.tear(key, seen, new))
    }

    fn delete(&self, key: &str) -> Result<bool, StorageError> {
        let work = |state: &mut State| {
            state.remove(&self.name, &beside(key));
            let deleted = state.remove(&self.name, key);
            Ok((deleted, deleted))
        };
        self.process.operate(&self.asked(Operation::Delete, key)?, work, |_| false)
    }
}

impl super::World {
    /// Whether a weak store answers this put and keeps nothing of it.
    fn forgets(&self, state: &mut State, key: &str) -> bool {
        let Weakness::ForgetsData(nth) = self.weakness else { return false };
        key.ends_with(".csv.gz") && state.count_data_put() == nth
    }
}
