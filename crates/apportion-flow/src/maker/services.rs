//! Services, regions and instance types: the constant tables behind the catalog.
//!
//! What comes in: nothing. What goes out: what AWS calls things and about what it asks for them in `us-east-1`. What
//! it must never do: be read as a price list; the rates are believable, not current.

use super::columns::Column::{self, *};
use Measure::{Count, Hours, Stock, Volume};

/// A region.
#[derive(Debug)]
pub(super) struct Region {
    /// `eu-central-1`.
    pub(super) code: &'static str,
    /// `EU (Frankfurt)`.
    pub(super) location: &'static str,
    /// What usage types begin with there.
    pub(super) prefix: &'static str,
    /// Rates there, in percent of those in `us-east-1`.
    pub(super) percent: i64,
}

/// Regions in use, the first being the one that has list rates.
pub(super) const REGIONS: &[Region] = &[
    Region { code: "us-east-1", location: "US East (N. Virginia)", prefix: "", percent: 100 },
    Region { code: "eu-central-1", location: "EU (Frankfurt)", prefix: "EUC1-", percent: 119 },
    Region { code: "eu-west-1", location: "EU (Ireland)", prefix: "EU-", percent: 108 },
    Region { code: "us-west-2", location: "US West (Oregon)", prefix: "USW2-", percent: 100 },
    Region { code: "ap-southeast-1", location: "Asia Pacific (Singapore)", prefix: "APS1-", percent: 125 },
];

/// An instance type of EC2, RDS or ElastiCache.
#[derive(Debug)]
pub(super) struct Instance {
    /// `m5.xlarge`.
    pub(super) name: &'static str,
    /// Ten-billionths of a dollar per hour.
    pub(super) rate: i64,
    /// Threads.
    pub(super) vcpu: u32,
    /// Memory.
    pub(super) gib: u32,
    /// `General purpose`.
    pub(super) family: &'static str,
    /// Processor.
    pub(super) processor: &'static str,
    /// Normalization factor in tenths.
    pub(super) factor: i64,
    /// How often it is met.
    pub(super) weight: u64,
}

const XEON: &str = "Intel Xeon Platinum 8175 (Skylake)";
const ICE: &str = "Intel Xeon 8375C (Ice Lake)";
const GRAVITON: &str = "AWS Graviton2 Processor";
const GENERAL: &str = "General purpose";
const COMPUTE: &str = "Compute optimized";
const MEMORY: &str = "Memory optimized";

const fn instance(
    name: &'static str,
    rate: i64,
    size: (u32, u32),
    family: &'static str,
    processor: &'static str,
    factor: i64,
    weight: u64,
) -> Instance {
    Instance { name, rate: rate * 1_000_000, vcpu: size.0, gib: size.1, family, processor, factor, weight }
}

/// EC2; the last is met only where a story needs it.
pub(super) const EC2: &[Instance] = &[
    instance("t3.medium", 416, (2, 4), GENERAL, XEON, 20, 10),
    instance("t3.large", 832, (2, 8), GENERAL, XEON, 40, 9),
    instance("m5.large", 960, (2, 8), GENERAL, XEON, 40, 12),
    instance("m5.xlarge", 1920, (4, 16), GENERAL, XEON, 80, 12),
    instance("m5.2xlarge", 3840, (8, 32), GENERAL, XEON, 160, 10),
    instance("m5.4xlarge", 7680, (16, 64), GENERAL, XEON, 320, 7),
    instance("m6i.2xlarge", 3840, (8, 32), GENERAL, ICE, 160, 7),
    instance("m6i.8xlarge", 15360, (32, 128), GENERAL, ICE, 640, 4),
    instance("m6g.xlarge", 1540, (4, 16), GENERAL, GRAVITON, 80, 7),
    instance("c5.xlarge", 1700, (4, 8), COMPUTE, XEON, 80, 8),
    instance("c5.4xlarge", 6800, (16, 32), COMPUTE, XEON, 320, 5),
    instance("c6i.8xlarge", 13600, (32, 64), COMPUTE, ICE, 640, 3),
    instance("r5.2xlarge", 5040, (8, 64), MEMORY, XEON, 160, 6),
    instance("r5.8xlarge", 20160, (32, 256), MEMORY, XEON, 640, 3),
    instance("r6i.12xlarge", 30240, (48, 384), MEMORY, ICE, 960, 2),
    instance("p4d.24xlarge", 327_726, (96, 1152), "GPU instance", "Intel Xeon Platinum 8275L", 1920, 0),
];

/// RDS for PostgreSQL.
pub(super) const RDS: &[Instance] = &[
    instance("db.t3.medium", 720, (2, 4), GENERAL, XEON, 20, 8),
    instance("db.m5.large", 1780, (2, 8), GENERAL, XEON, 40, 8),
    instance("db.m5.2xlarge", 7120, (8, 32), GENERAL, XEON, 160, 6),
    instance("db.r5.2xlarge", 10000, (8, 64), MEMORY, XEON, 160, 4),
    instance("db.r6g.4xlarge", 17980, (16, 128), MEMORY, GRAVITON, 320, 2),
];

/// ElastiCache for Redis.
pub(super) const CACHE: &[Instance] = &[
    instance("cache.t3.medium", 680, (2, 3), "Standard", XEON, 20, 5),
    instance("cache.r6g.large", 2060, (2, 13), MEMORY, GRAVITON, 40, 5),
    instance("cache.r6g.2xlarge", 8210, (8, 52), MEMORY, GRAVITON, 160, 2),
];

/// How an amount comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// The hours of the slot.
    Hours,
    /// A constant stock of so many units, billed by its part of the month.
    Stock(i64, i64),
    /// So many whole units an hour.
    Count(i64, i64),
    /// So many thousandths of a unit an hour.
    Volume(i64, i64),
}

/// What a resource id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// None.
    None,
    /// `i-0…`
    Instance,
    /// `vol-0…`
    Volume,
    /// `arn:aws:SERVICE:REGION:ACCOUNT:WHAT/NAME` or with a colon before the name.
    Arn(&'static str, &'static str),
    /// A bucket's name.
    Bucket,
    /// `arn:aws:SERVICE::ACCOUNT:WHAT/ID`, a global service.
    Global(&'static str, &'static str),
}

/// Something a service charges for.
#[derive(Debug)]
pub(super) struct Product {
    /// `AmazonEC2`.
    pub(super) code: &'static str,
    /// `Amazon Elastic Compute Cloud`.
    pub(super) name: &'static str,
    /// The price list's service, where it isn't `code`.
    pub(super) service: &'static str,
    /// Product family.
    pub(super) family: &'static str,
    /// Usage type in `us-east-1`.
    pub(super) usage: &'static str,
    /// Operation.
    pub(super) operation: &'static str,
    /// Pricing unit.
    pub(super) unit: &'static str,
    /// Ten-billionths of a dollar per unit.
    pub(super) rate: i64,
    /// The description behind the price.
    pub(super) per: &'static str,
    /// How much of it is used.
    pub(super) measure: Measure,
    /// What uses it.
    pub(super) shape: Shape,
    /// How often it is met.
    pub(super) weight: u64,
    /// Further attributes.
    pub(super) more: &'static [(Column, &'static str)],
}

/// A service that comes up while the report runs.
pub(super) const NEW_SERVICE: &str = "AmazonBedrock";

macro_rules! product {
    ($code:literal, $name:literal, $service:literal, $family:literal, $usage:literal, $operation:literal, $unit:literal,
     $rate:literal, $per:literal, $measure:expr, $shape:expr, $weight:literal, [$($column:ident $value:literal),*]) => {
        Product {
            code: $code, name: $name, service: $service, family: $family, usage: $usage, operation: $operation,
            unit: $unit, rate: $rate, per: $per, measure: $measure, shape: $shape, weight: $weight,
            more: &[$(($column, $value)),*],
        }
    };
}

/// Everything that isn't an instance by the hour. Rates are in ten-billionths of a dollar.
#[rustfmt::skip]
pub(super) const PRODUCTS: &[Product] = &[
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "Storage", "EBS:VolumeUsage.gp3", "CreateVolume-Gp3", "GB-Mo", 800_000_000,
        "per GB-month of General Purpose (gp3) provisioned storage", Stock(100, 4_000), Shape::Volume, 80,
        [PVolumeType "General Purpose", PVolumeApi "gp3", PStorageMedia "SSD-backed", PMaxIops "16000", PMaxThroughput "1000 MiB/s", PMaxVolumeSize "16 TiB"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "Storage", "EBS:VolumeUsage.gp2", "CreateVolume-Gp2", "GB-Mo", 1_000_000_000,
        "per GB-month of General Purpose SSD (gp2) provisioned storage", Stock(50, 2_000), Shape::Volume, 50,
        [PVolumeType "General Purpose", PVolumeApi "gp2", PStorageMedia "SSD-backed", PMaxIops "16000", PMaxIopsBurst "3000 for volumes <= 1 TiB", PMaxThroughput "250 MiB/s", PMaxVolumeSize "16 TiB"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "Storage", "EBS:VolumeUsage.io2", "CreateVolume-Io2", "GB-Mo", 1_250_000_000,
        "per GB-month of Provisioned IOPS SSD (io2) provisioned storage", Stock(100, 1_500), Shape::Volume, 12,
        [PVolumeType "Provisioned IOPS", PVolumeApi "io2", PStorageMedia "SSD-backed", PMaxIops "64000", PMaxThroughput "1000 MiB/s", PMaxVolumeSize "16 TiB"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "Storage Snapshot", "EBS:SnapshotUsage", "CreateSnapshot", "GB-Mo", 500_000_000,
        "per GB-Month of snapshot data stored", Stock(200, 6_000), Shape::Arn("ec2", "snapshot/"), 30, [PStorageMedia "Amazon S3"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "NAT Gateway", "NatGateway-Hours", "NatGateway", "Hrs", 450_000_000,
        "per NAT Gateway Hour", Hours, Shape::Arn("ec2", "natgateway/"), 30, [PGroup "NGW:NatGateway", PGroupDescription "Hourly charge for NAT Gateways"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AmazonEC2", "NAT Gateway", "NatGateway-Bytes", "NatGateway", "GB", 450_000_000,
        "per GB Data Processed by NAT Gateways", Volume(500, 20_000), Shape::Arn("ec2", "natgateway/"), 30, [PGroup "NGW:NatGateway", PGroupDescription "Charge for per GB data processed by NatGateways"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AWSDataTransfer", "Data Transfer", "DataTransfer-Out-Bytes", "RunInstances", "GB", 900_000_000,
        "per GB - first 10 TB / month, data transfer out beyond the global free tier", Volume(100, 13_333), Shape::Instance, 45,
        [PTransferType "AWS Outbound", PFromLocationType "AWS Region", PToLocation "External", PToLocationType "Other"]),
    product!("AmazonEC2", "Amazon Elastic Compute Cloud", "AWSDataTransfer", "Data Transfer", "DataTransfer-Regional-Bytes", "InterZone-In", "GB", 100_000_000,
        "per GB - regional data transfer - in/out/between EC2 AZs, or using elastic IPs, or ELB", Volume(500, 30_000), Shape::Instance, 45,
        [PTransferType "IntraRegion", PFromLocationType "AWS Region", PToLocationType "AWS Region"]),
    product!("AWSELB", "Elastic Load Balancing", "AWSELB", "Load Balancer-Application", "LoadBalancerUsage", "LoadBalancing:Application", "Hrs", 225_000_000,
        "per Application LoadBalancer-hour (or partial hour)", Hours, Shape::Arn("elasticloadbalancing", "loadbalancer/app/"), 35, [PGroup "ELB:Balancing", PGroupDescription "LoadBalancer hourly usage by Application Load Balancer"]),
    product!("AWSELB", "Elastic Load Balancing", "AWSELB", "Load Balancer-Application", "LCUUsage", "LoadBalancing:Application", "LCU-Hrs", 80_000_000,
        "per used Application load balancer capacity unit-hour (or partial hour)", Volume(500, 10_000), Shape::Arn("elasticloadbalancing", "loadbalancer/app/"), 35, [PGroup "ELB:Balancing", PGroupDescription "Used Application Load Balancer capacity units-hr"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AmazonS3", "Storage", "TimedStorage-ByteHrs", "StandardStorage", "GB-Mo", 230_000_000,
        "per GB - first 50 TB / month of storage used", Stock(500, 40_000), Shape::Bucket, 70, [PStorageClass "General Purpose", PVolumeType "Standard", PDurability "99.999999999%", PAvailability "99.99%"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AmazonS3", "Storage", "TimedStorage-SIA-ByteHrs", "StandardIAStorage", "GB-Mo", 125_000_000,
        "per GB-Month of storage used in Standard-Infrequent Access", Stock(500, 60_000), Shape::Bucket, 25, [PStorageClass "Infrequent Access", PVolumeType "Standard - Infrequent Access", PDurability "99.999999999%", PAvailability "99.9%"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AmazonS3", "API Request", "Requests-Tier1", "PutObject", "Requests", 50_000,
        "per 1,000 PUT, COPY, POST, or LIST requests", Count(1_000, 225_000), Shape::Bucket, 50, [PGroup "S3-API-Tier1", PGroupDescription "PUT/COPY/POST or LIST requests"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AmazonS3", "API Request", "Requests-Tier2", "GetObject", "Requests", 4_000,
        "per 10,000 GET and all other requests", Count(5_000, 2_250_000), Shape::Bucket, 50, [PGroup "S3-API-Tier2", PGroupDescription "GET and all other requests"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AWSDataTransfer", "Data Transfer", "DataTransfer-Out-Bytes", "GetObject", "GB", 900_000_000,
        "per GB - first 10 TB / month data transfer out", Volume(50, 6_666), Shape::Bucket, 25, [PTransferType "AWS Outbound", PFromLocationType "AWS Region", PToLocation "External", PToLocationType "Other"]),
    product!("AmazonS3", "Amazon Simple Storage Service", "AWSDataTransfer", "Data Transfer", "DataTransfer-In-Bytes", "PutObject", "GB", 0,
        "per GB - data transfer in per month", Volume(10, 3_000), Shape::Bucket, 20, [PTransferType "AWS Inbound", PFromLocation "External", PFromLocationType "Other", PToLocationType "AWS Region"]),
    product!("AmazonRDS", "Amazon Relational Database Service", "AmazonRDS", "Database Storage", "RDS:GP3-Storage", "CreateDBInstance:0014", "GB-Mo", 1_150_000_000,
        "per GB-month of provisioned gp3 storage running PostgreSQL", Stock(100, 3_000), Shape::Arn("rds", "db:"), 30, [PDatabaseEngine "PostgreSQL", PDeployment "Single-AZ", PVolumeType "General Purpose-GP3", PStorageMedia "SSD", PMinVolumeSize "20 GB", PMaxVolumeSize "64 TB"]),
    product!("AmazonRDS", "Amazon Relational Database Service", "AmazonRDS", "Storage Snapshot", "RDS:ChargedBackupUsage", "CreateDBInstance", "GB-Mo", 950_000_000,
        "per additional GB-month of backup storage exceeding free allocation", Stock(20, 2_000), Shape::Arn("rds", "cluster-snapshot:"), 14, [PDatabaseEngine "Any", PEngineCode "0"]),
    product!("AWSLambda", "AWS Lambda", "AWSLambda", "Serverless", "Lambda-GB-Second", "Invoke", "Lambda-GB-Second", 166_667,
        "AWS Lambda - Total Compute, per GB-second", Count(500, 100_000), Shape::Arn("lambda", "function:"), 40, [PGroup "AWS-Lambda-Duration", PGroupDescription "Invocation duration weighted by memory assigned to function, measured in GB-s", PTierType "Tier-1"]),
    product!("AWSLambda", "AWS Lambda", "AWSLambda", "Serverless", "Request", "Invoke", "Request", 2_000,
        "AWS Lambda - Total Requests, per 1 million requests", Count(1_000, 750_000), Shape::Arn("lambda", "function:"), 40, [PGroup "AWS-Lambda-Requests", PGroupDescription "Invocation call for a Lambda function"]),
    product!("AmazonCloudFront", "Amazon CloudFront", "AmazonCloudFront", "Data Transfer", "EU-DataTransfer-Out-Bytes", "GET", "GB", 850_000_000,
        "per GB - first 10 TB / month data transfer out (EU, Israel, Turkey)", Volume(200, 30_000), Shape::Global("cloudfront", "distribution/"), 30, [PTransferType "CloudFront Outbound", PFromLocation "Europe", PFromLocationType "AWS Edge Location", PToLocation "External", PToLocationType "Other"]),
    product!("AmazonCloudFront", "Amazon CloudFront", "AmazonCloudFront", "Request", "EU-Requests-Tier2-HTTPS", "GET", "Requests", 12_000,
        "per 10,000 HTTPS requests (EU, Israel, Turkey)", Count(10_000, 1_000_000), Shape::Global("cloudfront", "distribution/"), 25, [PRequestType "CloudFront-Request-HTTPS-Proxy", PRequestDescription "HTTPS Request", PLocation "Europe"]),
    product!("AmazonDynamoDB", "Amazon DynamoDB", "AmazonDynamoDB", "Amazon DynamoDB PayPerRequest Throughput", "WriteRequestUnits", "PayPerRequestThroughput", "WriteRequestUnits", 12_500,
        "per million write request units", Count(1_000, 750_000), Shape::Arn("dynamodb", "table/"), 22, [PGroup "DDB-WriteUnits", PGroupDescription "DynamoDB PayPerRequest Write Request Units"]),
    product!("AmazonDynamoDB", "Amazon DynamoDB", "AmazonDynamoDB", "Amazon DynamoDB PayPerRequest Throughput", "ReadRequestUnits", "PayPerRequestThroughput", "ReadRequestUnits", 2_500,
        "per million read request units", Count(1_000, 2_250_000), Shape::Arn("dynamodb", "table/"), 22, [PGroup "DDB-ReadUnits", PGroupDescription "DynamoDB PayPerRequest Read Request Units"]),
    product!("AmazonDynamoDB", "Amazon DynamoDB", "AmazonDynamoDB", "Database Storage", "TimedStorage-ByteHrs", "StandardStorage", "GB-Mo", 2_500_000_000,
        "per GB-Month of storage used beyond first 25 free GB-Months", Stock(26, 900), Shape::Arn("dynamodb", "table/"), 14, [PVolumeType "Amazon DynamoDB - Indexed DataStore"]),
    product!("AmazonCloudWatch", "AmazonCloudWatch", "AmazonCloudWatch", "Metric", "CW:MetricMonitorUsage", "MetricStorage:AWS/EC2", "Metrics", 3_000_000_000,
        "per metric-month - first 10,000 metrics", Stock(10, 900), Shape::Instance, 30, [PGroup "Metric", PGroupDescription "CloudWatch Custom Metrics"]),
    product!("AmazonCloudWatch", "AmazonCloudWatch", "AmazonCloudWatch", "Data Payload", "DataProcessing-Bytes", "PutLogEvents", "GB", 5_000_000_000,
        "per GB custom log data ingested in Standard log class", Volume(20, 1_666), Shape::Arn("logs", "log-group:/aws/"), 40, [PGroup "Ingested Logs", PGroupDescription "Existing system, application, and custom log files"]),
    product!("awskms", "AWS Key Management Service", "awskms", "Encryption Key", "KMS-Keys", "Unknown", "Months", 10_000_000_000,
        "per customer managed KMS key version", Stock(1, 3), Shape::Arn("kms", "key/"), 25, []),
    product!("awskms", "AWS Key Management Service", "awskms", "API Request", "KMS-Requests", "Decrypt", "Requests", 30_000,
        "per 10,000 KMS requests", Count(100, 50_000), Shape::Arn("kms", "key/"), 25, [PGroup "KMS-Requests"]),
    product!("AmazonRoute53", "Amazon Route 53", "AmazonRoute53", "DNS Query", "DNS-Queries", "A", "Queries", 4_000,
        "per 1,000,000 queries for the first 1 Billion queries", Count(100, 200_000), Shape::Global("route53", "hostedzone/"), 12, [PRoutingType "Standard", PRoutingTarget "Global"]),
    product!("AWSQueueService", "Amazon Simple Queue Service", "AWSQueueService", "API Request", "Requests-RBP", "Receive", "Requests", 4_000,
        "per 1,000,000 Amazon SQS Requests in Tier1", Count(1_000, 500_000), Shape::Arn("sqs", ""), 20, [PGroup "SQS-APIRequest-Tier1", PQueueType "Standard", PDeliveryFrequency "At least once", PDeliveryOrder "Not guaranteed"]),
    product!("AmazonEKS", "Amazon Elastic Container Service for Kubernetes", "AmazonEKS", "Compute", "AmazonEKS-Hours:perCluster", "CreateOperation", "Hours", 1_000_000_000,
        "Amazon EKS cluster usage, per hour", Hours, Shape::Arn("eks", "cluster/"), 10, [PTierType "HAStandard"]),
    product!("AmazonECS", "Amazon Elastic Container Service", "AmazonECS", "Compute", "Fargate-vCPU-Hours:perCPU", "FargateTask", "hours", 404_800_000,
        "AWS Fargate - vCPU, per hour", Volume(1_000, 21_333), Shape::Arn("ecs", "task/prod/"), 20, [PTenancy "Shared"]),
    product!("AmazonECR", "Amazon EC2 Container Registry (ECR)", "AmazonECR", "EC2 Container Registry", "TimedStorage-ByteHrs", "StandardStorage", "GB-Mo", 1_000_000_000,
        "per GB-month of data storage", Stock(5, 400), Shape::Arn("ecr", "repository/"), 10, []),
    product!("AWSCloudTrail", "AWS CloudTrail", "AWSCloudTrail", "Management Tools - AWS CloudTrail Paid Events Recorded", "PaidEventsRecorded", "None", "Events", 200_000,
        "per paid event recorded", Count(10, 12_500), Shape::None, 14, []),
    product!("AWSConfig", "AWS Config", "AWSConfig", "Management Tools - AWS Config", "ConfigurationItemRecorded", "None", "ConfigurationItemRecorded", 30_000_000,
        "per Configuration Item recorded", Count(1, 225), Shape::None, 16, []),
    product!("AmazonGuardDuty", "Amazon GuardDuty", "AmazonGuardDuty", "Security Services - Amazon GuardDuty CloudTrail Analysis", "PaidEventsAnalyzed", "None", "Events", 40_000,
        "per 1,000,000 CloudTrail events analyzed", Count(100, 22_500), Shape::None, 12, [PGroup "CloudTrail Events"]),
    product!("AWSSecretsManager", "AWS Secrets Manager", "AWSSecretsManager", "Secret", "AWSSecretsManager-Secrets", "", "Secrets", 4_000_000_000,
        "per Secret", Stock(1, 60), Shape::Arn("secretsmanager", "secret:"), 10, [PGroup "AWSSecretsManager-Secrets"]),
    product!("AmazonBedrock", "Amazon Bedrock", "AmazonBedrock", "Amazon Bedrock", "Nova-pro-input-tokens", "InvokeModel", "1K tokens", 8_000_000,
        "per 1K input tokens for Nova Pro", Count(50, 2_250), Shape::Global("bedrock", "inference-profile/"), 16, [PProvider "Amazon"]),
];
