use super::*;
use crate::write::buffers::Buffers;
use crate::write::window::Window;
use apportion_core::csv::{Limits, split_records};
use apportion_core::line_item::{Block, Texts};
use apportion_model::{AccountId, CustomerId};
use proptest::prelude::*;
use std::sync::Arc;

/// Columns of all sorts: account ids, texts in which one can stand, numbers, dates, the sort key's three, products.
const NAMES: [&str; 13] = [
    "bill_payer_account_id",
    "line_item_line_item_description",
    "line_item_resource_id",
    "line_item_unblended_cost",
    "line_item_usage_account_id",
    "line_item_usage_start_date",
    "product_account_assistance",
    "product_location",
    "product_sku",
    "product_vcpu",
    "product_volume_type",
    "resource_tags_aws_created_by",
    "identity_line_item_id",
];

fn columns() -> Vec<ColumnId> {
    NAMES.iter().filter_map(|name| known().find(name)).collect()
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        3 => "[a-c]",
        1 => Just("222222222222".to_owned()),
        1 => Just("111111111111".to_owned()),
        1 => Just("arn:aws:ec2:us-east-1:222222222222:x".to_owned()),
        1 => Just("arn:aws:ec2:us-east-1:111111111111:x".to_owned()),
        1 => Just("Root:333333333333".to_owned()),
        1 => Just("2026-10-01T05:00:00Z".to_owned()),
        1 => "[a,\"\n\r]{1,3}",
    ]
}

/// How a batch's column is held.
#[derive(Debug, Clone, Copy)]
enum Held {
    Plain,
    Field,
    /// With the dictionary of the batch before, as far as it goes.
    Coded,
    /// As a field of the records of a CSV; then all columns are.
    Record,
}

type Rows = Vec<Vec<String>>;

fn batches() -> impl Strategy<Value = Vec<(Rows, Vec<Held>)>> {
    let held = prop_oneof![Just(Held::Plain), Just(Held::Field), Just(Held::Coded), Just(Held::Coded)];
    let rows = || prop::collection::vec(prop::collection::vec(cell(), NAMES.len()), 1..8);
    let mixed = (rows(), prop::collection::vec(held, NAMES.len()));
    // All coded, as Parquet gives them: only then are rows grouped by their codes.
    let coded = rows().prop_map(|rows| (rows, vec![Held::Coded; NAMES.len()]));
    let records = rows().prop_map(|rows| (rows, vec![Held::Record; NAMES.len()]));
    prop::collection::vec(prop_oneof![mixed, coded, records], 1..4)
}

fn no_dictionaries() -> Vec<Arc<Texts>> {
    NAMES.iter().map(|_| Arc::new(Texts::default())).collect()
}

/// A dictionary that grows by making a new one, as a new row group does, or stays.
fn coded(cells: &[&[u8]], before: &mut Arc<Texts>) -> Cells {
    let code_in = |texts: &Texts, cell: &[u8]| (0..texts.len()).find(|code| texts.get(*code) == cell);
    if cells.iter().any(|cell| !cell.is_empty() && code_in(before, cell).is_none()) {
        let mut texts = Texts::default();
        for cell in cells {
            if code_in(&texts, cell).is_none() {
                texts.push(cell);
            }
        }
        *before = Arc::new(texts);
    }
    let code = |cell: &&[u8]| code_in(before, cell).map_or(u32::MAX, |code| code as u32);
    Cells::Coded { codes: cells.iter().map(code).collect(), texts: Arc::clone(before) }
}

/// The rows as they are read from a CSV.
fn records(rows: &Rows) -> Block {
    let mut text = Vec::new();
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                text.push(b',');
            }
            push_cell(&mut text, cell.as_bytes());
        }
        text.push(b'\n');
    }
    block_of(text)
}

fn block_of(bytes: Vec<u8>) -> Block {
    let mut block = Block { bytes, bounds: Vec::new(), width: NAMES.len() };
    let limits = Limits::default();
    split_records(&mut block.bytes, 0, true, block.width, usize::MAX, &limits, &mut block.bounds).unwrap();
    block
}

fn batch(rows: &Rows, held: &[Held], dictionaries: &mut [Arc<Texts>]) -> Batch {
    let mut all = vec![Cells::Blank; known().count()];
    let records = Arc::new(records(rows));
    for (place, id) in columns().into_iter().enumerate() {
        let cells: Vec<&[u8]> = rows.iter().map(|row| row[place].as_bytes()).collect();
        if cells.iter().all(|cell| cell.is_empty()) {
            continue;
        }
        all[id.index()] = match held[place] {
            Held::Coded => coded(&cells, &mut dictionaries[place]),
            Held::Record => Cells::Field { block: Arc::clone(&records), field: place as u32 },
            Held::Plain => {
                let mut texts = Texts::default();
                cells.iter().for_each(|cell| texts.push(cell));
                Cells::Plain(Arc::new(texts))
            }
            Held::Field => {
                let mut block = Block { width: 1, ..Block::default() };
                for cell in cells {
                    let from = block.bytes.len() as u32;
                    block.bytes.extend_from_slice(cell);
                    block.bounds.push((from, block.bytes.len() as u32));
                }
                Cells::Field { block: Arc::new(block), field: 0 }
            }
        };
    }
    Batch {
        object: "o".into(),
        first_row: 1,
        rows: rows.len(),
        offsets: None,
        known: all,
        source: Vec::new(),
        other: Vec::new(),
    }
}

fn mask(faithful: bool) -> Mask {
    let own = AccountId::from_data("111111111111");
    if faithful {
        return Mask::faithful();
    }
    Mask::new(&CustomerId::new("acme").unwrap(), [&own].into_iter(), false, None)
}

/// A row as plainly as it can be written, with its sort key.
fn plainly(row: &[String], mask: &Mask) -> (u128, Vec<u8>) {
    let mut text = Vec::new();
    let mut parts: [Vec<u8>; 3] = Default::default();
    for (place, (name, cell)) in NAMES.iter().zip(row).enumerate() {
        if place > 0 {
            text.push(b',');
        }
        let rule = Rule::of(known().get(known().find(name).unwrap()));
        let mut buffer = Vec::new();
        let cell = mask.apply(rule, cell.as_bytes(), row[0].as_bytes(), &mut buffer);
        push_cell(&mut text, cell);
        let part = ["product_sku", "line_item_resource_id", "line_item_usage_start_date"]
            .iter()
            .position(|key| key == name);
        if let Some(part) = part {
            parts[part] = cell.to_vec();
        }
    }
    text.push(b'\n');
    (order::sort_key(&parts[0], &parts[1], &parts[2]), text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever the cells are, however they are held and however much text may be kept.
    #[test]
    fn the_kernel_writes_what_the_plain_way_writes(
        batches in batches(), faithful in any::<bool>(), limit in prop_oneof![Just(0usize), Just(120), Just(1 << 20)],
    ) {
        let mut kernel = Kernel::new(&columns(), limit);
        let (mask, mut scratch, mut window) = (mask(faithful), Scratch::default(), Window::new(&Buffers::default()));
        let mut dictionaries = no_dictionaries();
        let mut expected = Vec::new();
        for (rows, held) in &batches {
            let batch = batch(rows, held, &mut dictionaries);
            let prepared = kernel.prepare(&batch);
            for (place, row) in rows.iter().enumerate() {
                prepared.write(place, &mask, &mut scratch, &mut window);
                expected.push(plainly(row, &mask));
            }
        }
        let shared = kernel.shared_texts();
        window.gather().unwrap();
        let found: Vec<(u128, Vec<u8>)> = window
            .keys()
            .into_iter()
            .map(|(key, at)| {
                let mut text = Vec::new();
                window.row(at).unwrap().write_to(&mut text, &shared);
                (key, text)
            })
            .collect();
        prop_assert_eq!(window.text_bytes(), expected.iter().map(|(_, text)| text.len()).sum::<usize>());
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn rows_of_one_sku_name_one_text() {
    let texts = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let of_sku = |sku, id| texts(&["p", "", "r", "1", "a", "", "yes", "here", sku, "2", "z", "", id]);
    let rows = vec![of_sku("s1", "1"), of_sku("s2", "2"), of_sku("s1", "3")];
    let mut kernel = Kernel::new(&columns(), 1 << 20);
    let mut dictionaries = no_dictionaries();
    for held in [Held::Coded, Held::Plain, Held::Record] {
        let batch = batch(&rows, &[held; 13], &mut dictionaries);
        let prepared = kernel.prepare(&batch);
        let ids: Vec<TextId> = prepared.texts.iter().map(|text| text.unwrap().id).collect();
        assert!(ids[0] == ids[2] && ids[0] != ids[1]);
    }
    assert_eq!(kernel.shared_texts().get(TextId::of_number(0).unwrap()), b"yes,here,s1,2,z,");
}

/// Quotes decide where fields end: the same bytes behind one and without one are two readings.
#[test]
fn bytes_beside_a_quote_are_read_by_themselves() {
    let records =
        Arc::new(block_of(b"p,,r,1,a,,\"yes\",here,s,2,z,,1\np,,r,1,a,,yes\",here,s,2,z,,2\n".to_vec()));
    let mut known_cells = vec![Cells::Blank; known().count()];
    for (field, id) in (0u32..).zip(columns()) {
        known_cells[id.index()] = Cells::Field { block: Arc::clone(&records), field };
    }
    let rows: Rows = vec![vec![String::new(); NAMES.len()]; 2];
    let batch = Batch { known: known_cells, ..batch(&rows, &[Held::Plain; 13], &mut no_dictionaries()) };
    let mut kernel = Kernel::new(&columns(), 1 << 20);
    let ids: Vec<TextId> = kernel.prepare(&batch).texts.iter().map(|text| text.unwrap().id).collect();
    let shared = kernel.shared_texts();
    assert_eq!(shared.get(ids[0]), b"yes,here,s,2,z,");
    assert_eq!(shared.get(ids[1]), b"\"yes\"\"\",here,s,2,z,");
}

#[test]
fn the_shared_columns_of_contract_eco_are_its_product_columns() {
    let eco = apportion_core::columns::Contract::Eco.fixed();
    assert_eq!(product_columns(eco), 35..218);
    assert_eq!(product_columns(&eco[..100]), 35..99);
    assert_eq!(product_columns(&[]), 0..0);
}
