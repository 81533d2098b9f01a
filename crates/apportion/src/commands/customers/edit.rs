use crate::exit::usage;
use crate::settings::{AccountEntry, Accounts, CustomerEntry, DatedAccount, dated};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TomlError, Value, value};

/// One change of the settings file.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// A customer that isn't there yet.
    NewCustomer(Box<CustomerEntry>),
    /// One more account of a customer that is.
    AddAccount { customer: String, account: DatedAccount },
    /// An account of a customer that begins on `from` ends on `to`.
    EndAccount { customer: String, account: String, from: Option<String>, to: String },
}

/// The text of a settings file with some changes; every line that they don't concern stays as it is.
///
/// # Errors
/// Customers or accounts that are written in a form that isn't edited in place.
pub(super) fn edited(text: &str, edits: &[Edit]) -> anyhow::Result<String> {
    let windows = text.contains('\n') && text.matches('\n').count() == text.matches("\r\n").count();
    let plain = if windows { text.replace("\r\n", "\n") } else { text.to_owned() };
    let mut document: DocumentMut = plain.parse().map_err(|error: TomlError| usage(error.to_string()))?;
    // A file of comments alone would else have them behind what is added.
    let comments = if document.as_table().is_empty() { plain } else { String::new() };
    if document.as_table().is_empty() {
        document.set_trailing("");
    }
    for edit in edits {
        apply(&mut document, edit)?;
    }
    let gap = if comments.is_empty() || comments.ends_with('\n') { "" } else { "\n" };
    let new = format!("{comments}{gap}{document}");
    Ok(if windows { new.replace('\n', "\r\n") } else { new })
}

fn apply(document: &mut DocumentMut, edit: &Edit) -> anyhow::Result<()> {
    let customers = document
        .entry("customer")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or_else(|| {
            usage("`customer` is written as a value; write each customer as a [[customer]] section")
        })?;
    match edit {
        Edit::NewCustomer(entry) => customers.push(table_of(entry)),
        Edit::AddAccount { customer, account } => {
            push(accounts_of(customers, customer)?, value_of(account));
        }
        Edit::EndAccount { customer, account, from, to } => {
            let accounts = accounts_of(customers, customer)?;
            let found = accounts.iter_mut().find(|value| is_entry(value, account, from.as_deref()));
            let value = found.ok_or_else(|| {
                usage(format!("customer {customer} lists no account {account} that begins there"))
            })?;
            end(value, account, to);
        }
    }
    Ok(())
}

fn accounts_of<'a>(customers: &'a mut ArrayOfTables, id: &str) -> anyhow::Result<&'a mut Array> {
    let table = customers.iter_mut().find(|table| table.get("id").and_then(Item::as_str) == Some(id));
    let table = table.ok_or_else(|| usage(format!("no customer is called {id}")))?;
    table.get_mut("accounts").and_then(Item::as_array_mut).ok_or_else(|| {
        usage(format!(
            "customer {id}: its accounts are not written as a list; write accounts = [\"…\"] to have it edited"
        ))
    })
}

fn is_entry(value: &Value, account: &str, from: Option<&str>) -> bool {
    match value {
        Value::String(id) => id.value() == account && from.is_none(),
        Value::InlineTable(table) => {
            table.get("id").and_then(Value::as_str) == Some(account)
                && table.get("from").and_then(Value::as_str) == from
        }
        _ => false,
    }
}

fn end(value: &mut Value, account: &str, to: &str) {
    if let Value::InlineTable(table) = value {
        let bare = !table.to_string().contains('#');
        table.insert("to", Value::from(to));
        // Evenly spaced again; comments inside of the braces would get lost by that.
        if bare {
            table.fmt();
        }
        return;
    }
    let decor = value.decor().clone();
    *value = value_of(&DatedAccount { id: account.to_owned(), from: None, to: Some(to.to_owned()) });
    *value.decor_mut() = decor;
}

fn table_of(entry: &CustomerEntry) -> Table {
    let mut table = Table::new();
    table.insert("id", value(&entry.id));
    if let Some(name) = &entry.name {
        table.insert("name", value(name));
    }
    let accounts = match &entry.accounts {
        Accounts::Word(word) => value(word),
        Accounts::List(list) => {
            value(list.iter().map(|account| value_of(&plain_of(account))).collect::<Array>())
        }
    };
    table.insert("accounts", accounts);
    if let Some(sharing) = &entry.sharing {
        table.insert("sharing", value(sharing));
    }
    let mut deliver = Table::new();
    deliver.insert("url", value(entry.deliver.as_ref().map_or("", |deliver| &deliver.url)));
    table.insert("deliver", Item::Table(deliver));
    table
}

/// An entry of a list with its dates.
pub(super) fn plain_of(account: &AccountEntry) -> DatedAccount {
    match account {
        AccountEntry::Id(id) => DatedAccount { id: id.clone(), from: None, to: None },
        AccountEntry::Dated(dated) => dated.clone(),
        AccountEntry::Number(number) => DatedAccount { id: number.to_string(), from: None, to: None },
    }
}

fn value_of(account: &DatedAccount) -> Value {
    let DatedAccount { id, from, to } = account.clone();
    match dated(id, from, to) {
        AccountEntry::Dated(dated) => {
            let mut table = InlineTable::new();
            table.insert("id", dated.id.into());
            for (key, day) in [("from", dated.from), ("to", dated.to)] {
                if let Some(day) = day {
                    table.insert(key, day.into());
                }
            }
            Value::InlineTable(table)
        }
        AccountEntry::Id(id) => id.into(),
        AccountEntry::Number(number) => number.into(),
    }
}

/// Appends to a list as it is laid out: in its line, or in a line of its own. A comment behind the last account
/// stays behind it.
fn push(array: &mut Array, mut new: Value) {
    let comma = array.trailing_comma();
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    let Some(last) = array.iter_mut().last() else {
        array.push(new);
        return;
    };
    let prefix = last.decor().prefix().and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    let suffix = last.decor().suffix().and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    if !comma {
        last.decor_mut().set_suffix("");
    }
    let tail = if comma { trailing } else { suffix };
    let (before, after) = if prefix.contains('\n') || tail.contains('\n') {
        let indent = prefix.rsplit_once('\n').map_or("    ", |(_, indent)| indent);
        let (comment, rest) = tail.split_at(tail.find('\n').unwrap_or(tail.len()));
        (format!("{}\n{indent}", comment.trim_end()), rest.to_owned())
    } else {
        (" ".to_owned(), tail)
    };
    new.decor_mut().set_prefix(before);
    new.decor_mut().set_suffix(if comma { "" } else { &after });
    array.push_formatted(new);
    if comma {
        array.set_trailing(after);
        array.set_trailing_comma(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(customer: &str, account: &str, from: Option<&str>) -> Edit {
        let account = DatedAccount { id: account.to_owned(), from: from.map(str::to_owned), to: None };
        Edit::AddAccount { customer: customer.to_owned(), account }
    }

    fn end_of(account: &str, from: Option<&str>) -> Edit {
        Edit::EndAccount {
            customer: "a".to_owned(),
            account: account.to_owned(),
            from: from.map(str::to_owned),
            to: "2026-10-15".to_owned(),
        }
    }

    /// One customer whose accounts are this text becomes one whose accounts are that.
    #[track_caller]
    fn becomes(edit: &Edit, before: &str, after: &str) {
        let file = |accounts: &str| {
            format!(
                "# top\n[[customer]] # a\nid = 'a'\naccounts = {accounts} # own\n# last\n[run]\nthreads = 3 # few\n# end\n"
            )
        };
        assert_eq!(edited(&file(before), std::slice::from_ref(edit)).unwrap(), file(after));
        let windows = |text: &str| file(text).replace('\n', "\r\n");
        assert_eq!(edited(&windows(before), std::slice::from_ref(edit)).unwrap(), windows(after));
    }

    #[test]
    fn a_list_keeps_its_layout_and_comments() {
        let new = add("a", "2", None);
        becomes(&new, r#"["1"]"#, r#"["1", "2"]"#);
        becomes(&new, r#"[ "1" ]"#, r#"[ "1", "2" ]"#);
        becomes(&new, r#"["1",]"#, r#"["1", "2",]"#);
        becomes(&new, "[\n  '1', # one\n]", "[\n  '1', # one\n  \"2\",\n]");
        becomes(&new, "[\n  '1'  # one\n]", "[\n  '1',  # one\n  \"2\"\n]");
        becomes(
            &new,
            "[\n\t'0',\n\t# of old\n\t'1', # one\n\t# more to come\n]",
            "[\n\t'0',\n\t# of old\n\t'1', # one\n\t\"2\",\n\t# more to come\n]",
        );
        becomes(&new, "[\n  '0',\n  '1']", "[\n  '0',\n  '1',\n  \"2\"]");
        let dated = add("a", "2", Some("2026-01-01"));
        becomes(&dated, r#"["1"]"#, r#"["1", { id = "2", from = "2026-01-01" }]"#);
    }

    #[test]
    fn an_account_is_ended_where_it_stands() {
        let ended = r#"{ id = "1", to = "2026-10-15" }"#;
        becomes(&end_of("1", None), "[\n  '1', # one\n  '2'\n]", &format!("[\n  {ended}, # one\n  '2'\n]"));
        becomes(&end_of("1", None), r#"[{ id = "1", to = "2027-01-01" }]"#, &format!("[{ended}]"));
        becomes(
            &end_of("1", Some("2026-02-01")),
            r#"["1", {id="1", from="2026-02-01"}]"#,
            r#"["1", { id = "1", from = "2026-02-01", to = "2026-10-15" }]"#,
        );
        assert!(edited("[[customer]]\nid = 'a'\naccounts = ['2']\n", &[end_of("1", None)]).is_err());
    }

    #[test]
    fn a_new_customer_comes_after_the_others() {
        let entry = CustomerEntry {
            id: "b".to_owned(),
            accounts: Accounts::List(vec![AccountEntry::Id("2".to_owned())]),
            deliver: Some(crate::settings::DeliverEntry { url: "t/b".to_owned(), ..Default::default() }),
            ..CustomerEntry::default()
        };
        let new = [Edit::NewCustomer(Box::new(entry))];
        let added = "[[customer]]\nid = \"b\"\naccounts = [\"2\"]\n\n[customer.deliver]\nurl = \"t/b\"\n";
        let first = "# top\n[[customer]]\nid = 'a'\naccounts = ['1']\n[customer.deliver]\nurl = 't/a'\n";
        let rest = "\n# how\n[run]\nthreads = 3\n# end\n";
        assert_eq!(edited(&format!("{first}{rest}"), &new).unwrap(), format!("{first}\n{added}{rest}"));
        assert_eq!(edited("", &new).unwrap(), added);
        assert_eq!(edited("# mine", &new).unwrap(), format!("# mine\n{added}"));
        let source = "[[source]]\nurl = 's' # here";
        assert_eq!(edited(source, &new).unwrap(), format!("{source}\n\n{added}"));
        assert!(edited("customer = []\n", &new).is_err());
    }
}
