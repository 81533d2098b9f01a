//! Legacy names: the `category/Name` of a column.
//!
//! What comes in: a column's snake name and the header under which the source gave it. What goes out: the name that
//! slash headers and manifests write. What it must never do: write a name that reads back as another column.

use crate::names::snake;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The legacy name of a column; `found` is the header under which the source gave the first cell that isn't blank.
pub(crate) fn legacy_name(name: &str, found: Option<&str>) -> String {
    if let Some(known) = BY_NAME.get(name) {
        return (*known).to_owned();
    }
    found.and_then(slash_name).or_else(|| slash_name(name)).unwrap_or_else(|| name.to_owned())
}

/// A header's slash name: as it is spelt, or with the category that it begins with. Others have none.
fn slash_name(header: &str) -> Option<String> {
    if header.contains('/') {
        return Some(header.to_owned());
    }
    let of = |(prefix, category): &(&str, &str)| {
        let rest = header.strip_prefix(prefix)?.strip_prefix('_').filter(|rest| !rest.is_empty())?;
        let spelt = format!("{category}/{rest}");
        (snake(spelt.as_bytes()) == snake(header.as_bytes())).then_some(spelt)
    };
    CATEGORIES.iter().find_map(of)
}

/// Category and name; a name without a slash has a blank category.
pub(crate) fn parts(legacy: &str) -> (&str, &str) {
    legacy.split_once('/').unwrap_or(("", legacy))
}

const CATEGORIES: [(&str, &str); 13] = [
    ("bill", "bill"),
    ("capacity_reservation", "capacityReservation"),
    ("cost_category", "costCategory"),
    ("discount", "discount"),
    ("identity", "identity"),
    ("line_item", "lineItem"),
    ("pricing", "pricing"),
    ("product", "product"),
    ("reservation", "reservation"),
    ("resource_tags", "resourceTags"),
    ("savings_plan", "savingsPlan"),
    ("split_line_item", "splitLineItem"),
    ("tags", "tags"),
];

/// Snake names of the known columns, with their legacy names.
static BY_NAME: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let name = |header: &str| String::from_utf8_lossy(&snake(header.as_bytes())).into_owned();
    KNOWN.split_ascii_whitespace().map(|header| (name(header), header)).collect()
});

/// The columns of legacy reports; the first seven are CUR 2.0's own, as a legacy report would name them.
const KNOWN: &str = "\
    bill/PayerAccountName lineItem/UsageAccountName lineItem/IamPrincipal lineItem/UserIdentifier \
    capacityReservation/CapacityReservationArn capacityReservation/CapacityReservationStatus \
    capacityReservation/CapacityReservationType \
    bill/BillType bill/BillingEntity bill/BillingPeriodEndDate bill/BillingPeriodStartDate bill/InvoiceId \
    bill/InvoicingEntity bill/PayerAccountId discount/BundledDiscount discount/EdpDiscount \
    discount/PrivateRateDiscount discount/RiVolumeDiscount discount/SppDiscount discount/TotalDiscount \
    identity/LineItemId identity/TimeInterval lineItem/AvailabilityZone lineItem/BlendedCost \
    lineItem/BlendedRate lineItem/CurrencyCode lineItem/LegalEntity lineItem/LineItemDescription \
    lineItem/LineItemType lineItem/NetUnblendedCost lineItem/NetUnblendedRate lineItem/NormalizationFactor \
    lineItem/NormalizedUsageAmount lineItem/Operation lineItem/ProductCode lineItem/ResourceId \
    lineItem/TaxType lineItem/UnblendedCost lineItem/UnblendedRate lineItem/UsageAccountId \
    lineItem/UsageAmount lineItem/UsageEndDate lineItem/UsageStartDate lineItem/UsageType \
    pricing/LeaseContractLength pricing/OfferingClass pricing/PurchaseOption pricing/RateCode \
    pricing/RateId pricing/currency pricing/publicOnDemandCost pricing/publicOnDemandRate pricing/term \
    pricing/unit product/ProductName product/PurchaseOption product/abdInstanceClass \
    product/accountAssistance product/activityType product/alarmType product/architecturalReview \
    product/architectureSupport product/attachmentType product/availability product/availabilityZone \
    product/bestPractices product/brokerEngine product/bundle product/cacheEngine product/cacheMemorySizeGb \
    product/callingType product/capacitystatus product/caseSeverityresponseTimes product/category \
    product/ciType product/classicnetworkingsupport product/classificationType product/clockSpeed \
    product/comment product/comments product/computeFamily product/computeType product/contentSource \
    product/contentType product/country product/countsAgainstQuota product/cputype \
    product/currentGeneration product/customerServiceAndCommunities product/dataTransferQuota \
    product/databaseEdition product/databaseEngine product/dedicatedEbsThroughput product/deploymentOption \
    product/description product/directConnectLocation product/directorySize product/directoryType \
    product/directoryTypeDescription product/durability product/ebsOptimized product/ecu product/edition \
    product/endpointType product/engineCode product/engineMajorVersion product/enhancedNetworkingSupport \
    product/enhancedNetworkingSupported product/equivalentondemandsku product/eventType \
    product/executionFrequency product/executionLocation product/extendedSupportPricingYear product/feeCode \
    product/feeDescription product/findingGroup product/findingSource product/findingStorage \
    product/freeOverage product/freeQueryTypes product/freeTier product/freeTrial product/freeUsageIncluded \
    product/frequencyMode product/fromLocation product/fromLocationType product/fromRegionCode \
    product/georegioncode product/gpu product/gpuMemory product/graphqloperation product/group \
    product/groupDescription product/includedServices product/inputMode product/instance \
    product/instanceCapacity10xlarge product/instanceCapacity16xlarge product/instanceCapacity2xlarge \
    product/instanceCapacity4xlarge product/instanceCapacity8xlarge product/instanceCapacityLarge \
    product/instanceCapacityXlarge product/instanceFamily product/instanceFunction product/instanceType \
    product/instanceTypeFamily product/instancesku product/intelAvx2Available product/intelAvxAvailable \
    product/intelTurboAvailable product/invocation product/io product/isshadow product/iswebsocket \
    product/jobnshipp product/launchSupport product/license product/licenseModel product/licenseType \
    product/lineType product/location product/locationType product/logsDestination product/logsSource \
    product/logsType product/mailboxStorage product/marketoption product/maxIopsBurstPerformance \
    product/maxIopsvolume product/maxThroughputvolume product/maxVolumeSize product/maximumCapacity \
    product/maximumExtendedStorage product/maximumStorageVolume product/memory product/memoryGib \
    product/memorytype product/messageDeliveryFrequency product/messageDeliveryOrder product/minVolumeSize \
    product/minimumStorageVolume product/networkPerformance product/normalizationSizeFactor product/offer \
    product/operatingSystem product/operation product/operationsSupport product/origin \
    product/osLicenseModel product/outputMode product/overageType product/overhead product/packSize \
    product/physicalCores product/physicalCpu product/physicalGpu product/physicalProcessor \
    product/planType product/platopricingtype product/platostoragetype product/platousagetype \
    product/platovolumetype product/portSpeed product/preInstalledSw product/pricingUnit \
    product/pricingplan product/proactiveGuidance product/processorArchitecture product/processorFeatures \
    product/productFamily product/productType product/programmaticCaseManagement product/protocol \
    product/provider product/provisioned product/qPresent product/queueType product/recipient \
    product/region product/regionCode product/releaseType product/requestDescription product/requestType \
    product/resourceEndpoint product/resourceType product/rootvolume product/routingTarget \
    product/routingType product/runningMode product/servicecode product/servicename product/sizeFlex \
    product/sku product/snowballType product/softwareIncluded product/softwareType product/standardGroup \
    product/standardStorage product/standardStorageRetentionIncluded product/steps product/storage \
    product/storageClass product/storageDescription product/storageFamily product/storageMedia \
    product/storageType product/storageclass product/subscriptionType product/subservice \
    product/supportedModes product/technicalSupport product/tenancy product/thirdpartySoftwareSupport \
    product/throughputClass product/tickettype product/tiertype product/timeWindow product/toLocation \
    product/toLocationType product/toRegionCode product/training product/transcodingResult \
    product/transferType product/type product/usageFamily product/usageGroup product/usagetype \
    product/uservolume product/vcpu product/version product/videoMemoryGib product/videoResolution \
    product/virtualInterfaceType product/volumeApiName product/volumeType product/vpcnetworkingsupport \
    product/whoCanOpenCases product/withActiveUsers reservation/AmortizedUpfrontCostForUsage \
    reservation/AmortizedUpfrontFeeForBillingPeriod reservation/AvailabilityZone reservation/EffectiveCost \
    reservation/EndTime reservation/ModificationStatus reservation/NetAmortizedUpfrontCostForUsage \
    reservation/NetAmortizedUpfrontFeeForBillingPeriod reservation/NetEffectiveCost \
    reservation/NetRecurringFeeForUsage reservation/NetUnusedAmortizedUpfrontFeeForBillingPeriod \
    reservation/NetUnusedRecurringFee reservation/NetUpfrontValue reservation/NormalizedUnitsPerReservation \
    reservation/NumberOfReservations reservation/RecurringFeeForUsage reservation/ReservationARN \
    reservation/StartTime reservation/SubscriptionId reservation/TotalReservedNormalizedUnits \
    reservation/TotalReservedUnits reservation/UnitsPerReservation \
    reservation/UnusedAmortizedUpfrontFeeForBillingPeriod reservation/UnusedNormalizedUnitQuantity \
    reservation/UnusedQuantity reservation/UnusedRecurringFee reservation/UpfrontValue \
    resourceTags/aws:autoscaling:groupName resourceTags/aws:cloudformation:logical-id \
    resourceTags/aws:cloudformation:stack-id resourceTags/aws:cloudformation:stack-name \
    resourceTags/aws:createdBy resourceTags/aws:ec2spot:fleet-request-id \
    savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod savingsPlan/EndTime \
    savingsPlan/InstanceTypeFamily savingsPlan/NetAmortizedUpfrontCommitmentForBillingPeriod \
    savingsPlan/NetRecurringCommitmentForBillingPeriod savingsPlan/NetSavingsPlanEffectiveCost \
    savingsPlan/OfferingType savingsPlan/PaymentOption savingsPlan/PurchaseTerm \
    savingsPlan/RecurringCommitmentForBillingPeriod savingsPlan/Region savingsPlan/SavingsPlanARN \
    savingsPlan/SavingsPlanEffectiveCost savingsPlan/SavingsPlanRate savingsPlan/StartTime \
    savingsPlan/TotalCommitmentToDate savingsPlan/UsedCommitment splitLineItem/ActualUsage \
    splitLineItem/NetSplitCost splitLineItem/NetUnusedCost splitLineItem/ParentResourceId \
    splitLineItem/PublicOnDemandSplitCost splitLineItem/PublicOnDemandUnusedCost \
    splitLineItem/ReservedUsage splitLineItem/SplitCost splitLineItem/SplitUsage \
    splitLineItem/SplitUsageRatio splitLineItem/UnusedCost";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::{ECO, EXTENDED};

    #[test]
    fn every_delivered_column_has_a_legacy_name_of_its_own() {
        assert_eq!(BY_NAME.len(), 340);
        for (name, _) in ECO.iter().chain(&EXTENDED) {
            let legacy = legacy_name(name, None);
            assert!(legacy.contains('/'), "{name}");
            assert_eq!(snake(legacy.as_bytes()), name.as_bytes());
        }
    }

    #[test]
    fn a_column_that_is_not_known_keeps_the_sources_header() {
        for (name, found, wanted) in [
            ("resource_tags_user_team", Some("resourceTags/user:Team"), "resourceTags/user:Team"),
            ("resource_tags_user_team", Some("resource_tags_user_team"), "resourceTags/user_team"),
            ("resource_tags_user_team", None, "resourceTags/user_team"),
            ("resource_tags_user_team", Some("resource_tags_user Team"), "resourceTags/user Team"),
            ("resource_tags_user_team", Some("Resource Tags user team"), "resourceTags/user_team"),
            ("custom_field", Some("Custom Field"), "custom_field"),
            ("capacity_reservation_x", None, "capacityReservation/x"),
            ("bill_payer_account_name", None, "bill/PayerAccountName"),
            ("bill_bill_type", Some("bill/billType"), "bill/BillType"),
            ("something", None, "something"),
            ("productx", None, "productx"),
        ] {
            assert_eq!(legacy_name(name, found), wanted);
            assert_eq!(snake(wanted.as_bytes()), name.as_bytes());
        }
        assert_eq!(parts("a/b/c"), ("a", "b/c"));
    }
}
