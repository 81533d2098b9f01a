use super::ManifestError;
use crate::columns::{Contract, known};
use apportion_model::{AccountId, AssemblyId, BillingPeriod, ReportId};
use serde::{Deserialize, Serialize};

/// The manifest of one of our exports. It has the legacy CUR's shape, so that whatever reads a CUR reads it, and
/// says nothing of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnManifest {
    /// Our assembly id.
    pub assembly: AssemblyId,
    /// The `[account]` of the layout.
    pub account: AccountId,
    /// The export.
    pub report: ReportId,
    /// The month.
    pub period: BillingPeriod,
    /// The target's bucket; a folder's own name.
    pub bucket: String,
    /// The data files' keys, in order.
    pub keys: Vec<String>,
    /// The customer proof's key.
    pub proof: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    assembly_id: AssemblyId,
    account: AccountId,
    columns: Vec<ShapeColumn>,
    charset: String,
    compression: String,
    content_type: String,
    report_id: ReportId,
    report_name: String,
    billing_period: ShapePeriod,
    bucket: String,
    report_keys: Vec<String>,
    additional_artifact_keys: Vec<ShapeArtifact>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
struct ShapeColumn {
    category: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
struct ShapePeriod {
    start: String,
    end: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShapeArtifact {
    artifact_type: String,
    name: String,
}

fn columns_of(contract: Contract) -> Vec<ShapeColumn> {
    contract
        .columns()
        .iter()
        .map(|id| {
            let column = known().get(*id);
            let header = column.header.as_deref().unwrap_or(&column.name);
            let (category, name) = header.split_once('/').unwrap_or(("", header));
            ShapeColumn {
                category: category.into(),
                name: name.into(),
                kind: column.kind.manifest_name().into(),
            }
        })
        .collect()
}

fn period_text(day: apportion_model::Day) -> String {
    let (year, month, date) = day.date();
    format!("{year:04}{month:02}{date:02}T000000.000Z")
}

/// The manifest's text.
pub fn write_own(manifest: &OwnManifest, contract: Contract) -> Vec<u8> {
    let shape = Shape {
        assembly_id: manifest.assembly.clone(),
        account: manifest.account.clone(),
        columns: columns_of(contract),
        charset: "UTF-8".into(),
        compression: "GZIP".into(),
        content_type: "text/csv".into(),
        report_id: manifest.report.clone(),
        report_name: manifest.report.to_string(),
        billing_period: ShapePeriod {
            start: period_text(manifest.period.start()),
            end: period_text(manifest.period.end()),
        },
        bucket: manifest.bucket.clone(),
        report_keys: manifest.keys.clone(),
        additional_artifact_keys: vec![ShapeArtifact {
            artifact_type: "Proof".into(),
            name: manifest.proof.clone(),
        }],
    };
    // A struct of texts always has a JSON form.
    let mut text = serde_json::to_vec_pretty(&shape).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Reads one of our manifests back, as a consumer would.
///
/// # Errors
/// Text that isn't such a manifest, columns that aren't the contract's, or a period that isn't a month.
pub fn read_own(bytes: &[u8], contract: Contract) -> Result<OwnManifest, ManifestError> {
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Shape(error.to_string()))?;
    let start = shape.billing_period.start.get(..8).unwrap_or_default();
    let end = shape.billing_period.end.get(..8).unwrap_or_default();
    let period = BillingPeriod::parse(&format!("{start}-{end}")).map_err(|_| ManifestError::Period {
        start: shape.billing_period.start.clone(),
        end: shape.billing_period.end.clone(),
    })?;
    if shape.columns != columns_of(contract) {
        return Err(ManifestError::Shape(format!(
            "its columns are not those of contract {}",
            contract.as_str()
        )));
    }
    let proof = shape.additional_artifact_keys.into_iter().find(|artifact| artifact.artifact_type == "Proof");
    Ok(OwnManifest {
        assembly: shape.assembly_id,
        account: shape.account,
        report: shape.report_id,
        period,
        bucket: shape.bucket,
        keys: shape.report_keys,
        proof: proof.ok_or_else(|| ManifestError::Shape("it names no proof".into()))?.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_write_reads_back_here_and_as_a_legacy_cur() {
        let manifest = OwnManifest {
            assembly: AssemblyId::from_hash(&[7; 32]),
            account: AccountId::from_data("011122223333"),
            report: ReportId::new("acme").unwrap(),
            period: BillingPeriod::new(2026, 12).unwrap(),
            bucket: "acme-eco".into(),
            keys: vec!["a/b.csv.gz".into()],
            proof: "a/p.json".into(),
        };
        let text = write_own(&manifest, Contract::Eco);
        assert_eq!(read_own(&text, Contract::Eco).unwrap(), manifest);
        let legacy = crate::manifest::read_source(&text).unwrap();
        assert_eq!(legacy.columns.len(), 244);
        assert_eq!(legacy.columns[243], "identity/LineItemId");
        assert_eq!(legacy.keys, manifest.keys);
        assert_eq!(legacy.period, Some(manifest.period));
    }
}
