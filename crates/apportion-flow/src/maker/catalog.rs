//! The SKUs of the report: every product and instance type in every region.
//!
//! What comes in: the tables of services, and the seed for SKU ids. What goes out: per SKU everything that is the same
//! on all its line items. What it must never do: depend on the month or the size of the report.

use super::amount::{price_text, rate_text};
use super::columns::Column::{self, *};
use super::draw::Draw;
use super::services::{
    CACHE, EC2, Instance, Measure, NEW_SERVICE, PRODUCTS, Product, RDS, REGIONS, Region, Shape,
};

/// What a line item of usage inherits.
#[derive(Debug)]
pub(super) struct Sku {
    /// 16 letters.
    pub(super) id: String,
    /// `AmazonEC2`.
    pub(super) code: &'static str,
    /// Number of the service among all services.
    pub(super) service: usize,
    /// With the region's prefix.
    pub(super) usage_type: String,
    /// Operation.
    pub(super) operation: &'static str,
    /// Description of on-demand usage.
    pub(super) description: String,
    /// Pricing unit.
    pub(super) unit: &'static str,
    /// Ten-billionths of a dollar per unit.
    pub(super) rate: i64,
    /// The same as text.
    pub(super) rate_text: String,
    /// Rate id.
    pub(super) rate_id: String,
    /// Rate code.
    pub(super) rate_code: String,
    /// Where.
    pub(super) region: &'static Region,
    /// How much.
    pub(super) measure: Measure,
    /// What uses it.
    pub(super) shape: Shape,
    /// The instance type.
    pub(super) instance: Option<&'static Instance>,
    /// Product columns.
    pub(super) attributes: Vec<(Column, String)>,
    /// Not met in the first half of the months.
    pub(super) is_new: bool,
}

/// Every SKU.
#[derive(Debug)]
pub(super) struct Catalog {
    /// In order of product, then region.
    pub(super) skus: Vec<Sku>,
    /// Sums of weights over one region's products, for choosing among them.
    weights: Vec<u64>,
    /// Service codes and names.
    pub(super) services: Vec<(&'static str, &'static str)>,
}

/// EC2's and its kin's place in front of the plain products.
struct Family {
    instances: &'static [Instance],
    code: &'static str,
    name: &'static str,
    family: &'static str,
    usage: &'static str,
    operation: &'static str,
    shape: Shape,
    weight: u64,
}

const FAMILIES: &[Family] = &[
    Family {
        instances: EC2,
        code: "AmazonEC2",
        name: "Amazon Elastic Compute Cloud",
        family: "Compute Instance",
        usage: "BoxUsage:",
        operation: "RunInstances",
        shape: Shape::Instance,
        weight: 6,
    },
    Family {
        instances: RDS,
        code: "AmazonRDS",
        name: "Amazon Relational Database Service",
        family: "Database Instance",
        usage: "InstanceUsage:",
        operation: "CreateDBInstance:0014",
        shape: Shape::Arn("rds", "db:"),
        weight: 5,
    },
    Family {
        instances: CACHE,
        code: "AmazonElastiCache",
        name: "Amazon ElastiCache",
        family: "Cache Instance",
        usage: "NodeUsage:",
        operation: "CreateCacheCluster:0002",
        shape: Shape::Arn("elasticache", "cluster:"),
        weight: 4,
    },
];

const SKU_LETTERS: &[u8] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";

impl Catalog {
    /// The catalog of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut made = Self { skus: Vec::new(), weights: Vec::new(), services: Vec::new() };
        for family in FAMILIES {
            for instance in family.instances {
                made.add(seed, instance.weight * family.weight, |region| {
                    instance_sku(family, instance, region)
                });
            }
        }
        for product in PRODUCTS {
            made.add(seed, product.weight, |region| product_sku(product, region));
        }
        made
    }

    fn add(&mut self, seed: u64, weight: u64, make: impl Fn(&'static Region) -> (Sku, &'static str)) {
        for region in REGIONS {
            let (mut sku, name) = make(region);
            let number = self.skus.len() as u64;
            Draw::new(seed, &[1, number]).letters(&mut sku.id, SKU_LETTERS, 16);
            sku.rate_id =
                (200_000_000_000u64 + Draw::new(seed, &[2, number]).below(99_999_999_999)).to_string();
            sku.rate_code = format!("{}.JRTCKXETXF.6YS6EN2CT7", sku.id);
            sku.service = self.services.iter().position(|(code, _)| *code == sku.code).unwrap_or_else(|| {
                self.services.push((sku.code, name));
                self.services.len() - 1
            });
            sku.attributes.push((PSku, sku.id.clone()));
            self.skus.push(sku);
        }
        let before = self.weights.last().copied().unwrap_or(0);
        self.weights.push(before + weight);
    }

    /// One SKU of a region, by weight.
    pub(super) fn choose(&self, draw: &mut Draw, region: usize, with_new: bool) -> usize {
        let total = self.weights.last().copied().unwrap_or(0);
        let at = draw.below(total);
        let product = self.weights.partition_point(|upto| *upto <= at);
        let sku = product * REGIONS.len() + region;
        // Where a service isn't there yet its users still have servers.
        if self.skus[sku].is_new && !with_new { 3 * REGIONS.len() + region } else { sku }
    }

    /// The dearer one, if both are servers; else the first.
    pub(super) fn bigger(&self, sku: usize, other: usize) -> usize {
        let both = self.is_server(sku) && self.is_server(other);
        if both && self.skus[other].rate > self.skus[sku].rate { other } else { sku }
    }

    /// The share of choices that fall on EC2's instances, in thousandths.
    pub(super) fn ec2_share(&self) -> u64 {
        self.weights[EC2.len() - 1] * 1000 / self.weights.last().copied().unwrap_or(1).max(1)
    }

    /// What an hour of an everyday server costs on average.
    pub(super) fn mean_server_rate(&self) -> i64 {
        let (sum, count) = EC2.iter().fold((0i64, 0i64), |(sum, count), found| {
            (sum + found.rate * found.weight as i64, count + found.weight as i64)
        });
        // Big accounts choose the bigger of several.
        sum * 2 / count.max(1)
    }

    /// The SKU of an instance type in a region.
    pub(super) fn instance(&self, name: &str, region: usize) -> usize {
        self.find(region, |sku| sku.instance.is_some_and(|found| found.name == name))
    }

    /// The SKU of a usage type as it is in `us-east-1`, in a region.
    pub(super) fn usage(&self, usage: &str, region: usize) -> usize {
        self.find(region, |sku| sku.usage_type.ends_with(usage))
    }

    fn find(&self, region: usize, is_it: impl Fn(&Sku) -> bool) -> usize {
        (0..self.skus.len() / REGIONS.len())
            .map(|product| product * REGIONS.len() + region)
            .find(|sku| is_it(&self.skus[*sku]))
            .unwrap_or(region)
    }

    /// The number of a service, by its product code.
    pub(super) fn service(&self, code: &str) -> usize {
        self.services.iter().position(|(found, _)| *found == code).unwrap_or(0)
    }

    /// Whether an instance type of EC2 that is met in everyday use.
    pub(super) fn is_server(&self, sku: usize) -> bool {
        self.skus[sku].code == "AmazonEC2" && self.skus[sku].instance.is_some()
    }
}

fn scaled(rate: i64, region: &Region) -> i64 {
    // AWS's rates have at most as many digits as a person can read: cut below a thousandth of the rate.
    let exact = rate * region.percent / 100;
    let mut grain = 1;
    while exact / grain >= 10_000 {
        grain *= 10;
    }
    exact / grain * grain
}

fn common(
    region: &'static Region,
    code: &'static str,
    name: &str,
    service: &str,
    family: &str,
    usage: &str,
    operation: &str,
) -> Vec<(Column, String)> {
    let service_name = if service == code { name } else { "AWS Data Transfer" };
    [
        (PProductName, name),
        (PServiceCode, service),
        (PServiceName, service_name),
        (PFamily, family),
        (PUsageType, usage),
        (POperation, operation),
        (PRegion, region.code),
        (PRegionCode, region.code),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .map(|(column, text)| (column, text.to_string()))
    .collect()
}

fn instance_sku(
    family: &'static Family,
    instance: &'static Instance,
    region: &'static Region,
) -> (Sku, &'static str) {
    let usage_type = format!("{}{}{}", region.prefix, family.usage, instance.name);
    let rate = scaled(instance.rate, region);
    let what = match family.code {
        "AmazonEC2" => format!("On Demand Linux {} Instance Hour", instance.name),
        "AmazonRDS" => {
            format!("{} Single-AZ instance hour (or partial hour) running PostgreSQL", instance.name)
        }
        _ => format!("{} node-hour (or partial hour) running Redis", instance.name),
    };
    let mut attributes =
        common(region, family.code, family.name, family.code, family.family, &usage_type, family.operation);
    attributes.extend(instance_attributes(family, instance, region));
    let sku = Sku {
        id: String::new(),
        code: family.code,
        service: 0,
        usage_type,
        operation: family.operation,
        description: format!("${} per {what}", price_text(rate)),
        unit: "Hrs",
        rate,
        rate_text: rate_text(rate),
        rate_id: String::new(),
        rate_code: String::new(),
        region,
        measure: Measure::Hours,
        shape: family.shape,
        instance: Some(instance),
        attributes,
        is_new: false,
    };
    (sku, family.name)
}

fn instance_attributes(family: &Family, instance: &Instance, region: &Region) -> Vec<(Column, String)> {
    let graviton = instance.processor.contains("Graviton");
    let type_family = instance.name.trim_start_matches("db.").trim_start_matches("cache.");
    let mut list = vec![
        (PLocation, region.location.to_string()),
        (PLocationType, "AWS Region".to_string()),
        (PInstanceType, instance.name.to_string()),
        (PInstanceTypeFamily, type_family.split('.').next().unwrap_or_default().to_string()),
        (PInstanceFamily, instance.family.to_string()),
        (PVcpu, instance.vcpu.to_string()),
        (PMemory, format!("{} GiB", instance.gib)),
        (PProcessor, instance.processor.to_string()),
        (PCurrentGeneration, "Yes".to_string()),
        (PNetwork, if instance.vcpu > 16 { "10 Gigabit" } else { "Up to 10 Gigabit" }.to_string()),
    ];
    let factor = format!("{}", instance.factor / 10);
    match family.code {
        "AmazonEC2" => list.extend(
            [
                (PNormalization, factor.as_str()),
                (POperatingSystem, "Linux"),
                (PLicenseModel, "No License required"),
                (PPreInstalled, "NA"),
                (PTenancy, "Shared"),
                (PCapacityStatus, "Used"),
                (PMarketOption, "OnDemand"),
                (PStorage, "EBS only"),
                (PArchitecture, "64-bit"),
                (PEcu, if instance.name.starts_with('t') { "Variable" } else { "NA" }),
                (PDedicatedEbs, if instance.vcpu > 8 { "4750 Mbps" } else { "Up to 4750 Mbps" }),
                (PClockSpeed, if graviton { "2.5 GHz" } else { "3.1 GHz" }),
                (
                    PProcessorFeatures,
                    if graviton { "" } else { "Intel AVX, Intel AVX2, Intel AVX512, Intel Turbo" },
                ),
                (PIntelAvx, if graviton { "No" } else { "Yes" }),
                (PIntelAvx2, if graviton { "No" } else { "Yes" }),
                (PIntelTurbo, if graviton { "No" } else { "Yes" }),
                (PEnhancedNetworking, "Yes"),
            ]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(column, text)| (column, text.to_string())),
        ),
        "AmazonRDS" => list.extend([
            (PNormalization, factor),
            (PDatabaseEngine, "PostgreSQL".to_string()),
            (PEngineCode, "14".to_string()),
            (PDeployment, "Single-AZ".to_string()),
            (PLicenseModel, "No license required".to_string()),
            (PArchitecture, "64-bit".to_string()),
            (PStorage, "EBS Only".to_string()),
        ]),
        _ => list.push((PCacheEngine, "Redis".to_string())),
    }
    list
}

fn product_sku(product: &'static Product, region: &'static Region) -> (Sku, &'static str) {
    // CloudFront's and Route 53's usage types are the same everywhere, as they serve the world.
    let is_global = matches!(product.shape, Shape::Global(..));
    let prefix = if is_global { "" } else { region.prefix };
    let usage_type = format!("{prefix}{}", product.usage);
    let rate = if is_global { product.rate } else { scaled(product.rate, region) };
    let mut attributes = common(
        region,
        product.code,
        product.name,
        product.service,
        product.family,
        &usage_type,
        product.operation,
    );
    if is_global {
        attributes.retain(|(column, _)| !matches!(column, PRegion | PRegionCode));
    } else if product.service == "AWSDataTransfer" {
        let (location, code) = if product.usage.contains("-In-") {
            (PToLocation, PToRegion)
        } else {
            (PFromLocation, PFromRegion)
        };
        attributes.push((location, region.location.to_string()));
        attributes.push((code, region.code.to_string()));
    } else {
        attributes.push((PLocation, region.location.to_string()));
        attributes.push((PLocationType, "AWS Region".to_string()));
    }
    attributes.extend(product.more.iter().map(|(column, text)| (*column, (*text).to_string())));
    // Descriptions name the price of as many units as they speak of.
    let units = if product.per.contains("1,000,000")
        || product.per.contains("per million")
        || product.per.contains("1 million")
    {
        1_000_000
    } else if product.per.contains("10,000") && product.unit == "Requests" {
        10_000
    } else if product.per.contains("1,000 ") {
        1_000
    } else {
        1
    };
    let sku = Sku {
        id: String::new(),
        code: product.code,
        service: 0,
        usage_type,
        operation: product.operation,
        description: format!("${} {}", price_text(rate * units), product.per),
        unit: product.unit,
        rate,
        rate_text: rate_text(rate),
        rate_id: String::new(),
        rate_code: String::new(),
        region,
        measure: product.measure,
        shape: product.shape,
        instance: None,
        attributes,
        is_new: product.code == NEW_SERVICE,
    };
    (sku, product.name)
}
