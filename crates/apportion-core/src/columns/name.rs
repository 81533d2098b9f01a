/// AWS's rule from a CSV header to an Athena column name: `_` before each capital, lower case, `_` for every
/// other character, no runs, no `_` at an end. Letters outside ASCII are kept, as public tag columns show.
/// Source: AWS user guide, "Running Amazon Athena queries", part "Column names".
pub fn snake_name(header: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(header.len() + 8);
    for chunk in header.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                'A'..='Z' => {
                    underscore(&mut name);
                    name.push(letter.to_ascii_lowercase() as u8);
                }
                'a'..='z' | '0'..='9' => name.push(letter as u8),
                _ if !letter.is_ascii() && letter.is_alphabetic() => {
                    name.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => underscore(&mut name),
            }
        }
        if !chunk.invalid().is_empty() {
            underscore(&mut name);
        }
    }
    if name.last() == Some(&b'_') {
        name.pop();
    }
    name
}

/// The categories of slash names, each with the beginning that its columns' snake names have.
const CATEGORIES: [(&str, &str); 13] = [
    ("bill_", "bill"),
    ("capacity_reservation_", "capacityReservation"),
    ("cost_category_", "costCategory"),
    ("discount_", "discount"),
    ("identity_", "identity"),
    ("line_item_", "lineItem"),
    ("pricing_", "pricing"),
    ("product_", "product"),
    ("reservation_", "reservation"),
    ("resource_tags_", "resourceTags"),
    ("savings_plan_", "savingsPlan"),
    ("split_line_item_", "splitLineItem"),
    ("tags_", "tags"),
];

/// The slash name of a header that may be spelt in snake: `resource_tags_user_x` is `resourceTags/user_x`. It has the
/// snake name that the header has; a header that no category begins is its own slash name.
pub fn slash_name(header: &str) -> String {
    if header.contains('/') {
        return header.to_owned();
    }
    let spelt = CATEGORIES
        .iter()
        .find_map(|(start, category)| Some((category, header.strip_prefix(start)?)))
        .filter(|(_, rest)| !rest.is_empty())
        .map(|(category, rest)| format!("{category}/{rest}"))
        .filter(|spelt| snake_name(spelt.as_bytes()) == snake_name(header.as_bytes()));
    spelt.unwrap_or_else(|| header.to_owned())
}

fn underscore(name: &mut Vec<u8>) {
    if name.last().is_some_and(|last| *last != b'_') {
        name.push(b'_');
    }
}

#[cfg(test)]
mod tests {
    use super::{slash_name, snake_name};

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
            ("resourceTags/user:a–b", "resource_tags_user_a_b"),
            ("", ""),
            ("_", ""),
        ] {
            assert_eq!(String::from_utf8(snake_name(header.as_bytes())).unwrap(), name, "{header}");
        }
    }
    #[test]
    fn a_slash_name_has_the_snake_name_of_its_header() {
        for (header, slash) in [
            ("resourceTags/user:CostCenter", "resourceTags/user:CostCenter"),
            ("resource_tags_user_cost_center", "resourceTags/user_cost_center"),
            ("cost_category_fin_ops", "costCategory/fin_ops"),
            ("product_x", "product/x"),
            ("line_item_x", "lineItem/x"),
            ("product_", "product_"),
            ("product__x", "product/_x"),
            ("Cost Center", "Cost Center"),
            ("", ""),
        ] {
            assert_eq!(slash_name(header), slash);
            assert_eq!(snake_name(slash.as_bytes()), snake_name(header.as_bytes()), "{header}");
        }
    }
}
