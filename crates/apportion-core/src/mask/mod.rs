//! Masks: what a customer may not read inside a cell.
//!
//! What comes in: a delivered cell, its column, and the line item's payer. What goes out: the cell with foreign
//! account ids replaced. What it must never do: touch a number, or look for ids outside the places where AWS puts
//! them, or work from a list of other customers' ids: adding a customer must not change another's bytes.
//!
//! The places (docs/delivery-format.md, section 4): account columns, the account field of ARNs, `AccountId : N` in
//! descriptions, the account part of `created_by` tags.

use apportion_model::{AccountId, CustomerId};
use hmac::{Hmac, Mac};
use memchr::memmem;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::ops::Range;

/// The MSP's own key. It can't be printed.
#[derive(Clone)]
pub struct MaskKey(Box<[u8]>);

impl MaskKey {
    /// The shortest key that is accepted, in bytes.
    pub const SHORTEST: usize = 16;

    /// Takes a key's bytes; None if they are fewer than [`MaskKey::SHORTEST`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::SHORTEST).then(|| Self(bytes.into()))
    }

    /// 16 hex digits that tell two keys apart and say nothing of either.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"apportion mask key fingerprint\0");
        hash.update(&self.0);
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key's bytes, for the auditor's own computation.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskKey(…)")
    }
}

/// How a column is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Never: numbers and timestamps.
    Keep,
    /// The whole cell is an account id.
    Account,
    /// ARNs and `AccountId : N` inside text.
    Text,
    /// The same, and the account part of `Type:account:name`.
    CreatedBy,
    /// The payer's name: blank where the payer's id is masked, else text.
    PayerName,
}

impl Rule {
    /// The rule of a known column.
    pub fn of(column: &crate::columns::Column) -> Self {
        match column.kind {
            crate::columns::ColumnType::Double | crate::columns::ColumnType::Timestamp => Self::Keep,
            crate::columns::ColumnType::String if column.account => Self::Account,
            crate::columns::ColumnType::String => Self::of_other(&column.name),
        }
    }

    /// The rule of a column that is told by its name alone.
    pub fn of_other(name: &str) -> Self {
        match name {
            "bill_payer_account_name" => Self::PayerName,
            _ if name.ends_with("created_by") => Self::CreatedBy,
            _ => Self::Text,
        }
    }
}

/// What there is to mask in a cell, whoever receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Nothing: it is the same for all customers.
    Nothing,
    /// One account id, which stays where [`Mask::keeps`] it.
    Account(Range<usize>),
    /// More than that.
    Several,
}

/// Masks the cells of one customer's share.
#[derive(Debug)]
pub struct Mask {
    /// None: nothing is foreign (`privacy = "faithful"`, or `accounts = "all"`).
    own: Option<HashSet<Box<[u8]>>>,
    keep_payer: bool,
    /// HMAC keyed and fed with the customer id and its zero byte.
    keyed: Option<Hmac<Sha256>>,
    arn: memmem::Finder<'static>,
    account_id: memmem::Finder<'static>,
}

impl Mask {
    /// A mask that changes nothing.
    pub fn faithful() -> Self {
        Self {
            own: None,
            keep_payer: true,
            keyed: None,
            arn: memmem::Finder::new("arn:aws"),
            account_id: memmem::Finder::new("AccountId"),
        }
    }

    /// A mask for a customer who owns `own` and nothing else.
    pub fn new<'a>(
        customer: &CustomerId,
        own: impl Iterator<Item = &'a AccountId>,
        keep_payer: bool,
        key: Option<&MaskKey>,
    ) -> Self {
        let keyed = key.and_then(|key| Hmac::<Sha256>::new_from_slice(&key.0).ok()).map(|mut hmac| {
            hmac.update(customer.as_str().as_bytes());
            hmac.update(&[0]);
            hmac
        });
        Self {
            own: Some(own.map(|id| id.as_str().as_bytes().into()).collect()),
            keep_payer,
            keyed,
            ..Self::faithful()
        }
    }

    /// Whether no cell is ever changed.
    pub fn is_faithful(&self) -> bool {
        self.own.is_none()
    }

    /// The places of a cell that some customer may read otherwise than they stand there. Said for whoever receives it: a
    /// cell without such a place is the same for all customers.
    pub fn sight(&self, rule: Rule, cell: &[u8]) -> Sight {
        if rule == Rule::PayerName && !cell.is_empty() {
            return Sight::Several;
        }
        let mut sight = Sight::Nothing;
        if !has_nothing(rule, cell) {
            self.places(rule, cell, &mut |place| {
                sight = if sight == Sight::Nothing { Sight::Account(place) } else { Sight::Several };
            });
        }
        sight
    }

    /// Whether an account id stays readable, in a row of this payer.
    #[inline]
    pub fn keeps(&self, id: &[u8], payer: &[u8]) -> bool {
        match &self.own {
            None => true,
            Some(own) => (self.keep_payer && id == payer) || own.contains(id),
        }
    }

    /// The cell as the customer may read it: itself, or `buffer` filled with the masked text.
    #[inline]
    pub fn apply<'a>(&self, rule: Rule, cell: &'a [u8], payer: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let nothing = has_nothing(rule, cell) && (rule != Rule::PayerName || self.keep_payer);
        let Some(own) = self.own.as_ref().filter(|_| !nothing) else { return cell };
        if rule == Rule::PayerName && !self.keep_payer {
            return &[];
        }
        let mut foreign = Vec::new();
        self.places(rule, cell, &mut |place| {
            let id = &cell[place.clone()];
            let kept = (self.keep_payer && id == payer) || own.contains(id);
            if !kept {
                foreign.push(place);
            }
        });
        if foreign.is_empty() {
            return cell;
        }
        foreign.sort_by_key(|place| (place.start, place.end));
        buffer.clear();
        let mut copied = 0;
        for place in foreign {
            // Two rules may find the same digits; they are replaced once.
            if place.start >= copied {
                buffer.extend_from_slice(&cell[copied..place.start]);
                buffer.extend_from_slice(&self.replacement(&cell[place.clone()]));
                copied = place.end;
            }
        }
        buffer.extend_from_slice(&cell[copied..]);
        buffer
    }

    /// The 12 digits that stand for a foreign account id.
    fn replacement(&self, id: &[u8]) -> [u8; 12] {
        let mut digits = [b'0'; 12];
        let Some(keyed) = &self.keyed else { return digits };
        let mut hmac = keyed.clone();
        hmac.update(id);
        let hash = hmac.finalize().into_bytes();
        let mut number =
            hash.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % 1_000_000_000_000;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        digits
    }

    /// Finds the account ids of a cell.
    fn places(&self, rule: Rule, cell: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        match rule {
            Rule::Keep => {}
            Rule::Account => found(0..cell.len()),
            Rule::Text | Rule::CreatedBy | Rule::PayerName => {
                self.arns(cell, found);
                self.account_ids(cell, found);
                if rule == Rule::CreatedBy && !cell.starts_with(b"arn:") {
                    created_by(cell, found);
                }
            }
        }
    }

    /// `arn:aws<partition>:<service>:<region>:<account>`.
    fn arns(&self, cell: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        let mut from = 0;
        while let Some(start) = cell.get(from..).and_then(|rest| self.arn.find(rest)).map(|at| from + at) {
            from = start + 7;
            if start > 0 && cell[start - 1].is_ascii_alphanumeric() {
                continue;
            }
            let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
            let any = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
            let account = field(cell, start + 7, lower)
                .and_then(|at| field(cell, at, any))
                .and_then(|at| field(cell, at, lower));
            if let Some(at) = account {
                let digits = digit_run(cell, at);
                let followed = cell.get(at + digits).is_some_and(u8::is_ascii_alphanumeric);
                if digits > 0 && !followed {
                    found(at..at + digits);
                    from = at + digits;
                }
            }
        }
    }

    /// `AccountId : N`, as in the description of SavingsPlanNegation line items.
    fn account_ids(&self, cell: &[u8], found: &mut dyn FnMut(Range<usize>)) {
        let mut from = 0;
        while let Some(at) = cell.get(from..).and_then(|rest| self.account_id.find(rest)).map(|at| from + at)
        {
            from = at + 9;
            let colon = from + space_run(cell, from);
            if cell.get(colon) == Some(&b':') {
                let start = colon + 1 + space_run(cell, colon + 1);
                let digits = digit_run(cell, start);
                if digits > 0 {
                    found(start..start + digits);
                    from = start + digits;
                }
            }
        }
    }
}

/// Shorter than the shortest ARN with an account, or without a colon: by far the most cells.
#[inline]
fn has_nothing(rule: Rule, cell: &[u8]) -> bool {
    match rule {
        Rule::Keep => true,
        Rule::Account => cell.is_empty(),
        Rule::Text | Rule::CreatedBy | Rule::PayerName => {
            cell.len() < 6 || memchr::memchr(b':', cell).is_none()
        }
    }
}

/// The second part of `Root:111122223333` or `IAMUser:…:name`, if it is all digits.
/// Source: AWS Billing user guide, "AWS-generated cost allocation tags", `aws:createdBy`.
fn created_by(cell: &[u8], found: &mut dyn FnMut(Range<usize>)) {
    if let Some(colon) = memchr::memchr(b':', cell) {
        let digits = digit_run(cell, colon + 1);
        let end = colon + 1 + digits;
        if digits > 0 && (end == cell.len() || cell[end] == b':') {
            found(colon + 1..end);
        }
    }
}

/// Where the field behind the next colon begins, if only bytes that `test` allows come before it.
fn field(cell: &[u8], from: usize, test: impl Fn(&u8) -> bool) -> Option<usize> {
    let length = cell.get(from..)?.iter().take_while(|byte| test(byte)).count();
    (cell.get(from + length) == Some(&b':')).then_some(from + length + 1)
}

fn digit_run(cell: &[u8], from: usize) -> usize {
    cell.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn space_run(cell: &[u8], from: usize) -> usize {
    cell.get(from..).unwrap_or_default().iter().take_while(|byte| **byte == b' ').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(keep_payer: bool, key: Option<&MaskKey>) -> Mask {
        let own = AccountId::from_data("111111111111");
        Mask::new(&CustomerId::new("acme").unwrap(), [&own].into_iter(), keep_payer, key)
    }

    fn masked(rule: Rule, cell: &str) -> String {
        let mut buffer = Vec::new();
        let out = mask(true, None).apply(rule, cell.as_bytes(), b"999999999999", &mut buffer);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn only_the_places_that_hold_accounts_are_touched() {
        for (rule, cell, expected) in [
            (Rule::Account, "222222222222", "000000000000"),
            (Rule::Account, "111111111111", "111111111111"),
            (Rule::Account, "999999999999", "999999999999"),
            (Rule::Keep, "222222222222", "222222222222"),
            (Rule::Text, "222222222222", "222222222222"),
            (
                Rule::Text,
                "arn:aws:ec2:us-east-1:222222222222:reserved-instances/222222222222",
                "arn:aws:ec2:us-east-1:000000000000:reserved-instances/222222222222",
            ),
            (
                Rule::Text,
                "arn:aws:ec2:us-east-1:111111111111:vpc/1",
                "arn:aws:ec2:us-east-1:111111111111:vpc/1",
            ),
            (Rule::Text, "arn:aws-cn:iam::0022222222222:root", "arn:aws-cn:iam::000000000000:root"),
            (Rule::Text, "x arn:aws:iam::222222222222", "x arn:aws:iam::000000000000"),
            (Rule::Text, "barn:aws:iam::222222222222:x", "barn:aws:iam::222222222222:x"),
            (Rule::Text, "arn:aws:s3:::bucket-222222222222", "arn:aws:s3:::bucket-222222222222"),
            (Rule::Text, "arn:aws:iam::aws:policy/x", "arn:aws:iam::aws:policy/x"),
            (
                Rule::Text,
                "arn:aws:s3:::a/arn:aws:iam::222222222222:x",
                "arn:aws:s3:::a/arn:aws:iam::000000000000:x",
            ),
            (
                Rule::Text,
                "SavingsPlanNegation used by AccountId : 222222222222 and UsageSku : X",
                "SavingsPlanNegation used by AccountId : 000000000000 and UsageSku : X",
            ),
            (Rule::Text, "AccountId:222222222222", "AccountId:000000000000"),
            (Rule::Text, "UsageAccountIds: 222222222222", "UsageAccountIds: 222222222222"),
            (Rule::Text, "Root:222222222222", "Root:222222222222"),
            (Rule::CreatedBy, "Root:222222222222", "Root:000000000000"),
            (Rule::CreatedBy, "IAMUser:AIDA222222222222:bob", "IAMUser:AIDA222222222222:bob"),
            (Rule::CreatedBy, "AssumedRole:222222222222:s", "AssumedRole:000000000000:s"),
            (Rule::CreatedBy, "arn:aws:iam::222222222222:user/x", "arn:aws:iam::000000000000:user/x"),
        ] {
            assert_eq!(masked(rule, cell), expected, "{cell}");
        }
    }

    #[test]
    fn the_payer_can_be_masked_too_and_a_key_tells_ids_apart() {
        let key = MaskKey::new(b"0123456789abcdef").unwrap();
        let mask = mask(false, Some(&key));
        let one = mask.apply(Rule::Account, b"999999999999", b"999999999999", &mut Vec::new()).to_vec();
        let two = mask.apply(Rule::Account, b"222222222222", b"999999999999", &mut Vec::new()).to_vec();
        assert!(one != two && one.len() == 12 && one != b"999999999999" && one != b"000000000000");
        assert_eq!(two, mask.apply(Rule::Account, b"222222222222", b"", &mut Vec::new()));
        assert!(mask.apply(Rule::PayerName, b"The MSP", b"999999999999", &mut Vec::new()).is_empty());
        assert_eq!(masked(Rule::PayerName, "The MSP"), "The MSP");
        assert!(!format!("{key:?}").contains("0123"));
        assert!(MaskKey::new(b"short").is_none());
    }
}
