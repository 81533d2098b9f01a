"""Recounts deliveries from the source's text and the customers' lists alone, and compares proofs and files with it.

Shares no code with the program. Reads one JSON file: a list of cases. Prints each difference, then `ok N`.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import sys

csv.field_size_limit(1 << 26)
decimal.getcontext().prec = 4000
decimal.getcontext().Emax = decimal.MAX_EMAX
decimal.getcontext().Emin = decimal.MIN_EMIN
decimal.getcontext().traps[decimal.Inexact] = True
COST = "line_item_unblended_cost"
USAGE = "line_item_usage_amount"
ALIASES = {
    "lineItem/UsageAccountId": "line_item_usage_account_id",
    "lineItem/UsageStartDate": "line_item_usage_start_date",
    "lineItem/LineItemType": "line_item_line_item_type",
    "lineItem/UnblendedCost": COST,
    "lineItem/UsageAmount": USAGE,
    "bill/BillingPeriodStartDate": "bill_billing_period_start_date",
    "splitLineItem/ParentResourceId": "split_line_item_parent_resource_id",
}


def rows_of(path):
    with gzip.open(path) as file:
        text = file.read().decode("utf-8")
    lines = csv.reader(io.StringIO(text, newline=""))
    header = [ALIASES.get(name, name) for name in next(lines)]
    return [dict(zip(header, cells)) for cells in lines]


def moment(text):
    text = text.replace("Z", "+00:00")
    at = datetime.datetime.fromisoformat(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.timezone.utc)
    return at.astimezone(datetime.timezone.utc).date()


def next_month(day):
    return (day.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)


def route(row, customers, month):
    account = row["line_item_usage_account_id"]
    if not account:
        return ("nobody",)
    bill = row["bill_billing_period_start_date"]
    start = moment(bill).replace(day=1) if bill else month
    usage = row["line_item_usage_start_date"]
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
                if row.get("split_line_item_parent_resource_id"):
                    return ("withheld", customer["id"])
                if row["line_item_line_item_type"] in customer["withhold"]:
                    return ("withheld", customer["id"])
                return ("customer", customer["id"])
    return ("nobody",)


def count(book, key, row):
    line = book.setdefault(key, [0, decimal.Decimal(0), decimal.Decimal(0)])
    line[0] += 1
    line[1] += decimal.Decimal(row[COST] or 0)
    line[2] += decimal.Decimal(row[USAGE] or 0)


def from_source(case):
    book = {}
    month = datetime.date.fromisoformat(case["month"])
    for path in case["source"]:
        for row in rows_of(path):
            count(book, route(row, case["customers"], month), row)
    return book


def from_files(case):
    book = {}
    for customer in case["customers"]:
        for path in customer["files"]:
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
        for path in customer["proofs"]:
            proof = json.load(open(path, encoding="utf-8"))
            if sum(line["rows"] for line in proof["totals"]) != proof["rows"]:
                book[("proof counts", path)] = [proof["rows"], 0, 0]
            add_totals(book, ("customer", customer["id"]), proof["totals"])
            add_totals(book, ("withheld", customer["id"]), proof["withheld"])
    master = json.load(open(case["master"], encoding="utf-8"))
    add_totals(book, ("nobody",), master["unassigned"]["totals"])
    return book


def from_master(case):
    book = {}
    master = json.load(open(case["master"], encoding="utf-8"))
    for export in master["customers"]:
        add_totals(book, ("customer", export["customer"]), export["totals"])
    for withheld in master["withheld"]:
        add_totals(book, ("withheld", withheld["customer"]), withheld["totals"])
    add_totals(book, ("nobody",), master["unassigned"]["totals"])
    whole = {}
    add_totals(whole, "source", master["source_totals"])
    return book, whole.get("source", [0, 0, 0])


def main():
    cases = json.load(open(sys.argv[1], encoding="utf-8"))
    wrong = 0
    for case in cases:
        truth = from_source(case)
        master, whole = from_master(case)
        books = {"files": from_files(case), "proofs": from_proofs(case), "master proof": master}
        total = [sum(line[place] for line in truth.values()) for place in range(3)]
        if total != whole:
            print(f"case {case['seed']}: source totals {whole} where {total} is due")
            wrong += 1
        for name, book in books.items():
            for key in sorted(set(truth) | set(book)):
                zero = [0, decimal.Decimal(0), decimal.Decimal(0)]
                due, found = truth.get(key, zero), book.get(key, zero)
                if due != found:
                    print(f"case {case['seed']}: {name}: {key}: {found} where {due} is due")
                    wrong += 1
    print(f"ok {len(cases)}" if wrong == 0 else f"wrong {wrong}")


main()
