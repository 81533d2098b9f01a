//! Contracts, formats, layouts and headers: right deliveries of every shape are clean, and each defect is found.

use crate::columns::ColumnType;
use crate::shape::{Column, Shape, Store, Table};
use crate::world::{ACME, BETA, PAYER, World, edit, kinds, put};
use apportion_audit::FindingKind::{self, *};
use apportion_audit::{AuditErrorKind, Contract, Gzip, HeaderStyle, RowOrder, audit};
use apportion_model::{BillingPeriod, Layout, SourceName};
use serde_json::{Value, json};
use std::path::PathBuf;

#[test]
fn right_deliveries_of_every_shape_are_clean() {
    for shape in Shape::all() {
        let report = World::of(shape).audit();
        let findings = serde_json::to_string_pretty(&report.findings).unwrap();
        assert!(report.is_clean(), "{shape:?}: {findings}");
        assert_eq!(report.periods[0].customers[0].unblended_found["USD"], "1.75");
        let withheld = if shape.contract == Contract::Eco { 2 } else { 1 };
        assert_eq!(report.periods[0].withheld_rows, withheld);
    }
}

/// Plants one defect in a world of that shape; all of the kinds must be found.
fn check(
    name: &str,
    shape: Shape,
    wanted: &[FindingKind],
    plant: impl FnOnce(&World),
) -> apportion_audit::AuditReport {
    let world = World::of(shape);
    plant(&world);
    let report = world.audit();
    let found = kinds(&report);
    assert!(wanted.iter().all(|kind| found.contains(kind)), "{name}: {wanted:?}: {:#?}", report.findings);
    report
}

/// Plants a defect in the data file, of which its proof says what it now is: exactly these kinds are found.
fn forged(
    name: &str,
    shape: Shape,
    wanted: &[FindingKind],
    change: impl FnOnce(&mut Table),
) -> apportion_audit::AuditReport {
    let report = check(name, shape, wanted, |world| world.rewrite("acme", change));
    assert_eq!(kinds(&report), wanted.iter().copied().collect(), "{name}: {:#?}", report.findings);
    report
}

#[test]
fn cells_of_parquet_files_are_compared() {
    let shape = Shape::PARQUET;
    let cost = "line_item_unblended_cost";
    let report = forged("a double", shape, &[CellsDiffer, SumsDiffer], |t| *t.cell(0, cost) = "1.49".into());
    assert_eq!(report.zeros().money_unexplained, "0.01");
    // 2^-52 more than 1.5 is the next double.
    forged("the last bit of a double", shape, &[CellsDiffer, SumsDiffer], |t| {
        t.store(cost, Store::Off(f64::EPSILON));
    });
    forged("a double that is null", shape, &[CellsDiffer, SumsDiffer], |t| t.cell(0, cost).clear());
    forged("a text", shape, &[CellsDiffer], |t| t.cell(0, "line_item_product_code").push('x'));
    forged("a text that is blank", shape, &[CellsDiffer], |t| t.cell(0, "line_item_product_code").clear());
    forged("a timestamp that is null", shape, &[CellsDiffer], |t| {
        t.cell(0, "line_item_usage_start_date").clear();
    });
    forged("a row dropped", shape, &[RowsMissing, SumsDiffer], |t| drop(t.rows.remove(0)));
    forged("a row group twice", shape, &[RowsSurplus, SumsDiffer], |t| t.rows.push(t.rows[0].clone()));
    forged("two cells exchanged", shape, &[CellsDiffer], |t| {
        let at = t.at("line_item_resource_id");
        let moved = t.rows[0][at].clone();
        t.rows[0][at] = std::mem::replace(&mut t.rows[1][at], moved);
    });
    let report =
        check("row groups exchanged between customers", shape, &[ForeignAccount, CellsDiffer], |world| {
            let mut row = Vec::new();
            world.rewrite("beta", |table| row = table.rows[0].clone());
            world.rewrite("acme", |table| table.rows[0] = row);
        });
    assert_eq!(report.zeros().cells_of_others, 1, "{:#?}", report.findings);
}

#[test]
fn schemas_of_parquet_files_are_compared() {
    let shape = Shape::PARQUET;
    let (cost, start) = ("line_item_unblended_cost", "line_item_usage_start_date");
    let stored = |name, at: &'static str, store, wanted: &[FindingKind]| {
        forged(name, shape, wanted, |table| table.store(at, store));
    };
    // 1.50 is other text than 1.5.
    stored("a double as text", cost, Store::Text, &[SchemaDiffers, CellsDiffer]);
    stored("a text as integer", "line_item_usage_account_id", Store::Integer, &[SchemaDiffers]);
    stored("a timestamp as text", start, Store::Text, &[SchemaDiffers]);
    stored("a timestamp of microseconds", start, Store::Micros, &[SchemaDiffers]);
    stored("a timestamp without a zone", start, Store::LocalMillis, &[SchemaDiffers]);
    stored("a column that is REQUIRED", "line_item_product_code", Store::Required, &[SchemaDiffers]);
    // Acme's second line item has no invoice yet; in no row is there a SKU, and such a column may be null.
    stored("a blank text that is null", "bill_invoice_id", Store::NullText, &[FormDiffers]);
    let world = World::of(shape);
    world.rewrite("acme", |table| table.store("product_sku", Store::NullText));
    assert!(world.audit().is_clean());
    forged("another compression", shape, &[FormDiffers], |table| table.uncompressed = true);
    forged("a column dropped", shape, &[HeaderDiffers, CellsDiffer], |t| t.remove("bill_invoice_id"));
    forged("a blank column dropped", shape, &[HeaderDiffers], |t| t.remove("product_sku"));
    forged("a column added", shape, &[HeaderDiffers], |t| t.insert(244, "bill_invoicing_entity", ""));
    forged("a column renamed", shape, &[HeaderDiffers, CellsDiffer], |t| {
        let at = t.at("line_item_product_code");
        t.columns[at].header = "line_item_product".into();
    });
    forged("a slash name", shape, &[HeaderDiffers], |t| {
        let at = t.at("line_item_product_code");
        t.columns[at].header = "lineItem/ProductCode".into();
    });
    forged("columns in another order", shape, &[HeaderDiffers], |t| t.swap(4, 5));
    let broken = |name, change: fn(Vec<u8>) -> Vec<u8>| {
        check(name, shape, &[ParquetBroken, FileHash, RowsMissing], |world| {
            let bytes = std::fs::read(world.data()).unwrap();
            put(&world.data(), change(bytes));
        });
    };
    broken("a file cut short", |bytes| bytes[..bytes.len() - 7].to_vec());
    broken("a file of no bytes", |_| Vec::new());
    broken("a CSV file", |_| b"a,b\n1,2\n".to_vec());
    broken("something behind the footer", |bytes| [bytes, b"more".to_vec()].concat());
}

/// No byte of a Parquet file can be changed without a finding, and none makes the audit give up.
#[test]
fn a_flipped_bit_in_a_parquet_file_is_found() {
    let world = World::of(Shape { contract: Contract::Source, ..Shape::PARQUET });
    let good = std::fs::read(world.data()).unwrap();
    for at in (0..good.len()).step_by(211) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        put(&world.data(), &bytes);
        assert!(kinds(&world.audit()).contains(&FileHash), "byte {at}");
    }
}

#[test]
fn representation_is_recomputed() {
    let shape = Shape { contract: Contract::Source, ..Shape::PARQUET };
    let field = |name, pointer: &'static str, value: Value| {
        check(name, shape, &[ProofDiffers], |world| edit(&world.proof(), pointer, value));
    };
    field("another difference", "/representation/0/difference", json!("0.00000000000000001"));
    field("no difference", "/representation/0/difference", json!("0"));
    field("a cell more that is lost", "/representation/0/not_represented", json!(1));
    field("another column", "/representation/0/column", json!("line_item_unblended_cost"));
    field("a column left out", "/representation", json!([]));
    let more = json!([{"column": "line_item_unblended_cost", "difference": "0", "not_represented": 1}]);
    let csv = Shape { contract: Contract::Source, ..Shape::PLAIN };
    check("said of csv.gz", csv, &[ProofDiffers], |world| edit(&world.proof(), "/representation", more));
}

#[test]
fn columns_of_wide_contracts_are_decided_by_the_exports_rows() {
    for (contract, format) in [
        (Contract::EcoExtended, Shape::PLAIN),
        (Contract::EcoExtended, Shape::PARQUET),
        (Contract::Source, Shape::PLAIN),
        (Contract::Source, Shape::PARQUET),
    ] {
        let shape = Shape { contract, ..format };
        let name = |what: &str| format!("{what}: {shape:?}");
        forged(&name("another customer's tag key"), shape, &[HeaderDiffers], |table| {
            table.insert(table.columns.len(), "cost_category_ours", "");
        });
        let report = forged(
            &name("another's account in a surplus column"),
            shape,
            &[HeaderDiffers, ForeignCell],
            |t| {
                t.insert(t.columns.len(), "resource_tags_user_owner", BETA);
            },
        );
        assert_eq!(report.zeros().cells_of_others, 2);
        forged(&name("a tag key left out"), shape, &[HeaderDiffers, CellsDiffer], |table| {
            table.remove("resource_tags_user_team");
        });
        forged(&name("a map key left out"), shape, &[HeaderDiffers, CellsDiffer], |table| {
            table.remove("cost_category_team");
        });
        forged(&name("tags out of order"), shape, &[HeaderDiffers], |table| {
            let (one, other) = (table.at("cost_category_owner"), table.at("cost_category_team"));
            table.swap(one, other);
        });
        forged(&name("an account in a tag"), shape, &[CellsDiffer, ForeignCell], |table| {
            *table.cell(0, "resource_tags_user_team") = format!("red AccountId : {BETA}");
        });
        forged(&name("an account in a map key"), shape, &[CellsDiffer, ForeignCell], |table| {
            *table.cell(0, "cost_category_owner") = format!("arn:aws:iam::{BETA}:user/b");
        });
        forged(&name("a tag's value"), shape, &[CellsDiffer], |table| {
            *table.cell(0, "resource_tags_user_team") = "green".into();
        });
        for column in ["/manifest", "/proof"] {
            check(
                &name(column),
                shape,
                &[if column == "/proof" { ProofDiffers } else { ManifestDiffers }],
                |world| {
                    let path = if column == "/proof" { world.proof() } else { world.manifest() };
                    let mut document: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                    document["columns"].as_array_mut().unwrap().pop();
                    put(&path, document.to_string());
                },
            );
        }
    }
}

#[test]
fn a_column_that_nobody_knows_the_source_of_is_found() {
    let shape = Shape::SOURCE;
    forged("a blank column of the list", shape, &[HeaderDiffers], |t| t.insert(28, "pricing_term", ""));
    forged("the map itself", shape, &[HeaderDiffers], |table| {
        let at = table.at("cost_category_owner");
        table.insert(at, "cost_category", "{}");
    });
    forged("a guaranteed column without a cell left out", shape, &[HeaderDiffers], |t| {
        t.remove("bill_bill_type")
    });
    let columns = |table: &Table| table.columns.iter().map(|Column { kind, .. }| *kind).collect::<Vec<_>>();
    forged("columns by name alone", shape, &[HeaderDiffers], |table| {
        assert!(columns(table).contains(&ColumnType::Double));
        let mut order: Vec<usize> = (0..table.columns.len()).collect();
        order.sort_by_key(|at| table.columns[*at].header.clone());
        table.columns = order.iter().map(|at| table.columns[*at].clone()).collect();
        table.rows.iter_mut().for_each(|row| *row = order.iter().map(|at| row[*at].clone()).collect());
    });
}

#[test]
fn split_cost_line_items_go_where_the_contract_says() {
    // Beta's split line item isn't beta's in eco, and is in the other contracts.
    let report = check("a split line item in eco", Shape::PLAIN, &[RowsSurplus], |world| {
        world.rewrite("beta", |table| {
            let mut row = table.rows[0].clone();
            let at = table.at("line_item_unblended_cost");
            row[at].clear();
            table.rows.push(row);
        });
    });
    assert_eq!(report.zeros().rows_unexplained, 1);
    for contract in [Contract::EcoExtended, Contract::Source] {
        let shape = Shape { contract, ..Shape::PLAIN };
        check("a split line item left out", shape, &[RowsMissing], |world| {
            world.rewrite("beta", |table| drop(table.rows.pop()));
        });
        check("a split line item withheld by the master proof", shape, &[MasterDiffers], |world| {
            let entry = json!([{"customer": "beta", "totals": [{"reason": "withheld_split_cost",
                "billing_period": "20261001-20261101", "currency": "USD", "line_item_type": "Usage",
                "invoice_id": "", "rows": 1, "sums": {}, "items_hash": "0"}]}]);
            edit(&world.master(), "/withheld", entry);
        });
    }
}

#[test]
fn the_payers_name_goes_with_its_id() {
    for format in [Shape::PLAIN, Shape::PARQUET] {
        let shape = Shape { payer_kept: false, contract: Contract::Source, ..format };
        let report = forged("the payer's name", shape, &[HeaderDiffers, ForeignCell], |table| {
            let at = table.at("cost_category_owner");
            table.insert(at, "bill_payer_account_name", "MSP of 999999999999");
            *table.cell(0, "bill_payer_account_name") = PAYER.into();
            table.cell(1, "bill_payer_account_name").clear();
        });
        assert_eq!(report.zeros().cells_of_others, 1, "{:#?}", report.findings);
        forged("the payer's id", shape, &[CellsDiffer, ForeignCell], |table| {
            *table.cell(0, "bill_payer_account_id") = PAYER.into();
        });
    }
}

#[test]
fn form_of_csv_files_is_compared() {
    let slash = Shape { header: HeaderStyle::Slash, ..Shape::PLAIN };
    let rename = |shape: Shape, from: &'static str, to: &'static str| {
        forged(from, shape, &[HeaderDiffers], |table| {
            let at = table.at(from);
            table.columns[at].header = to.into();
        });
    };
    rename(Shape::PLAIN, "line_item_usage_account_id", "lineItem/UsageAccountId");
    rename(slash, "lineItem/UsageAccountId", "line_item_usage_account_id");
    rename(slash, "reservation/ReservationARN", "reservation/ReservationArn");
    let wide = Shape { contract: Contract::Source, ..slash };
    rename(wide, "resourceTags/user:Team", "resourceTags/user_team");
    rename(wide, "costCategory/Owner", "costCategory/owner");
    let single = Shape { gzip: Gzip::Single, ..Shape::PLAIN };
    let report = forged("two members", single, &[GzipMembers], |table| table.two_members = true);
    assert_eq!(report.zeros().files_not_as_manifest, 1);
    let ordered = Shape { order: RowOrder::Source, ..Shape::PLAIN };
    forged("another order", ordered, &[OrderDiffers], |table| table.rows.reverse());
    let ordered = Shape { order: RowOrder::Source, ..Shape::PARQUET };
    forged("another order of row groups", ordered, &[OrderDiffers], |table| table.rows.reverse());
}

#[test]
fn objects_of_both_layouts_are_compared() {
    for layout in Layout::ALL {
        for format in [Shape::PLAIN, Shape::PARQUET] {
            let shape = Shape { layout, ..format };
            let own = |world: &World| world.own_manifest("acme");
            let remove = |path: PathBuf| std::fs::remove_file(path).unwrap();
            check("no manifest of the assembly", shape, &[ManifestMissing], |world| remove(own(world)));
            check("a manifest that differs in a space", shape, &[ManifestDiffers], |world| {
                let text = std::fs::read_to_string(own(world)).unwrap();
                put(&own(world), text + " ");
            });
            check("a manifest of another assembly", shape, &[ManifestDiffers], |world| {
                edit(&own(world), "/assemblyId", json!("00000000-0000-0000-0000-000000000000"));
            });
            check("a manifest that isn't JSON", shape, &[ManifestUnreadable], |world| put(&own(world), "{"));
            check("a manifest that names another", shape, &[ManifestDiffers, ForeignText], |world| {
                edit(&own(world), "/bucket", json!(format!("to-{BETA}")));
            });
            check("no pointer", shape, &[ManifestMissing], |world| remove(world.manifest()));
            check("no proof", shape, &[ProofMissing], |world| remove(world.proof()));
            check("no generation", shape, &[GenerationDiffers], |world| remove(world.generation("acme")));
            check("another content type", shape, &[ManifestDiffers], |world| {
                edit(&world.manifest(), "/contentType", json!("text/plain"));
            });
            check("another folder's account", shape, &[ManifestDiffers], |world| {
                edit(&world.manifest(), "/account", json!("123456789012"));
            });
            check("a file of the other format beside", shape, &[FileUnexpectedKey], |world| {
                put(&world.data().with_file_name("acme-00009.snappy.parquet"), b"");
            });
        }
    }
}

#[test]
fn what_proofs_say_of_the_settings_is_compared() {
    let key = Shape { key: Some(b"the key"), ..Shape::PLAIN };
    let proof = |pointer: &'static str, shape, value: Value| {
        check(pointer, shape, &[ProofDiffers], |world| edit(&world.proof(), pointer, value));
    };
    proof("/mask_key", key, json!("none"));
    proof("/mask_key", key, json!("0123456789abcdef"));
    proof("/mask_key", Shape::PLAIN, json!("0123456789abcdef"));
    proof("/gzip", Shape::PARQUET, json!("multi-member"));
    proof("/gzip", Shape::PLAIN, json!("single"));
    proof("/order", Shape::PLAIN, json!("source"));
    proof("/privacy", Shape::PLAIN, json!("faithful"));
    proof("/header", Shape::PLAIN, json!("slash"));
    proof("/contract", Shape::PLAIN, json!("eco-extended"));
    proof("/layout", Shape::PLAIN, json!("aws"));
    proof("/format", Shape::PARQUET, json!("csv.gz"));
    proof("/format_version", Shape::PLAIN, json!(1));
    proof("/columns/3/type", Shape::PARQUET, json!("string"));
    let master = |pointer: &'static str, value: Value| {
        check(pointer, Shape::PARQUET, &[MasterDiffers], |world| edit(&world.master(), pointer, value));
    };
    master("/customers/0/format", json!("csv.gz"));
    master("/customers/0/manifest", json!("manifests/acme-Manifest.json"));
    master("/customers/1/proof", json!("beta-Proof.json"));
    master("/payers", json!([PAYER, ACME]));
    master("/columns/0/files", json!(1));
    master("/columns/0/type", json!(null));
    master("/format_version", json!(1));
    let older = |value: Value| {
        check("older", Shape::PLAIN, &[MasterDiffers], |world| edit(&world.pointer(), "/older", value));
    };
    let proof_of = |id: &str| json!({"delivery_id": id, "proof": format!("proofs/main/20261001-20261101/{id}-MasterProof.json")});
    older(json!(null));
    older(json!([{"delivery_id": "C", "proof": "proofs/C-MasterProof.json"}]));
    older(json!([proof_of("C"), proof_of("C")]));
    older(json!([proof_of("D")]));
}

#[test]
fn a_locked_month_is_not_compared() {
    let world = World::right();
    put(&world.data(), b"spoiled");
    let mut request = world.request();
    request.locked = vec![BillingPeriod::new(2026, 10).unwrap()];
    let report = audit(&request, &|| false, &|_, _| {}).unwrap();
    assert!(report.is_clean() && report.periods.is_empty());
    assert_eq!(report.locked, request.locked);
    request.locked = vec![BillingPeriod::new(2026, 9).unwrap()];
    assert!(!audit(&request, &|| false, &|_, _| {}).unwrap().is_clean());
}

#[test]
fn a_month_of_another_source_may_be_missing() {
    let world = World::right();
    let mut request = world.request();
    request.periods = Some(vec![BillingPeriod::new(2026, 9).unwrap()]);
    let error = audit(&request, &|| false, &|_, _| {}).unwrap_err();
    assert_eq!(error.kind(), AuditErrorKind::NotFound);
    request.period_may_be_elsewhere = true;
    let report = audit(&request, &|| false, &|_, _| {}).unwrap();
    assert!(report.is_clean() && report.periods.is_empty());
}

/// Another source's name leads to other places of the MSP's.
#[test]
fn a_sources_own_proofs_are_looked_for() {
    let world = World::right();
    let mut request = world.request();
    request.source_name = SourceName::new("east").unwrap();
    let report = audit(&request, &|| false, &|_, _| {}).unwrap();
    assert!(kinds(&report).contains(&MasterMissing), "{:#?}", report.findings);
}
