use super::compare::{Comparison, compare};
use super::edit::{Edit, edited};
use crate::cli::{ChangeArgs, RunArgs};
use crate::exit;
use crate::printer::Printer;
use crate::progress::Progress;
use crate::settings::{self, Settings, SettingsFile};
use crate::signals::Signals;
use anyhow::Context;
use apportion_core::money::Fraction;
use apportion_flow::outcome::Kind;
use apportion_flow::run::{Customer, DeliverRequest, RunError, months};
use apportion_flow::storage::{Bucket, Folder, Swap};
use std::path::{Path, PathBuf};

/// Months that are looked at where nobody says which.
const MONTHS: usize = 2;

/// What somebody wants changed, and what should be said of it.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) edits: Vec<Edit>,
    pub(super) notes: Vec<String>,
}

/// The settings file that is changed, as it was read.
pub(super) struct File {
    path: PathBuf,
    /// None: it isn't there yet.
    text: Option<String>,
    pub(super) entries: SettingsFile,
}

impl File {
    /// Reads a settings file; one that isn't there is empty, if it `may_be_new`.
    pub(super) fn read(path: Option<&Path>, may_be_new: bool) -> anyhow::Result<Self> {
        let path = path.unwrap_or(Path::new("apportion.toml"));
        if !path.exists() && may_be_new {
            return Ok(Self { path: path.to_owned(), text: None, entries: SettingsFile::default() });
        }
        if !path.is_file() {
            return Err(exit::usage(format!(
                "settings file {} isn't there; make one with `apportion init`, or say --config",
                path.display()
            )));
        }
        // A link stays one; what it points to is replaced.
        let real = path.canonicalize().with_context(|| format!("settings file {}", path.display()))?;
        let text =
            std::fs::read_to_string(&real).with_context(|| format!("settings file {}", path.display()))?;
        let entries = settings::read_text(path, &text)?;
        Ok(Self { path: path.to_owned(), text: Some(text), entries })
    }

    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// Replaces the file as a whole or not at all, and only if it still is what was read.
    fn replace(&self, new: &str) -> anyhow::Result<()> {
        let path =
            if self.text.is_some() { self.path.canonicalize()? } else { std::path::absolute(&self.path)? };
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(exit::usage(format!("{} is no place for a settings file", path.display())));
        };
        let mode = path.metadata().ok().map(|found| found.permissions());
        let seen = self.text.as_ref().map(String::as_bytes);
        if Folder::new(folder).swap(name, seen, new.as_bytes())? == Swap::Lost {
            anyhow::bail!(
                "{} was changed by somebody else meanwhile and stays as it is; run the same command again",
                self.path.display()
            );
        }
        if let Some(mode) = mode {
            std::fs::set_permissions(&path, mode)
                .with_context(|| format!("permissions of {}", path.display()))?;
        }
        Ok(())
    }
}

/// What could be seen of a change.
enum Looked {
    At(Comparison),
    /// Nothing, for this reason.
    Nowhere(String),
}

/// Checks a change, shows what it moves, and makes it if that may be.
pub(super) fn change(
    file: &File,
    wish: &Wish,
    args: &ChangeArgs,
    printer: &Printer,
    signals: &Signals,
) -> anyhow::Result<u8> {
    let name = file.path.display();
    let stays = || format!("{name} was left as it was");
    wish.notes.iter().for_each(|note| printer.note(&format!("note: {note}")));
    if wish.edits.is_empty() {
        printer.note(&format!("nothing is to be changed; {}", stays()));
        return Ok(exit::OK);
    }
    let run = RunArgs { period: args.period.clone(), store: args.store.clone(), ..RunArgs::default() };
    let old = settings::resolve_text(&run, &file.path, file.text())?;
    let limit = match &args.accept_share {
        Some(text) => settings::accept_share_of(text)?,
        None => old.accept_share,
    };
    let text = edited(file.text(), &wish.edits).with_context(stays)?;
    let new = settings::resolve_text(&run, &file.path, &text).with_context(stays)?;
    let progress = Progress::new(printer, signals);
    let looked = look(&old, &new, &progress);
    progress.finish();
    let refusal = match looked.with_context(stays)? {
        Looked::At(comparison) => {
            comparison.print(printer)?;
            comparison.most().and_then(|(period, share)| too_much(period, share, limit))
        }
        Looked::Nowhere(reason) => {
            printer.note(&format!("note: what this changes in rows and money can't be shown: {reason}"));
            Some("nothing could be compared".to_owned())
        }
    };
    if args.dry_run {
        let needs = refusal
            .map_or_else(String::new, |reason| format!("; without --dry-run it needs --accept: {reason}"));
        printer.note(&format!("nothing was written (--dry-run){needs}"));
        return Ok(exit::OK);
    }
    if let (Some(reason), false) = (refusal, args.accept) {
        return Err(exit::usage(format!(
            "{reason}; {}. If it is meant, run\n  {}",
            stays(),
            command_with_accept()
        )));
    }
    file.replace(&text)?;
    printer.note(&format!("{name}: {}; `apportion deliver` carries it out", summary(&wish.edits)));
    Ok(exit::OK)
}

fn too_much(period: &str, share: Fraction, limit: Fraction) -> Option<String> {
    (share > limit)
        .then(|| format!("{share} of {period} would change hands, more than the {limit} of accept_share"))
}

/// Plans with the old customers and with the new ones, if there is a source to be read.
fn look(old: &Settings, new: &Settings, progress: &Progress<'_>) -> anyhow::Result<Looked> {
    if new.sources.is_empty() {
        return Ok(Looked::Nowhere("the settings name no source".to_owned()));
    }
    let mut request = match new.request(true) {
        Err(error) => match error.downcast_ref::<exit::Failure>() {
            Some(failure) if failure.code == exit::NOT_FOUND => {
                return Ok(Looked::Nowhere(error.to_string()));
            }
            _ => return Err(error),
        },
        Ok(request) => request,
    };
    let asked = request.periods.is_some();
    match compared(old, &mut request, progress) {
        Ok(comparison) => Ok(Looked::At(comparison)),
        Err(error) => match error.downcast_ref::<RunError>().map(RunError::kind) {
            Some(Kind::Interrupted | Kind::Unbalanced) | None => Err(error),
            // Months that were asked for are to be seen, or nothing happens.
            Some(_) if asked => Err(error),
            Some(_) => Ok(Looked::Nowhere(error.to_string())),
        },
    }
}

fn compared(
    old: &Settings,
    request: &mut DeliverRequest,
    progress: &Progress<'_>,
) -> anyhow::Result<Comparison> {
    if request.periods.is_none() {
        let months = months(request)?;
        request.periods = Some(months[months.len().saturating_sub(MONTHS)..].to_vec());
    }
    let before: Vec<Customer> = old.opened_customers()?;
    compare(&before, request, progress)
}

/// What was typed, and `--accept`.
fn command_with_accept() -> String {
    let mut words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.insert(end, "--accept".to_owned());
    words.join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn summary(edits: &[Edit]) -> String {
    let count = |wanted: fn(&Edit) -> bool| edits.iter().filter(|edit| wanted(edit)).count();
    let parts = [
        (count(|edit| matches!(edit, Edit::NewCustomer(_))), "customer was added", "customers were added"),
        (
            count(|edit| matches!(edit, Edit::AddAccount { .. })),
            "account was added to a customer that was there",
            "accounts were added to customers that were there",
        ),
        (
            count(|edit| matches!(edit, Edit::EndAccount { .. })),
            "account got its last day",
            "accounts got their last day",
        ),
    ];
    let told = parts
        .iter()
        .filter(|(number, _, _)| *number > 0)
        .map(|(number, one, many)| format!("{number} {}", if *number == 1 { one } else { many }));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        assert_eq!(
            quoted("111122223333@2026-09-01..,444455556666"),
            "111122223333@2026-09-01..,444455556666"
        );
        assert_eq!(quoted("Acme GmbH"), "'Acme GmbH'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apportion.toml");
        std::fs::write(&path, "# first\n").unwrap();
        let file = File::read(Some(&path), false).unwrap();
        let new = File::read(Some(&folder.path().join("new.toml")), true).unwrap();
        for (name, text) in [("apportion.toml", "# second\n"), ("new.toml", "# theirs\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        for (file, there) in [(&file, "# second\n"), (&new, "# theirs\n")] {
            let error = file.replace("# ours\n").unwrap_err().to_string();
            assert!(error.contains("was changed by somebody else meanwhile"), "{error}");
            assert_eq!(std::fs::read_to_string(&file.path).unwrap(), there);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("apportion.toml"));
        std::fs::write(&real, "# first\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        File::read(Some(&link), false).unwrap().replace("# ours\n").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "# ours\n");
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    }
}
