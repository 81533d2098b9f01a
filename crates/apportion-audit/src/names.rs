//! How a header becomes a snake name.
//!
//! What comes in: the bytes of one header cell. What goes out: the snake name by AWS's documented rule, with the
//! two aliases of the delivery format. What it must never do: look at the data, or at another column.

/// The snake name of a header.
pub(crate) fn snake(header: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(header.len() + 8);
    for chunk in header.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_ascii_uppercase() {
                marked.push(b'_');
                marked.push(letter.to_ascii_lowercase() as u8);
            } else if letter.is_ascii_alphanumeric() {
                marked.push(letter as u8);
            } else if !letter.is_ascii() && letter.is_alphabetic() {
                let mut bytes = [0; 4];
                marked.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
            } else {
                marked.push(b'_');
            }
        }
        if !chunk.invalid().is_empty() {
            marked.push(b'_');
        }
    }
    aliased(collapsed(&marked))
}

/// Runs of `_` become one, and none is left at an end.
fn collapsed(marked: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(marked.len());
    for &byte in marked {
        if byte != b'_' || name.last().is_some_and(|last| *last != b'_') {
            name.push(byte);
        }
    }
    if name.last() == Some(&b'_') {
        name.pop();
    }
    name
}

/// Two spellings that other tools write for columns that AWS spells out letter by letter.
fn aliased(name: Vec<u8>) -> Vec<u8> {
    match name.as_slice() {
        b"savings_plan_savings_plan_arn" => b"savings_plan_savings_plan_a_r_n".to_vec(),
        b"reservation_reservation_arn" => b"reservation_reservation_a_r_n".to_vec(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_headers_become_documented_names() {
        for (header, name) in [
            ("lineItem/UsageAccountId", "line_item_usage_account_id"),
            ("lineItem/LineItemType", "line_item_line_item_type"),
            ("pricing/RateId", "pricing_rate_id"),
            ("product/jobnshipp", "product_jobnshipp"),
            ("product/maxIopsvolume", "product_max_iopsvolume"),
            ("product/maxIopsVolume", "product_max_iops_volume"),
            ("product/instanceCapacity10xlarge", "product_instance_capacity10xlarge"),
            ("product/intelAvx2Available", "product_intel_avx2_available"),
            ("product/caseSeverityresponseTimes", "product_case_severityresponse_times"),
            ("product/preInstalledSw", "product_pre_installed_sw"),
            ("product/storageclass", "product_storageclass"),
            ("reservation/ReservationARN", "reservation_reservation_a_r_n"),
            ("reservation/ReservationArn", "reservation_reservation_a_r_n"),
            (
                "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod",
                "reservation_unused_amortized_upfront_fee_for_billing_period",
            ),
            ("savingsPlan/SavingsPlanARN", "savings_plan_savings_plan_a_r_n"),
            ("savingsPlan/SavingsPlanArn", "savings_plan_savings_plan_a_r_n"),
            ("splitLineItem/PublicOnDemandSplitCost", "split_line_item_public_on_demand_split_cost"),
            ("resourceTags/aws:createdBy", "resource_tags_aws_created_by"),
            ("resourceTags/aws:autoscaling:groupName", "resource_tags_aws_autoscaling_group_name"),
            ("resourceTags/aws:cloudformation:logical-id", "resource_tags_aws_cloudformation_logical_id"),
            ("resourceTags/aws:ec2spot:fleet-request-id", "resource_tags_aws_ec2spot_fleet_request_id"),
            ("resourceTags/user:Tag21Nov", "resource_tags_user_tag21_nov"),
            (
                "resourceTags/user:kubernetes_label_app.kubernetes.io/name",
                "resource_tags_user_kubernetes_label_app_kubernetes_io_name",
            ),
            ("resourceTags/user:cost-center", "resource_tags_user_cost_center"),
            ("resourceTags/user:_x_", "resource_tags_user_x"),
            ("resourceTags/user:UPPERCASE", "resource_tags_user_u_p_p_e_r_c_a_s_e"),
            ("costCategory/FinOps", "cost_category_fin_ops"),
            ("costCategory/Charge type", "cost_category_charge_type"),
            ("discount/EdpDiscount", "discount_edp_discount"),
            (
                "ExampleColumnName : Example Column Name Continued",
                "example_column_name_example_column_name_continued",
            ),
            ("line_item_usage_account_id", "line_item_usage_account_id"),
            ("resourceTags/user:Größe–x", "resource_tags_user_größe_x"),
        ] {
            assert_eq!(String::from_utf8(snake(header.as_bytes())).unwrap(), name, "{header}");
        }
        assert_eq!(snake(b"a\xff\xffB"), b"a_b");
        assert_eq!(snake(b"___"), b"");
    }
}
