use super::objects::{Content, State};
use bigdecimal::BigDecimal;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;

/// Line items and their unblended cost, added up over all currencies: what must be the same on both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books {
    /// How many.
    pub rows: u64,
    /// What they cost.
    pub cost: BigDecimal,
}

impl Books {
    /// Those of a csv.gz, whoever wrote it.
    ///
    /// # Errors
    /// A file that isn't one, or a cost that is no number.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        Table::of(bytes).map(|table| table.books)
    }

    /// More of them.
    pub fn add(&mut self, more: &Self) {
        self.rows += more.rows;
        self.cost += &more.cost;
    }
}

/// What a consumer makes of a data file.
#[derive(Debug)]
pub(super) struct Table {
    books: Books,
    /// Whose line items it holds, by the column that says so.
    accounts: BTreeSet<String>,
    /// Whose cells it holds, by the marks `⟦account#number⟧` that the reports of the tests have in each.
    marks: BTreeSet<String>,
}

impl Table {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, String> {
        let mut text = String::new();
        let unpacked = MultiGzDecoder::new(bytes).read_to_string(&mut text);
        unpacked.map_err(|error| format!("can't be unpacked: {error}"))?;
        let mut table = Self { books: Books::default(), accounts: BTreeSet::new(), marks: marks(&text) };
        let mut lines = csv::Reader::from_reader(text.as_bytes());
        let header = lines.headers().map_err(|error| error.to_string())?.clone();
        let place = |snake: &str, slash: &str| {
            let found = header.iter().position(|name| name == snake || name == slash);
            found.ok_or_else(|| format!("has no column {snake}"))
        };
        let account = place("line_item_usage_account_id", "lineItem/UsageAccountId")?;
        let cost = place("line_item_unblended_cost", "lineItem/UnblendedCost")?;
        for line in lines.records() {
            let line = line.map_err(|error| error.to_string())?;
            table.books.rows += 1;
            table.books.cost += number(&line[cost])?;
            table.accounts.insert(line[account].to_owned());
        }
        Ok(table)
    }
}

fn marks(text: &str) -> BTreeSet<String> {
    let marks = text.split('⟦').skip(1);
    marks.filter_map(|mark| mark.split_once('#')).map(|(account, _)| account.to_owned()).collect()
}

fn number(text: &str) -> Result<BigDecimal, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BigDecimal::default());
    }
    BigDecimal::from_str(text).map_err(|error| format!("cost {text:?}: {error}"))
}

/// Something live, read to its last byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The bucket.
    pub bucket: String,
    /// The key of its manifest or pointer.
    pub key: String,
    /// The assembly, or the delivery.
    pub id: String,
    /// Which source it was made of.
    pub source_version: String,
    /// What is in it. Of the MSP's pointer: what is unassigned.
    pub books: Books,
}

/// Reads what is live as a consumer would: from the manifest to the last byte of each file that it names. Targets are
/// in the layout `eco`, and their files csv.gz.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The accounts of each export, by its report id.
    pub accounts: BTreeMap<String, BTreeSet<String>>,
    /// The MSP's place.
    pub msp: String,
}

impl Reader {
    /// Everything that is live in a bucket, in the order of keys.
    ///
    /// # Errors
    /// What is missing, torn, mixed, of another customer, or adds up to something else than its proof says.
    pub fn read(&self, state: &State, bucket: &str) -> Result<Vec<Live>, String> {
        let mut live = Vec::new();
        let is_msp = bucket == self.msp;
        let ending = if is_msp { "-MasterPointer.json" } else { "-Manifest.json" };
        for (key, object) in state.objects(bucket).filter(|(key, _)| key.ends_with(ending)) {
            let at = At { state, bucket, key };
            let read = if is_msp { at.pointer(&object.content) } else { at.manifest(&object.content, self) };
            live.extend(read.map_err(|problem| format!("{bucket}/{key}: {problem}"))?);
        }
        Ok(live)
    }
}

/// A manifest or pointer that is being read.
struct At<'a> {
    state: &'a State,
    bucket: &'a str,
    key: &'a str,
}

impl At<'_> {
    fn json(&self, key: &str) -> Result<&Value, String> {
        let object = self.state.get(self.bucket, key).ok_or_else(|| format!("names {key}: not there"))?;
        object.content.json().ok_or_else(|| format!("{key} is torn"))
    }

    /// None for an assembly's own manifest, which points nowhere.
    fn manifest(&self, content: &Content, reader: &Reader) -> Result<Option<Live>, String> {
        let manifest = content.json().ok_or("is torn")?;
        let id = text(manifest, "assemblyId")?;
        if self.key.contains(&format!("/{id}/")) {
            return Ok(None);
        }
        let proof = self.json(text(&manifest["additionalArtifactKeys"][0], "name")?)?;
        if text(proof, "assembly_id")? != id {
            return Err("a mixture: the proof is another assembly's".to_owned());
        }
        let report = text(proof, "report_id")?;
        let own = reader.accounts.get(report).ok_or_else(|| format!("nobody's report: {report}"))?;
        let keys: Vec<&str> = list(manifest, "reportKeys")?.iter().filter_map(Value::as_str).collect();
        if let Some(stray) = keys.iter().find(|key| !key.contains(&format!("/{id}/"))) {
            return Err(format!("a mixture: names {stray}"));
        }
        let files = list(proof, "files")?;
        if !keys.iter().copied().eq(files.iter().filter_map(|file| file["key"].as_str())) {
            return Err("names other files than its proof".to_owned());
        }
        let mut books = Books::default();
        for file in files {
            let (content, key) = self.file(file)?;
            let table = content.table().map_err(|problem| format!("{key}: {problem}"))?;
            if let Some(other) = table.accounts.union(&table.marks).find(|account| !own.contains(*account)) {
                return Err(format!("{key} holds a cell of {other}"));
            }
            books.add(&table.books);
        }
        let told = told_books(&proof["totals"])?;
        if told != books || proof["rows"] != books.rows {
            return Err(format!("{books:?} in the files, {told:?} in the proof"));
        }
        Ok(Some(self.live(id, proof, books)?))
    }

    /// A file with the size, the hash and the rows that its proof says.
    fn file(&self, told: &Value) -> Result<(Arc<Content>, String), String> {
        let key = text(told, "key")?;
        let object = self.state.get(self.bucket, key).ok_or_else(|| format!("names {key}: not there"))?;
        let content = &object.content;
        let is_whole = told["bytes"] == content.bytes().len() && told["sha256"] == content.hex();
        let rows = content.table().map_err(|problem| format!("{key}: {problem}"))?.books.rows;
        if !is_whole || told["rows"] != rows {
            return Err(format!("{key} isn't what its proof says"));
        }
        Ok((Arc::clone(content), key.to_owned()))
    }

    fn pointer(&self, content: &Content) -> Result<Option<Live>, String> {
        let pointer = content.json().ok_or("is torn")?;
        let proof = self.json(text(pointer, "proof")?)?;
        let id = text(pointer, "delivery_id")?;
        if text(proof, "delivery_id")? != id {
            return Err("a mixture: the proof is another delivery's".to_owned());
        }
        let mut books = Books::default();
        for file in list(&proof["unassigned"], "files")? {
            books.add(&self.file(file)?.0.table()?.books);
        }
        Ok(Some(self.live(id, proof, books)?))
    }

    fn live(&self, id: &str, proof: &Value, books: Books) -> Result<Live, String> {
        Ok(Live {
            bucket: self.bucket.to_owned(),
            key: self.key.to_owned(),
            id: id.to_owned(),
            source_version: text(proof, "source_version")?.to_owned(),
            books,
        })
    }
}

/// What totals in a proof add up to.
fn told_books(totals: &Value) -> Result<Books, String> {
    let mut books = Books::default();
    for line in totals.as_array().into_iter().flatten() {
        let cost = line["sums"]["line_item_unblended_cost"].as_str().unwrap_or_default();
        books.add(&Books { rows: line["rows"].as_u64().unwrap_or_default(), cost: number(cost)? });
    }
    Ok(books)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or_else(|| format!("has no {name}"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    value[name].as_array().ok_or_else(|| format!("has no {name}"))
}
