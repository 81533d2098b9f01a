//! The columns the maker can fill.
//!
//! What comes in: nothing but this table. What goes out: each column's number, names, type and place in CUR 2.0.
//! What it must never do: be taken for the list of known columns; that is `columns.toml`, and the two are kept apart
//! so that a mistake in one shows.

/// How AWS types a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// A number with at most ten decimals.
    Double,
    /// A moment.
    Moment,
}

/// One column.
#[derive(Debug)]
pub(super) struct Info {
    /// The group before the slash; `name` for the two names that only CUR 2.0 has.
    pub(super) group: &'static str,
    /// What follows the slash.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
}

macro_rules! columns {
    ($($group:literal { $($column:ident $name:literal $kind:ident,)* })*) => {
        /// A column by its number, in the order of a legacy file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub(super) enum Column { $($($column,)*)* }

        /// Every column, at its number.
        pub(super) const COLUMNS: &[Info] = &[
            $($(Info { group: $group, name: $name, kind: Kind::$kind },)*)*
        ];

        /// Every column in order.
        pub(super) const ALL: &[Column] = &[$($(Column::$column,)*)*];
    };
}

columns! {
    "identity" {
        LineItemId "LineItemId" Text,
        TimeInterval "TimeInterval" Text,
    }
    "bill" {
        InvoiceId "InvoiceId" Text,
        InvoicingEntity "InvoicingEntity" Text,
        BillingEntity "BillingEntity" Text,
        BillType "BillType" Text,
        PayerAccountId "PayerAccountId" Text,
        PeriodStart "BillingPeriodStartDate" Moment,
        PeriodEnd "BillingPeriodEndDate" Moment,
    }
    "name" {
        PayerAccountName "bill_payer_account_name" Text,
        UsageAccountName "line_item_usage_account_name" Text,
    }
    "lineItem" {
        UsageAccountId "UsageAccountId" Text,
        LineItemType "LineItemType" Text,
        UsageStart "UsageStartDate" Moment,
        UsageEnd "UsageEndDate" Moment,
        ProductCode "ProductCode" Text,
        UsageType "UsageType" Text,
        Operation "Operation" Text,
        Zone "AvailabilityZone" Text,
        ResourceId "ResourceId" Text,
        UsageAmount "UsageAmount" Double,
        NormalizationFactor "NormalizationFactor" Double,
        NormalizedUsageAmount "NormalizedUsageAmount" Double,
        CurrencyCode "CurrencyCode" Text,
        UnblendedRate "UnblendedRate" Text,
        UnblendedCost "UnblendedCost" Double,
        BlendedRate "BlendedRate" Text,
        BlendedCost "BlendedCost" Double,
        NetUnblendedRate "NetUnblendedRate" Text,
        NetUnblendedCost "NetUnblendedCost" Double,
        Description "LineItemDescription" Text,
        TaxType "TaxType" Text,
        LegalEntity "LegalEntity" Text,
    }
    "product" {
        PProductName "ProductName" Text,
        PAccountAssistance "accountAssistance" Text,
        PArchitecturalReview "architecturalReview" Text,
        PArchitectureSupport "architectureSupport" Text,
        PAvailability "availability" Text,
        PAvailabilityZone "availabilityZone" Text,
        PBestPractices "bestPractices" Text,
        PCacheEngine "cacheEngine" Text,
        PCapacityStatus "capacitystatus" Text,
        PCaseSeverity "caseSeverityresponseTimes" Text,
        PClockSpeed "clockSpeed" Text,
        PCurrentGeneration "currentGeneration" Text,
        PCustomerService "customerServiceAndCommunities" Text,
        PDatabaseEngine "databaseEngine" Text,
        PDedicatedEbs "dedicatedEbsThroughput" Text,
        PDeployment "deploymentOption" Text,
        PDurability "durability" Text,
        PEcu "ecu" Text,
        PEngineCode "engineCode" Text,
        PEnhancedNetworking "enhancedNetworkingSupported" Text,
        PFromLocation "fromLocation" Text,
        PFromLocationType "fromLocationType" Text,
        PFromRegion "fromRegionCode" Text,
        PGroup "group" Text,
        PGroupDescription "groupDescription" Text,
        PIncludedServices "includedServices" Text,
        PInstanceFamily "instanceFamily" Text,
        PInstanceType "instanceType" Text,
        PInstanceTypeFamily "instanceTypeFamily" Text,
        PIntelAvx2 "intelAvx2Available" Text,
        PIntelAvx "intelAvxAvailable" Text,
        PIntelTurbo "intelTurboAvailable" Text,
        PLaunchSupport "launchSupport" Text,
        PLicenseModel "licenseModel" Text,
        PLocation "location" Text,
        PLocationType "locationType" Text,
        PMarketOption "marketoption" Text,
        PMaxIopsBurst "maxIopsBurstPerformance" Text,
        PMaxIops "maxIopsvolume" Text,
        PMaxThroughput "maxThroughputvolume" Text,
        PMaxVolumeSize "maxVolumeSize" Text,
        PMemory "memory" Text,
        PDeliveryFrequency "messageDeliveryFrequency" Text,
        PDeliveryOrder "messageDeliveryOrder" Text,
        PMinVolumeSize "minVolumeSize" Text,
        PNetwork "networkPerformance" Text,
        PNormalization "normalizationSizeFactor" Text,
        POperatingSystem "operatingSystem" Text,
        POperation "operation" Text,
        POperationsSupport "operationsSupport" Text,
        PProcessor "physicalProcessor" Text,
        PPreInstalled "preInstalledSw" Text,
        PProactiveGuidance "proactiveGuidance" Text,
        PArchitecture "processorArchitecture" Text,
        PProcessorFeatures "processorFeatures" Text,
        PFamily "productFamily" Text,
        PCaseManagement "programmaticCaseManagement" Text,
        PProvider "provider" Text,
        PQueueType "queueType" Text,
        PRegion "region" Text,
        PRegionCode "regionCode" Text,
        PRequestDescription "requestDescription" Text,
        PRequestType "requestType" Text,
        PRoutingTarget "routingTarget" Text,
        PRoutingType "routingType" Text,
        PServiceCode "servicecode" Text,
        PServiceName "servicename" Text,
        PSku "sku" Text,
        PStorage "storage" Text,
        PStorageClass "storageClass" Text,
        PStorageMedia "storageMedia" Text,
        PTechnicalSupport "technicalSupport" Text,
        PTenancy "tenancy" Text,
        PThirdParty "thirdpartySoftwareSupport" Text,
        PTierType "tiertype" Text,
        PToLocation "toLocation" Text,
        PToLocationType "toLocationType" Text,
        PToRegion "toRegionCode" Text,
        PTraining "training" Text,
        PTransferType "transferType" Text,
        PUsageType "usagetype" Text,
        PVcpu "vcpu" Text,
        PVolumeApi "volumeApiName" Text,
        PVolumeType "volumeType" Text,
        PWhoCanOpen "whoCanOpenCases" Text,
    }
    "pricing" {
        LeaseLength "LeaseContractLength" Text,
        OfferingClass "OfferingClass" Text,
        PurchaseOption "PurchaseOption" Text,
        RateCode "RateCode" Text,
        RateId "RateId" Text,
        Currency "currency" Text,
        PublicCost "publicOnDemandCost" Double,
        PublicRate "publicOnDemandRate" Text,
        Term "term" Text,
        Unit "unit" Text,
    }
    "reservation" {
        RAmortized "AmortizedUpfrontCostForUsage" Double,
        RAmortizedFee "AmortizedUpfrontFeeForBillingPeriod" Double,
        RZone "AvailabilityZone" Text,
        REffective "EffectiveCost" Double,
        REndTime "EndTime" Text,
        RModification "ModificationStatus" Text,
        RNetAmortized "NetAmortizedUpfrontCostForUsage" Double,
        RNetAmortizedFee "NetAmortizedUpfrontFeeForBillingPeriod" Double,
        RNetEffective "NetEffectiveCost" Double,
        RNetRecurring "NetRecurringFeeForUsage" Double,
        RNetUnusedAmortized "NetUnusedAmortizedUpfrontFeeForBillingPeriod" Double,
        RNetUnusedRecurring "NetUnusedRecurringFee" Double,
        RNetUpfront "NetUpfrontValue" Double,
        RNormalizedUnits "NormalizedUnitsPerReservation" Text,
        RNumber "NumberOfReservations" Text,
        RRecurring "RecurringFeeForUsage" Double,
        RArn "ReservationARN" Text,
        RStartTime "StartTime" Text,
        RSubscription "SubscriptionId" Text,
        RTotalNormalized "TotalReservedNormalizedUnits" Text,
        RTotalUnits "TotalReservedUnits" Text,
        RUnits "UnitsPerReservation" Text,
        RUnusedAmortized "UnusedAmortizedUpfrontFeeForBillingPeriod" Double,
        RUnusedNormalized "UnusedNormalizedUnitQuantity" Double,
        RUnused "UnusedQuantity" Double,
        RUnusedRecurring "UnusedRecurringFee" Double,
        RUpfront "UpfrontValue" Double,
    }
    "savingsPlan" {
        SAmortized "AmortizedUpfrontCommitmentForBillingPeriod" Double,
        SEndTime "EndTime" Text,
        SFamily "InstanceTypeFamily" Text,
        SNetAmortized "NetAmortizedUpfrontCommitmentForBillingPeriod" Double,
        SNetRecurring "NetRecurringCommitmentForBillingPeriod" Double,
        SNetEffective "NetSavingsPlanEffectiveCost" Double,
        SOffering "OfferingType" Text,
        SPayment "PaymentOption" Text,
        STerm "PurchaseTerm" Text,
        SRecurring "RecurringCommitmentForBillingPeriod" Double,
        SRegion "Region" Text,
        SArn "SavingsPlanARN" Text,
        SEffective "SavingsPlanEffectiveCost" Double,
        SRate "SavingsPlanRate" Double,
        SStartTime "StartTime" Text,
        STotal "TotalCommitmentToDate" Double,
        SUsed "UsedCommitment" Double,
    }
    "splitLineItem" {
        XActual "ActualUsage" Double,
        XNetCost "NetSplitCost" Double,
        XNetUnused "NetUnusedCost" Double,
        XParent "ParentResourceId" Text,
        XPublicCost "PublicOnDemandSplitCost" Double,
        XPublicUnused "PublicOnDemandUnusedCost" Double,
        XReserved "ReservedUsage" Double,
        XCost "SplitCost" Double,
        XUsage "SplitUsage" Double,
        XRatio "SplitUsageRatio" Double,
        XUnused "UnusedCost" Double,
    }
    "discount" {
        DBundled "BundledDiscount" Double,
        DEdp "EdpDiscount" Double,
        DPrivate "PrivateRateDiscount" Double,
        DTotal "TotalDiscount" Double,
    }
    "costCategory" {
        CCustomer "Customer" Text,
        CEnvironment "Environment Class" Text,
    }
    "resourceTags" {
        TScaling "aws:autoscaling:groupName" Text,
        TLogical "aws:cloudformation:logical-id" Text,
        TStackId "aws:cloudformation:stack-id" Text,
        TStackName "aws:cloudformation:stack-name" Text,
        TCreatedBy "aws:createdBy" Text,
        TCluster "aws:eks:cluster-name" Text,
        TApplication "user:Application" Text,
        TCostCenter "user:CostCenter" Text,
        TEnvironment "user:Environment" Text,
        TName "user:Name" Text,
        TOwner "user:Owner" Text,
        TProject "user:Project" Text,
        TCostCenterNew "user:cost-center" Text,
    }
}

/// The columns of product that CUR 2.0 keeps flat; all others are keys of its map `product`.
const FLAT_PRODUCT: &[&str] = &[
    "product_comment",
    "product_fee_code",
    "product_fee_description",
    "product_from_location",
    "product_from_location_type",
    "product_from_region_code",
    "product_instance_family",
    "product_instance_type",
    "product_instancesku",
    "product_location",
    "product_location_type",
    "product_operation",
    "product_pricing_unit",
    "product_product_family",
    "product_region_code",
    "product_servicecode",
    "product_sku",
    "product_to_location",
    "product_to_location_type",
    "product_to_region_code",
    "product_usagetype",
];

/// Columns of CUR 2.0 that stay blank here: name and type.
pub(super) const BLANK_IN_CUR2: &[(&str, Kind)] = &[
    ("line_item_iam_principal", Kind::Text),
    ("line_item_user_identifier", Kind::Text),
    ("product_comment", Kind::Text),
    ("product_fee_code", Kind::Text),
    ("product_fee_description", Kind::Text),
    ("product_instancesku", Kind::Text),
    ("product_pricing_unit", Kind::Text),
];

/// Where CUR 2.0 keeps a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A column of its own.
    Flat,
    /// A key of a map.
    Map(&'static str, String),
}

impl Column {
    /// Its number.
    pub(super) fn number(self) -> usize {
        self as usize
    }

    /// Its entry in the table.
    pub(super) fn info(self) -> &'static Info {
        &COLUMNS[self.number()]
    }

    /// The slash name, where legacy CUR has the column.
    pub(super) fn header(self) -> Option<String> {
        let info = self.info();
        (info.group != "name").then(|| format!("{}/{}", info.group, info.name))
    }

    /// The snake name.
    pub(super) fn snake(self) -> String {
        self.header().map_or_else(|| self.info().name.to_string(), |header| snake_name(&header))
    }

    /// Where CUR 2.0 has it.
    pub(super) fn place(self) -> Place {
        let snake = self.snake();
        let map = match self.info().group {
            "product" if !FLAT_PRODUCT.contains(&snake.as_str()) => "product",
            "resourceTags" => "resource_tags",
            "costCategory" => "cost_category",
            "discount" if !matches!(self, Self::DBundled | Self::DTotal) => "discount",
            _ => return Place::Flat,
        };
        Place::Map(map, snake[map.len() + 1..].to_string())
    }

    /// Whether its cell may change from one slot of time to the next; all others hold for a run of line items, and
    /// the writers encode them once.
    pub(super) fn varies(self) -> bool {
        use Column::{
            BlendedCost, DEdp, DPrivate, DTotal, NetUnblendedCost, NormalizedUsageAmount, PublicCost,
            RAmortized, REffective, RNetAmortized, RNetEffective, RNetRecurring, RRecurring, SEffective,
            SNetEffective, STotal, SUsed, TimeInterval, UnblendedCost, UsageAmount, UsageEnd, UsageStart,
            XActual, XCost, XNetCost, XPublicCost, XRatio, XUsage,
        };
        matches!(
            self,
            TimeInterval
                | UsageStart
                | UsageEnd
                | UsageAmount
                | NormalizedUsageAmount
                | UnblendedCost
                | BlendedCost
                | NetUnblendedCost
                | PublicCost
                | RAmortized
                | REffective
                | RNetAmortized
                | RNetEffective
                | RNetRecurring
                | RRecurring
                | SEffective
                | SNetEffective
                | STotal
                | SUsed
                | XActual
                | XCost
                | XNetCost
                | XPublicCost
                | XRatio
                | XUsage
                | DEdp
                | DPrivate
                | DTotal
        )
    }

    /// Whether AWS promises the column in every report.
    pub(super) fn is_guaranteed(self) -> bool {
        matches!(self.info().group, "identity" | "bill" | "lineItem")
            && !matches!(self, Self::InvoicingEntity | Self::NetUnblendedRate | Self::NetUnblendedCost)
    }
}

/// AWS's rule from a slash name to a snake name.
pub(super) fn snake_name(header: &str) -> String {
    let mut out = String::with_capacity(header.len() + 8);
    for letter in header.chars() {
        let begins = letter.is_ascii_uppercase() || !letter.is_ascii_alphanumeric();
        if begins && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        if letter.is_ascii_alphanumeric() {
            out.push(letter.to_ascii_lowercase());
        }
    }
    out.trim_end_matches('_').to_string()
}
