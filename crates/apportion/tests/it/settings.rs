//! Settings: every mistake is refused before a byte is read, with a message that helps, and what is right means the
//! same by flag, environment and file.

use crate::support::{Place, Said, same_tree, small_csv};
use serde_json::Value;
use std::fs;

/// A place with a good source and no settings.
fn place() -> Place {
    let place = Place::new();
    place.report("a1", &[small_csv(9).as_bytes()]);
    place
}

/// These settings are refused by every command that resolves them, and nothing is written.
#[track_caller]
fn refused(settings: &str, words: &[&str]) {
    refused_with(settings, &[], words);
}

#[track_caller]
fn refused_with(settings: &str, flags: &[&str], words: &[&str]) {
    let place = place();
    place.write("apportion.toml", settings);
    refused_in(&place, flags, words);
}

#[track_caller]
fn refused_in(place: &Place, flags: &[&str], words: &[&str]) {
    let before = place.tree("");
    for command in [&["deliver"][..], &["plan"], &["audit"], &["config", "check"]] {
        let said = place.run(&[command, flags].concat()).expect(2).tells(words).tells(&["error: "]);
        assert!(said.out.is_empty(), "{command:?} writes to stdout: {}", said.out);
        same_tree(&before, &place.tree(""));
    }
}

const BASE: &str = "[[source]]\nurl = \"source\"\n";

fn customer(id: &str, accounts: &str) -> String {
    customer_at(id, accounts, &format!("targets/{id}"))
}

fn customer_at(id: &str, accounts: &str, target: &str) -> String {
    format!("[[customer]]\nid = \"{id}\"\naccounts = {accounts}\n[customer.deliver]\nurl = \"{target}\"\n")
}

fn with(customers: &[String]) -> String {
    format!("{BASE}{}", customers.concat())
}

const ONE: &str = "[\"111122223333\"]";

#[test]
fn mistakes_in_accounts() {
    let two = |first: &str, second: &str| with(&[customer("acme", first), customer("beta", second)]);
    refused(&two(ONE, ONE), &["111122223333", "acme", "beta", "same day", "`from` or `to`"]);
    let until = "[{ id = \"111122223333\", to = \"2025-03-15\" }]";
    let since = "[{ id = \"111122223333\", from = \"2025-03-14\" }]";
    refused(&two(until, since), &["111122223333", "acme", "beta", "same day"]);
    let alone = |accounts: &str| with(&[customer("acme", accounts)]);
    refused(&alone("[\"11112222333\"]"), &["acme", "11112222333", "12 digits"]);
    refused(&alone("[\"11112222333x\"]"), &["acme", "12 digits"]);
    refused(&alone("[111122223333]"), &["acme", "111122223333", "as a number", "leading zeros", "quotes"]);
    refused(&alone("[]"), &["acme", "no accounts are listed", "accounts = \"all\""]);
    refused(&alone("\"\""), &["acme", "accounts", "all"]);
    refused(&alone("\"111122223333\""), &["acme", "accounts = [\"111122223333\"]"]);
    refused(
        &alone("[{ id = \"111122223333\", from = \"2025-03-15\", to = \"2025-03-15\" }]"),
        &["acme", "111122223333", "2025-03-15", "on or before the day it begins"],
    );
    refused(&alone("[{ id = \"111122223333\", from = \"2025-02-30\" }]"), &["acme", "2025-02-30"]);
    refused(&two("\"all\"", ONE), &["acme", "accounts = \"all\"", "beta", "list its accounts instead"]);
    let all = customer("acme", "\"all\"").replace("accounts", "sharing = \"account\"\naccounts");
    refused(&with(&[all]), &["acme", "sharing", "account", "all"]);
}

#[test]
fn mistakes_in_keys_and_values() {
    let acme = || customer("acme", ONE);
    refused(
        &with(&[acme().replace("accounts", "acounts")]),
        &["apportion.toml", "acounts", "did you mean `accounts`?"],
    );
    refused(&with(&[acme().replace("url", "ulr")]), &["ulr", "did you mean `url`?"]);
    refused(&format!("[[sorce]]\nurl = \"source\"\n{}", acme()), &["sorce", "did you mean `source`?"]);
    refused(&with(&[acme(), "contract = \"ecco\"\n".into()]), &["acme", "ecco", "did you mean \"eco\"?"]);
    for (key, wrong, meant) in [
        ("layout", "awz", "aws"),
        ("header", "slahs", "slash"),
        ("gzip", "singel", "single"),
        ("gzip", "multimember", "multi-member"),
        ("contract", "eco-extendet", "eco-extended"),
        ("contract", "sources", "source"),
        ("order", "sort", "sorted"),
    ] {
        let hint = format!("did you mean \"{meant}\"?");
        let words = ["acme", key, wrong, "isn't known in this version", &hint];
        refused(&with(&[acme(), format!("{key} = \"{wrong}\"\n")]), &words);
    }
    refused(&with(&[acme(), "formats = [\"csv\"]\n".into()]), &["acme", "formats", "csv.gz or parquet"]);
    refused(
        &with(&[acme(), "formats = [\"csv.gz\", \"parqet\"]\n".into()]),
        &["acme", "parqet", "did you mean \"parquet\"?"],
    );
    refused(
        &with(&[acme(), "formats = [\"parquet\", \"csv.gz\", \"parquet\"]\n".into()]),
        &["acme", "formats names parquet twice"],
    );
    refused(&with(&[acme(), "formats = []\n".into()]), &["acme", "formats is empty", "csv.gz"]);
    for (key, wrong, meant) in
        [("sharing", "organisation", "organization"), ("payer", "kep", "keep"), ("privacy", "masks", "mask")]
    {
        let changed = acme().replace("accounts", &format!("{key} = \"{wrong}\"\naccounts"));
        refused(&with(&[changed]), &["acme", key, wrong, &format!("did you mean \"{meant}\"?")]);
    }
    refused(&format!("{BASE}kind = \"cur1-csv\"\n{}", acme()), &["kind", "cur1-csv", "auto"]);
    refused("[[source]\nurl = 1\n", &["apportion.toml", "line 1"]);
    refused(&format!("[[source]]\nurl = 1\n{}", acme()), &["apportion.toml", "line 2", "string"]);
    refused(&with(&[acme().replace("acme", "a/b")]), &["a/b"]);
    refused(&with(&[acme().replace("acme", "")]), &["customer"]);
    let again = customer_at("ACME", "[\"444455556666\"]", "targets/other");
    refused(&with(&[acme(), again]), &["two customers have the id", "upper and lower case"]);
    let again = customer_at("acme", "[\"444455556666\"]", "targets/other");
    refused(&with(&[acme(), again]), &["two customers have the id acme"]);
    let by_account = acme().replace("accounts", "sharing = \"account\"\naccounts");
    let same = customer_at("acme-111122223333", "[\"444455556666\"]", "targets/acme");
    refused(
        &with(&[by_account, same]),
        &["two exports are called acme-111122223333", "targets of their own"],
    );
}

#[test]
fn places_that_touch() {
    let at = |target: &str| with(&[customer_at("acme", ONE, target)]);
    let own = ["give it a folder of its own"];
    refused(&at("source"), &["target of customer acme", "is the same folder as the source", own[0]]);
    refused(&at("./source/../source"), &["is the same folder as the source"]);
    refused(&at("source/share"), &["lies within the source", own[0]]);
    refused(&at("."), &["contains the source", own[0]]);
    let msp = |place: &str| format!("{BASE}[msp]\nurl = \"{place}\"\n{}", customer("acme", ONE));
    refused(&msp("targets/acme/msp"), &["the MSP's place", "lies within target of customer acme"]);
    refused(&msp("targets"), &["the MSP's place", "contains target of customer acme"]);
    refused(&msp("targets/acme"), &["the MSP's place", "is the same folder as target of customer acme"]);
    refused(&msp("source/msp"), &["the MSP's place", "lies within the source"]);
    let inside = customer_at("beta", "[\"444455556666\"]", "targets/acme/beta");
    refused(&with(&[customer("acme", ONE), inside]), &["acme", "beta", "lies within"]);
}

#[test]
fn targets_of_accounts_that_touch() {
    let two = "[\"111122223333\", \"444455556666\"]";
    let shared = |accounts: &str, target: &str| {
        customer_at("acme", accounts, target).replace("accounts", "sharing = \"account\"\naccounts")
    };
    let needs = ["acme", "{account}", "sharing = \"account\"", "list of accounts"];
    refused(&with(&[customer_at("acme", ONE, "targets/{account}")]), &needs);
    refused(&with(&[shared("\"all\"", "targets/{account}")]), &needs);
    // Each account's folder is looked at, not only the first one's.
    let msp =
        |place: &str| format!("{BASE}[msp]\nurl = \"{place}\"\n{}", shared(two, "targets/{account}/cur"));
    for account in ["111122223333", "444455556666"] {
        let own = format!("targets/{account}/cur");
        refused(&msp(&own), &["the MSP's place", "is the same folder as target of customer acme", account]);
        refused(&msp(&format!("{own}/msp")), &["the MSP's place", "lies within target of customer acme"]);
        refused(&msp(&format!("targets/{account}")), &["the MSP's place", "contains target"]);
        let inside = customer_at("beta", "[\"777788889999\"]", &format!("{own}/beta"));
        refused(&with(&[shared(two, "targets/{account}/cur"), inside]), &["beta", "acme", "lies within"]);
    }
    refused(&with(&[shared(two, "source/{account}")]), &["lies within the source"]);
    refused(
        &with(&[customer_at("beta", "[\"777788889999\"]", "targets"), shared(two, "targets/{account}")]),
        &["acme", "beta", "lies within"],
    );
}

#[cfg(unix)]
#[test]
fn places_that_touch_through_a_link() {
    let place = place();
    std::os::unix::fs::symlink(place.at("source"), place.at("link")).unwrap();
    place.write("apportion.toml", with(&[customer_at("acme", ONE, "link/share")]));
    let before = place.tree("source");
    place.run(&["deliver"]).expect(2).tells(&["lies within the source"]);
    same_tree(&before, &place.tree("source"));
}

#[test]
fn mistakes_with_the_mask_key() {
    let settings = format!("{BASE}[msp]\nmask_key_file = \"mask.key\"\n{}", customer("acme", ONE));
    refused(&settings, &["mask key file", "mask.key", "apportion init", "take the setting out"]);
    for (content, words) in [("", "at least"), ("\n", "at least"), ("short", "at least")] {
        let place = place();
        place.write("apportion.toml", &settings);
        place.write("mask.key", content);
        refused_in(&place, &[], &["mask key file", "mask.key", words]);
    }
    // What is in the file is nobody's business.
    let place = place();
    place.write("apportion.toml", &settings);
    place.write("mask.key", "tooshort");
    let said = place.run(&["deliver"]).expect(2);
    assert!(!said.err.contains("tooshort"));
}

#[test]
fn mistakes_in_flags() {
    let place = place();
    let accounts = ["--accounts", "111122223333"];
    let target = ["--target", "out"];
    let source = ["--source", "source"];
    let flags = |parts: &[&[&'static str]]| parts.concat();
    refused_in(&place, &flags(&[&source, &accounts]), &["--accounts needs --target"]);
    refused_in(&place, &flags(&[&accounts, &target]), &["no source", "--source"]);
    refused_in(&place, &source, &["no customer", "--accounts", "[[customer]]"]);
    refused_in(&place, &flags(&[&source, &target]), &["--target needs --accounts"]);
    let all = flags(&[&source, &accounts, &target]);
    let more = |extra: &[&'static str]| [&all[..], extra].concat();
    refused_in(&place, &more(&["--period", "2025-13"]), &["--period", "2025-13"]);
    refused_in(&place, &more(&["--period", "March"]), &["--period", "March"]);
    refused_in(&place, &more(&["--spool-limit", "16 apples"]), &["16 apples", "16GiB"]);
    refused_in(&place, &more(&["--threads", "0"]), &["threads must be 1 to 256"]);
    refused_in(&place, &more(&["--threads", "many"]), &["many", "--threads"]);
    refused_in(
        &place,
        &more(&["--config", "nowhere.toml"]),
        &["nowhere.toml", "isn't there", "apportion init"],
    );
    refused_in(&place, &more(&["--contract", "ecco"]), &["contract", "ecco", "did you mean \"eco\"?"]);
    refused_in(&place, &more(&["--formats", "csv.gz,csv.gz"]), &["formats names csv.gz twice"]);
    refused_in(&place, &more(&["--gzip", "none"]), &["gzip", "none", "multi-member or single"]);
    refused_in(
        &place,
        &flags(&[&source, &accounts, &["--target", "out/{account}"]]),
        &["{account}", "sharing = \"account\""],
    );
    refused_in(&place, &more(&["--unknown"]), &["--unknown", "--help"]);
    refused_in(
        &place,
        &flags(&[&["--source", "gs://bucket/cur"], &accounts, &target]),
        &["gs://bucket/cur", "only folders and buckets", "s3://"],
    );
    refused_in(
        &place,
        &flags(&[&source, &accounts, &["--target", "s3://Bucket"]]),
        &["s3://Bucket", "can't be a bucket's name"],
    );
    let endpoint = ["--target", "s3://bucket", "--endpoint-url", "127.0.0.1:9000"];
    refused_in(&place, &flags(&[&source, &accounts, &endpoint]), &["endpoint_url", "http://"]);
    refused_in(&place, &flags(&[&source, &accounts, &target, &["--stall", "0"]]), &["stall", "1 to 3600"]);
    refused_in(&place, &flags(&[&source, &accounts, &["--target", ""]]), &["no target", "--target"]);
    refused_in(&place, &flags(&[&source, &["--accounts", ""], &target]), &["no accounts are listed"]);
    refused_in(
        &place,
        &flags(&[&source, &["--accounts", "1111"], &target, &["--customer", "acme"]]),
        &["1111", "12 digits"],
    );
}

#[test]
fn mistakes_of_both() {
    refused_with(&with(&[customer("acme", ONE)]), &["--customer", "amce"], &["amce", "there are: acme"]);
    refused_with(
        &with(&[customer("acme", ONE)]),
        &["--target", "out"],
        &["--target needs --accounts, or --customer"],
    );
    let two = |first: &str, second: &str| {
        format!("{BASE}{first}\n[[source]]\nurl = \"other\"\n{second}\n{}", customer("acme", ONE))
    };
    refused_with(
        &two("name = \"a\"", "name = \"b\""),
        &["--report", "rpt"],
        &["--report", "one source", "several [[source]]"],
    );
    let (nameless, other) = (two("", ""), two("name = \"A\"", "name = \"a\""));
    let place = place();
    for (settings, name) in [(nameless, "main"), (other, "a")] {
        place.write("other/x.csv.gz", "");
        place.write("apportion.toml", settings);
        refused_in(&place, &[], &["two sources are called", name, "`name` of its own"]);
    }
    // An export of one source can't be called as another customer's of the other.
    let same = format!(
        "{BASE}\n[[source]]\nurl = \"other\"\nname = \"b\"\n{}{}",
        customer_at("acme", ONE, "targets/all"),
        customer_at("acme-b", "[\"444455556666\"]", "targets/all")
    );
    place.write("apportion.toml", same);
    refused_in(&place, &[], &["two exports are called acme-b", "targets of their own"]);
    refused(&with(&[]), &["no customer"]);
    refused(&customer("acme", ONE), &["no source"]);
    refused(&with(&[format!("[[customer]]\nid = \"acme\"\naccounts = {ONE}\n")]), &["acme", "no target"]);
    refused(&format!("{BASE}[run]\nspool_limit = \"much\"\n{}", customer("acme", ONE)), &["much", "16GiB"]);
}

fn delivered(place: &Place, said: Said) -> std::collections::BTreeMap<String, Vec<u8>> {
    said.expect(0);
    let tree = place.tree("out");
    place.remove("out");
    assert!(tree.len() > 3);
    tree
}

#[test]
fn flags_environment_and_file_mean_the_same() {
    let place = place();
    let flags = [
        "--source",
        "source",
        "--accounts",
        "111122223333",
        "--target",
        "out",
        "--customer",
        "acme",
        "--payer",
        "mask",
        "--withhold",
        "Tax",
        "--order",
        "source",
    ];
    let by_flags = delivered(&place, place.run(&[&["deliver", "-q"][..], &flags].concat()));
    let mut command = place.command();
    for pair in flags.chunks(2) {
        command.env(format!("APPORTION_{}", pair[0][2..].replace('-', "_").to_uppercase()), pair[1]);
    }
    let by_environment =
        delivered(&place, Said::of(command.env("APPORTION_QUIET", "true").arg("deliver").output().unwrap()));
    let settings = format!(
        "{BASE}[[customer]]\nid = \"acme\"\naccounts = {ONE}\npayer = \"mask\"\nwithhold = [\"Tax\"]\n[customer.deliver]\nurl = \"out\"\norder = \"source\"\n"
    );
    place.write("apportion.toml", settings);
    let by_file = delivered(&place, place.run(&["deliver", "-q"]));
    same_tree(&by_flags, &by_environment);
    same_tree(&by_flags, &by_file);
    place.remove("apportion.toml");
    let other = [&["deliver", "-q"][..], &flags[..8]].concat();
    let others = delivered(&place, place.run(&other));
    assert_ne!(
        by_flags.keys().collect::<Vec<_>>(),
        others.keys().collect::<Vec<_>>(),
        "the settings do count"
    );
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let place = place();
    place.write(
        "apportion.toml",
        format!("[[source]]\nurl = \"from-file\"\n[run]\nthreads = 3\n{}", customer("acme", ONE)),
    );
    let value = |said: Said| said.expect(0).json()["source"]["value"].as_str().unwrap().to_owned();
    let show = ["config", "show", "--origin", "-o", "json"];
    assert_eq!(value(place.run(&show)), "from-file");
    let mut command = place.command();
    command.env("APPORTION_SOURCE", "from-environment").args(show);
    assert_eq!(value(Said::of(command.output().unwrap())), "from-environment");
    command.args(["--source", "from-flag"]);
    assert_eq!(value(Said::of(command.output().unwrap())), "from-flag");
}

#[test]
fn config_show_says_where_values_come_from_and_hides_the_key() {
    let place = place();
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    place.write("mask.key", key);
    place.write(
        "apportion.toml",
        format!("{BASE}[msp]\nmask_key_file = \"mask.key\"\n{}", customer("acme", ONE)),
    );
    let shown = place.run(&["config", "show", "--origin", "-o", "json", "--threads", "2"]).expect(0);
    let value = shown.json();
    assert_eq!(value["threads"]["origin"], "flag or environment");
    assert_eq!(value["source"]["origin"], "apportion.toml");
    assert_eq!(value["spool_limit"]["origin"], "default");
    assert_eq!(value["spool_limit"]["value"], "16.0 GiB");
    assert!(value["customers.acme"]["value"].as_str().unwrap().ends_with("acme"));
    assert!(value["mask_key_file"]["value"].as_str().unwrap().contains("fingerprint"));
    assert!(!shown.out.contains(key) && !shown.err.contains(key));
    for form in ["table", "csv", "jsonl"] {
        assert!(place.run(&["config", "show", "-o", form]).expect(0).out.contains("source"));
    }
}

#[test]
fn config_check_and_schema() {
    let place = place();
    place.write("apportion.toml", with(&[customer("acme", ONE)]));
    let said = place.run(&["config", "check"]).expect(0).tells(&["all right: 1 customer"]);
    assert!(said.out.is_empty());
    let schema = place.run(&["config", "schema"]).expect(0).json();
    for key in ["source", "msp", "run", "customer"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn customers_are_listed_and_checked() {
    let place = place();
    place.run(&["customers", "list"]).expect(2).tells(&["no customer in apportion.toml", "customers import"]);
    place.write(
        "apportion.toml",
        with(&[
            customer("acme", "[\"011122223333\", \"111122223333\"]"),
            customer("beta", "[\"444455556666\"]"),
        ]),
    );
    let list = place.run(&["customers", "list", "-o", "json"]).expect(0).json();
    assert_eq!(list[0]["customer"], "acme");
    assert_eq!(list[0]["accounts"][0]["id"], "011122223333");
    assert_eq!(list.as_array().unwrap().len(), 2);
    let csv = place.run(&["customers", "list", "-o", "csv"]).expect(0).out;
    assert!(csv.starts_with("customer,name,accounts,first_account,sharing,target\n"), "{csv}");
    assert!(csv.contains("acme,acme,2,011122223333,organization,"), "{csv}");
    place.run(&["customers", "check"]).expect(0).tells(&["2 customers with 3 listed accounts: all right"]);
}

#[test]
fn customers_are_imported_or_the_file_stays() {
    let place = place();
    place.write("list.csv", "customer,account,name,from,to\nacme,011122223333,Acme GmbH,,\nacme,111122223333,,2025-01-01,\nbeta,444455556666,,,\n");
    let printed =
        place.run(&["customers", "import", "list.csv"]).expect(0).tells(&["nothing was written", "--into"]);
    assert!(printed.out.contains("011122223333") && !place.at("apportion.toml").exists());
    place.write("apportion.toml", format!("# a comment of mine\n{BASE}"));
    place
        .run(&["customers", "import", "list.csv", "--into", "apportion.toml", "--accept"])
        .expect(0)
        .tells(&["2 customers were added"]);
    let settings = fs::read_to_string(place.at("apportion.toml")).unwrap();
    assert!(settings.starts_with("# a comment of mine\n") && settings.contains("Acme GmbH"));
    place.run(&["plan", "-q"]).expect(0);
    let before = place.tree("");
    for (list, words) in [
        (
            "customer,account\ngamma,444455556666\n",
            &["444455556666", "beta", "gamma", "was left as it was"][..],
        ),
        ("customer,account\nBETA,555566667777\n", &["two customers have the id BETA", "was left as it was"]),
        ("customer,account\ngamma,1234\n", &["gamma", "12 digits", "was left as it was"]),
        ("customer,acount\ngamma,555566667777\n", &["list.csv", "acount", "customer,account"]),
        ("customer,account\n", &["list.csv", "holds no customer"]),
        ("customer,account\ngamma\n", &["list.csv"]),
    ] {
        place.write("list.csv", list);
        place.run(&["customers", "import", "list.csv", "--into", "apportion.toml"]).expect(2).tells(words);
        place.write("list.csv", &before["list.csv"]);
        same_tree(&before, &place.tree(""));
    }
    place
        .run(&["customers", "import", "nowhere.csv", "--into", "apportion.toml"])
        .expect(2)
        .tells(&["nowhere.csv"]);
}

#[test]
fn init_makes_a_folder_once() {
    let place = Place::new();
    place
        .run(&["init", "new"])
        .expect(0)
        .tells(&["new/apportion.toml", "apportion plan --config new/apportion.toml"]);
    let key = fs::read_to_string(place.at("new/mask.key")).unwrap();
    let key = key.trim_end();
    assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "64 hex digits");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(place.at("new/mask.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    place.run(&["config", "check", "--config", "new/apportion.toml"]).expect(0);
    let before = place.tree("new");
    place.run(&["init", "new"]).expect(2).tells(&["apportion.toml is there already", "nothing was changed"]);
    place.remove("new/apportion.toml");
    place.run(&["init", "new"]).expect(2).tells(&["mask.key is there already", "nothing was changed"]);
    assert_eq!(place.tree("new").get("mask.key"), before.get("mask.key"));
    place.run(&["init", "other"]).expect(0);
    assert_ne!(before.get("mask.key"), place.tree("other").get("mask.key"), "every key is another");
}

/// The Eco schema as the table of the product has it.
fn eco() -> Vec<(String, String)> {
    let table = fs::read_to_string(
        crate::support::workspace().join("crates/apportion-core/src/columns/columns.toml"),
    );
    let table: toml::Table = table.unwrap().parse().unwrap();
    let kinds: std::collections::HashMap<&str, &str> = table["column"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["type"].as_str().unwrap()))
        .collect();
    let names = table["contract"]["eco"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.map(|name| (name.to_owned(), kinds[name].to_owned())).collect()
}

#[test]
fn the_schema_in_every_form() {
    let place = Place::new();
    let eco = eco();
    assert_eq!(eco.len(), 244);
    let pair = |row: &Value| {
        (row["column_name"].as_str().unwrap().to_owned(), row["data_type"].as_str().unwrap().to_owned())
    };
    let json = place.run(&["schema", "eco", "-o", "json"]).expect(0).json();
    assert_eq!(json["columns"].as_array().unwrap().iter().map(pair).collect::<Vec<_>>(), eco);
    let lines = place.run(&["schema", "-o", "jsonl"]).expect(0).out;
    assert_eq!(lines.lines().map(|line| pair(&serde_json::from_str(line).unwrap())).collect::<Vec<_>>(), eco);
    let csv = place.run(&["schema", "eco", "-o", "csv"]).expect(0).out;
    let rows: Vec<(String, String)> =
        csv::Reader::from_reader(csv.as_bytes()).deserialize().map(Result::unwrap).collect();
    assert_eq!(rows, eco);
    let table = place.run(&["schema", "eco"]).expect(0).out;
    assert!(eco.iter().all(|(name, _)| table.contains(name)));
    assert_eq!(table.lines().count(), 244 + 4, "rows, rules and head");
    place.run(&["schema", "focus"]).expect(2).tells(&["focus", "eco"]);
}

#[test]
fn completions_for_shells() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = place.run(&["completions", shell]).expect(0);
        assert!(
            said.out.contains("apportion") && said.out.contains("deliver") && said.err.is_empty(),
            "{shell}"
        );
    }
    place.run(&["completions", "cmd"]).expect(2).tells(&["bash", "zsh", "fish"]);
}

#[test]
fn stdout_is_data_and_stderr_the_rest() {
    let place = place();
    place.two_customers();
    for command in ["plan", "deliver", "deliver"] {
        let json = place.run(&[command, "-o", "json"]).expect(0).json();
        assert_eq!(json["periods"].as_array().unwrap().len(), 1);
        let csv = place.run(&[command, "-o", "csv"]).expect(0).out;
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(
            reader.headers().unwrap(),
            vec![
                "period",
                "customer",
                "report_id",
                "state",
                "rows",
                "unblended_cost",
                "before",
                "files",
                "bytes"
            ]
        );
        assert!(reader.records().all(|record| record.is_ok()));
        for line in place.run(&[command, "-o", "jsonl"]).expect(0).out.lines() {
            assert!(serde_json::from_str::<Value>(line).unwrap()["customer"].is_string());
        }
        let table = place.run(&[command]).expect(0);
        assert!(table.out.contains("acme") && !table.out.contains("note:"));
        assert!(table.err.contains("note: no mask key"));
    }
    let quiet = place.run(&["plan", "-q", "-o", "json"]).expect(0);
    assert!(quiet.err.is_empty(), "{}", quiet.err);
    place.run(&["plan", "-o", "yaml"]).expect(2).tells(&["yaml", "json", "csv"]);
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    for command in [
        &[][..],
        &["demo"],
        &["demo", "make"],
        &["init"],
        &["customers"],
        &["customers", "list"],
        &["customers", "check"],
        &["customers", "add"],
        &["customers", "move"],
        &["customers", "import"],
        &["plan"],
        &["deliver"],
        &["verify"],
        &["audit"],
        &["schema"],
        &["config"],
        &["config", "show"],
        &["config", "check"],
        &["config", "schema"],
        &["completions"],
    ] {
        let said = place.run(&[command, &["--help"]].concat()).expect(0);
        assert!(said.out.contains("Usage:") && said.err.is_empty(), "{command:?}");
    }
    let version = place.run(&["--version"]).expect(0).out;
    assert!(version.starts_with("apportion ") && version.trim().ends_with(env!("CARGO_PKG_VERSION")));
    place.run::<&str>(&[]).expect(2).tells(&["Usage:"]);
}
