/// AWS's rule from a CSV header to an Athena column name: `_` before each capital, lower case, `_` for every
/// other character, no runs, no `_` at an end. Bytes outside ASCII are kept, as public tag columns show.
/// Source: AWS user guide, "Running Amazon Athena queries", part "Column names".
pub fn snake_name(header: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(header.len() + 8);
    for byte in header {
        match byte {
            b'A'..=b'Z' => {
                underscore(&mut name);
                name.push(byte.to_ascii_lowercase());
            }
            b'a'..=b'z' | b'0'..=b'9' | 0x80.. => name.push(*byte),
            _ => underscore(&mut name),
        }
    }
    if name.last() == Some(&b'_') {
        name.pop();
    }
    name
}

fn underscore(name: &mut Vec<u8>) {
    if name.last().is_some_and(|last| *last != b'_') {
        name.push(b'_');
    }
}

#[cfg(test)]
mod tests {
    use super::snake_name;

    #[test]
    fn the_documented_rule() {
        for (header, name) in [
            ("lineItem/UsageAccountId", "line_item_usage_account_id"),
            ("product/maxIopsvolume", "product_max_iopsvolume"),
            ("product/instanceCapacity10xlarge", "product_instance_capacity10xlarge"),
            ("product/intelAvx2Available", "product_intel_avx2_available"),
            ("reservation/ReservationARN", "reservation_reservation_a_r_n"),
            ("resourceTags/aws:ec2spot:fleet-request-id", "resource_tags_aws_ec2spot_fleet_request_id"),
            (
                "resourceTags/user:kubernetes_label_app.kubernetes.io/name",
                "resource_tags_user_kubernetes_label_app_kubernetes_io_name",
            ),
            ("resourceTags/user:_x_", "resource_tags_user_x"),
            ("resourceTags/user:UPPERCASE", "resource_tags_user_u_p_p_e_r_c_a_s_e"),
            ("costCategory/Charge type", "cost_category_charge_type"),
            (
                "ExampleColumnName : Example Column Name Continued",
                "example_column_name_example_column_name_continued",
            ),
            ("line_item_usage_account_id", "line_item_usage_account_id"),
            ("resourceTags/user:größe", "resource_tags_user_größe"),
            ("", ""),
            ("_", ""),
        ] {
            assert_eq!(String::from_utf8(snake_name(header.as_bytes())).unwrap(), name, "{header}");
        }
    }
}
