//! Random small reports with customers: hostile where the format allows it.
//!
//! Each text cell of a line item carries a marker `⟦account#number⟧`, so that a cell in the wrong place tells whose
//! it is. Ids of accounts stand only where AWS puts them, or behind `bucket-`, where no rule masks them; and in the
//! names of columns that only that account's line items have cells in.

use apportion_core::columns::{Contract, HeaderStyle, snake_name};
use apportion_flow::write::{Gzip, Level, Order};
use apportion_model::{Format, Layout};
use std::ops::Range;

/// The month of every report.
pub const PERIOD: &str = "20261001-20261101";
/// What must not be masked, and so isn't searched: an id behind this is a bucket's name.
pub const HARMLESS: &str = "bucket-";

/// The columns that every report has: the legacy header and the snake name.
pub const COLUMNS: [(&str, &str); 44] = [
    ("identity/LineItemId", "identity_line_item_id"),
    ("identity/TimeInterval", "identity_time_interval"),
    ("bill/InvoiceId", "bill_invoice_id"),
    ("bill/BillingEntity", "bill_billing_entity"),
    ("bill/BillType", "bill_bill_type"),
    ("bill/PayerAccountId", "bill_payer_account_id"),
    ("bill/BillingPeriodStartDate", "bill_billing_period_start_date"),
    ("bill/BillingPeriodEndDate", "bill_billing_period_end_date"),
    ("lineItem/UsageAccountId", "line_item_usage_account_id"),
    ("lineItem/LineItemType", "line_item_line_item_type"),
    ("lineItem/UsageStartDate", "line_item_usage_start_date"),
    ("lineItem/UsageEndDate", "line_item_usage_end_date"),
    ("lineItem/ProductCode", "line_item_product_code"),
    ("lineItem/UsageType", "line_item_usage_type"),
    ("lineItem/Operation", "line_item_operation"),
    ("lineItem/AvailabilityZone", "line_item_availability_zone"),
    ("lineItem/ResourceId", "line_item_resource_id"),
    ("lineItem/UsageAmount", "line_item_usage_amount"),
    ("lineItem/NormalizationFactor", "line_item_normalization_factor"),
    ("lineItem/NormalizedUsageAmount", "line_item_normalized_usage_amount"),
    ("lineItem/CurrencyCode", "line_item_currency_code"),
    ("lineItem/UnblendedRate", "line_item_unblended_rate"),
    ("lineItem/UnblendedCost", "line_item_unblended_cost"),
    ("lineItem/BlendedRate", "line_item_blended_rate"),
    ("lineItem/BlendedCost", "line_item_blended_cost"),
    ("lineItem/LineItemDescription", "line_item_line_item_description"),
    ("lineItem/TaxType", "line_item_tax_type"),
    ("lineItem/LegalEntity", "line_item_legal_entity"),
    ("product/ProductName", "product_product_name"),
    ("product/location", "product_location"),
    ("product/sku", "product_sku"),
    ("pricing/term", "pricing_term"),
    ("pricing/unit", "pricing_unit"),
    ("pricing/publicOnDemandCost", "pricing_public_on_demand_cost"),
    ("reservation/ReservationARN", "reservation_reservation_a_r_n"),
    ("reservation/EffectiveCost", "reservation_effective_cost"),
    ("savingsPlan/SavingsPlanARN", "savings_plan_savings_plan_a_r_n"),
    ("savingsPlan/SavingsPlanEffectiveCost", "savings_plan_savings_plan_effective_cost"),
    ("splitLineItem/ParentResourceId", "split_line_item_parent_resource_id"),
    ("resourceTags/aws:createdBy", "resource_tags_aws_created_by"),
    ("resourceTags/aws:cloudformation:stack-id", "resource_tags_aws_cloudformation_stack_id"),
    ("resourceTags/user:Environment", "resource_tags_user_environment"),
    ("resourceTags/user:Nobody Knows", "resource_tags_user_nobody_knows"),
    ("costCategory/Team", "cost_category_team"),
];

/// Headers that a report may have besides: net amounts, discounts, split cost, names, tags of which several become one
/// name, and columns that nobody knows.
const MORE: [&str; 19] = [
    "bill/PayerAccountName",
    "lineItem/UsageAccountName",
    "lineItem/NetUnblendedCost",
    "lineItem/NetUnblendedRate",
    "reservation/NetEffectiveCost",
    "savingsPlan/UsedCommitment",
    "discount/EdpDiscount",
    "discount/TotalDiscount",
    "discount/OddDiscount",
    "splitLineItem/SplitCost",
    "splitLineItem/SplitUsage",
    "resourceTags/user:CostCenter",
    "resourceTags/user:costCenter",
    "resourceTags/user:cost_center",
    "resourceTags/user:team created by",
    "costCategory/Fin Ops",
    "vendor/Margin",
    "Odd Column",
    "lineItem/NewThing",
];

/// Where, in the headers of columns that only one account has cells in, its id stands.
const OWN: [&str; 5] =
    ["resourceTags/user:own ", "costCategory/Own ", "discount/Own", "vendor/Own ", "Own Column "];

/// Numbers in reproducible disorder (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.end - range.start)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }
}

/// An account of a customer, with days of the month: from the first, up to but without the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub id: String,
    pub from: Option<i32>,
    pub to: Option<i32>,
}

impl Owned {
    /// Whether any day of the month is within its dates.
    fn touches(&self) -> bool {
        self.from.is_none_or(|from| from <= 31) && self.to.is_none_or(|to| to > 1)
    }

    fn has(&self, day: i32) -> bool {
        self.touches() && self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day < to)
    }
}

/// A customer.
#[derive(Debug, Clone)]
pub struct Party {
    pub id: String,
    pub accounts: Vec<Owned>,
    pub by_account: bool,
    pub withhold: Vec<String>,
    pub payer_kept: bool,
    pub faithful: bool,
    /// The name of its target's folder, which stays when the customer is renamed.
    pub target: String,
    pub contract: Contract,
    pub layout: Layout,
    pub formats: Vec<Format>,
    pub header: HeaderStyle,
    pub gzip: Gzip,
    pub level: Level,
    pub order: Order,
}

impl Party {
    /// A customer who has accounts since ever, and whose settings are what they are when nobody says anything.
    pub fn plain(id: &str, accounts: &[&str], target: &str) -> Self {
        let since_ever = |id: &&str| Owned { id: (*id).to_owned(), from: None, to: None };
        Self {
            id: id.to_owned(),
            accounts: accounts.iter().map(since_ever).collect(),
            by_account: false,
            withhold: Vec::new(),
            payer_kept: true,
            faithful: false,
            target: target.to_owned(),
            contract: Contract::Eco,
            layout: Layout::Eco,
            formats: vec![Format::CsvGz],
            header: HeaderStyle::Snake,
            gzip: Gzip::MultiMember,
            level: Level::Default,
            order: Order::Sorted,
        }
    }

    /// Draws everything that decides how its exports look.
    pub fn draw_delivery(&mut self, draw: &mut Draw) {
        let formats: [&[Format]; 4] = [
            &[Format::CsvGz],
            &[Format::Parquet],
            &[Format::CsvGz, Format::Parquet],
            &[Format::Parquet, Format::CsvGz],
        ];
        self.contract = *draw.pick(&Contract::ALL);
        self.layout = *draw.pick(&Layout::ALL);
        self.formats = draw.pick(&formats).to_vec();
        self.header = *draw.pick(&HeaderStyle::ALL);
        self.gzip = *draw.pick(&Gzip::ALL);
        self.level = *draw.pick(&Level::ALL);
        self.order = if draw.percent(50) { Order::Source } else { Order::Sorted };
        self.payer_kept = draw.percent(70);
    }

    /// Whether an account is or was the customer's.
    pub fn owns(&self, account: &str) -> bool {
        self.accounts.iter().any(|owned| owned.id == account)
    }

    /// Whether an account is the customer's on any day of the month.
    pub fn owns_now(&self, account: &str) -> bool {
        self.accounts.iter().any(|owned| owned.id == account && owned.touches())
    }
}

/// A column of a report: the legacy header and the snake name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportColumn {
    pub header: String,
    pub name: String,
    /// The only account whose line items have cells in it.
    pub only: Option<String>,
}

impl ReportColumn {
    pub fn new(header: &str) -> Self {
        let name = String::from_utf8(snake_name(header.as_bytes())).unwrap();
        Self { header: header.to_owned(), name, only: None }
    }
}

/// A line item: whose it is, and its cells in the order of the report's columns.
#[derive(Debug, Clone)]
pub struct Row {
    pub number: usize,
    pub account: String,
    /// The day that decides, counted from the month's first as 1; a line item of an earlier bill lies before.
    pub day: i32,
    pub kind: String,
    pub split: bool,
    pub cells: Vec<String>,
}

/// How numbers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Whatever can be summed exactly.
    Hostile,
    /// Only what a double holds.
    Doubles,
}

/// A report and the customers it is split for.
#[derive(Debug, Clone)]
pub struct Report {
    pub payers: Vec<String>,
    pub parties: Vec<Party>,
    pub unknown: Vec<String>,
    /// [`COLUMNS`], and behind them others.
    pub columns: Vec<ReportColumn>,
    pub rows: Vec<Row>,
    /// CUR 2.0 with its maps, or the legacy form.
    pub cur2: bool,
    pub with_key: bool,
}

const TYPES: [&str; 18] = [
    "Usage",
    "Usage",
    "Usage",
    "DiscountedUsage",
    "SavingsPlanCoveredUsage",
    "SavingsPlanNegation",
    "SavingsPlanRecurringFee",
    "SavingsPlanUpfrontFee",
    "RIFee",
    "Tax",
    "Fee",
    "Credit",
    "Refund",
    "Discount",
    "BundledDiscount",
    "EdpDiscount",
    "PrivateRateDiscount",
    "FlatRateSubscription",
];

impl Report {
    pub fn new(seed: u64, numbers: Numbers) -> Self {
        let mut draw = Draw::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(7));
        let account = |draw: &mut Draw| draw.digits(12);
        let payers = vec![account(&mut draw), account(&mut draw)];
        let unknown = vec![account(&mut draw), account(&mut draw)];
        let mut parties: Vec<Party> = Vec::new();
        for place in 0..draw.within(1..4) {
            let accounts =
                (0..draw.within(1..3)).map(|_| Owned { id: account(&mut draw), from: None, to: None });
            let accounts = accounts.collect();
            parties.push(party(&mut draw, place, accounts));
        }
        move_accounts(&mut draw, &mut parties);
        if draw.percent(10) {
            // The payer's own account can be a customer's.
            let last = parties.len() - 1;
            parties[last].accounts.push(Owned { id: payers[0].clone(), from: None, to: None });
        }
        let cur2 = numbers == Numbers::Hostile && draw.percent(20);
        let with_key = draw.percent(60);
        let columns = common_columns();
        let mut report = Self { payers, parties, unknown, columns, rows: Vec::new(), cur2, with_key };
        report.draw_columns(&mut draw);
        for number in 0..draw.within(3..21) {
            let row = report.row(&mut draw, number, numbers);
            report.rows.push(row);
        }
        report
    }

    /// Adds some columns, in any order.
    fn draw_columns(&mut self, draw: &mut Draw) {
        let mut more: Vec<ReportColumn> =
            MORE.iter().filter(|_| draw.percent(45)).map(|header| ReportColumn::new(header)).collect();
        for account in self.accounts() {
            if draw.percent(40) {
                let header = format!("{}{account}", draw.pick(&OWN));
                more.push(ReportColumn { only: Some(account), ..ReportColumn::new(&header) });
            }
        }
        while !more.is_empty() {
            self.columns.push(more.swap_remove(draw.below(more.len())));
        }
    }

    /// Every account that occurs.
    pub fn accounts(&self) -> Vec<String> {
        let owned = self.parties.iter().flat_map(|party| party.accounts.iter().map(|owned| owned.id.clone()));
        let mut all: Vec<String> = owned.chain(self.payers.clone()).chain(self.unknown.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The customer who owns a line item, by its account and day.
    pub fn owner(&self, row: &Row) -> Option<usize> {
        if row.account.is_empty() {
            return None;
        }
        let owns = |party: &Party| party.accounts.iter().any(|own| own.id == row.account && own.has(row.day));
        self.parties.iter().position(owns)
    }

    /// Whether a line item's owner gets it.
    pub fn is_delivered(&self, row: &Row) -> bool {
        self.owner(row).map(|owner| &self.parties[owner]).is_some_and(|party| {
            let told = !row.split || party.contract.carries_split_cost();
            told && !party.withhold.contains(&row.kind)
        })
    }

    /// A new line item of an account, or of any.
    pub fn row_of(&self, draw: &mut Draw, number: usize, account: String, numbers: Numbers) -> Row {
        let payer = if draw.percent(92) { self.payers[0].clone() } else { self.payers[1].clone() };
        let (day, start) = moment(draw);
        let (day, period_start) = match draw.below(100) {
            0..=3 => (day, String::new()),
            // A line item of an earlier bill: its usage lies outside that month, so its first day counts.
            4..=11 => (-29, "2026-09-01T00:00:00Z".to_owned()),
            _ => (day, "2026-10-01T00:00:00Z".to_owned()),
        };
        let mark = format!("⟦{account}#{number}⟧");
        let kind = if draw.percent(97) { (*draw.pick(&TYPES)).to_owned() } else { format!("Odd{mark}") };
        let split = draw.percent(4);
        let accounts = self.accounts();
        let cells = self
            .columns
            .iter()
            .map(|column| match column.name.as_str() {
                _ if column.only.as_ref().is_some_and(|only| *only != account) => String::new(),
                "bill_payer_account_id" => payer.clone(),
                "bill_billing_period_start_date" => period_start.clone(),
                "bill_billing_period_end_date" => "2026-11-01T00:00:00Z".to_owned(),
                "line_item_usage_account_id" => account.clone(),
                "line_item_line_item_type" => kind.clone(),
                "line_item_usage_start_date" => start.clone(),
                "line_item_usage_end_date" => "2026-10-31T23:00:00Z".to_owned(),
                "line_item_currency_code" => (*draw.pick(&["USD", "USD", "USD", "EUR", "CNY"])).to_owned(),
                "split_line_item_parent_resource_id" if split => format!("i-parent{mark}"),
                name if name.starts_with("split_line_item_") && !split => String::new(),
                name => Cell { accounts: &accounts, own: &account, mark: &mark, numbers }.draw(draw, name),
            })
            .collect();
        Row { number, account, day, kind, split, cells }
    }

    fn row(&self, draw: &mut Draw, number: usize, numbers: Numbers) -> Row {
        let owned: Vec<&Owned> = self.parties.iter().flat_map(|party| &party.accounts).collect();
        let account = match draw.below(100) {
            0..=3 => String::new(),
            4..=13 => self.payers[0].clone(),
            14..=22 => draw.pick(&self.unknown).clone(),
            _ => draw.pick(&owned).id.clone(),
        };
        self.row_of(draw, number, account, numbers)
    }
}

/// [`COLUMNS`], as a report has them.
pub fn common_columns() -> Vec<ReportColumn> {
    COLUMNS.iter().map(|(header, _)| ReportColumn::new(header)).collect()
}

fn party(draw: &mut Draw, place: usize, accounts: Vec<Owned>) -> Party {
    let id = format!("c{place}-{:x}x", draw.next() % 0x1_0000);
    let mut party = Party { accounts, ..Party::plain(&id, &[], &format!("t{place}")) };
    if draw.percent(25) {
        party.withhold.push((*draw.pick(&["Tax", "Credit", "SavingsPlanNegation", "Usage"])).to_owned());
    }
    party.by_account = draw.percent(25);
    party.draw_delivery(draw);
    party
}

/// Some accounts leave in mid-month: to the next customer, or to nobody, and some come back.
fn move_accounts(draw: &mut Draw, parties: &mut [Party]) {
    for place in 0..parties.len() {
        if !draw.percent(40) {
            continue;
        }
        // On the month's first: what is billed late for the months before is nobody's then.
        let day = if draw.percent(35) { 1 } else { draw.within(3..28) as i32 };
        let account = draw.below(parties[place].accounts.len());
        let chosen = &parties[place].accounts[account];
        if parties[place].accounts.iter().filter(|other| other.id == chosen.id).count() > 1
            || chosen.from.is_some()
        {
            continue;
        }
        parties[place].accounts[account].to = Some(day);
        let id = parties[place].accounts[account].id.clone();
        let next = (place + 1) % parties.len();
        let back = draw.percent(30).then_some(day + 3);
        if next != place && draw.percent(60) && !parties[next].owns(&id) {
            parties[next].accounts.push(Owned { id: id.clone(), from: Some(day), to: back });
        }
        if let Some(back) = back {
            parties[place].accounts.push(Owned { id, from: Some(back), to: None });
        }
    }
}

/// A usage start, and the UTC day that it means for an account's owner.
fn moment(draw: &mut Draw) -> (i32, String) {
    let day = draw.within(1..32) as i32;
    match draw.below(100) {
        0..=4 => (1, String::new()),
        5..=7 => (1, "2026-09-30T23:00:00Z".to_owned()),
        8..=10 => (1, "2026-11-01T00:00:00Z".to_owned()),
        11..=15 => (day, format!("2026-10-{day:02} 05:00:00")),
        16..=20 => (day, format!("2026-10-{day:02}T05:00:00.000Z")),
        21..=25 => (day, format!("2026-10-{day:02}")),
        // One o'clock at +02:00 is the day before; before the month's first it is outside.
        26..=30 => ((day - 1).max(1), format!("2026-10-{day:02}T01:00:00+02:00")),
        _ => (day, format!("2026-10-{day:02}T{:02}:00:00Z", draw.below(24))),
    }
}

/// What a cell is drawn from.
struct Cell<'a> {
    accounts: &'a [String],
    own: &'a str,
    mark: &'a str,
    numbers: Numbers,
}

impl Cell<'_> {
    fn draw(&self, draw: &mut Draw, name: &str) -> String {
        let mark = self.mark;
        match name {
            "line_item_usage_amount"
            | "line_item_normalization_factor"
            | "line_item_normalized_usage_amount"
            | "line_item_unblended_cost"
            | "line_item_blended_cost"
            | "pricing_public_on_demand_cost"
            | "reservation_effective_cost"
            | "reservation_net_effective_cost"
            | "savings_plan_savings_plan_effective_cost"
            | "savings_plan_used_commitment"
            | "discount_edp_discount"
            | "discount_total_discount"
            | "split_line_item_split_cost"
            | "split_line_item_split_usage"
            | "line_item_net_unblended_cost" => self.amount(draw, name),
            "bill_invoice_id" if draw.percent(60) => String::new(),
            // Proofs tell it, masked.
            "bill_invoice_id" if draw.percent(50) => self.arn(draw, "invoicing"),
            "bill_invoice_id" => format!("EUINV26-{mark}"),
            "identity_line_item_id" => format!("{:x}{mark}", draw.next()),
            "line_item_product_code" if draw.percent(10) => format!("AWSSupport{mark}"),
            "reservation_reservation_a_r_n" | "savings_plan_savings_plan_a_r_n" if draw.percent(60) => {
                self.arn(draw, "ec2")
            }
            "line_item_line_item_description" if draw.percent(40) => {
                let id = self.account(draw);
                format!("SavingsPlanNegation used by AccountId : {id} and UsageSku : {mark}")
            }
            "resource_tags_user_cost_center" | "discount_odd_discount" | "vendor_margin" | "odd_column"
                if draw.percent(50) =>
            {
                String::new()
            }
            "resource_tags_aws_created_by" | "resource_tags_user_team_created_by" if draw.percent(80) => {
                let id = self.account(draw);
                match draw.below(4) {
                    0 => format!("Root:{id}"),
                    1 => self.arn(draw, "iam"),
                    _ => format!("AssumedRole:{id}:{mark}"),
                }
            }
            _ => self.text(draw),
        }
    }

    /// A number; in columns that AWS doesn't guarantee, other tools' writers put text there too.
    fn amount(&self, draw: &mut Draw, name: &str) -> String {
        let optional = !name.starts_with("line_item_") || name == "line_item_net_unblended_cost";
        if optional && self.numbers == Numbers::Hostile && draw.percent(4) {
            return format!("n/a{}", self.mark);
        }
        number(draw, self.numbers)
    }

    /// Any account, the line item's own more often.
    fn account(&self, draw: &mut Draw) -> String {
        if !self.own.is_empty() && draw.percent(40) {
            self.own.to_owned()
        } else {
            draw.pick(self.accounts).clone()
        }
    }

    fn arn(&self, draw: &mut Draw, service: &str) -> String {
        let (id, partition) = (self.account(draw), *draw.pick(&["aws", "aws-cn", "aws-us-gov"]));
        format!("arn:{partition}:{service}:us-east-1:{id}:thing/{}", self.mark)
    }

    fn text(&self, draw: &mut Draw) -> String {
        let mark = self.mark;
        match draw.below(20) {
            0..=4 => String::new(),
            5 => format!("a, \"b\" {mark}"),
            6 => format!("line one{mark}\nline two"),
            7 => format!("{mark}\r\n,\"\","),
            8 => self.arn(draw, "s3"),
            9 => format!("two {} {}", self.arn(draw, "ec2"), self.arn(draw, "iam")),
            10 => format!("arn:aws:s3:::{HARMLESS}{}{mark}", self.account(draw)),
            11 => format!("AccountId:{}{mark}", self.account(draw)),
            12 => format!("  Größe 東京 {mark}  "),
            _ => format!("x{:x}{mark}", draw.next() % 4096),
        }
    }
}

/// A number as a cell.
fn number(draw: &mut Draw, numbers: Numbers) -> String {
    if numbers == Numbers::Doubles {
        let value = match draw.below(6) {
            0 => String::new(),
            1 => "0".to_owned(),
            2 => format!("-{}.{}", draw.below(1000), draw.within(1..1000)),
            3 => format!("0.{}", draw.digits(10)),
            4 => format!("{}", draw.below(1_000_000)),
            _ => format!("{}.{}", draw.below(100_000), draw.digits(6)),
        };
        // Through a double and back: shortest form, plain notation.
        return value.parse::<f64>().map_or(value, |double| double.to_string());
    }
    let sign = *draw.pick(&["", "", "", "-", "+"]);
    match draw.below(16) {
        0 | 1 => String::new(),
        2 => (*draw.pick(&["0", "-0", "-0.00", "0E-10", "0.0000000000", "+0"])).to_owned(),
        3 => format!("{sign}{}e-60", draw.within(1..10)),
        4 => format!("{sign}{}.{}E+40", draw.within(1..10), draw.digits(5)),
        5 => format!("{sign}{}.{}E-{}", draw.below(10), draw.digits(4), draw.below(40)),
        6 => format!("{sign}{}.{}", draw.digits(30), draw.digits(60)),
        7 => format!("{sign}.{}", draw.digits(3)),
        8 => format!("{sign}{}.", draw.below(1000)),
        9 => format!("{sign}1e{}", draw.below(41)),
        10 => format!("{sign}000{}.{}000", draw.below(100), draw.digits(2)),
        _ => format!("{sign}{}.{}", draw.below(10_000), draw.digits(10)),
    }
}
