//! Master proofs, live manifests and invoices tie, or `reconcile` says where they don't, without reading data.

use crate::harness::{code, number_of, program, run, say, set_time, stderr, temp, tree};
use crate::random_report::{Numbers, PERIOD, Report};
use crate::small_report::{Look, SECOND, deliver, delivered, make_looking, renew};
use crate::support::{Place, Said, gzip};
use crate::written_report::{Form, TIME, settings, write_report};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROWS: usize = 80;

/// What `reconcile --output json` says, and how it ends.
fn reconcile(settings: &Path, more: &[&str]) -> (i32, Value, String) {
    let out = run("reconcile", settings, &[&["--output", "json"], more].concat(), &[]);
    let report = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (code(&out), report, stderr(&out))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn one_ending_with(place: &Path, end: &str) -> PathBuf {
    let found: Vec<String> = tree(place).into_keys().filter(|key| key.ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{end}: {found:?}");
    place.join(&found[0])
}

fn states(report: &Value) -> Vec<(String, String)> {
    let exports = report["deliveries"][0]["exports"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    exports.iter().map(|export| (text(&export["report_id"]), text(&export["state"]))).collect()
}

// ---- random reports balance ----

#[test]
fn the_bridge_of_every_delivery_ends_with_nothing_unexplained() {
    let (count, first) = (number_of("APPORTION_CASES", 200).div_ceil(4), number_of("APPORTION_SEED", 1));
    for seed in first..first + count {
        let report = Report::new(seed, Numbers::Hostile);
        let mut draw = crate::random_report::Draw::new(seed);
        let place = temp();
        write_report(&report, &Form::csv(&mut draw, report.rows.len()), &place.path().join("source"));
        let settings = settings(&report, place.path());
        let out = deliver(&settings, &[]);
        assert_eq!(code(&out), 0, "seed {seed}: {}", stderr(&out));
        for by in ["period", "currency", "source,type", "period,type,invoice"] {
            let (code, told, said) = reconcile(&settings, &["--by", by]);
            assert_eq!(code, 0, "seed {seed}: {said}");
            let mut source_rows = 0;
            for bridge in told["bridges"].as_array().unwrap() {
                let lines = bridge["lines"].as_array().unwrap();
                let (source, last) = (&lines[0], lines.last().unwrap());
                let parts: i64 =
                    lines[1..lines.len() - 1].iter().map(|line| line["rows"].as_i64().unwrap()).sum();
                assert_eq!(source["rows"].as_i64().unwrap(), parts, "seed {seed}: {bridge}");
                assert_eq!(last["line"], "= unexplained");
                assert_eq!((&last["rows"], &last["unblended_cost"]), (&json!(0), &json!("0")), "{bridge}");
                source_rows += parts;
            }
            assert_eq!(source_rows as usize, report.rows.len(), "seed {seed} by {by}");
            let own: usize = report.rows.iter().filter(|row| report.is_delivered(row)).count();
            let lines = told["bridges"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|bridge| bridge["lines"].as_array().unwrap());
            let delivered: i64 = lines
                .filter(|line| report.parties.iter().any(|party| line["line"] == format!("- {}", party.id)))
                .map(|line| line["rows"].as_i64().unwrap())
                .sum();
            assert_eq!(delivered as usize, own, "seed {seed} by {by}");
        }
    }
    say(&format!("reconcile: {count} random reports balance, by 4 sets of keys"));
}

// ---- an invoice ----

const HEADER: &str = "identity/LineItemId,bill/InvoiceId,bill/PayerAccountId,bill/BillingPeriodStartDate,\
lineItem/UsageAccountId,lineItem/LineItemType,lineItem/UsageStartDate,lineItem/CurrencyCode,lineItem/UnblendedCost";

/// Two invoices, one of them in euros, and a line item that isn't invoiced yet.
fn invoiced() -> Place {
    let place = Place::new();
    place.two_customers();
    let rows = [
        ("INV-1", "111122223333", "Usage", "USD", "10.1041"),
        ("INV-1", "444455556666", "Usage", "USD", "5.05"),
        ("INV-1", "999900001111", "Tax", "USD", "1.25"),
        ("INV-1", "444455556666", "Credit", "USD", "-2"),
        ("INV-1", "111122223333", "Refund", "USD", "-0.3"),
        ("INV=2", "111122223333", "Usage", "EUR", "7"),
        ("INV=2", "111122223333", "Usage", "USD", "1"),
        ("", "111122223333", "Usage", "USD", "100"),
    ];
    let mut text = format!("{HEADER}\n");
    for (number, (invoice, account, kind, currency, cost)) in rows.iter().enumerate() {
        text.push_str(&format!(
            "{number},{invoice},999900001111,2025-03-01T00:00:00Z,{account},{kind},2025-03-02T00:00:00Z,{currency},{cost}\n"
        ));
    }
    place.objects("a1", &[&gzip(text.as_bytes())]);
    place.run(&["deliver", "-q"]).expect(0);
    place
}

fn invoice_of(said: &Said) -> Value {
    said.json()["invoices"][0].clone()
}

#[test]
fn an_invoice_ties_to_its_line_items_or_the_difference_is_told() {
    let place = invoiced();
    let reconcile = |invoice: &str| place.run(&["reconcile", "-o", "json", "--invoice", invoice]);
    let exact = invoice_of(&reconcile("INV-1=14.1041").expect(0).tells(&["the difference is 0 USD"]));
    assert_eq!((&exact["unblended_cost"], &exact["difference"]), (&json!("14.1041"), &json!("0")));
    let by_type: Vec<(&str, &str)> = exact["by_line_item_type"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["line"].as_str().unwrap(), line["unblended_cost"].as_str().unwrap()))
        .collect();
    assert_eq!(by_type, [("Credit", "-2"), ("Refund", "-0.3"), ("Tax", "1.25"), ("Usage", "15.1541")]);
    // As AWS prints it, in cents.
    let rounded = reconcile("INV-1=14.10").expect(0).tells(&["0.0041 USD", "less than half a cent"]);
    assert_eq!(invoice_of(&rounded)["difference"], "0.0041");
    for (amount, difference) in [("14.11", "-0.0059"), ("14.0991", "0.005"), ("-14.10", "28.2041")] {
        let said = reconcile(&format!("INV-1={amount}")).expect(4).tells(&["finding: invoice INV-1"]);
        let invoice = invoice_of(&said);
        assert_eq!(invoice["difference"], difference);
        let lines: Vec<String> = invoice["bridge"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| {
                format!("{} {}", line["line"].as_str().unwrap(), line["unblended_cost"].as_str().unwrap())
            })
            .collect();
        let due = [
            "source 14.1041",
            "- acme 9.8041",
            "- beta 3.05",
            "- nobody (payer_tax) 1.25",
            "= unexplained 0",
        ];
        assert_eq!(lines, due);
    }
    // For people, the customers are shown where an invoice doesn't tie.
    let table = place.run(&["reconcile", "--invoice", "INV-1=1"]).expect(4).out;
    assert!(table.contains("= difference") && table.contains("13.1041 USD"), "{table}");
}

#[test]
fn an_invoice_that_is_not_there_or_of_two_currencies_is_no_zero() {
    let place = invoiced();
    let reconcile = |invoice: &str| place.run(&["reconcile", "--invoice", invoice]);
    reconcile("INV-9=1").expect(10).tells(&["INV-9", "INV-1, INV=2"]);
    reconcile("INV=2=8").expect(2).tells(&["EUR, USD", "AMOUNT CURRENCY"]);
    reconcile("INV=2=7 EUR").expect(0);
    reconcile("INV=2=1 USD").expect(0);
    reconcile("INV=2=1 GBP").expect(2).tells(&["EUR, USD"]);
    reconcile("=1").expect(2);
    reconcile("INV-1=1,000.00").expect(2).tells(&["without thousands separators"]);
    // Two at once: the code is that of the one that doesn't tie.
    place.run(&["reconcile", "--invoice", "INV-1=14.10", "--invoice", "INV=2=1 USD"]).expect(0);
    place.run(&["reconcile", "--invoice", "INV-1=14.10", "--invoice", "INV=2=2 USD"]).expect(4);
}

#[test]
fn what_it_prints_is_the_same_in_every_form() {
    let place = invoiced();
    let table = place.run(&["reconcile"]).expect(0);
    for word in ["- acme", "- beta", "- nobody (payer_tax)", "= unexplained", "20250301-20250401"] {
        assert!(table.out.contains(word), "{word}:\n{}", table.out);
    }
    table.tells(&["rows unexplained            0", "money unexplained           0", "apportion audit"]);
    let csv = place.run(&["reconcile", "-o", "csv", "--by", "type,invoice"]).expect(0).out;
    assert_eq!(csv.lines().next().unwrap(), "of,line_item_type,invoice,line,rows,unblended_cost");
    assert!(csv.contains("\nbridge,Tax,INV-1,- nobody (payer_tax),1,1.25 USD\n"), "{csv}");
    let lines = place.run(&["reconcile", "-o", "jsonl", "--invoice", "INV-1=14.1"]).expect(0).out;
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
    assert!(lines.contains("\"of\":\"invoice INV-1\""), "{lines}");
    place
        .run(&["reconcile", "--by", "colour"])
        .expect(2)
        .tells(&["source, period, currency, type and invoice"]);
}

#[test]
fn it_needs_the_places_and_nothing_of_the_source() {
    let place = invoiced();
    place.remove("source");
    place.run(&["reconcile"]).expect(0);
    let one = ["--accounts", "111122223333", "--target", "targets/acme", "--customer", "acme"];
    place.run(&[&["reconcile"][..], &one].concat()).expect(2).tells(&["--msp-target"]);
    // The other customer isn't in these settings.
    let said = place.run(&[&["reconcile", "--msp-target", "msp"][..], &one].concat()).expect(3);
    said.tells(&["behind: beta", "not in settings"]);
    place.run(&["reconcile", "--period", "2024-01"]).expect(10).tells(&["2024-01", "2025-03 of source main"]);
    place.run(&["reconcile", "--msp-target", "targets-msp"]).expect(10);
    fs::create_dir(place.at("empty")).unwrap();
    place.run(&["reconcile", "--msp-target", "empty"]).expect(10).tells(&["no master proof"]);
    place.run(&["reconcile", "--customer", "acme"]).expect(0);
}

// ---- what was tampered with ----

/// Where things of a delivered place are.
struct Scene {
    place: tempfile::TempDir,
    settings: PathBuf,
}

impl Scene {
    fn at(&self, key: &str) -> PathBuf {
        self.place.path().join(key)
    }

    fn master(&self) -> PathBuf {
        one_ending_with(self.place.path(), "-MasterProof.json")
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Value)) {
        let mut value = read(path);
        let before = value.clone();
        change(&mut value);
        assert_ne!(value, before, "nothing was tampered with in {}", path.display());
        fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
    }

    fn in_first_target(&self, end: &str) -> PathBuf {
        let target = self.at("targets/t0");
        let found =
            tree(&target).into_keys().find(|key| key.ends_with(end) && !key.starts_with("manifests/"));
        target.join(found.unwrap())
    }

    fn live(&self, report: &str) -> PathBuf {
        let target = if report == "customer0" { "t0" } else { "t1" };
        self.at(&format!("targets/{target}/manifests/{PERIOD}/{report}-Manifest.json"))
    }
}

fn add_to(sum: &mut Value) {
    *sum = json!(format!("{}1", sum.as_str().unwrap().trim_end_matches(".0")));
}

/// The tampering, the kind of the finding, and a word of it.
type Tampering = (&'static str, &'static str, &'static str, fn(&Scene));

fn first_sum<'a>(totals: &'a mut Value, column: &str) -> &'a mut Value {
    let has = |entry: &&mut Value| entry["sums"].get(column).is_some();
    let entry = totals.as_array_mut().unwrap().iter_mut().find(has).unwrap();
    &mut entry["sums"][column]
}

const TAMPERINGS: [Tampering; 22] = [
    ("a sum of the source", "balance", "line_item_unblended_cost", |scene| {
        scene.change(&scene.master(), |proof| {
            add_to(first_sum(&mut proof["source_totals"], "line_item_unblended_cost"))
        });
    }),
    ("a sum that isn't the cost", "balance", "reservation_effective_cost", |scene| {
        scene.change(&scene.master(), |proof| {
            add_to(first_sum(&mut proof["source_totals"], "reservation_effective_cost"))
        });
    }),
    ("a row count of the source", "balance", "rows against", |scene| {
        scene.change(&scene.master(), |proof| proof["source_totals"][0]["rows"] = json!(4711));
    }),
    ("an items_hash of the source", "balance", "items_hash differs", |scene| {
        scene.change(&scene.master(), |proof| {
            proof["source_totals"][0]["items_hash"] = json!("0123456789abcdef0123456789abcdef");
        });
    }),
    ("a customer that is missing", "balance", "rows against", |scene| {
        scene.change(&scene.master(), |proof| {
            proof["customers"].as_array_mut().unwrap().remove(0);
        });
    }),
    ("a row count of a customer", "proof", "against the master proof", |scene| {
        scene.change(&scene.master(), |proof| proof["customers"][0]["totals"][0]["rows"] = json!(4711));
    }),
    ("the rows of a customer", "balance", "its parts", |scene| {
        scene.change(&scene.master(), |proof| proof["customers"][0]["rows"] = json!(4711));
    }),
    ("an invoice id of a customer", "balance", "another-invoice", |scene| {
        scene.change(&scene.master(), |proof| {
            proof["customers"][0]["totals"][0]["invoice_id"] = json!("another-invoice");
        });
    }),
    ("a currency of nobody's", "balance", "\"XAU\"", |scene| {
        scene.change(&scene.master(), |proof| proof["unassigned"]["totals"][0]["currency"] = json!("XAU"));
    }),
    ("a reason that moved", "proof", "withheld", |scene| {
        scene.change(&scene.master(), |proof| {
            let reason = &mut proof["withheld"][0]["totals"][0]["reason"];
            let other = if *reason == "withheld_type" { "withheld_split_cost" } else { "withheld_type" };
            *reason = json!(other);
        });
    }),
    ("withheld line items made nobody's", "proof", "withheld", |scene| {
        scene.change(&scene.master(), |proof| {
            let mut taken = proof["withheld"][0]["totals"].as_array_mut().unwrap().remove(0);
            taken["reason"] = json!("unknown_account");
            proof["unassigned"]["totals"].as_array_mut().unwrap().push(taken);
        });
    }),
    ("a sum that is no number", "master proof", "no number", |scene| {
        scene.change(&scene.master(), |proof| {
            *first_sum(&mut proof["source_totals"], "line_item_unblended_cost") = json!("many");
        });
    }),
    ("the delivery that the pointer names", "master proof", "delivery", |scene| {
        let pointer = one_ending_with(scene.place.path(), "-MasterPointer.json");
        scene.change(&pointer, |pointer| {
            pointer["delivery_id"] = json!("00000000-0000-0000-0000-000000000000")
        });
    }),
    ("a master proof that is gone", "master proof", "isn't there", |scene| {
        fs::remove_file(scene.master()).unwrap();
    }),
    ("a live manifest of an assembly that no proof names", "manifest", "no older one names it", |scene| {
        scene.change(&scene.live("customer0"), |manifest| {
            manifest["assemblyId"] = json!("00000000-0000-0000-0000-000000000000");
        });
    }),
    ("a live manifest of another export", "manifest", "is the manifest of report", |scene| {
        let other = scene.live(&format!("customer1-{}", crate::small_report::TWO[0]));
        fs::copy(other, scene.live("customer0")).unwrap();
    }),
    ("a live manifest with a file less", "manifest", "doesn't name the files", |scene| {
        scene.change(&scene.live("customer0"), |manifest| {
            manifest["reportKeys"].as_array_mut().unwrap().pop();
        });
    }),
    ("a sum of a customer proof", "proof", "line_item_unblended_cost", |scene| {
        scene.change(&scene.in_first_target("-Proof.json"), |proof| {
            add_to(first_sum(&mut proof["totals"], "line_item_unblended_cost"));
        });
    }),
    ("the rows of a file", "proof", "its files", |scene| {
        scene.change(&scene.in_first_target("-Proof.json"), |proof| proof["files"][0]["rows"] = json!(1));
    }),
    ("a customer proof that is gone", "proof", "isn't there", |scene| {
        fs::remove_file(scene.in_first_target("-Proof.json")).unwrap();
    }),
    ("a data file that is gone", "file", "isn't there", |scene| {
        fs::remove_file(scene.in_first_target(".csv.gz")).unwrap();
    }),
    ("a data file that is short", "file", "bytes where the proof says", |scene| {
        let path = scene.in_first_target(".csv.gz");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    }),
];

#[test]
fn every_tampering_is_found() {
    let (made, _) = delivered(ROWS);
    for (what, kind, word, tamper) in TAMPERINGS {
        let place = temp();
        crate::harness::copy(made.path(), place.path());
        let settings = place.path().join("apportion.toml");
        let (code, report, said) = reconcile(&settings, &[]);
        assert_eq!((code, &report["findings"]), (0, &json!([])), "{what}: {said}");
        let scene = Scene { place, settings };
        tamper(&scene);
        let (code, report, said) = reconcile(&scene.settings, &[]);
        assert_eq!(code, 4, "{what}: {said}");
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| {
            finding["kind"] == kind && finding.to_string().contains(&word.replace('"', "\\\\\\\""))
        });
        let found = found
            || findings.iter().any(|f| f["kind"] == kind && f["detail"].as_str().unwrap().contains(word));
        assert!(found, "{what}: no finding of kind {kind} says {word}:\n{report:#}");
        assert!(said.contains("finding: "), "{what}: {said}");
    }
    // The MSP's own files, too.
    let scene = {
        let place = temp();
        crate::harness::copy(made.path(), place.path());
        let settings = place.path().join("apportion.toml");
        Scene { place, settings }
    };
    let unassigned = tree(&scene.at("msp")).into_keys().find(|key| key.ends_with(".csv.gz")).unwrap();
    fs::remove_file(scene.at("msp").join(unassigned)).unwrap();
    let (code, report, _) = reconcile(&scene.settings, &[]);
    assert_eq!((code, &report["zeros"]["files_not_as_manifest"]), (4, &json!(1)), "{report:#}");
    say(&format!("reconcile: {} tamperings, each found", TAMPERINGS.len() + 1));
}

#[test]
fn a_share_in_two_formats_counts_once_and_each_tells_the_same() {
    let place = temp();
    let settings = make_looking(Look::All, place.path(), 1, ROWS);
    let out = deliver(&settings, &[]);
    assert_eq!(code(&out), 0, "{}", stderr(&out));
    let (ended, report, said) = reconcile(&settings, &["--by", "source,period"]);
    assert_eq!((ended, &report["findings"]), (0, &json!([])), "{said}");
    let sources: BTreeSet<&str> = report["bridges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bridge| bridge["source"].as_str().unwrap())
        .collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["main", SECOND]);
    let exports = |delivery: &Value| delivery["exports"].as_array().unwrap().len();
    assert!(
        report["deliveries"].as_array().unwrap().iter().all(|delivery| exports(delivery) == 6),
        "{report:#}"
    );
    let masters: Vec<String> =
        tree(place.path()).into_keys().filter(|key| key.ends_with("-MasterProof.json")).collect();
    assert_eq!(masters.len(), 2);
    let path = place.path().join(&masters[0]);
    let mut proof = read(&path);
    assert_eq!(proof["customers"][0]["customer"], proof["customers"][1]["customer"]);
    proof["customers"][1]["totals"][0]["rows"] = json!(4711);
    fs::write(&path, proof.to_string()).unwrap();
    let (ended, _, said) = reconcile(&settings, &[]);
    assert_eq!(ended, 4, "{said}");
    assert!(said.contains("holds another share than the same share's first format"), "{said}");
}

#[test]
fn another_mask_key_leaves_sums_and_hashes_to_compare() {
    let (place, settings) = delivered(ROWS);
    fs::write(place.path().join("mask.key"), "another key of more than sixteen bytes").unwrap();
    let (ended, _, said) = reconcile(&settings, &[]);
    assert_eq!(ended, 0, "{said}");
    let target = place.path().join("targets/t0");
    let key = tree(&target).into_keys().find(|key| key.ends_with("-Proof.json")).unwrap();
    let mut proof = read(&target.join(&key));
    add_to(first_sum(&mut proof["totals"], "line_item_unblended_cost"));
    fs::write(target.join(&key), proof.to_string()).unwrap();
    let (ended, _, said) = reconcile(&settings, &[]);
    assert_eq!(ended, 4, "{said}");
}

// ---- exports that are behind ----

#[test]
fn an_export_that_lags_behind_is_told_and_is_no_imbalance() {
    let (place, settings) = delivered(ROWS);
    renew(place.path(), 2, ROWS);
    let spool = place.path().join("spool");
    let only = ["--customer", "customer0", "--spool", spool.to_str().unwrap()];
    assert_eq!(code(&run("deliver", &settings, &only, &[])), 0);
    let (code_then, report, said) = reconcile(&settings, &[]);
    assert_eq!(code_then, 3, "{said}");
    let two = crate::small_report::TWO.map(|account| (format!("customer1-{account}"), "behind".to_owned()));
    assert_eq!(states(&report), [vec![("customer0".to_owned(), "live".to_owned())], two.to_vec()].concat());
    assert_eq!(report["findings"], json!([]));
    assert!(said.contains("behind: customer1-"), "{said}");
    // What is live of an older delivery must still be what that delivery's master proof says.
    let lagging = place.path().join("targets/t1");
    let proof = tree(&lagging).into_keys().find(|key| key.ends_with("-Proof.json")).unwrap();
    let before = fs::read(lagging.join(&proof)).unwrap();
    let mut changed = read(&lagging.join(&proof));
    changed["rows"] = json!(1);
    fs::write(lagging.join(&proof), changed.to_string()).unwrap();
    assert_eq!(reconcile(&settings, &[]).0, 4);
    fs::write(lagging.join(&proof), before).unwrap();
    // Only the customer that is up to date is looked at.
    assert_eq!(reconcile(&settings, &["--customer", "customer0"]).0, 0);
    assert_eq!(code(&deliver(&settings, &[])), 0);
    assert_eq!(reconcile(&settings, &[]).0, 0);
}

#[test]
fn a_run_that_died_before_the_pointer_moved_is_told() {
    let (place, settings) = delivered(ROWS);
    renew(place.path(), 2, ROWS);
    let manifests = tree(&place.path().join("source")).into_keys().filter(|key| key.ends_with(".json"));
    for key in manifests {
        set_time(&place.path().join("source").join(key), TIME + 7200);
    }
    let copy = temp();
    crate::harness::copy(place.path(), copy.path());
    let counted = deliver(&copy.path().join("apportion.toml"), &[("APPORTION_COUNT_WRITES", "1")]);
    let said = stderr(&counted);
    let line = said.lines().find(|line| line.ends_with(" writes")).unwrap();
    let writes: u64 = line.rsplit(' ').nth(1).unwrap().parse().unwrap();
    // The last write is the rename of the MSP's pointer, or what tidies up behind it.
    let out = (1..=8).rev().find_map(|back| {
        let out = deliver(&settings, &[("APPORTION_KILL_AT", &(writes - back).to_string())]);
        let (code, ..) = reconcile(&settings, &[]);
        (code == 4).then_some(out)
    });
    assert!(out.is_some(), "no death left a state to tell");
    let (_, report, said) = reconcile(&settings, &[]);
    assert!(said.contains("deliver again"), "{said}");
    assert!(report["findings"][0]["detail"].as_str().unwrap().contains("before it moved the MSP's pointer"));
    assert_eq!(code(&deliver(&settings, &[])), 0);
    assert_eq!(reconcile(&settings, &[]).0, 0);
    assert_eq!(
        code(
            &program(&["verify", "--target", place.path().join("targets/t0").to_str().unwrap()])
                .output()
                .unwrap()
        ),
        0
    );
}
