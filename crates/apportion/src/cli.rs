//! What can be typed. Nothing here looks at a file: flags become settings in `settings`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Gives every customer of an AWS managed service provider their own share of the AWS bill: complete, in the
/// format their tools read, and proved to the last decimal.
#[derive(Debug, Parser)]
#[command(name = "apportion", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Start with `apportion demo`. Exit codes: 0 ok, 1 failed, 2 usage or settings, 3 partial, \
4 doesn't balance, 5 source not ready, 10 not found, 11 another run is at work, 12 permission, 13 limit or hostile input, 14 store too weak, 130/143 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to print.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// How data are printed on stdout
    #[arg(long, short = 'o', global = true, value_enum, default_value = "table", env = "APPORTION_OUTPUT")]
    pub(crate) output: Output,
    /// No progress bars and no progress lines on stderr
    #[arg(long, global = true, env = "APPORTION_NO_PROGRESS")]
    pub(crate) no_progress: bool,
    /// Only data and errors
    #[arg(long, short = 'q', global = true, env = "APPORTION_QUIET")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// One document
    Json,
    /// One document per line
    Jsonl,
    /// With a header row
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a believable MSP bill, deliver, verify and audit it, and show the result; needs nothing
    Demo(DemoArgs),
    /// Make a folder with settings, a mask key and places for source, customers and MSP
    Init(InitArgs),
    /// List, check, add, move or import customers
    #[command(subcommand)]
    Customers(CustomersCommand),
    /// Say whether source, MSP's place and targets can do what a delivery needs: permissions, conditional writes
    Doctor(DoctorArgs),
    /// Say what `deliver` would do, with rows and money per customer; writes nothing
    Plan(RunArgs),
    /// Split the source and deliver each customer's share, with proofs, manifests last
    Deliver(RunArgs),
    /// Read targets as their consumer would: manifest, files, rows, hashes
    Verify(VerifyArgs),
    /// Recompute everything from source and targets, by other code than the splitter's
    Audit(RunArgs),
    /// Tie source, customers, unassigned line items and AWS's invoices to each other, without reading data
    Reconcile(ReconcileArgs),
    /// Show deliveries that nobody needs any more, and delete them with --delete
    Gc(GcArgs),
    /// Examine a folder's file system, and kill runs in it at many moments, to see that nothing ever breaks
    Selftest(SelftestArgs),
    /// List months with their states, lock and unlock them, compare deliveries, go back to an older one
    #[command(subcommand)]
    Periods(PeriodsCommand),
    /// Print a contract's columns and types
    Schema(SchemaArgs),
    /// Show, check or describe the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Settings that commands share. Each is also a variable of the environment and, where it makes sense, a key of the
/// settings file; a flag beats a variable beats the file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    /// The settings file [default: ./apportion.toml, if it is there]
    #[arg(long, env = "APPORTION_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The source: a bucket (s3://BUCKET/PREFIX), a folder laid out as one, or one file of a report
    #[arg(long, env = "APPORTION_SOURCE", value_name = "PLACE")]
    pub(crate) source: Option<String>,
    /// What the source is: auto (found from its objects), or files (all loose files of a folder are one report)
    #[arg(long, env = "APPORTION_KIND", value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Which report, where the source holds several
    #[arg(long, env = "APPORTION_REPORT", value_name = "NAME")]
    pub(crate) report: Option<String>,
    /// The customer's target (without a settings file, or for the one --customer)
    #[arg(long, env = "APPORTION_TARGET", value_name = "PLACE")]
    pub(crate) target: Option<String>,
    /// The customer's accounts, separated by commas, or `all`
    #[arg(long, env = "APPORTION_ACCOUNTS", value_name = "IDS")]
    pub(crate) accounts: Option<String>,
    /// The customer: with --accounts its id, else only this one of the settings
    #[arg(long, env = "APPORTION_CUSTOMER", value_name = "ID")]
    pub(crate) customer: Option<String>,
    /// The MSP's own place, for master proofs and unassigned line items
    #[arg(long, env = "APPORTION_MSP_TARGET", value_name = "PLACE")]
    pub(crate) msp_target: Option<String>,
    /// The file with the mask key
    #[arg(long, env = "APPORTION_MASK_KEY_FILE", value_name = "FILE")]
    pub(crate) mask_key_file: Option<PathBuf>,
    /// Which months, written yyyy-mm; several with commas [default: all of the source]
    #[arg(long, env = "APPORTION_PERIOD", value_name = "MONTHS")]
    pub(crate) period: Option<String>,
    /// Which columns a customer receives: eco, eco-extended or source
    #[arg(long, env = "APPORTION_CONTRACT", value_name = "NAME")]
    pub(crate) contract: Option<String>,
    /// Where objects lie in a target: eco or aws
    #[arg(long, env = "APPORTION_LAYOUT", value_name = "NAME")]
    pub(crate) layout: Option<String>,
    /// Which formats, with commas: csv.gz, parquet
    #[arg(long, env = "APPORTION_FORMATS", value_name = "LIST")]
    pub(crate) formats: Option<String>,
    /// The order of rows: sorted (smaller files) or source
    #[arg(long, env = "APPORTION_ORDER", value_name = "ORDER")]
    pub(crate) order: Option<String>,
    /// The header row: snake (line_item_usage_account_id) or slash (lineItem/UsageAccountId) names
    #[arg(long, env = "APPORTION_HEADER", value_name = "STYLE")]
    pub(crate) header: Option<String>,
    /// Gzip members in a csv.gz: multi-member, or single for readers that stop after the first
    #[arg(long, env = "APPORTION_GZIP", value_name = "HOW")]
    pub(crate) gzip: Option<String>,
    /// How hard a csv.gz is compressed: default, fast (larger files sooner) or small (smaller files later)
    #[arg(long, env = "APPORTION_LEVEL", value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// One export for the customer (organization) or one per linked account (account)
    #[arg(long, env = "APPORTION_SHARING", value_name = "HOW")]
    pub(crate) sharing: Option<String>,
    /// mask foreign account ids (mask) or leave them (faithful)
    #[arg(long, env = "APPORTION_PRIVACY", value_name = "HOW")]
    pub(crate) privacy: Option<String>,
    /// The payer's id: keep or mask
    #[arg(long, env = "APPORTION_PAYER", value_name = "HOW")]
    pub(crate) payer: Option<String>,
    /// Line item types to withhold, separated by commas
    #[arg(long, env = "APPORTION_WITHHOLD", value_name = "TYPES")]
    pub(crate) withhold: Option<String>,
    /// Where files wait until they are put [default: the system's temporary folder]
    #[arg(long, env = "APPORTION_SPOOL", value_name = "FOLDER")]
    pub(crate) spool: Option<PathBuf>,
    /// Most bytes in the spool, as 4GiB or 500MiB [default: 16GiB]
    #[arg(long, env = "APPORTION_SPOOL_LIMIT", value_name = "SIZE")]
    pub(crate) spool_limit: Option<String>,
    /// How many threads [default: the machine's]
    #[arg(long, env = "APPORTION_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Memory to stay within, as 512MiB; with less, rows wait in the spool [default: 512MiB]
    #[arg(long, env = "APPORTION_MEMORY", value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Wait for another run that is at work on the same month, instead of ending with 11
    #[arg(long, env = "APPORTION_WAIT")]
    pub(crate) wait: bool,
    /// Show what each stage has cost: processor time, line items and bytes per second
    #[arg(long, env = "APPORTION_TIMINGS")]
    pub(crate) timings: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// How buckets are reached, for all places at once; what differs from place to place is in the settings file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// Another host for buckets than AWS's, as http://127.0.0.1:9000 [default: AWS_ENDPOINT_URL_S3]
    #[arg(long, env = "APPORTION_ENDPOINT_URL", value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,
    /// The buckets' region [default: AWS_REGION, or the profile's]
    #[arg(long, env = "APPORTION_REGION", value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The profile to take credentials from [default: AWS's own chain]
    #[arg(long, env = "APPORTION_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// A folder for what is remembered of buckets: with it, what hasn't changed isn't fetched again [default: none]
    #[arg(long, env = "APPORTION_CACHE", value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// After so many seconds without a byte a request is given up, and made again [default: 30]
    #[arg(long, env = "APPORTION_STALL", value_name = "SECONDS")]
    pub(crate) stall: Option<u64>,
}

/// `verify`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// The settings file [default: ./apportion.toml, if it is there]
    #[arg(long, env = "APPORTION_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The target to read; without one, all targets of the settings
    #[arg(long, env = "APPORTION_TARGET", value_name = "PLACE")]
    pub(crate) target: Option<String>,
    /// Only this customer of the settings
    #[arg(long, env = "APPORTION_CUSTOMER", value_name = "ID")]
    pub(crate) customer: Option<String>,
    /// Which months, written yyyy-mm; several with commas [default: all]
    #[arg(long, env = "APPORTION_PERIOD", value_name = "MONTHS")]
    pub(crate) period: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `reconcile`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReconcileArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// By what the bridge is told apart: source, period, currency (always), type, invoice; several with commas
    #[arg(long, default_value = "period", value_name = "WHAT")]
    pub(crate) by: String,
    /// What AWS invoiced, as ID=AMOUNT or 'ID=AMOUNT CURRENCY'; may be given several times
    #[arg(long = "invoice", value_name = "ID=AMOUNT")]
    pub(crate) invoices: Vec<String>,
}

/// `gc`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Delete; without it, gc only shows what it would delete
    #[arg(long)]
    pub(crate) delete: bool,
    /// How long a delivery stays after the next one came: 30d, 12h, or 0
    #[arg(long, default_value = "30d", value_name = "TIME")]
    pub(crate) grace: String,
    /// So many of the newest deliveries of each month stay
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) keep: usize,
}

/// `selftest`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelftestArgs {
    /// The folder to test in; a folder of its own is made in it and removed [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) target: Option<PathBuf>,
    /// How many runs are killed
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) crashes: u32,
}

/// `schema`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct SchemaArgs {
    /// The contract
    #[arg(default_value = "eco")]
    pub(crate) contract: String,
}

/// `init`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct InitArgs {
    /// The folder to make or fill; nothing in it is overwritten
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
}

/// `demo`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DemoCommand>,
    /// The folder that everything goes into; it is emptied first if a demo made it
    #[arg(long, default_value = "apportion-demo", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// How many threads [default: the machine's]
    #[arg(long, env = "APPORTION_THREADS", value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum DemoCommand {
    /// Make only the report, of any size, and the settings that fit it
    Make(MakeArgs),
}

/// `demo make`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct MakeArgs {
    /// The new folder
    #[arg(long, default_value = "apportion-made", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Line items
    #[arg(long, default_value_t = 300_000)]
    pub(crate) rows: u64,
    /// Accounts, without the payer
    #[arg(long, default_value_t = 84)]
    pub(crate) accounts: u32,
    /// Customers
    #[arg(long, default_value_t = 12)]
    pub(crate) customers: u32,
    /// cur1-csv, cur1-parquet or cur2-csv
    #[arg(long, default_value = "cur1-csv")]
    pub(crate) kind: String,
    /// Months
    #[arg(long, default_value_t = 13)]
    pub(crate) months: u32,
    /// The first month, written yyyy-mm
    #[arg(long, default_value = "2025-10")]
    pub(crate) first: String,
    /// Other seeds make other bills
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Line items in a file
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) rows_per_file: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CustomersCommand {
    /// Each customer with its accounts and target
    List(SettingsArgs),
    /// Check the customers: accounts, dates, overlaps, targets
    Check(SettingsArgs),
    /// Add a customer, or accounts to a customer; shows first whose rows and money that changes
    Add(AddArgs),
    /// Move an account from its owner to another customer on a day; shows first whose rows and money that changes
    Move(MoveArgs),
    /// Read customers from a CSV (customer,account[,name][,from][,to]) and print them as settings, or add them
    Import(ImportArgs),
}

/// Where the settings are.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArgs {
    /// The settings file [default: ./apportion.toml]
    #[arg(long, env = "APPORTION_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How a change of customers is looked at before it is made.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ChangeArgs {
    /// The months to compare, written yyyy-mm; several with commas [default: the two newest of the source]
    #[arg(long, env = "APPORTION_PERIOD", value_name = "MONTHS")]
    pub(crate) period: Option<String>,
    /// Make the change, however much of a month changes hands
    #[arg(long)]
    pub(crate) accept: bool,
    /// The most of a month's rows or money that may change hands without --accept, as 10% [default: 10%]
    #[arg(long, env = "APPORTION_ACCEPT_SHARE", value_name = "SHARE")]
    pub(crate) accept_share: Option<String>,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What only a new customer needs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct NewCustomerArgs {
    /// A new customer's name, for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A new customer's target
    #[arg(long, value_name = "TARGET")]
    pub(crate) url: Option<String>,
    /// A new customer's exports: one (organization) or one per linked account (account)
    #[arg(long, value_name = "HOW")]
    pub(crate) sharing: Option<String>,
}

/// `customers add`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct AddArgs {
    /// The customer's id: a new one, or one of the settings
    pub(crate) customer: String,
    /// Accounts, separated by commas, each with @FROM..TO if it has dates of its own; or `all`
    #[arg(long, value_name = "IDS")]
    pub(crate) accounts: String,
    /// The first day of accounts without dates of their own, yyyy-mm-dd
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<String>,
    /// The day after the last of accounts without dates of their own, yyyy-mm-dd
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) new: NewCustomerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `customers move`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct MoveArgs {
    /// The account
    pub(crate) account: String,
    /// Who owns it from that day on; a new customer needs --url
    #[arg(long, value_name = "ID")]
    pub(crate) to_customer: String,
    /// The new owner's first day, yyyy-mm-dd
    #[arg(long, value_name = "DAY")]
    pub(crate) on: String,
    #[command(flatten)]
    pub(crate) new: NewCustomerArgs,
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `customers import`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// The CSV, with a header row: customer, account, and if wanted name, from, to
    pub(crate) file: PathBuf,
    /// Each new customer's target, with {customer} for its id
    #[arg(long, default_value = "targets/{customer}", value_name = "PATTERN")]
    pub(crate) targets: String,
    /// Add them to this settings file, if all of it is right then; shows first what that changes
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeriodsCommand {
    /// Each month with its state and the reason, its deliveries, rows, money and exports
    List(PeriodsListArgs),
    /// Keep a month as it is: `deliver` writes nothing for it, and raises an alarm when its source changes
    Lock(PeriodsLockArgs),
    /// Let the next `deliver` go on with a month
    Unlock(PeriodsMonthArgs),
    /// Say what two deliveries of a month differ in: rows that came and went, and their money
    Diff(PeriodsDiffArgs),
    /// Who delivered what to whom, from the log in the MSP's place, whose chain is checked on the way
    Log(PlacesArgs),
    /// Put every export of a month back to an older delivery, and lock the month
    Rollback(PeriodsRollbackArgs),
}

/// Source, MSP's place and targets.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlacesArgs {
    /// The settings file [default: ./apportion.toml, if it is there]
    #[arg(long, env = "APPORTION_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The MSP's own place, where master proofs and states are
    #[arg(long, env = "APPORTION_MSP_TARGET", value_name = "PLACE")]
    pub(crate) msp_target: Option<String>,
    /// The source
    #[arg(long, env = "APPORTION_SOURCE", value_name = "PATH")]
    pub(crate) source: Option<String>,
    /// The customer's target (without a settings file)
    #[arg(long, env = "APPORTION_TARGET", value_name = "PLACE")]
    pub(crate) target: Option<String>,
    /// The customer's accounts, separated by commas, or `all` (without a settings file)
    #[arg(long, env = "APPORTION_ACCOUNTS", value_name = "IDS")]
    pub(crate) accounts: Option<String>,
    /// The customer's id (without a settings file)
    #[arg(long, env = "APPORTION_CUSTOMER", value_name = "ID")]
    pub(crate) customer: Option<String>,
    /// Only the source of this name, where the settings have several
    #[arg(long, value_name = "NAME")]
    pub(crate) source_name: Option<String>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

impl From<&PlacesArgs> for RunArgs {
    fn from(args: &PlacesArgs) -> Self {
        Self {
            config: args.config.clone(),
            msp_target: args.msp_target.clone(),
            source: args.source.clone(),
            target: args.target.clone(),
            accounts: args.accounts.clone(),
            customer: args.customer.clone(),
            store: args.store.clone(),
            ..Self::default()
        }
    }
}

/// `doctor`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// Only look: put nothing anywhere, so nothing is known of writing
    #[arg(long)]
    pub(crate) read_only: bool,
    #[command(flatten)]
    pub(crate) places: PlacesArgs,
}

/// A month, and where it is known.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeriodsMonthArgs {
    /// The month, written yyyy-mm
    pub(crate) month: String,
    #[command(flatten)]
    pub(crate) place: PlacesArgs,
}

/// `periods list`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeriodsListArgs {
    /// Which months, written yyyy-mm; several with commas [default: all]
    #[arg(long, env = "APPORTION_PERIOD", value_name = "MONTHS")]
    pub(crate) period: Option<String>,
    /// Also hash the source and say whether it still is what was delivered
    #[arg(long)]
    pub(crate) check: bool,
    /// As of which day, written yyyy-mm-dd, in UTC [default: today]
    #[arg(long, value_name = "DAY")]
    pub(crate) today: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlacesArgs,
}

/// `periods lock`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeriodsLockArgs {
    #[command(flatten)]
    pub(crate) month: PeriodsMonthArgs,
    /// Why, in your own words
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `periods diff`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeriodsDiffArgs {
    #[command(flatten)]
    pub(crate) month: PeriodsMonthArgs,
    /// The delivery that is compared with, or how its id begins [default: the one before the newest]
    #[arg(long, value_name = "ID")]
    pub(crate) from: Option<String>,
    /// The delivery that is compared, or how its id begins [default: the newest]
    #[arg(long, value_name = "ID")]
    pub(crate) to: Option<String>,
    /// By what the changes are told, with commas: customer, account, service, line-item-type, day [default: all]
    #[arg(long, value_name = "LIST")]
    pub(crate) by: Option<String>,
    /// Rows that are compared in one pass over the files; fewer take less memory and more passes
    #[arg(long, value_name = "N", default_value_t = apportion_flow::run::periods::ROWS_PER_PASS)]
    pub(crate) rows_per_pass: u64,
}

/// `periods rollback`'s own.
#[derive(Debug, Clone, Args)]
pub(crate) struct PeriodsRollbackArgs {
    #[command(flatten)]
    pub(crate) month: PeriodsMonthArgs,
    /// The delivery to go back to, or how its id begins
    #[arg(long, value_name = "ID")]
    pub(crate) to: String,
    /// Only say what would change, in rows and money
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings as they are resolved; secrets hidden
    Show {
        #[command(flatten)]
        run: RunArgs,
        /// Say of each value where it came from
        #[arg(long)]
        origin: bool,
    },
    /// Check the settings, without reading a byte of the source
    Check(RunArgs),
    /// Print the JSON schema of the settings file, for editors
    Schema,
}
