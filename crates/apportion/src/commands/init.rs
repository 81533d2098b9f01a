use crate::cli::InitArgs;
use crate::exit;
use crate::printer::Printer;
use anyhow::Context;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

const TEMPLATE: &str = r#"# Settings of apportion. Paths are relative to this file. `apportion config check` says what is wrong.

[[source]]
url = "source"                    # a folder laid out as the bucket (aws s3 sync s3://BUCKET/PREFIX source/PREFIX)

[msp]
url = "msp"                       # master proofs and unassigned line items: your own, never a customer's
mask_key_file = "mask.key"        # keep it: another key gives other masks, and so new deliveries

[[customer]]
id = "acme"
name = "Acme GmbH"
accounts = ["111122223333", { id = "444455556666", from = "2026-09-01" }]   # quoted; `to` is exclusive
sharing = "organization"          # or "account": one export per linked account

[customer.deliver]
url = "targets/acme"
layout = "eco"
contract = "eco"
formats = ["csv.gz"]
"#;

/// `init`: settings, a mask key, and the folders they name. Nothing that is there is touched.
pub(crate) fn run(args: &InitArgs, printer: &Printer) -> anyhow::Result<u8> {
    for name in ["apportion.toml", "mask.key"] {
        let path = args.folder.join(name);
        if path.exists() {
            return Err(exit::usage(format!("{} is there already; nothing was changed", path.display())));
        }
    }
    for name in ["source", "msp", "targets"] {
        let folder = args.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    write_mask_key(&args.folder.join("mask.key"))?;
    write_new(&args.folder.join("apportion.toml"), TEMPLATE.as_bytes(), 0o644)?;
    printer.note(&format!(
        "{0}/apportion.toml, {0}/mask.key and folders for source, MSP and targets are made.\n\
         Next: put the report into {0}/source, list your customers in apportion.toml (or `apportion customers import`),\n\
         then `apportion plan --config {0}/apportion.toml`, and `apportion deliver` with the same settings.",
        args.folder.display()
    ));
    Ok(exit::OK)
}

/// Makes a mask key of 256 random bits, as 64 hex digits, readable by its owner only.
pub(super) fn write_mask_key(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    write_new(path, text.as_bytes(), 0o600)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).with_context(|| format!("making {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("writing {}", path.display()))
}
