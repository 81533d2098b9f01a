//! Which account ids a customer may not read, and what stands in their place.
//!
//! What comes in: delivered cells with their columns, the customer's accounts and the row's payer. What goes out:
//! the places of account ids in a cell, and the masked cell. What it must never do: touch a digit outside the
//! structural places of the delivery format.

use crate::columns::ColumnType;
use hmac::{Hmac, Mac};
use memchr::memmem::Finder;
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// How many masks are remembered.
const REMEMBERED: usize = 100_000;

/// What account ids a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sensitivity {
    /// No text, so nothing.
    None,
    /// The whole cell is an account id.
    Account,
    /// Blank where the payer is masked.
    PayerName,
    /// Text that can begin with `…:<account>:…`.
    CreatedBy,
    /// Any text.
    Text,
}

impl Sensitivity {
    pub(crate) fn of(name: &str, kind: ColumnType) -> Self {
        match name {
            _ if kind != ColumnType::Text => Self::None,
            "bill_payer_account_id" | "line_item_usage_account_id" => Self::Account,
            "bill_payer_account_name" => Self::PayerName,
            _ if name.ends_with("created_by") => Self::CreatedBy,
            _ => Self::Text,
        }
    }
}

/// Finds the structural places of account ids.
pub(crate) struct Places {
    arn: Finder<'static>,
    account_id: Finder<'static>,
    found: Vec<Range<usize>>,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { arn: Finder::new("arn:aws"), account_id: Finder::new("AccountId"), found: Vec::new() }
    }

    /// The places in a cell, in order, none of them twice.
    pub(crate) fn find(&mut self, sensitivity: Sensitivity, cell: &[u8]) -> &[Range<usize>] {
        self.found.clear();
        if cell.is_empty() || sensitivity == Sensitivity::None {
            return &self.found;
        }
        if sensitivity == Sensitivity::Account {
            self.found.push(0..cell.len());
            return &self.found;
        }
        self.find_arns(cell);
        self.find_account_ids(cell);
        if sensitivity == Sensitivity::CreatedBy {
            self.find_creator(cell);
        }
        if self.found.len() > 1 {
            self.found.sort_by_key(|place| (place.start, place.end));
            self.found.dedup();
        }
        &self.found
    }

    fn find_arns(&mut self, cell: &[u8]) {
        let mut from = 0;
        while let Some(start) = self.arn.find(&cell[from..]).map(|at| at + from) {
            from = start + 1;
            if start > 0 && cell[start - 1].is_ascii_alphanumeric() {
                continue;
            }
            if let Some(digits) = account_field(cell, start + b"arn:aws".len()) {
                from = digits.end;
                self.found.push(digits);
            }
        }
    }

    fn find_account_ids(&mut self, cell: &[u8]) {
        let mut from = 0;
        while let Some(start) = self.account_id.find(&cell[from..]).map(|at| at + from) {
            from = start + b"AccountId".len();
            let colon = from + run(&cell[from..], |b| b == b' ');
            if cell.get(colon) != Some(&b':') {
                continue;
            }
            let digits = colon + 1 + run(&cell[colon + 1..], |b| b == b' ');
            let length = run(&cell[digits..], |b| b.is_ascii_digit());
            if length > 0 {
                self.found.push(digits..digits + length);
            }
        }
    }

    fn find_creator(&mut self, cell: &[u8]) {
        if cell.starts_with(b"arn:") {
            return;
        }
        let first = run(cell, |b| b != b':');
        if first == cell.len() {
            return;
        }
        let second = first + 1;
        let length = run(&cell[second..], |b| b != b':');
        if length > 0 && cell[second..second + length].iter().all(u8::is_ascii_digit) {
            self.found.push(second..second + length);
        }
    }
}

fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| wanted(**byte)).count()
}

/// The account field of an ARN whose partition goes on at `at`.
fn account_field(cell: &[u8], mut at: usize) -> Option<Range<usize>> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let any = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    for part in [&lower as &dyn Fn(u8) -> bool, &any, &lower] {
        at += run(&cell[at..], part);
        if cell.get(at) != Some(&b':') {
            return None;
        }
        at += 1;
    }
    let length = run(&cell[at..], |b| b.is_ascii_digit());
    let end = at + length;
    let ends = cell.get(end).is_none_or(|b| !b.is_ascii_alphanumeric());
    (length > 0 && ends).then_some(at..end)
}

/// One customer's view of account ids.
pub(crate) struct Masker {
    /// None: nothing is foreign to this customer.
    own: Option<HashSet<Vec<u8>>>,
    payer_kept: bool,
    key: Option<Hmac<Sha256>>,
    customer: String,
    remembered: HashMap<Vec<u8>, [u8; 12]>,
}

impl Masker {
    /// `own` is none where nothing is foreign.
    pub(crate) fn new(
        customer: &str,
        own: Option<HashSet<Vec<u8>>>,
        payer_kept: bool,
        key: Option<&[u8]>,
    ) -> Self {
        // HMAC takes a key of any length; there is no failing case to report.
        let key = key.and_then(|key| Hmac::new_from_slice(key).ok());
        Self { own, payer_kept, key, customer: customer.to_owned(), remembered: HashMap::new() }
    }

    /// Whether nothing is foreign to the customer.
    pub(crate) fn sees_all(&self) -> bool {
        self.own.is_none()
    }

    /// Whether the customer may not read the id in a row of that payer.
    pub(crate) fn is_foreign(&self, id: &[u8], payer: &[u8]) -> bool {
        match &self.own {
            None => false,
            Some(own) => !(own.contains(id) || (self.payer_kept && id == payer)),
        }
    }

    /// The twelve digits in an id's place.
    pub(crate) fn mask(&mut self, id: &[u8]) -> [u8; 12] {
        let Some(key) = &self.key else {
            return *b"000000000000";
        };
        if let Some(mask) = self.remembered.get(id) {
            return *mask;
        }
        let mut mac = key.clone();
        mac.update(self.customer.as_bytes());
        mac.update(&[0]);
        mac.update(id);
        let bytes = mac.finalize().into_bytes();
        let number = bytes.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let mut left = number % 1_000_000_000_000;
        let mut mask = [b'0'; 12];
        for digit in mask.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(id.to_vec(), mask);
        mask
    }

    /// Appends the cell as the customer may read it.
    pub(crate) fn write(
        &mut self,
        places: &mut Places,
        sensitivity: Sensitivity,
        cell: &[u8],
        payer: &[u8],
        out: &mut Vec<u8>,
    ) {
        if self.own.is_none() {
            out.extend_from_slice(cell);
            return;
        }
        if sensitivity == Sensitivity::PayerName && !self.payer_kept {
            return;
        }
        let mut done = 0;
        for place in places.find(sensitivity, cell) {
            let id = &cell[place.clone()];
            if place.start >= done && self.is_foreign(id, payer) {
                out.extend_from_slice(&cell[done..place.start]);
                let mask = self.mask(id);
                out.extend_from_slice(&mask);
                done = place.end;
            }
        }
        out.extend_from_slice(&cell[done..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(sensitivity: Sensitivity, cell: &str, payer_kept: bool) -> String {
        let own = HashSet::from([b"111111111111".to_vec()]);
        let mut masker = Masker::new("acme", Some(own), payer_kept, None);
        let mut out = Vec::new();
        masker.write(&mut Places::new(), sensitivity, cell.as_bytes(), b"999999999999", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn foreign_ids_go_where_they_are_structural() {
        use Sensitivity::{Account, CreatedBy, None, PayerName, Text};
        let zeros = "000000000000";
        for (sensitivity, cell, wanted) in [
            (Account, "222222222222", zeros.to_owned()),
            (Account, "111111111111", "111111111111".into()),
            (Account, "", String::new()),
            (Account, "999999999999", "999999999999".into()),
            (None, "arn:aws:ec2:x:222222222222:y", "arn:aws:ec2:x:222222222222:y".into()),
            (Text, "222222222222", "222222222222".into()),
            (Text, "arn:aws:ec2:us-east-1:222222222222:i/1", format!("arn:aws:ec2:us-east-1:{zeros}:i/1")),
            (Text, "arn:aws-us-gov:S3-x::2", format!("arn:aws-us-gov:S3-x::{zeros}")),
            (Text, "xarn:aws:ec2:us-east-1:222222222222:i", "xarn:aws:ec2:us-east-1:222222222222:i".into()),
            (Text, "arn:aws:ec2:us-east-1:2222a:i", "arn:aws:ec2:us-east-1:2222a:i".into()),
            (Text, "arn:aws:s3:::bucket/222222222222", "arn:aws:s3:::bucket/222222222222".into()),
            (Text, "arn:aws:arn:aws:iam::22:x", format!("arn:aws:arn:aws:iam::{zeros}:x")),
            (Text, "a=arn:aws:x:y:1,b=arn:aws:x:y:2", format!("a=arn:aws:x:y:{zeros},b=arn:aws:x:y:{zeros}")),
            (Text, "linkedAccountId  :  22x", format!("linkedAccountId  :  {zeros}x")),
            (Text, "AccountId 22", "AccountId 22".into()),
            (Text, "AccountId : ", "AccountId : ".into()),
            (CreatedBy, "Root:222222222222", format!("Root:{zeros}")),
            (CreatedBy, "AssumedRole:222222222222:joe", format!("AssumedRole:{zeros}:joe")),
            (CreatedBy, "IAMUser:AIDA:222222222222", "IAMUser:AIDA:222222222222".into()),
            (CreatedBy, "Root:", "Root:".into()),
            (CreatedBy, "arn:22:x", "arn:22:x".into()),
            (CreatedBy, "AccountId:22:x", format!("AccountId:{zeros}:x")),
        ] {
            assert_eq!(masked(sensitivity, cell, true), wanted, "{cell}");
        }
        assert_eq!(masked(Account, "999999999999", false), zeros);
        assert_eq!(masked(PayerName, "MSP Inc.", false), "");
        assert_eq!(masked(PayerName, "MSP AccountId : 2", true), format!("MSP AccountId : {zeros}"));
    }

    #[test]
    fn a_keyed_mask_is_the_hmac_of_customer_and_id() {
        let mut masker = Masker::new("acme", Some(HashSet::new()), true, Some(b"key"));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
        mac.update(b"acme\x00222222222222");
        let bytes = mac.finalize().into_bytes();
        let number = u64::from_be_bytes(bytes[..8].try_into().unwrap()) % 1_000_000_000_000;
        let mask = format!("{number:012}");
        assert_eq!(masker.mask(b"222222222222"), mask.as_bytes());
        assert_eq!(masker.mask(b"222222222222"), mask.as_bytes());
    }

    #[test]
    fn only_text_columns_are_looked_at() {
        assert_eq!(Sensitivity::of("resource_tags_aws_created_by", ColumnType::Text), Sensitivity::CreatedBy);
        assert_eq!(Sensitivity::of("line_item_usage_account_id", ColumnType::Text), Sensitivity::Account);
        assert_eq!(Sensitivity::of("line_item_usage_amount", ColumnType::Double), Sensitivity::None);
    }
}
