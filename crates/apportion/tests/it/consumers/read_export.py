"""Reads all exports of a target with one library, from manifest to sums; shares no code with the program.

`read_export.py LIBRARY FORMAT TARGET`: the library is one of LIBRARIES below, the format csv.gz or parquet. Prints one
JSON document: `version`, and per manifest `files`, `columns` (name and type, as the library sees them) and `accounts`:
rows, the exact sum of unblended cost, the library's own sum of floats, and how many bytes the descriptions have.
"""

import collections
import csv
import decimal
import gzip
import io
import json
import pathlib
import subprocess
import sys

decimal.getcontext().prec = 60
decimal.getcontext().traps[decimal.Inexact] = True
ACCOUNT = "line_item_usage_account_id"
COST = "line_item_unblended_cost"
DESCRIPTION = "line_item_line_item_description"
READ = [ACCOUNT, COST, DESCRIPTION]


class Export:
    """What is told of one export."""

    def __init__(self, files, format):
        self.files = files
        self.is_parquet = format == "parquet"
        self.columns = []
        self.floats = {}
        self.accounts = collections.defaultdict(lambda: [0, decimal.Decimal(0), 0])

    def add(self, accounts, costs, descriptions):
        for account, cost, description in zip(accounts, costs, descriptions, strict=True):
            of = self.accounts[account]
            of[0] += 1
            # Python writes a double as the shortest text that reads back as the same.
            of[1] += decimal.Decimal(cost if isinstance(cost, str) else repr(float(cost)))
            # Some libraries make null of a blank cell.
            of[2] += len((description or "").encode())

    def add_csv(self, lines):
        reader = csv.reader(lines)
        header = next(reader)
        self.columns = [(name, "str") for name in header]
        places = [header.index(name) for name in READ]
        for row in reader:
            assert len(row) == len(header), f"a row of {len(row)} cells"
            self.add(*([row[place]] for place in places))

    def told(self):
        accounts = {
            account: {"rows": rows, "cost": format(cost, "f"), "float": self.floats.get(account), "bytes": length}
            for account, (rows, cost, length) in self.accounts.items()
        }
        return {"files": len(self.files), "columns": self.columns, "accounts": accounts}


def zcat(export):
    for file in export.files:
        with subprocess.Popen(["zcat", file], stdout=subprocess.PIPE) as process:
            export.add_csv(io.TextIOWrapper(process.stdout, encoding="utf-8", newline=""))
        assert process.returncode == 0, f"zcat ended with {process.returncode}"
    return subprocess.run(["zcat", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


def python_csv(export):
    for file in export.files:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
            export.add_csv(lines)
    return sys.version.split()[0]


def duckdb(export):
    import duckdb

    parameters = {"files": export.files}
    ask = lambda query: duckdb.execute(query, parameters).fetchall()
    if export.is_parquet:
        exact = floats = "read_parquet($files)"
    else:
        exact = "read_csv($files, header = true, all_varchar = true)"
        # Without its type DuckDB would make a number of an account.
        floats = f"read_csv($files, header = true, types = {{'{ACCOUNT}': 'VARCHAR'}})"
    export.columns = [(name, str(kind)) for name, kind, *_ in ask(f"DESCRIBE SELECT * FROM {exact}")]
    export.add(*(list(zip(*ask(f"SELECT {', '.join(READ)} FROM {exact}"))) or [(), (), ()]))
    if not export.is_parquet:
        sums = dict(ask(f"SELECT {ACCOUNT}, sum({COST}::DECIMAL(38, 24)) FROM {exact} GROUP BY ALL"))
        ours = {account: of[1] for account, of in export.accounts.items()}
        assert sums == ours, f"{sums} by DuckDB's own decimals, {ours} by Python's"
    export.floats = dict(ask(f"SELECT {ACCOUNT}, sum({COST}::DOUBLE) FROM {floats} GROUP BY ALL"))
    return duckdb.__version__


def polars(export):
    import polars

    if export.is_parquet:
        exact = floats = polars.scan_parquet(export.files)
    else:
        exact = polars.scan_csv(export.files, infer_schema=False)
        floats = polars.scan_csv(export.files, schema_overrides={ACCOUNT: polars.String}, infer_schema_length=None)
    export.columns = [(name, str(kind)) for name, kind in exact.collect_schema().items()]
    export.add(*exact.select(READ).collect().to_dict(as_series=False).values())
    sums = floats.group_by(ACCOUNT).agg(polars.col(COST).cast(polars.Float64).sum()).collect()
    export.floats = dict(sums.rows())
    return polars.__version__


def pandas(export):
    import pandas

    if export.is_parquet:
        exact = floats = pandas.concat([pandas.read_parquet(file) for file in export.files])
    else:
        read = lambda **how: pandas.concat([pandas.read_csv(file, **how) for file in export.files])
        exact = read(dtype=str, keep_default_na=False)
        floats = read(dtype={ACCOUNT: str}, low_memory=False)
    export.columns = [(name, str(kind)) for name, kind in exact.dtypes.items()]
    export.add(*(exact[name].tolist() for name in READ))
    export.floats = floats.astype({COST: float}).groupby(ACCOUNT)[COST].sum().to_dict()
    return pandas.__version__


def pyarrow(export):
    import pyarrow
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    def read(types):
        # Without the option a line break inside quotes is an error.
        parse = arrow_csv.ParseOptions(newlines_in_values=True)
        convert = arrow_csv.ConvertOptions(column_types=types)
        tables = [arrow_csv.read_csv(file, parse_options=parse, convert_options=convert) for file in export.files]
        return pyarrow.concat_tables(tables, promote_options="permissive")

    if export.is_parquet:
        exact = floats = pyarrow.concat_tables([parquet.read_table(file) for file in export.files])
    else:
        with gzip.open(export.files[0], "rt", encoding="utf-8", newline="") as lines:
            header = next(csv.reader(lines))
        exact = read({name: pyarrow.string() for name in header})
        floats = read({ACCOUNT: pyarrow.string()})
    export.columns = [(field.name, str(field.type)) for field in exact.schema]
    export.add(*(exact[name].to_pylist() for name in READ))
    costs = floats[COST].cast(pyarrow.float64())
    sums = pyarrow.table({"account": floats[ACCOUNT], "cost": costs}).group_by("account")
    export.floats = {one["account"]: one["cost_sum"] for one in sums.aggregate([("cost", "sum")]).to_pylist()}
    return pyarrow.__version__


def focus(export):
    """Lets the FinOps Foundation's converter make FOCUS of an export; its program does the same, in more processes."""
    from importlib.metadata import version

    from focus_converter.converter import FocusConverter
    from focus_converter.data_loaders.data_loader import DataFormats, ParquetDataFormat

    class Frames(list):
        def collect(self, lf, collected_columns):
            self.append(lf.select(collected_columns).collect())

        def close(self):
            pass

    for file in export.files:
        converter = FocusConverter()
        converter.load_provider_conversion_configs()
        converter.load_data(file, DataFormats.PARQUET, ParquetDataFormat.FILE)
        converter.data_exporter = Frames()
        converter.prepare_horizontal_conversion_plan(provider="aws")
        converter.convert()
        for frame in converter.data_exporter:
            export.columns = [(name, str(kind)) for name, kind in frame.schema.items()]
            export.add(*(frame[name].to_list() for name in ("SubAccountId", "BilledCost", "ChargeDescription")))
    return version("focus_converter")


LIBRARIES = {
    "zcat": zcat,
    "csv": python_csv,
    "duckdb": duckdb,
    "polars": polars,
    "pandas": pandas,
    "pyarrow": pyarrow,
    "focus": focus,
}


def main(library, format, target):
    target = pathlib.Path(target)
    told = {"version": None, "exports": {}}
    for path in sorted(target.glob("manifests/*/*-Manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if (manifest["compression"] == "Parquet") != (format == "parquet"):
            continue
        export = Export([str(target / key) for key in manifest["reportKeys"]], format)
        told["version"] = LIBRARIES[library](export)
        told["exports"][str(path.relative_to(target))] = export.told()
    print(json.dumps(told))


main(*sys.argv[1:])
