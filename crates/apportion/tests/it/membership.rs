//! Membership over time: accounts that come, go and move; what a change of customers moves is shown and limited before
//! the settings file changes, and that file changes in nothing else.

use crate::random_report::Draw;
use crate::support::{HEADER, Place, Said, gunzip, row, same_tree};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const ONE: &str = "111122223333";
const TWO: &str = "444455556666";

/// Comments, blank lines and spacing of somebody's own.
const SETTINGS: &str = r#"# our customers; ask Kim before you change them

[[source]]
url = "source"   # synced each night

[msp]
url = "msp"

[[customer]]
id   = "acme"        # the first of all
accounts = [
    "111122223333",  # production
    "222233334444"   # sandbox, see the contract
]
[customer.deliver]
url = "targets/acme"

# beta pays late
[[customer]]
id = "beta"
accounts = ["444455556666"]
[customer.deliver]
url = "targets/beta"

[run]
threads = 2  # the machine is small
# the end
"#;

/// A month of one row a day for each of two accounts, then what `more` says.
fn daily(more: &[String]) -> String {
    let mut text = format!("{HEADER},lineItem/UsageEndDate\n");
    for day in 1..=31 {
        for (place, account) in [ONE, TWO].iter().enumerate() {
            let id = 100 * u32::try_from(place).unwrap() + day;
            let end = if day == 31 { "2025-04-01".to_owned() } else { format!("2025-03-{:02}", day + 1) };
            text.push_str(&format!("{},{end}T00:00:00Z\n", row(id, account, day, &format!("{day}.1"))));
        }
    }
    more.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    text
}

/// A fee of the whole month.
fn fee(id: u32, account: &str, cost: &str) -> String {
    format!("{},2025-04-01T00:00:00Z", row(id, account, 1, cost).replace(",Usage,", ",RIFee,"))
}

fn place_with(settings: &str, text: &str) -> Place {
    let place = Place::new();
    place.report("a1", &[text.as_bytes()]);
    place.write("apportion.toml", settings);
    place
}

fn place() -> Place {
    place_with(SETTINGS, &daily(&[fee(900, ONE, "1000")]))
}

fn settings_of(place: &Place) -> String {
    fs::read_to_string(place.at("apportion.toml")).unwrap()
}

/// Rows and cost of each customer as `plan` has them, and of nobody by reason.
fn planned(place: &Place) -> BTreeMap<String, (u64, Value)> {
    let plan = place.run(&["plan", "-q", "-o", "json"]).expect(0).json();
    let period = &plan["periods"][0];
    let of = |line: &Value| (line["rows"].as_u64().unwrap(), line["unblended_cost"].clone());
    let customers = period["customers"].as_array().unwrap();
    let nobody = period["unassigned"].as_array().unwrap();
    let shares = customers.iter().map(|line| (line["customer"].as_str().unwrap().to_owned(), of(line)));
    shares.chain(nobody.iter().map(|line| (line["reason"].as_str().unwrap().to_owned(), of(line)))).collect()
}

/// The line items of a customer's live export: id and first day.
fn delivered(place: &Place, customer: &str) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for (name, bytes) in place.tree(&format!("targets/{customer}")) {
        if !name.ends_with(".csv.gz") {
            continue;
        }
        let text = gunzip(&bytes);
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let head = reader.headers().unwrap().clone();
        let at = |name: &str| head.iter().position(|column| column == name).unwrap();
        let (id, start) = (at("identity_line_item_id"), at("line_item_usage_start_date"));
        rows.extend(reader.records().map(|record| {
            let record = record.unwrap();
            (record[id].to_owned(), record[start][..10].to_owned())
        }));
    }
    rows.sort();
    rows
}

#[test]
fn an_account_moves_in_mid_month() {
    let place = place();
    let before = planned(&place);
    let args = ["customers", "move", ONE, "--to-customer", "beta", "--on", "2025-03-15", "-o", "json"];
    let said = place.run(&[&args[..], &["--accept"]].concat()).expect(0).tells(&[
        "account 111122223333, from acme to beta: 17 line items, 392.7 USD",
        "17 of 63 line items and 392.7 USD of 1998.2 USD change hands: 26.9842%",
        "1 RIFee line items of account 111122223333 began before it moved on 2025-03-15",
        "go whole to the owner at their start",
        "1 account was added to a customer that was there, 1 account got its last day",
    ]);
    let after = planned(&place);
    let changes = said.json()["periods"][0].clone();
    for line in changes["customers"].as_array().unwrap() {
        let name = line["customer"].as_str().unwrap();
        assert_eq!(
            (&line["rows_before"], &line["unblended_cost_before"]),
            (&json!(before[name].0), &before[name].1)
        );
        assert_eq!(
            (&line["rows_after"], &line["unblended_cost_after"]),
            (&json!(after[name].0), &after[name].1)
        );
    }
    let sums = |planned: &BTreeMap<String, (u64, Value)>| planned["acme"].0 + planned["beta"].0;
    assert_eq!((sums(&before), sums(&after), before["acme"].0, after["acme"].0), (63, 63, 32, 15));
    assert_eq!(changes["customers"][0]["unblended_cost_difference"], json!({ "USD": "-392.7" }));
    assert_eq!(changes["customers"][1]["unblended_cost_difference"], json!({ "USD": "392.7" }));
    let settings = settings_of(&place);
    let wanted =
        SETTINGS.replace("\"111122223333\",", "{ id = \"111122223333\", to = \"2025-03-15\" },").replace(
            "[\"444455556666\"]",
            "[\"444455556666\", { id = \"111122223333\", from = \"2025-03-15\" }]",
        );
    assert_eq!(settings, wanted);
    // What was promised is what comes, and the auditor agrees.
    place.run(&["deliver", "-q"]).expect(0);
    let acme = delivered(&place, "acme");
    assert!(acme.iter().all(|(_, day)| day.as_str() < "2025-03-15") && acme.len() == 15);
    assert!(acme.contains(&("id900".to_owned(), "2025-03-01".to_owned())), "the fee stays whole");
    let beta = delivered(&place, "beta");
    assert!(beta.iter().all(|(id, day)| day.as_str() >= "2025-03-15" || id.starts_with("id1")));
    assert_eq!(beta.len(), 48);
    place.run(&["audit", "-q"]).expect(0);
}

#[test]
fn an_account_moves_to_a_new_customer_and_back() {
    let place = place();
    let moved = |to: &str, on: &str, more: &[&str]| {
        place.run(
            &[&["customers", "move", ONE, "--to-customer", to, "--on", on, "--accept", "-q"], more].concat(),
        )
    };
    moved("gamma", "2025-03-10", &[]).expect(2).tells(&[
        "no customer is called gamma",
        "acme, beta",
        "--url",
    ]);
    moved("gamma", "2025-03-10", &["--url", "targets/gamma", "--name", "Gamma AG"]).expect(0);
    moved("acme", "2025-03-20", &[]).expect(0);
    let rows: BTreeMap<String, u64> =
        planned(&place).into_iter().map(|(name, (rows, _))| (name, rows)).collect();
    assert_eq!((rows["acme"], rows["beta"], rows["gamma"]), (9 + 12 + 1, 31, 10));
    let settings = settings_of(&place);
    assert!(settings.contains("name = \"Gamma AG\"\naccounts = [{ id = \"111122223333\", from = \"2025-03-10\", to = \"2025-03-20\" }]"));
    assert!(
        settings
            .contains("# sandbox, see the contract\n    { id = \"111122223333\", from = \"2025-03-20\" }\n]"),
        "{settings}"
    );
    for (to, on, words) in [
        ("acme", "2025-03-25", "owns account 111122223333 on 2025-03-25 already"),
        ("beta", "2025-03-20", "belongs to customer acme from 2025-03-20 on"),
        ("beta", "20.3.2025", "yyyy-mm-dd"),
    ] {
        moved(to, on, &[]).expect(2).tells(&[words]);
    }
    let unknown = ["customers", "move", "999999999999", "--to-customer", "beta", "--on", "2025-03-20"];
    place.run(&unknown).expect(2).tells(&["no customer owns account 999999999999", "customers add"]);
    assert_eq!(settings_of(&place), settings);
}

#[test]
fn a_small_change_passes_and_nothing_else_of_the_file_changes() {
    let small = fee(901, "777788889999", "3.5");
    let place = place_with(SETTINGS, &daily(&[small]));
    let said = place
        .run(&["customers", "add", "acme", "--accounts", "777788889999", "--from", "2025-01-01"])
        .expect(0)
        .tells(&[
            "from nobody to acme: 1 line items, 3.5 USD",
            "change hands: 1.5874%",
            "1 account was added",
        ]);
    assert!(said.out.contains("(nobody: unknown_account)") && said.out.contains("= source"), "{}", said.out);
    let added = "\"222233334444\",   # sandbox, see the contract\n    { id = \"777788889999\", from = \"2025-01-01\" }\n]";
    let wanted = SETTINGS.replace("\"222233334444\"   # sandbox, see the contract\n]", added);
    assert_eq!(settings_of(&place), wanted);
    // A new customer without line items changes nothing, and comes after the others.
    place
        .run(&[
            "customers",
            "add",
            "gamma",
            "--accounts",
            "888899990000@2025-02-01..,999900001112@..2025-03-01",
        ])
        .expect(0)
        .tells(&["0 of 63 line items", "change hands: 0%", "1 customer was added"]);
    let gamma = "url = \"targets/beta\"\n\n[[customer]]\nid = \"gamma\"\naccounts = [{ id = \"888899990000\", from = \"2025-02-01\" }, { id = \"999900001112\", to = \"2025-03-01\" }]\n\n[customer.deliver]\nurl = \"targets/gamma\"\n\n[run]";
    assert_eq!(settings_of(&place), wanted.replace("url = \"targets/beta\"\n\n[run]", gamma));
    // What is there already is no change.
    place
        .run(&["customers", "add", "beta", "--accounts", TWO])
        .expect(0)
        .tells(&["already", "was left as it was"]);
    let left: Vec<String> = fs::read_dir(place.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("toml"))
        .collect();
    assert_eq!(left, ["apportion.toml"], "nothing lies beside it");
}

#[test]
fn beyond_the_share_nothing_happens_without_accept() {
    let place = place();
    let before = place.tree("");
    let args = ["customers", "move", ONE, "--to-customer", "beta", "--on", "2025-03-22"];
    let said = place.run(&args).expect(2).tells(&[
        "15.8731% of 20250301-20250401 would change hands, more than the 10% of accept_share",
        "apportion.toml was left as it was",
        "customers move 111122223333 --to-customer beta --on 2025-03-22 --accept",
    ]);
    assert!(
        said.out.contains("beta") && said.out.contains("rows before"),
        "the table is shown: {}",
        said.out
    );
    same_tree(&before, &place.tree(""));
    place
        .run(&[&args[..], &["--dry-run"]].concat())
        .expect(0)
        .tells(&["nothing was written", "it needs --accept"]);
    same_tree(&before, &place.tree(""));
    for share in ["15.873%", "0%"] {
        place.run(&[&args[..], &["--accept-share", share]].concat()).expect(2).tells(&[share]);
    }
    place.run(&[&args[..], &["--accept-share", "many"]].concat()).expect(2).tells(&["many", "10%"]);
    same_tree(&before, &place.tree(""));
    // The command that it names does it.
    let command = said.err.lines().last().unwrap().trim();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(command).current_dir(place.folder()).env_clear();
    Said::of(shell.output().unwrap()).expect(0).tells(&["1 account got its last day"]);
    assert_ne!(settings_of(&place), SETTINGS);
    for (share, code) in [("15.8731%", 0), ("15.87%", 2)] {
        place.write(
            "apportion.toml",
            SETTINGS.replace("[run]\n", &format!("[run]\naccept_share = \"{share}\"\n")),
        );
        place.run(&args).expect(code);
    }
    place.write("apportion.toml", SETTINGS.replace("[run]\n", "[run]\naccept_share = \"10\"\n"));
    place.run(&["config", "check"]).expect(2).tells(&["accept_share", "\"10\" is not a percentage"]);
}

#[test]
fn two_owners_who_exchange_accounts_do_not_look_like_no_change() {
    let place = place();
    let settings = |acme: &str, beta: &str| {
        SETTINGS
            .replace("\"111122223333\",", &format!("{{ id = \"{ONE}\", {acme} }},"))
            .replace("[\"444455556666\"]", &format!("[\"{TWO}\", {{ id = \"{ONE}\", {beta} }}]"))
    };
    // Of one account: each had half of the month and gets an end that gives it the other half.
    place.write(
        "apportion.toml",
        settings("to = \"2025-03-16\"", "from = \"2025-03-16\", to = \"2025-03-17\""),
    );
    place.write(
        "list.csv",
        format!("customer,account,from,to\nbeta,{ONE},2025-03-16,2025-03-20\nacme,{ONE},,2025-03-10\nbeta,{ONE},2025-03-12,2025-03-16\nacme,{ONE},2025-03-20,2025-03-24\n"),
    );
    let import = ["customers", "import", "list.csv", "--into", "apportion.toml", "-o", "json", "--dry-run"];
    let said = place.run(&import).expect(0);
    let period = &said.json()["periods"][0];
    // Days 10 and 11 go to nobody, 12 to 15 to beta, 17 to 19 to beta and 20 to 23 to acme: 13 line items, but acme
    // both loses and gains, so all that had or get an owner are counted.
    assert_eq!(period["accounts"][0]["account"], ONE);
    assert!(period["moved_rows"].as_u64().unwrap() >= 13, "{period}");
}

#[test]
fn every_output_has_the_same_exact_amounts() {
    let place = place_with(SETTINGS, &daily(&[fee(900, ONE, "0.0000000001")]));
    let args =
        ["customers", "move", ONE, "--to-customer", "beta", "--on", "2025-02-01", "--dry-run", "-q", "-o"];
    let of = |output: &str| place.run(&[&args[..], &[output]].concat()).expect(0).out;
    let csv = of("csv");
    assert_eq!(
        csv,
        "period,customer,rows_before,rows_after,unblended_cost_before,unblended_cost_after,difference\n\
         20250301-20250401,acme,32,0,499.1000000001 USD,,-499.1000000001 USD\n\
         20250301-20250401,beta,31,63,499.1 USD,998.2000000001 USD,499.1000000001 USD\n\
         20250301-20250401,= source,63,63,998.2000000001 USD,998.2000000001 USD,\n"
    );
    let lines: Vec<Value> = of("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["difference"]), (3, &json!("-499.1000000001 USD")));
    let json: Value = serde_json::from_str(&of("json")).unwrap();
    assert_eq!(json["periods"][0]["accounts"][0]["unblended_cost"], json!({ "USD": "499.1000000001" }));
    assert!(of("table").contains("499.1000000001 USD"));
}

#[test]
fn the_settings_file_is_the_old_one_or_the_new_one_at_every_death() {
    let fresh = place();
    let args = ["customers", "move", ONE, "--to-customer", "beta", "--on", "2025-03-15", "--accept", "-q"];
    fresh.run(&args).expect(0);
    let new = settings_of(&fresh);
    let (mut deaths, mut olds) = (0, 0);
    loop {
        let place = place();
        let mut command = place.command();
        command.args(args).env("APPORTION_KILL_AT", (deaths + 1).to_string());
        if command.output().unwrap().status.success() {
            break;
        }
        deaths += 1;
        let now = settings_of(&place);
        assert!(now == SETTINGS || now == new, "death {deaths} leaves:\n{now}");
        olds += usize::from(now == SETTINGS);
        // The next one does it, whatever lies there.
        if now == SETTINGS {
            place.run(&args).expect(0);
            assert_eq!(settings_of(&place), new);
        }
    }
    assert!(deaths >= 5 && olds >= 4, "{deaths} deaths, {olds} of them with the old file");
    println!("membership: killed before each of {deaths} writes, the settings file was whole each time");
}

#[test]
fn a_list_with_a_move_is_imported() {
    let place = place();
    place.write(
        "list.csv",
        "customer,account,name,from,to\n\
         acme,111122223333,Acme GmbH,,2025-03-15\n\
         gamma,111122223333,Gamma AG,2025-03-15,\n\
         gamma,555566667777,,,\n\
         acme,666677778888,,2025-02-01,\n",
    );
    let before = place.tree("");
    let import = ["customers", "import", "list.csv", "--into", "apportion.toml"];
    let said = place.run(&import).expect(2).tells(&["from acme to gamma: 17 line items", "--accept"]);
    assert!(said.out.contains("gamma"), "{}", said.out);
    same_tree(&before, &place.tree(""));
    place.run(&[&import[..], &["--accept"]].concat()).expect(0).tells(&[
        "1 customers of the settings are not in the list and stay: beta",
        "1 accounts of the settings, of customers in the list, are not in it and stay",
        "customer acme has another name in the settings, and that stays",
        "1 customer was added, 1 account was added to a customer that was there, 1 account got its last day",
    ]);
    let settings = settings_of(&place);
    for kept in [
        "# our customers",
        "id   = \"acme\"        # the first of all",
        "# beta pays late",
        "# production",
        "# the end",
    ] {
        assert!(settings.contains(kept), "{kept} is missing in:\n{settings}");
    }
    assert!(!settings.contains("Acme GmbH"));
    let rows: BTreeMap<String, u64> =
        planned(&place).into_iter().map(|(name, (rows, _))| (name, rows)).collect();
    assert_eq!((rows["acme"], rows["beta"], rows["gamma"]), (15, 31, 17));
    // The same list again changes nothing.
    place.run(&import).expect(0).tells(&["already, with the same dates", "nothing is to be changed"]);
    assert_eq!(settings_of(&place), settings);
    // A list without dates doesn't open again what has ended.
    place.write("list.csv", format!("customer,account\nacme,{ONE}\n"));
    place.run(&import).expect(0).tells(&["ends on 2025-03-15 in the settings, and that stays"]);
    assert_eq!(settings_of(&place), settings);
}

#[test]
fn contradictions_leave_the_file_as_it_was() {
    let place = place();
    let before = place.tree("");
    let add = |customer: &str, accounts: &str, more: &[&str]| {
        place.run(&[&["customers", "add", customer, "--accounts", accounts, "--accept"], more].concat())
    };
    let stays = "apportion.toml was left as it was";
    add("beta", ONE, &[])
        .expect(2)
        .tells(&["claimed by customer acme and by customer beta on the same day", stays]);
    add("beta", ONE, &["--from", "2025-03-15"]).expect(2).tells(&["on the same day", stays]);
    add("beta", "444455556666@2025-01-01..", &[]).expect(2).tells(&["on the same day", stays]);
    add("gamma", "1234", &[]).expect(2).tells(&["gamma", "12 digits", stays]);
    add("gamma", "777788889999", &["--from", "2025-03-15", "--to", "2025-03-15"])
        .expect(2)
        .tells(&["on or before", stays]);
    add("gamma", "all", &[]).expect(2).tells(&["gamma", "accounts = \"all\"", stays]);
    add("gamma", "777788889999", &["--url", "source/gamma"])
        .expect(2)
        .tells(&["lies within the source", stays]);
    add("gamma", "777788889999", &["--sharing", "accounts"]).expect(2).tells(&["did you mean \"account\"?"]);
    add("acme", "777788889999", &["--url", "elsewhere"]).expect(2).tells(&["acme is there already", "--url"]);
    add("acme", "777788889999@2025-03-15", &[]).expect(2).tells(&["@FROM..TO"]);
    add("acme", "777788889999@2025-02-30..", &[]).expect(2).tells(&["2025-02-30"]);
    add("acme", " , ", &[]).expect(2).tells(&["names no account"]);
    add("acme", "all", &[]).expect(2).tells(&["acme", "list of accounts"]);
    add("acme", "777788889999", &["--period", "2025-05"])
        .expect(2 + 8)
        .tells(&["no delivery of 2025-05", stays]);
    add("acme", "777788889999", &["--config", "other.toml"])
        .expect(2)
        .tells(&["other.toml", "apportion init"]);
    same_tree(&before, &place.tree(""));
    place.write("apportion.toml", SETTINGS.replace("id   =", "di   ="));
    add("gamma", "777788889999", &[]).expect(2).tells(&["unknown field `di`"]);
}

#[test]
fn without_a_source_a_change_must_be_accepted() {
    let place = place();
    place.remove("source");
    let add = ["customers", "add", "acme", "--accounts", "777788889999"];
    let words = [
        "can't be shown",
        "nothing could be compared",
        "customers add acme --accounts 777788889999 --accept",
    ];
    place.run(&add).expect(2).tells(&words).tells(&["source isn't there"]);
    place.write("source/readme.txt", "nothing to read");
    place.run(&add).expect(2).tells(&words).tells(&["no report was found"]);
    assert_eq!(settings_of(&place), SETTINGS);
    place.run(&[&add[..], &["--accept"]].concat()).expect(0).tells(&["1 account was added"]);
    place.write("new.csv", "customer,account\nacme,111122223333\n");
    let import = ["customers", "import", "new.csv", "--into", "new.toml"];
    place.run(&import).expect(2).tells(&["the settings name no source", "--accept"]);
    assert!(!place.at("new.toml").exists());
    place.run(&[&import[..], &["--accept"]].concat()).expect(0);
    place.run(&["customers", "list", "--config", "new.toml"]).expect(0);
}

#[test]
fn the_two_newest_months_are_compared() {
    let place = Place::new();
    place
        .run(&[
            "demo",
            "make",
            "--out",
            "msp",
            "--rows",
            "3000",
            "--accounts",
            "12",
            "--customers",
            "3",
            "--months",
            "3",
            "--first",
            "2026-08",
        ])
        .expect(0);
    let list =
        place.run(&["customers", "list", "--config", "msp/apportion.toml", "-o", "json"]).expect(0).json();
    let account = list[0]["accounts"][0]["id"].as_str().unwrap();
    let to = list[1]["customer"].as_str().unwrap();
    let periods = |more: &[&str]| -> Vec<String> {
        let args = [
            "customers",
            "move",
            account,
            "--to-customer",
            to,
            "--on",
            "2026-09-10",
            "--dry-run",
            "-o",
            "json",
            "--config",
            "msp/apportion.toml",
        ];
        let json = place.run(&[&args[..], more].concat()).expect(0).json();
        let periods = json["periods"].as_array().unwrap();
        periods.iter().map(|period| period["billing_period"].as_str().unwrap().to_owned()).collect()
    };
    let said = place.run(&[
        "customers",
        "move",
        account,
        "--to-customer",
        to,
        "--on",
        "2026-10-10",
        "--dry-run",
        "--config",
        "msp/apportion.toml",
    ]);
    let said = said.expect(0).tells(&["go whole to the owner at their start"]);
    assert!(!(said.out + &said.err).contains("apportion-change-"), "a name of our own is told");
    assert_eq!(periods(&[]), ["20260901-20261001", "20261001-20261101"]);
    assert_eq!(periods(&["--period", "2026-08"]), ["20260801-20260901"]);
}

const ACCOUNTS: [&str; 3] = [ONE, TWO, "777788889999"];
const CUSTOMERS: [&str; 3] = ["acme", "beta", "gamma"];

/// Whose which account is, from a day of March to another; all as places.
#[derive(Debug, Clone, Copy)]
struct Claim {
    customer: usize,
    account: usize,
    from: u32,
    to: u32,
}

/// Random line items, and claims on their accounts.
struct Story {
    draw: Draw,
    place: Place,
    /// Account and day of each line item.
    rows: Vec<(usize, u32)>,
    claims: Vec<Claim>,
}

fn owner(claims: &[Claim], account: usize, day: u32) -> Option<usize> {
    let holds = |claim: &&Claim| claim.account == account && (claim.from..claim.to).contains(&day);
    claims.iter().find(holds).map(|claim| claim.customer)
}

fn date(day: u32) -> String {
    format!("2025-03-{day:02}")
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let mut text = format!("{HEADER}\n");
        let mut rows = Vec::new();
        for id in 0..120 {
            let (account, day) = (draw.below(3), 1 + u32::try_from(draw.below(31)).unwrap());
            rows.push((account, day));
            let cost = format!("0.{}", 1 + draw.below(999));
            text.push_str(&format!("{}\n", row(id, ACCOUNTS[account], day, &cost)));
        }
        let claims = vec![
            Claim { customer: 0, account: 0, from: 0, to: 99 },
            Claim { customer: 1, account: 1, from: 0, to: 99 },
        ];
        let mut settings = "[[source]]\nurl = \"source\"\n".to_owned();
        for (id, account) in CUSTOMERS.iter().zip(ACCOUNTS).take(2) {
            settings.push_str(&format!(
                "[[customer]]\nid = \"{id}\"\naccounts = [\"{account}\"]\n[customer.deliver]\nurl = \"targets/{id}\"\n"
            ));
        }
        Self { draw, place: place_with(&settings, &text), rows, claims }
    }

    /// What to type for a random change, whose claims are made already; None if it would be none.
    fn change(&mut self) -> Option<Vec<String>> {
        let day = 2 + u32::try_from(self.draw.below(28)).unwrap();
        let (account, to) = (self.draw.below(2), self.draw.below(3));
        let customer = CUSTOMERS[to];
        let args = if owner(&self.claims, 2, 15).is_none() && self.draw.below(2) == 0 {
            let last = (day + 5).min(31);
            self.claims.push(Claim { customer: to, account: 2, from: day, to: last });
            let accounts = format!("{}@{}..{}", ACCOUNTS[2], date(day), date(last));
            vec!["customers".into(), "add".into(), customer.into(), "--accounts".into(), accounts]
        } else {
            let holds =
                |claim: &&mut Claim| claim.account == account && (claim.from..claim.to).contains(&day);
            let held = self.claims.iter_mut().find(holds).unwrap();
            if held.customer == to || held.from == day {
                return None;
            }
            let end = std::mem::replace(&mut held.to, day);
            self.claims.push(Claim { customer: to, account, from: day, to: end });
            let mut args: Vec<String> =
                vec!["customers".into(), "move".into(), ACCOUNTS[account].into(), "--on".into(), date(day)];
            args.extend(["--to-customer".into(), customer.into()]);
            if to == 2 && !settings_of(&self.place).contains("\"gamma\"") {
                args.extend(["--url".into(), "targets/gamma".into()]);
            }
            args
        };
        let rest = ["--accept", "-q", "-o", "json"].map(str::to_owned);
        Some([args, rest.to_vec()].concat())
    }
}

/// What is said to move is what moves: counted row by row from the source, for random claims and random changes.
#[test]
fn what_changes_hands_is_what_has_another_owner_then() {
    let (mut changes, mut moved) = (0, 0);
    for seed in 1..=12 {
        let mut story = Story::new(seed);
        for _ in 0..4 {
            let before = story.claims.clone();
            let Some(args) = story.change() else { continue };
            let said = story.place.run(&args);
            if said.code == 2 && said.err.contains("on the same day") {
                story.claims = before;
                continue;
            }
            let period = said.expect(0).json()["periods"][0].clone();
            let other = |(account, day): &&(usize, u32)| {
                owner(&before, *account, *day) != owner(&story.claims, *account, *day)
            };
            let wanted = story.rows.iter().filter(other).count();
            assert_eq!(period["moved_rows"], json!(wanted), "seed {seed}: {args:?}\n{period}");
            changes += 1;
            moved += wanted;
        }
    }
    assert!(changes >= 20 && moved > 150, "{changes} changes moved {moved} rows");
    println!("membership: {changes} random changes, {moved} line items change hands, each counted exactly");
}
