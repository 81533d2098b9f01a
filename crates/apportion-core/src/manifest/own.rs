use super::ManifestError;
use crate::columns::{ColumnType, ExportColumn, snake_name};
use apportion_model::{AccountId, AssemblyId, BillingPeriod, Format, ReportId};
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
    /// How the data files are written.
    pub format: Format,
    /// The export's columns, in order.
    pub columns: Vec<ExportColumn>,
    /// The data files' keys, in order.
    pub keys: Vec<String>,
    /// The customer proof's key.
    pub proof: String,
}

impl OwnManifest {
    /// The same with keys that begin at the bucket's root, as readers look for them.
    #[must_use]
    pub fn above(self, prefix: &str) -> Self {
        let above = |key: String| format!("{prefix}{key}");
        Self { keys: self.keys.into_iter().map(above).collect(), proof: above(self.proof), ..self }
    }

    /// The same with keys that are relative to the place; one that lies elsewhere stays as it is.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        let below = |key: String| key.strip_prefix(prefix).map(str::to_owned).unwrap_or(key);
        Self { keys: self.keys.into_iter().map(below).collect(), proof: below(self.proof), ..self }
    }
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

/// A name without a category has a blank one, and reads back without it.
fn column_to_shape(column: &ExportColumn) -> ShapeColumn {
    let (category, name) = column.header.split_once('/').unwrap_or(("", &column.header));
    ShapeColumn { category: category.into(), name: name.into(), kind: column.kind.manifest_name().into() }
}

fn column_of_shape(shape: ShapeColumn) -> Result<ExportColumn, ManifestError> {
    let ShapeColumn { category, name, kind } = shape;
    let kind = ColumnType::of_manifest_name(&kind).ok_or_else(|| {
        ManifestError::Shape(format!("column {name} has type {kind}, which we never write"))
    })?;
    let header = if category.is_empty() { name } else { format!("{category}/{name}") };
    let name = String::from_utf8_lossy(&snake_name(header.as_bytes())).into_owned();
    Ok(ExportColumn { name, header, kind })
}

fn format_names(format: Format) -> (&'static str, &'static str) {
    match format {
        Format::CsvGz => ("GZIP", "text/csv"),
        Format::Parquet => ("Parquet", "Parquet"),
    }
}

fn period_text(day: apportion_model::Day) -> String {
    let (year, month, date) = day.date();
    format!("{year:04}{month:02}{date:02}T000000.000Z")
}

/// The manifest's text.
pub fn write_own(manifest: &OwnManifest) -> Vec<u8> {
    let (compression, content_type) = format_names(manifest.format);
    let shape = Shape {
        assembly_id: manifest.assembly.clone(),
        account: manifest.account.clone(),
        columns: manifest.columns.iter().map(column_to_shape).collect(),
        charset: "UTF-8".into(),
        compression: compression.into(),
        content_type: content_type.into(),
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
/// Text that isn't such a manifest, a type or format that we never write, or a period that isn't a month.
pub fn read_own(bytes: &[u8]) -> Result<OwnManifest, ManifestError> {
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Shape(error.to_string()))?;
    let start = shape.billing_period.start.get(..8).unwrap_or_default();
    let end = shape.billing_period.end.get(..8).unwrap_or_default();
    let period = BillingPeriod::parse(&format!("{start}-{end}")).map_err(|_| ManifestError::Period {
        start: shape.billing_period.start.clone(),
        end: shape.billing_period.end.clone(),
    })?;
    let written = (shape.compression.as_str(), shape.content_type.as_str());
    let format =
        Format::ALL.into_iter().find(|format| format_names(*format) == written).ok_or_else(|| {
            ManifestError::Shape(format!(
                "compression {} and content type {} are none of ours",
                written.0, written.1
            ))
        })?;
    let proof = shape.additional_artifact_keys.into_iter().find(|artifact| artifact.artifact_type == "Proof");
    Ok(OwnManifest {
        assembly: shape.assembly_id,
        account: shape.account,
        report: shape.report_id,
        period,
        bucket: shape.bucket,
        format,
        columns: shape.columns.into_iter().map(column_of_shape).collect::<Result<_, _>>()?,
        keys: shape.report_keys,
        proof: proof.ok_or_else(|| ManifestError::Shape("it names no proof".into()))?.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Contract;

    #[test]
    fn what_we_write_reads_back_here_and_as_a_legacy_cur() {
        let manifest = OwnManifest {
            assembly: AssemblyId::from_hash(&[7; 32]),
            account: AccountId::from_data("011122223333"),
            report: ReportId::new("acme").unwrap(),
            period: BillingPeriod::new(2026, 12).unwrap(),
            bucket: "acme-eco".into(),
            format: Format::CsvGz,
            columns: Contract::Eco
                .fixed()
                .iter()
                .map(|id| ExportColumn::known(*id))
                .chain([ExportColumn::other("margin", "")])
                .collect(),
            keys: vec!["a/b.csv.gz".into()],
            proof: "a/p.json".into(),
        };
        let text = write_own(&manifest);
        assert_eq!(read_own(&text).unwrap(), manifest);
        let legacy = crate::manifest::read_source(&text).unwrap();
        assert_eq!(legacy.columns.len(), 245);
        assert_eq!(legacy.columns[243], "identity/LineItemId");
        assert_eq!(legacy.keys, manifest.keys);
        assert_eq!(legacy.period, Some(manifest.period));
    }
}
