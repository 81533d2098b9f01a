"""Recounts deliveries from the source's text and the customers' lists alone, and compares proofs and files with it.

Shares no code with the program, but its table of columns. Arguments: a JSON file with a list of cases, and
columns.toml. Prints each difference, then `ok N`.
"""

import csv
import datetime
import decimal
import fractions
import gzip
import io
import json
import os
import re
import sys
import tomllib

csv.field_size_limit(1 << 26)
decimal.getcontext().prec = 4000
decimal.getcontext().Emax = decimal.MAX_EMAX
decimal.getcontext().Emin = decimal.MIN_EMIN
decimal.getcontext().traps[decimal.Inexact] = True
COST = "line_item_unblended_cost"
USAGE = "line_item_usage_amount"
MAPS = {"product": "product", "resource_tags": "resourceTags", "cost_category": "costCategory", "discount": "discount"}
CATEGORIES = ["bill", "capacityReservation", "costCategory", "discount", "identity", "lineItem", "pricing", "product"]
CATEGORIES += ["reservation", "resourceTags", "savingsPlan", "splitLineItem", "tags"]
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
ACCOUNT = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
with open(sys.argv[2], "rb") as file:
    TABLE = tomllib.load(file)
KNOWN = {column["name"]: column for column in TABLE["column"]}
FIXED = {
    "eco": TABLE["contract"]["eco"],
    "eco-extended": TABLE["contract"]["eco"] + TABLE["contract"]["extended"],
    "source": [column["name"] for column in TABLE["column"] if column.get("guaranteed")],
}


def snake(header):
    text = re.sub(r"([A-Z])", lambda found: "_" + found.group(1).lower(), header)
    text = "".join(c if c.isascii() and c.isalnum() or not c.isascii() else "_" for c in text)
    return re.sub(r"_+", "_", text).strip("_")


def slash(name):
    for category in CATEGORIES:
        start = snake(category) + "_"
        if name.startswith(start) and len(name) > len(start):
            return category + "/" + name[len(start):]
    return name


def records_of(path):
    with gzip.open(path) as file:
        text = file.read().decode("utf-8")
    return list(csv.reader(io.StringIO(text, newline="")))


def source_rows(path):
    """Each row as name to cell and header, for cells that aren't blank."""
    header, *records = records_of(path)
    names = [snake(name) for name in header]
    for record in records:
        row = {}
        for title, name, cell in zip(header, names, record):
            if cell and name not in MAPS:
                row.setdefault(name, (cell, title))
        for name, cell in zip(names, record):
            pairs = json.loads(cell) if name in MAPS and cell else {}
            for key in sorted(pairs, key=lambda key: key.encode()):
                title = MAPS[name] + "/" + key
                if pairs[key] and snake(title) not in names:
                    row.setdefault(snake(title), (pairs[key], title))
        yield row


def rows_of(path):
    header, *records = records_of(path)
    names = [snake(name) for name in header]
    return [dict(zip(names, cells)) for cells in records]


def moment(text):
    text = text.replace("Z", "+00:00")
    at = datetime.datetime.fromisoformat(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.timezone.utc)
    return at.astimezone(datetime.timezone.utc).date()


def next_month(day):
    return (day.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)


def route(row, customers, month):
    account = row.get("line_item_usage_account_id")
    if not account:
        return ("nobody",)
    bill = row.get("bill_billing_period_start_date")
    start = moment(bill).replace(day=1) if bill else month
    usage = row.get("line_item_usage_start_date")
    day = moment(usage) if usage else start
    if not start <= day < next_month(start):
        day = start
    for customer in customers:
        for owned in customer["accounts"]:
            first = datetime.date.fromisoformat(owned["from"] or "0001-01-01")
            end = datetime.date.fromisoformat(owned["to"] or "9999-12-31")
            if first >= next_month(month) or end <= month:
                continue
            if owned["id"] == account and first <= day < end:
                if customer["contract"] == "eco" and row.get("split_line_item_parent_resource_id"):
                    return ("withheld", customer["id"])
                if row.get("line_item_line_item_type", "") in customer["withhold"]:
                    return ("withheld", customer["id"])
                return ("customer", customer["id"])
    return ("nobody",)


def count(book, key, row):
    line = book.setdefault(key, [0, decimal.Decimal(0), decimal.Decimal(0)])
    line[0] += 1
    line[1] += decimal.Decimal(row.get(COST) or 0)
    line[2] += decimal.Decimal(row.get(USAGE) or 0)


def read_source(case):
    """All rows with their routes."""
    month = datetime.date.fromisoformat(case["month"])
    rows = []
    for path in case["source"]:
        for row in source_rows(path):
            cells = {name: cell for name, (cell, _) in row.items()}
            rows.append((route(cells, case["customers"], month), cells, row))
    return rows


def from_source(rows):
    book = {}
    for key, cells, _ in rows:
        count(book, key, cells)
    return book


def proofs_of(customer):
    return [json.load(open(path, encoding="utf-8")) for path in customer["proofs"]]


def files_of(customer, proof):
    return [os.path.join(customer["target"], file["key"]) for file in proof["files"]]


def from_files(case):
    book = {}
    for customer in case["customers"]:
        for proof in proofs_of(customer):
            if proof["format"] == "csv.gz":
                for path in files_of(customer, proof):
                    for row in rows_of(path):
                        count(book, ("customer", customer["id"]), row)
    for path in case["unassigned"]:
        for row in rows_of(path):
            owner = row["apportion_owner"]
            count(book, ("withheld", owner) if owner else ("nobody",), row)
    return book


def add_totals(book, key, totals):
    for line in totals:
        entry = book.setdefault(key, [0, decimal.Decimal(0), decimal.Decimal(0)])
        entry[0] += line["rows"]
        entry[1] += decimal.Decimal(line["sums"].get(COST, "0"))
        entry[2] += decimal.Decimal(line["sums"].get(USAGE, "0"))


def from_proofs(case):
    book = {}
    for customer in case["customers"]:
        for path, proof in zip(customer["proofs"], proofs_of(customer)):
            if sum(line["rows"] for line in proof["totals"]) != proof["rows"]:
                book[("proof counts", path)] = [proof["rows"], 0, 0]
            if proof["format"] == "csv.gz":
                add_totals(book, ("customer", customer["id"]), proof["totals"])
            add_totals(book, ("withheld", customer["id"]), proof["withheld"])
    master = json.load(open(case["master"], encoding="utf-8"))
    add_totals(book, ("nobody",), master["unassigned"]["totals"])
    return book


def from_master(case):
    book = {}
    master = json.load(open(case["master"], encoding="utf-8"))
    for export in master["customers"]:
        if export["format"] == "csv.gz":
            add_totals(book, ("customer", export["customer"]), export["totals"])
    for withheld in master["withheld"]:
        add_totals(book, ("withheld", withheld["customer"]), withheld["totals"])
    add_totals(book, ("nobody",), master["unassigned"]["totals"])
    whole = {}
    add_totals(whole, "source", master["source_totals"])
    return book, whole.get("source", [0, 0, 0])


def wrong_totals(case, rows):
    truth = from_source(rows)
    master, whole = from_master(case)
    books = {"files": from_files(case), "proofs": from_proofs(case), "master proof": master}
    total = [sum(line[place] for line in truth.values()) for place in range(3)]
    if total != whole:
        yield f"source totals {whole} where {total} is due"
    for name, book in books.items():
        for key in sorted(set(truth) | set(book)):
            zero = [0, decimal.Decimal(0), decimal.Decimal(0)]
            due, found = truth.get(key, zero), book.get(key, zero)
            if due != found:
                yield f"{name}: {key}: {found} where {due} is due"


def delivered_cells(customer, row):
    """The cells that a customer is to get, by name, and the headers they came under."""
    cells = dict(row)
    if customer["payer"] == "mask":
        cells.pop("bill_payer_account_name", None)
    return cells


def columns_due(customer, rows):
    """Names, headers and types of an export's columns."""
    contract, seen = customer["contract"], {}
    for row in rows:
        for name, (_, title) in row.items():
            seen.setdefault(name, title)
    fixed = FIXED[contract]
    takes = {"eco": (), "eco-extended": ("resource_tags_", "cost_category_", "discount_"), "source": ("",)}[contract]
    more = [name for name in seen if name and name not in fixed and name.startswith(takes)]
    due = []
    for name in fixed + sorted(more, key=lambda name: name.encode()):
        column = KNOWN.get(name, {"type": "string", "header": seen.get(name, "")})
        title = column.get("header", "")
        due.append({"name": name, "header": title if "/" in title else slash(name), "type": column["type"]})
    return due


def without_ids(name, cell):
    """Ids that may be masked, made alike; in columns of numbers and dates nothing is masked."""
    return cell if KNOWN.get(name, {}).get("type", "string") != "string" else ACCOUNT.sub("ID", cell)


def wrong_exports(case, rows):
    """Every csv.gz has the columns, headers and cells that are due, and each Parquet's proof the differences."""
    for customer in case["customers"]:
        proofs = {proof["report_id"]: proof for proof in proofs_of(customer)}
        for report_id, proof in proofs.items():
            linked = proof["linked_account"]
            own = [
                delivered_cells(customer, row)
                for key, cells, row in rows
                if key == ("customer", customer["id"])
                and (not linked or cells["line_item_usage_account_id"] == linked)
            ]
            due = columns_due(customer, own)
            if proof["columns"] != due:
                differ = [pair for pair in zip(proof["columns"], due) if pair[0] != pair[1]][:3]
                yield f"{report_id}: {len(proof['columns'])} columns where {len(due)} are due: {differ}"
            elif proof["format"] == "csv.gz":
                yield from wrong_cells(customer, proof, own, due)
            else:
                other = proofs[report_id.removesuffix("-parquet")]
                yield from wrong_representation(customer, proof, other, due)


def wrong_cells(customer, proof, own, due):
    titles = [column["name" if customer["header"] == "snake" else "header"] for column in due]
    found = []
    for path in files_of(customer, proof):
        header, *records = records_of(path)
        if header != titles:
            yield f"{path}: another header"
        found += records
    names = [column["name"] for column in due]
    wanted = [[row.get(name, ("",))[0] for name in names] for row in own]
    if customer["order"] == "sorted":
        place = names.index("identity_line_item_id")
        found.sort(key=lambda row: row[place])
        wanted.sort(key=lambda row: row[place])
    if len(found) != len(wanted):
        yield f"{proof['report_id']}: {len(found)} rows where {len(wanted)} are due"
    for have, want in zip(found, wanted):
        for name, one, other in zip(names, have, want):
            if without_ids(name, one) != without_ids(name, other):
                yield f"{proof['report_id']}: {name}: {one!r} where {other!r} is due"


def wrong_representation(customer, proof, csv_proof, due):
    rows = [row for path in files_of(customer, csv_proof) for row in rows_of(path)]
    wanted = []
    for column in due:
        if column["type"] != "double":
            continue
        difference, lost = fractions.Fraction(0), 0
        for cell in (row[column["name"]] for row in rows):
            if cell and not NUMBER.fullmatch(cell):
                lost += 1
            elif cell:
                difference += fractions.Fraction(float(cell)) - fractions.Fraction(decimal.Decimal(cell))
        if difference or lost:
            wanted.append((column["name"], difference, lost))
    found = [
        (told["column"], fractions.Fraction(decimal.Decimal(told.get("difference") or "0")), told["not_represented"])
        for told in proof["representation"]
    ]
    if found != wanted:
        yield f"{proof['report_id']}: representation {proof['representation']} where {wanted} is due"


def main():
    cases = json.load(open(sys.argv[1], encoding="utf-8"))
    wrong = 0
    for case in cases:
        rows = read_source(case)
        for text in [*wrong_totals(case, rows), *wrong_exports(case, rows)]:
            print(f"case {case['seed']}: {text}")
            wrong += 1
    print(f"ok {len(cases)}" if wrong == 0 else f"wrong {wrong}")


main()
