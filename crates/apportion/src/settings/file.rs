use crate::exit::usage;
use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The settings file.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsFile {
    /// Where the line items come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) source: Vec<SourceEntry>,
    /// The MSP's own place and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) msp: Option<MspEntry>,
    /// How a run works; changes no delivered byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunEntry>,
    /// Who receives a share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) customer: Vec<CustomerEntry>,
}

/// One source.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceEntry {
    /// A bucket (`s3://BUCKET/PREFIX`), a folder laid out as one, or one file; relative to the settings file.
    pub(crate) url: String,
    /// Its name, which becomes part of the report ids; may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// `auto`: found from the objects. `files`: all loose files of the folder are one report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// Which report, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<String>,
    /// Another host than AWS's, as "http://127.0.0.1:9000".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_url: Option<String>,
    /// The bucket's region; the profile's or the environment's, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Whether the bucket's name goes in the path instead of in the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_style: Option<bool>,
    /// The profile to take credentials from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The account that must own the bucket: sent as expected bucket owner with every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The role to take, narrowed to this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role_arn: Option<String>,
    /// The file with the external id that the role asks for; relative to the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_id_file: Option<String>,
    /// How the store encrypts: "AES256", or a KMS key; by the bucket's default, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
    /// Whether whoever asks pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requester_pays: Option<bool>,
    /// Whether nobody else ever writes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single_writer: Option<bool>,
}

/// The MSP's own place and key.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MspEntry {
    /// Master proofs and unassigned line items: a bucket or a folder; relative to the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The file with the mask key; relative to the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mask_key_file: Option<String>,
    /// Another host than AWS's, as "http://127.0.0.1:9000".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_url: Option<String>,
    /// The bucket's region; the profile's or the environment's, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Whether the bucket's name goes in the path instead of in the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_style: Option<bool>,
    /// The profile to take credentials from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The account that must own the bucket: sent as expected bucket owner with every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The role to take, narrowed to this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role_arn: Option<String>,
    /// The file with the external id that the role asks for; relative to the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_id_file: Option<String>,
    /// How the store encrypts: "AES256", or a KMS key; by the bucket's default, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
    /// Whether whoever asks pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requester_pays: Option<bool>,
    /// Whether nobody else ever writes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single_writer: Option<bool>,
}

/// How a run works.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunEntry {
    /// Where files wait until they are put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spool: Option<String>,
    /// A folder for what is remembered of buckets from run to run: with it, what hasn't changed isn't fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<String>,
    /// Most bytes in the spool, as "16GiB".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spool_limit: Option<String>,
    /// How many threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
    /// Memory to stay within, as "512MiB".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<String>,
    /// The most of a month's rows or money that a change of customers may move without `--accept`, as "10%".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accept_share: Option<String>,
}

/// One customer.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerEntry {
    /// Letters, digits, `-` and `_`; becomes part of report ids.
    pub(crate) id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Account ids, each with dates if wanted, or "all".
    pub(crate) accounts: Accounts,
    /// `organization` or `account`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sharing: Option<String>,
    /// Line item types to withhold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) withhold: Option<Vec<String>>,
    /// `keep` or `mask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payer: Option<String>,
    /// `mask` or `faithful`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) privacy: Option<String>,
    /// Where and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deliver: Option<DeliverEntry>,
}

/// `"all"`, or a list.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Accounts {
    /// The word "all".
    Word(String),
    /// Account ids.
    List(Vec<AccountEntry>),
}

impl Default for Accounts {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// An account id, or one with dates.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum AccountEntry {
    /// "111122223333"
    Id(String),
    /// `{ id = "111122223333", from = "2026-09-01" }`
    Dated(DatedAccount),
    /// A number, which loses leading zeros; refused with a hint.
    Number(i64),
}

/// An account with dates.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatedAccount {
    /// 12 digits.
    pub(crate) id: String,
    /// The first day, yyyy-mm-dd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The day after the last, yyyy-mm-dd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
}

/// Where and how a customer's exports go.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliverEntry {
    /// The target, a bucket or a folder; relative to the settings file. With `sharing = "account"`, `{account}` in it gives each linked
    /// account a target of its own.
    pub(crate) url: String,
    /// `eco` or `aws`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<String>,
    /// `eco`, `eco-extended` or `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contract: Option<String>,
    /// Of `csv.gz` and `parquet`; each has exports of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) formats: Option<Vec<String>>,
    /// The `[account]` folder; the first listed account, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// `sorted` or `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<String>,
    /// `snake` or `slash`; layout `eco` has snake, layout `aws` slash, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    /// `multi-member` or `single`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gzip: Option<String>,
    /// `default`, `fast` or `small`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<String>,
    /// Another host than AWS's, as "http://127.0.0.1:9000".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_url: Option<String>,
    /// The bucket's region; the profile's or the environment's, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Whether the bucket's name goes in the path instead of in the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_style: Option<bool>,
    /// The profile to take credentials from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The account that must own the bucket: sent as expected bucket owner with every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The role to take, narrowed to this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role_arn: Option<String>,
    /// The file with the external id that the role asks for; relative to the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_id_file: Option<String>,
    /// How the store encrypts: "AES256", or a KMS key; by the bucket's default, if it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<String>,
    /// Whether whoever asks pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requester_pays: Option<bool>,
    /// Whether nobody else ever writes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) single_writer: Option<bool>,
}

/// An account with the dates that it has; blank ones are none.
pub(crate) fn dated(id: String, from: Option<String>, to: Option<String>) -> AccountEntry {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (given(from), given(to)) {
        (None, None) => AccountEntry::Id(id),
        (from, to) => AccountEntry::Dated(DatedAccount { id, from, to }),
    }
}

/// Reads a settings file. Unknown keys are refused, with the key that was probably meant.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<SettingsFile> {
    let text = std::fs::read_to_string(path).with_context(|| format!("settings file {}", path.display()))?;
    read_text(path, &text)
}

/// Reads the text of a settings file, as [`read_file`] does.
pub(crate) fn read_text(path: &Path, text: &str) -> anyhow::Result<SettingsFile> {
    parse(text).map_err(|problem| usage(format!("settings file {}: {problem}", path.display())))
}

fn parse(text: &str) -> Result<SettingsFile, String> {
    toml::from_str(text).map_err(|error| {
        let message = error.to_string();
        match did_you_mean(error.message()) {
            Some(hint) => format!("{}\n{hint}", message.trim_end()),
            None => message.trim_end().to_owned(),
        }
    })
}

/// From "unknown field `acounts`, expected one of `id`, `accounts`": what was probably meant.
fn did_you_mean(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (wrong, rest) = rest.split_once('`')?;
    let best = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .min_by_key(|known| strsim::damerau_levenshtein(wrong, known))
        .filter(|known| strsim::damerau_levenshtein(wrong, known) <= known.len().div_ceil(2))?;
    Some(format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_the_right_one() {
        let error = parse("[[customer]]\nid = \"a\"\nacounts = []\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("did you mean `accounts`?"), "{error}");
        let error = parse("[mps]\nurl = \"x\"\n").unwrap_err();
        assert!(error.contains("did you mean `msp`?"), "{error}");
    }
}
