"""Makes sources of kinds of which no public file exists, from real rows, with pyarrow.

    kinds_made.py INPUT OUT

INPUT is a Parquet file or a CSV with snake or slash header, of one month. Below OUT one folder per kind is written, and
sums.json: {account: {line item type: [rows, unblended cost]}} as Python's decimals find them.
"""

import csv
import datetime
import decimal
import gzip
import json
import os
import re
import sys
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq

INPUT, OUT = sys.argv[1:3]
DOUBLES = re.compile(
    r"^(line_item_(un)?blended_cost|line_item_(normalized_)?usage_amount|line_item_normalization_factor"
    r"|pricing_public_on_demand_cost|reservation_(amortized|effective|recurring|unused|upfront)_.*)$"
)
TIMES = re.compile(r"^(bill_billing_period|line_item_usage)_(start|end)_date$")
# The product attributes that CUR 2.0 keeps as columns of their own.
FLAT = set(
    "comment fee_code fee_description from_location from_location_type from_region_code instance_family"
    " instance_type instancesku location location_type operation pricing_unit product_family region_code servicecode"
    " sku to_location to_location_type to_region_code usagetype".split()
)


def snake(header):
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"([A-Z])", r"_\1", header).lower())
    return name.strip("_")


def slash(name):
    for category, start in [
        ("lineItem", "line_item"), ("resourceTags", "resource_tags"), ("costCategory", "cost_category"),
        ("savingsPlan", "savings_plan"), ("bill", "bill"), ("identity", "identity"), ("pricing", "pricing"),
        ("product", "product"), ("reservation", "reservation"),
    ]:
        if name.startswith(start + "_"):
            return category + "/" + name[len(start) + 1:]
    return name


def read():
    """Column names and rows of text, double and moment."""
    if INPUT.endswith(".parquet"):
        table = pq.read_table(INPUT)
        names = [snake(name) for name in table.column_names]
        columns = [column.to_pylist() for column in table.columns]
        return names, [list(row) for row in zip(*columns)]
    with open(INPUT, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names = [snake(header) for header in rows[0]]

    def value(name, text):
        if text == "":
            return None
        if DOUBLES.match(name):
            return float(text)
        if TIMES.match(name):
            return datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
        return text

    return names, [[value(name, text) for name, text in zip(names, row)] for row in rows[1:]]


def text(value):
    """As CSV has it, and as a Parquet value is delivered."""
    if value is None:
        return ""
    if isinstance(value, float):
        plain = format(decimal.Decimal(repr(value)), "f")
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return "0" if plain in ("-0", "") else plain
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(value)


NAMES, ROWS = read()
# Enough of each type; the rest only takes time.
MOST = 6000
if len(ROWS) > MOST:
    KIND = NAMES.index("line_item_line_item_type")
    ROWS = [row for place, row in enumerate(ROWS)
            if place % (len(ROWS) // MOST + 1) == 0 or row[KIND] == "RIFee"]
AT = {name: place for place, name in reversed(list(enumerate(NAMES)))}
START = next(row[AT["bill_billing_period_start_date"]] for row in ROWS)
MONTH = datetime.datetime(START.year, START.month, 1)
NEXT = datetime.datetime(START.year + START.month // 12, START.month % 12 + 1, 1)
DATES = f"{MONTH:%Y%m%d}-{NEXT:%Y%m%d}"


def path(*parts):
    made = os.path.join(OUT, *parts)
    os.makedirs(os.path.dirname(made), exist_ok=True)
    return made


def write_json(value, *parts):
    with open(path(*parts), "w", encoding="utf-8") as file:
        json.dump(value, file)


def csv_text(names, rows):
    class Lines:
        def __init__(self):
            self.lines = []

        def write(self, line):
            self.lines.append(line)

    lines = Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[text(value) for value in row] for row in rows])
    return "".join(lines.lines).encode()


def legacy(keys, assembly="assembly-1", compression="GZIP"):
    return {
        "assemblyId": assembly, "account": "", "columns": [], "charset": "UTF-8", "compression": compression,
        "contentType": "text/csv", "reportId": "r", "reportName": "rpt", "bucket": "b",
        "billingPeriod": {"start": f"{MONTH:%Y%m%d}T000000.000Z", "end": f"{NEXT:%Y%m%d}T000000.000Z"},
        "reportKeys": keys, "additionalArtifactKeys": [],
    }


def halves():
    middle = len(ROWS) // 2
    return ROWS[:middle], ROWS[middle:]


def sums():
    decimal.getcontext().prec = 60
    totals = {}
    for row in ROWS:
        account, kind = row[AT["line_item_usage_account_id"]] or "", row[AT["line_item_line_item_type"]] or ""
        entry = totals.setdefault(account, {}).setdefault(kind, [0, decimal.Decimal(0)])
        entry[0] += 1
        entry[1] += decimal.Decimal(text(row[AT["line_item_unblended_cost"]]) or "0")

    def plain(number):
        return format(number.normalize() if number else decimal.Decimal(0), "f")

    write_json({a: {t: [n, plain(s)] for t, (n, s) in of.items()} for a, of in totals.items()}, "sums.json")


def legacy_csv():
    headers = [slash(name) for name in NAMES]
    with open(path("plain", "rows.csv"), "wb") as file:
        file.write(csv_text(NAMES, ROWS))
    zipped, overwrite = [], []
    for number, rows in enumerate(halves(), 1):
        data = csv_text(headers, rows)
        key = f"P/rpt/{DATES}/assembly-1/rpt-{number}.csv.zip"
        with zipfile.ZipFile(path("zip", key), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"rpt-{number}.csv", data)
        zipped.append(key)
        key = f"P/rpt/{DATES}/rpt-{number:05}.csv.gz"
        with gzip.open(path("overwrite", key), "wb") as file:
            file.write(data)
        overwrite.append("/" + key.replace("P/", "P//"))
    write_json(legacy(zipped, compression="ZIP"), "zip", f"P/rpt/{DATES}/rpt-Manifest.json")
    write_json(legacy(overwrite), "overwrite", f"P/rpt/{DATES}/rpt-Manifest.json")
    # What a longer version has left behind: no manifest names it.
    with gzip.open(path("overwrite", f"P/rpt/{DATES}/rpt-00003.csv.gz"), "wb") as file:
        file.write(csv_text(headers, ROWS))


def column(name, values):
    kinds = {type(value) for value in values if value is not None}
    if kinds == {float}:
        return pa.array(values, pa.float64())
    if kinds == {datetime.datetime}:
        return pa.array(values, pa.timestamp("ms"))
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def athena():
    keys = []
    for number, rows in enumerate(halves(), 1):
        # One file has the moments in microseconds, and a column fewer.
        table = pa.table({name: column(name, [row[at] for row in rows]) for name, at in AT.items()})
        key = f"P/rpt/rpt/year={MONTH.year}/month={MONTH.month}/rpt-{number:05}.snappy.parquet"
        times = "us" if number == 2 else "ms"
        pq.write_table(table, path("athena", key), compression="snappy", coerce_timestamps=times)
        keys.append(key)
    manifest = legacy(keys, compression="Parquet")
    write_json(manifest, "athena", f"P/rpt/rpt/year={MONTH.year}/month={MONTH.month}/rpt-Manifest.json")
    write_json(manifest, "athena", f"P/rpt/{DATES}/rpt-Manifest.json")
    status = "P/rpt/cost_and_usage_data_status/cost_and_usage_data_status.parquet"
    pq.write_table(pa.table({"status": ["READY"]}), path("athena", status))
    with open(path("athena", "P/rpt/crawler-cfn.yml"), "w", encoding="utf-8") as file:
        file.write("AWSTemplateFormatVersion: 2010-09-09\n")


def cur2_table(rows):
    maps = {"product": {}, "resource_tags": {}, "cost_category": {}}
    columns = {}
    for name, at in AT.items():
        of = next((one for one in maps if name.startswith(one + "_")), None)
        key = name[len(of) + 1:] if of else None
        if of is None or (of == "product" and key in FLAT):
            columns[name] = column(name, [row[at] for row in rows])
        else:
            maps[of][key] = at
    texts = pa.map_(pa.string(), pa.string())
    for name, keys in maps.items():
        cells = [[(key, row[at]) for key, at in keys.items() if row[at] is not None] for row in rows]
        columns[name] = pa.array(cells, texts)
    numbers = pa.map_(pa.string(), pa.float64())
    columns["discount"] = pa.array([[("edp_discount", 0.0), ("odd", 1e-7)] if n % 2 else [] for n in range(len(rows))],
                                   numbers)
    columns["tags"] = pa.array([[("userAttribute/Team", "ä \"x\""), ("none", None)] if n % 3 else None
                                for n in range(len(rows))], texts)
    return pa.table(dict(sorted(columns.items())))


def exports(assembly, keys):
    return {"executionId": assembly, "exportArn": "arn:aws:bcm-data-exports:us-east-1:0:export/rpt", "columns": [],
            "dataFiles": ["s3://b/" + key for key in keys], "additionalOutputFiles": []}


def cur2():
    folder = f"BILLING_PERIOD={MONTH:%Y-%m}"
    keys = []
    for number, rows in enumerate(halves(), 1):
        key = f"P/rpt/data/{folder}/rpt-{number:05}.snappy.parquet"
        pq.write_table(cur2_table(rows), path("cur2", key), compression="snappy")
        keys.append(key)
    write_json(exports("execution-1", keys), "cur2", f"P/rpt/metadata/{folder}/rpt-Manifest.json")
    for number in (1, 2, 3):
        execution = f"{MONTH:%Y-%m}-{20 + number}T23:48:02.356Z-0000000{number}"
        key = f"P/rpt/data/{folder}/{execution}/rpt-00001.snappy.parquet"
        part = ROWS[: len(ROWS) * number // 3]
        pq.write_table(cur2_table(part), path("create-new", key), compression="snappy")
        manifest = exports(execution, [key.replace("BILLING_PERIOD", "billing_period")] if number < 3 else [key])
        write_json(manifest, "create-new", f"P/rpt/metadata/{folder}/{execution}/rpt-Manifest.json")
    write_json(manifest, "create-new", f"P/rpt/metadata/{folder}/rpt-Manifest.json")


sums()
legacy_csv()
athena()
cur2()
