use super::resolve::Settings;
use crate::exit::{Failure, NOT_FOUND, usage};
use apportion_flow::check::ConfiguredExport;
use apportion_flow::run::{RunError, SourceKindWanted, SourceRequest, Target};
use apportion_flow::storage::{Bucket, Folder, Targets};
use apportion_model::SourceName;
use std::sync::Arc;

/// The places of a run, for commands that look at what was delivered and never at the source.
pub(crate) struct Places {
    /// The MSP's own.
    pub(crate) msp: Arc<dyn Bucket>,
    /// The sources' names.
    pub(crate) sources: Vec<SourceName>,
    /// Every export that the settings have.
    pub(crate) exports: Vec<ConfiguredExport>,
    /// Where exports lie.
    pub(crate) targets: Targets,
}

impl Settings {
    /// The MSP's place and the targets. The source needn't be there.
    pub(crate) fn places(&self) -> anyhow::Result<Places> {
        let msp = self.msp.as_ref().ok_or_else(|| {
            usage("this needs the MSP's place, where the master proofs are; give --msp-target, or [msp] url in the settings")
        })?;
        if msp.is_missing_folder() {
            let message = format!("the MSP's place {msp} isn't there; `apportion deliver` makes it");
            return Err(Failure { code: NOT_FOUND, message }.into());
        }
        let mut sources: Vec<SourceRequest> = self.source_requests()?;
        if sources.is_empty() {
            // Said by flags alone, the source has no name, and its proofs don't ask where it was.
            sources.push(SourceRequest {
                bucket: Arc::new(Folder::new("")),
                name: SourceName::unnamed(),
                named: false,
                report: None,
                object: None,
                kind: SourceKindWanted::default(),
            });
        }
        let mut places = Places {
            msp: msp.open().map_err(RunError::from)?,
            sources: sources.iter().map(|source| source.name.clone()).collect(),
            exports: Vec::new(),
            targets: Targets::default(),
        };
        for customer in self.opened_customers()? {
            let id = &customer.routed.id;
            match &customer.target {
                Target::One(place) => places.targets.add(id.clone(), None, Arc::clone(place)),
                Target::ByAccount(by_account) => {
                    for (account, place) in by_account {
                        places.targets.add(id.clone(), Some(account.clone()), Arc::clone(place));
                    }
                }
            }
            for source in &sources {
                let exports = customer.exports(source).map_err(|error| usage(error.to_string()))?;
                let named = exports.into_iter().map(|export| ConfiguredExport {
                    source: source.name.clone(),
                    customer: id.clone(),
                    report: export.report,
                    accounts: customer.routed.accounts.clone(),
                });
                places.exports.extend(named);
            }
        }
        Ok(places)
    }
}
