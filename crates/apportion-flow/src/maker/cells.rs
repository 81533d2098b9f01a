//! The cells that hold for a run of line items: who, what, where, and which tags.
//!
//! What comes in: a resource of a month. What goes out: its cells in the month's row. What it must never do: set a
//! cost or an amount of usage.

use super::amount::{ONE, rate_text};
use super::columns::Column::*;
use super::commit::plan_rate;
use super::draw::Draw;
use super::month::{Month, Resource};
use super::plan::Account;
use super::services::Shape;
use super::world::World;
use std::fmt::Write;

/// What the private pricing agreement takes off.
pub(super) const EDP_PERCENT: i64 = 6;
/// What a private rate takes off.
pub(super) const PRIVATE_PERCENT: i64 = 25;

const ID_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const APPLICATIONS: &[&str] =
    &["web", "checkout", "search", "billing-api", "etl", "ml-train", "portal", "mobile", "reporting", "auth"];
const OWNERS: &[&str] = &["platform", "data & insights", "commerce", "it-ops", "research"];

/// Texts that are built anew for each run and kept for their memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The resource's id.
    pub(super) resource: String,
    /// Anything else.
    pub(super) text: String,
}

impl Month<'_> {
    /// Blanks the row and sets what every line item of an account has.
    pub(super) fn account_cells(&mut self, account: Option<usize>, bill: &str, draw: &mut Draw) {
        let world = self.world;
        let payer = &world.plan.accounts[world.plan.payer()];
        let row = &mut self.row;
        row.clear();
        self.scratch.text.clear();
        draw.letters(&mut self.scratch.text, ID_LETTERS, 52);
        row.set(LineItemId, &self.scratch.text);
        row.set(BillingEntity, "AWS");
        row.set(BillType, bill);
        row.set(PayerAccountId, &payer.id);
        row.set(PayerAccountName, &payer.name);
        row.moment(PeriodStart, self.period.start);
        row.moment(PeriodEnd, self.period.end);
        row.span(self.period.start, self.period.end);
        row.set(CurrencyCode, "USD");
        row.set(Currency, "USD");
        let who = account.map(|number| &world.plan.accounts[number]);
        let is_eu = who.is_none_or(|found| found.is_eu);
        let entity = if is_eu { "Amazon Web Services EMEA SARL" } else { "Amazon Web Services, Inc." };
        row.set(InvoicingEntity, entity);
        row.set(LegalEntity, entity);
        if let Some(found) = who {
            row.set(UsageAccountId, &found.id);
            row.set(UsageAccountName, &found.name);
        }
        // The newest month is still open, so it has no invoices yet.
        if self.period.index + 1 < world.periods.len() {
            let kind = u64::from(is_eu) + 2 * u64::from(bill.len() as u32);
            let invoice = world.draw(&[50, self.period.index as u64, kind]).below(899_999_999);
            self.scratch.text.clear();
            let prefix = if is_eu { "EUINDE" } else { "" };
            let _ = write!(self.scratch.text, "{prefix}{}", 1_100_000_000 + invoice);
            row.set(InvoiceId, &self.scratch.text);
        }
    }

    /// What a line item inherits from its SKU.
    pub(super) fn sku_cells(&mut self, number: usize) {
        let sku = &self.world.catalog.skus[number];
        let row = &mut self.row;
        row.set(ProductCode, sku.code);
        row.set(UsageType, &sku.usage_type);
        row.set(Operation, sku.operation);
        row.set(Description, &sku.description);
        row.set(UnblendedRate, &sku.rate_text);
        row.set(BlendedRate, &sku.rate_text);
        row.set(PublicRate, &sku.rate_text);
        row.set(RateId, &sku.rate_id);
        row.set(RateCode, &sku.rate_code);
        row.set(Term, "OnDemand");
        row.set(Unit, sku.unit);
        for (column, text) in &sku.attributes {
            row.set(*column, text);
        }
        if let Some(instance) = sku.instance {
            row.number(NormalizationFactor, instance.factor * (ONE / 10));
        }
        if self.period.index >= self.world.parts.agreement {
            row.set(NetUnblendedRate, &rate_text(sku.rate * (100 - EDP_PERCENT) / 100));
        }
    }

    /// All of a resource's cells. Each call makes another resource of the same kind.
    pub(super) fn usage_cells(&mut self, resource: &mut Resource, line_item_type: &str) {
        self.account_cells(Some(resource.account), "Anniversary", &mut resource.draw);
        self.sku_cells(resource.sku);
        self.row.set(LineItemType, line_item_type);
        self.resource_cells(resource);
        self.tag_cells(resource);
    }

    fn resource_cells(&mut self, resource: &mut Resource) {
        let sku = &self.world.catalog.skus[resource.sku];
        let id = &mut self.scratch.resource;
        id.clear();
        resource_id(self.world, resource.account, resource.sku, &mut resource.ids, id);
        self.row.set(ResourceId, id);
        if sku.instance.is_some() {
            self.scratch.text.clear();
            let _ = write!(self.scratch.text, "{}{}", sku.region.code, resource.ids.pick(&["a", "b", "c"]));
            self.row.set(Zone, &self.scratch.text);
            self.row.set(PAvailabilityZone, &self.scratch.text);
        }
    }

    fn tag_cells(&mut self, resource: &mut Resource) {
        let world = self.world;
        let account = &world.plan.accounts[resource.account];
        self.category_cells(account);
        let draw = &mut resource.ids;
        let is_tagged = draw.percent(80);
        let maker = draw.below(10);
        let application = *draw.pick(APPLICATIONS);
        let owner = *draw.pick(OWNERS);
        let is_stacked = draw.percent(25);
        let is_scaled = draw.percent(30);
        let name = draw.below(60);
        if maker < 8 {
            self.row.set(TCreatedBy, &account.makers[(maker % 5).min(2) as usize]);
        }
        if is_stacked {
            self.stack_cells(resource, application);
        }
        if is_scaled && world.catalog.is_server(resource.sku) {
            self.scratch.text.clear();
            let _ = write!(self.scratch.text, "{application}-{}-asg", account.environment);
            self.row.set(TScaling, &self.scratch.text);
        }
        if is_tagged {
            self.user_tags(account, application, owner, name);
        }
    }

    fn category_cells(&mut self, account: &Account) {
        if let Some(customer) = account.owner {
            self.row.set(CCustomer, &self.world.plan.customers[customer].name);
        }
        let class =
            if matches!(account.environment, "prod" | "shared") { "Production" } else { "Non-production" };
        self.row.set(CEnvironment, class);
    }

    fn user_tags(&mut self, account: &Account, application: &str, owner: &str, name: u64) {
        let parts = &self.world.parts;
        let month = self.period.index;
        let has_drifted = account.owner == Some(parts.drift.0) && month >= parts.drift.1;
        self.row.set(if has_drifted { TCostCenterNew } else { TCostCenter }, &account.cost_center);
        self.row.set(TApplication, application);
        self.row.set(TEnvironment, account.environment);
        self.row.set(TOwner, owner);
        if account.owner == Some(parts.project.0) && month >= parts.project.1 {
            self.row.set(TProject, if name.is_multiple_of(2) { "atlas" } else { "migration, phase 2" });
        }
        self.scratch.text.clear();
        let _ = match name {
            0 => write!(self.scratch.text, "legacy \"blue\" {application}"),
            1 => write!(self.scratch.text, "Köln-{application}"),
            _ => write!(self.scratch.text, "{application}-{}-{name:02}", account.environment),
        };
        self.row.set(TName, &self.scratch.text);
    }

    fn stack_cells(&mut self, resource: &mut Resource, application: &str) {
        let account = &self.world.plan.accounts[resource.account];
        let region = self.world.catalog.skus[resource.sku].region.code;
        let text = &mut self.scratch.text;
        text.clear();
        let _ = write!(text, "{application}-{}", account.environment);
        self.row.set(TStackName, text);
        text.clear();
        let _ = write!(
            text,
            "arn:aws:cloudformation:{region}:{}:stack/{application}-{}/",
            account.id, account.environment
        );
        resource.ids.uuid(text);
        self.row.set(TStackId, text);
        text.clear();
        text.push_str("Resource");
        resource.ids.letters(text, b"ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", 8);
        self.row.set(TLogical, text);
    }

    /// What a Savings Plan adds to covered usage.
    pub(super) fn plan_cells(&mut self, number: usize, sku: usize) {
        let plan = &self.world.commitments.plans[number];
        let row = &mut self.row;
        row.set(SArn, &plan.arn);
        row.set(SOffering, "ComputeSavingsPlans");
        row.set(SPayment, plan.payment.as_str());
        row.set(STerm, "3yr");
        set_time(row, SStartTime, plan.life.0);
        set_time(row, SEndTime, plan.life.1 - 1);
        if let Some(found) = self.world.catalog.skus.get(sku) {
            row.number(SRate, plan_rate(found.rate));
        }
    }

    /// What takes the covered usage of an account off again.
    pub(super) fn negation_cells(&mut self, resource: &Resource, number: usize) {
        let sku = &self.world.catalog.skus[resource.sku];
        let mut draw = resource.draw.clone();
        self.account_cells(Some(resource.account), "Anniversary", &mut draw);
        self.sku_cells(resource.sku);
        let account = &self.world.plan.accounts[resource.account];
        self.category_cells(account);
        self.plan_cells(number, usize::MAX);
        let text = &mut self.scratch.text;
        text.clear();
        let _ =
            write!(text, "SavingsPlanNegation used by AccountId : {} and UsageSku : {}", account.id, sku.id);
        self.row.set(Description, text);
        self.row.set(LineItemType, "SavingsPlanNegation");
        self.row.blank(BlendedRate);
        self.row.blank(NormalizationFactor);
    }

    /// What a reservation adds to the usage it covers.
    pub(super) fn reserved_cells(&mut self, number: usize) {
        let found = &self.world.commitments.reservations[number];
        let sku = &self.world.catalog.skus[found.sku];
        let row = &mut self.row;
        let zero = rate_text(0);
        row.set(UnblendedRate, &zero);
        row.set(BlendedRate, &zero);
        if self.period.index >= self.world.parts.agreement {
            row.set(NetUnblendedRate, &zero);
        }
        row.set(Term, "Reserved");
        row.set(LeaseLength, if found.years == 3 { "3yr" } else { "1yr" });
        row.set(OfferingClass, "standard");
        row.set(PurchaseOption, found.payment.as_str());
        row.set(RArn, &found.arn);
        row.set(RSubscription, &found.subscription);
        let name = sku.instance.map_or("", |instance| instance.name);
        self.scratch.text.clear();
        let _ = write!(self.scratch.text, "Linux/UNIX (Amazon VPC), {name} reserved instance applied");
        row.set(Description, &self.scratch.text);
    }

    /// A pod's share of a node.
    pub(super) fn pod_cells(&mut self, resource: &mut Resource, node: &str, is_memory: bool, pod: i64) {
        let account = &self.world.plan.accounts[resource.account];
        let region = self.world.catalog.skus[resource.sku].region;
        let what = if is_memory { "EKS-EC2-GB-Hours" } else { "EKS-EC2-vCPU-Hours" };
        self.account_cells(Some(resource.account), "Anniversary", &mut resource.draw);
        self.category_cells(account);
        let row = &mut self.row;
        row.set(LineItemType, "Usage");
        row.set(ProductCode, "AmazonEKS");
        row.set(PProductName, "Amazon Elastic Container Service for Kubernetes");
        row.set(PServiceCode, "AmazonEKS");
        row.set(PRegion, region.code);
        row.set(PRegionCode, region.code);
        row.set(Operation, "EKSPod-EC2");
        row.set(UnblendedRate, &rate_text(0));
        row.set(BlendedRate, &rate_text(0));
        row.set(Unit, if is_memory { "GB-Hours" } else { "vCPU-Hours" });
        let text = &mut self.scratch.text;
        text.clear();
        let _ = write!(text, "{}{what}", region.prefix);
        row.set(UsageType, text);
        row.set(PUsageType, text);
        text.clear();
        let _ = write!(text, "$0 for {what} of a pod, {}", region.location);
        row.set(Description, text);
        text.clear();
        let name = if pod == 0 { "checkout" } else { "search" };
        let _ = write!(text, "arn:aws:eks:{}:{}:pod/prod-1/default/{name}/", region.code, account.id);
        // Both halves of a pod share its name, so that its processors and its memory can be added up.
        let key = node.bytes().fold(pod as u64, |sum, byte| sum.wrapping_mul(131) + u64::from(byte));
        self.world.draw(&[42, key]).uuid(text);
        row.set(ResourceId, text);
        row.set(XParent, node);
        row.set(TCluster, "prod-1");
        row.set(TApplication, name);
    }
}

/// `2026-11-20T23:59:59.000Z`, as reservations and plans write times.
pub(super) fn set_time(row: &mut super::row::Row, column: super::columns::Column, seconds: i64) {
    let text = apportion_model::Instant::from_millis(seconds * 1000).to_string();
    row.set(column, &text.replace('Z', ".000Z"));
}

/// A resource's id, the first thing that its stream of choices yields.
pub(super) fn resource_id(world: &World, account: usize, sku: usize, draw: &mut Draw, id: &mut String) {
    let sku = &world.catalog.skus[sku];
    let account = &world.plan.accounts[account];
    match sku.shape {
        Shape::None => {}
        Shape::Instance => {
            id.push_str("i-0");
            draw.hex(id, 16);
        }
        Shape::Volume => {
            id.push_str("vol-0");
            draw.hex(id, 16);
        }
        Shape::Bucket => {
            let _ = write!(id, "{}-{}-", account.name, draw.pick(APPLICATIONS));
            draw.hex(id, 6);
        }
        Shape::Arn(service, what) => {
            let _ = write!(id, "arn:aws:{service}:{}:{}:{what}", sku.region.code, account.id);
            resource_name(id, what, draw);
        }
        Shape::Global(service, what) => {
            let _ = write!(id, "arn:aws:{service}::{}:{what}", account.id);
            draw.letters(id, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 14);
        }
    }
}

/// The name behind the last part of an ARN.
fn resource_name(id: &mut String, what: &str, draw: &mut Draw) {
    match what {
        "natgateway/" => id.push_str("nat-0"),
        "snapshot/" => id.push_str("snap-0"),
        "key/" => return draw.uuid(id),
        _ => {
            id.push_str(draw.pick::<&str>(APPLICATIONS));
            id.push('-');
        }
    }
    draw.hex(id, 16);
}
