#!/usr/bin/env python3
"""The same job for apportion and for the programs that can do a part of it, timed in one table.

The job: read one month of a Cost and Usage Report, keep the accounts of the customers, and write for each customer one
gzipped CSV with exactly the 244 columns of contract `eco`, in their order, without the line items that the contract
withholds (split cost). The month comes from `apportion demo make`, as csv.gz and as Parquet with the same line items.

    cargo build --release
    python3 -m venv peers && peers/bin/pip install -r benches/requirements.txt
    peers/bin/python benches/peers.py --binary target/release/apportion --size medium --reps 3

Every contender runs in a process of its own, all of them with the same number of threads. Wall and CPU time (user and
system, children included) and peak memory are the kernel's account of that process; each figure is the median of the
repetitions, which go round all contenders in turn. After each contender's first run its files are read by Python's own
gzip and csv modules: header, rows and the exact sum of unblended cost of each customer must be the month's own.

apportion does more in its time than the others: it proves what it did (pins, ledger, check), masks foreign account ids,
splits its files and writes the MSP's unassigned line items. A contender whose library is missing is named and left out.
No ratio makes this script fail; wrong output of apportion does (exit code 1).
"""

import argparse
import csv
import gzip
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from decimal import Context, Decimal
from pathlib import Path

SIZES = {"small": 100_000, "medium": 1_000_000}
ACCOUNT = "line_item_usage_account_id"
COST = "line_item_unblended_cost"
# What contract `eco` has no columns for stays with the MSP.
PARENT = "split_line_item_parent_resource_id"
STAMP = "%Y-%m-%dT%H:%M:%SZ"
EXACT = Context(prec=200)


def snake(header):
    """A header's snake name: section 1 of docs/delivery-format.md."""
    name = re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), header)
    return re.sub(r"_+", "_", re.sub(r"[^a-z0-9]", "_", name)).strip("_")


# ---------------------------------------------------------------- the month


def eco_columns(binary):
    """Names and types of contract eco's columns."""
    command = [binary, "schema", "eco", "--output", "json"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True)
    return [(column["column_name"], column["data_type"]) for column in json.loads(printed.stdout)["columns"]]


def make_month(args, kind, folder):
    """Makes the month in one kind, and returns its data files as the manifest names them."""
    if not folder.exists():
        rows = SIZES[args.size]
        command = [args.binary, "demo", "make", "--out", folder, "--kind", kind]
        command += ["--months", "1", "--first", "2026-10"]
        command += ["--rows", rows, "--rows-per-file", rows // 4, "--accounts", args.accounts]
        command += ["--customers", args.customers, "--seed", args.seed]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    source = folder / "source"
    (manifest,) = source.glob("cur/*/*/*-Manifest.json")
    return [str(source / key) for key in json.loads(manifest.read_text())["reportKeys"]]


def customers_of(folder):
    """The customers that were made, each with its accounts; an account that two had in turn is the first's."""
    taken, customers = set(), {}
    for customer in tomllib.loads((folder / "apportion.toml").read_text())["customer"]:
        ids = [account if isinstance(account, str) else account["id"] for account in customer["accounts"]]
        customers[customer["id"]] = [account for account in dict.fromkeys(ids) if account not in taken]
        taken.update(ids)
    return {customer: accounts for customer, accounts in customers.items() if accounts}


def truth_of(csv_files, customers):
    """Per customer: rows, the exact sum of the cost's text, and of the double nearest to each, as Parquet holds it."""
    owner = {account: customer for customer, accounts in customers.items() for account in accounts}
    truth = {}
    for path in csv_files:
        with gzip.open(path, "rt", newline="") as file:
            rows = csv.reader(file)
            names = [snake(header) for header in next(rows)]
            account, cost = names.index(ACCOUNT), names.index(COST)
            parent = names.index(PARENT) if PARENT in names else None
            for row in rows:
                customer = owner.get(row[account])
                if customer is None or (parent is not None and row[parent]):
                    continue
                known = truth.setdefault(customer, [0, Decimal(0), Decimal(0)])
                known[0] += 1
                known[1] = EXACT.add(known[1], Decimal(row[cost] or 0))
                known[2] = EXACT.add(known[2], Decimal(repr(float(row[cost] or 0))))
    return {customer: (rows, str(text), str(double)) for customer, (rows, text, double) in truth.items()}


# ---------------------------------------------------------------- the contenders
# Each gets the job (a dict) in a process of its own, and writes `<out>/<customer>…csv.gz` or `<out>/<customer>/…csv.gz`.


def owners(job):
    return [(account, customer) for customer, accounts in job["customers"].items() for account in accounts]


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def picked(job, present, quote, blank):
    """A SELECT list of the contract's columns, from the names that the files have (snake name to header)."""
    name = lambda text: f"{quote}{text}{quote}"
    columns = [(column, present.get(column)) for column, _ in job["columns"]]
    return ", ".join(f"{name(header) if header else blank} AS {name(column)}" for column, header in columns)


def headers_of(job):
    """Snake name to header of csv.gz files; the first where several headers have one name."""
    found = {}
    with gzip.open(job["files"][0], "rt", newline="") as file:
        for header in next(csv.reader(file)):
            found.setdefault(snake(header), header)
    return found


def run_duckdb(job):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {job['threads']}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET temp_directory = {literal(job['scratch'])}")
    files = "[" + ", ".join(literal(path) for path in job["files"]) + "]"
    if job["input"] == "parquet":
        source = f"read_parquet({files}, hive_partitioning = false)"
        present = {row[0]: row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    else:
        source = f"read_csv({files}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"
        present = headers_of(job)
    connection.execute("CREATE TABLE owner (account VARCHAR, customer VARCHAR)")
    connection.executemany("INSERT INTO owner VALUES (?, ?)", owners(job))
    parent = present.get(PARENT)
    wanted = f"WHERE coalesce(s.\"{parent}\", '') = ''" if parent else ""
    connection.execute(
        f"COPY (SELECT {picked(job, present, chr(34), 'NULL')}, customer FROM {source} s"
        f' JOIN owner ON s."{present[ACCOUNT]}" = owner.account {wanted}) TO {literal(job["out"])}'
        f" (FORMAT csv, HEADER true, COMPRESSION gzip, TIMESTAMPFORMAT '{STAMP}',"
        f" PARTITION_BY (customer), OVERWRITE_OR_IGNORE)"
    )


def run_polars(job, level):
    os.environ["POLARS_MAX_THREADS"] = str(job["threads"])
    import polars

    if job["input"] == "parquet":
        frame = polars.scan_parquet(job["files"], hive_partitioning=False)
        present = {name: name for name in frame.collect_schema().names()}
    else:
        frame = polars.scan_csv(job["files"], infer_schema=False)
        present = headers_of(job)
    customer_of = dict(owners(job))
    if PARENT in present:
        frame = frame.filter(polars.col(present[PARENT]).fill_null("") == "")
    blank = polars.lit(None, polars.String)
    columns = [
        (polars.col(present[name]) if name in present else blank).alias(name) for name, _ in job["columns"]
    ]
    frame = frame.filter(polars.col(present[ACCOUNT]).is_in(list(customer_of))).select(columns)
    frame = frame.with_columns(customer=polars.col(ACCOUNT).replace_strict(customer_of, return_dtype=polars.String))
    place = lambda file: f"{file.partition_keys['customer'][0]}/share.csv.gz"
    target = polars.PartitionBy(
        job["out"], key="customer", include_key=False, file_path_provider=place, approximate_bytes_per_file=1 << 62
    )
    frame.sink_csv(
        target, compression="gzip", compression_level=level, datetime_format=STAMP, mkdir=True, maintain_order=False
    )


def run_chdb(job, level):
    import chdb

    types = {"double": "Nullable(Float64)", "timestamp": "Nullable(DateTime64(3, 'UTC'))"}
    is_parquet = job["input"] == "parquet"
    # Alternatives must not hold a slash.
    folder, names = os.path.dirname(job["files"][0]), [os.path.basename(path) for path in job["files"]]
    files = f"{folder}/{{{','.join(names)}}}" if len(names) > 1 else job["files"][0]
    if is_parquet:
        source = f"file({literal(files)}, 'Parquet')"
        described = chdb.query(f"DESCRIBE {source} SETTINGS use_hive_partitioning = 0", "JSONCompact")
        present = {row[0]: row[0] for row in json.loads(described.bytes())["data"]}
    else:
        with gzip.open(job["files"][0], "rt", newline="") as file:
            structure = ", ".join(f"`{header}` String" for header in next(csv.reader(file)))
        source = f"file({literal(files)}, 'CSVWithNames', {literal(structure)})"
        present = headers_of(job)
    out_type = lambda kind: types.get(kind, "Nullable(String)") if is_parquet else "Nullable(String)"
    out_structure = ", ".join(f"`{name}` {out_type(kind)}" for name, kind in job["columns"])
    pairs = owners(job)
    accounts = "[" + ", ".join(literal(account) for account, _ in pairs) + "]"
    customers = "[" + ", ".join(literal(customer) for _, customer in pairs) + "]"
    parent = f" AND coalesce(`{present[PARENT]}`, '') = ''" if PARENT in present else ""
    target = literal(job["out"] + "/{_partition_id}.csv.gz")
    chdb.query(
        f"INSERT INTO FUNCTION file({target}, 'CSVWithNames', {literal(out_structure)})"
        f" PARTITION BY transform(assumeNotNull({ACCOUNT}), {accounts}, {customers}, '')"
        f" SELECT {picked(job, present, '`', 'NULL')} FROM {source}"
        f" WHERE has({accounts}, assumeNotNull(`{present[ACCOUNT]}`)){parent}"
        f" SETTINGS max_threads = {job['threads']}, max_insert_threads = {job['threads']},"
        f" format_csv_null_representation = '', date_time_output_format = 'iso', session_timezone = 'UTC',"
        # Else it takes the source's columns for those of the target.
        f" use_structure_from_insertion_table_in_table_functions = 0,"
        f" use_hive_partitioning = 0, output_format_compression_level = {level}, engine_file_truncate_on_insert = 1"
    )


# Name, the library, how it is run. DuckDB's CSV writer has no level to choose.
PEERS = {
    "DuckDB": ("duckdb", run_duckdb),
    "Polars, gzip 6": ("polars", lambda job: run_polars(job, 6)),
    "Polars, gzip 1": ("polars", lambda job: run_polars(job, 1)),
    "chDB, gzip 6": ("chdb", lambda job: run_chdb(job, 6)),
    "chDB, gzip 1": ("chdb", lambda job: run_chdb(job, 1)),
}
LEVELS = ["default", "fast", "small"]


def settings_of(job, level, folder):
    """A settings file for the same job; the MSP's place is asked for too, as a run in earnest has it."""
    quoted = json.dumps
    lines = ["[[source]]", f"url = {quoted(job['source'])}", "", "[msp]", f"url = {quoted(job['scratch'] + '/msp')}"]
    for customer, accounts in job["customers"].items():
        lines += ["", "[[customer]]", f"id = {quoted(customer)}", f"accounts = {quoted(accounts)}"]
        lines += ["[customer.deliver]", f"url = {quoted(job['out'] + '/' + customer)}", f"level = {quoted(level)}"]
    path = folder / "apportion.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


# ---------------------------------------------------------------- measuring


def measured(command, log):
    """Wall and CPU seconds, peak memory in MiB and the exit code of a process and what it waited for."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode


def files_by_customer(out, customers):
    found = {}
    for path in sorted(out.rglob("*.csv.gz")):
        first = path.relative_to(out).parts[0].removesuffix(".csv.gz").removeprefix("customer=")
        if first in customers:
            found.setdefault(first, []).append(path)
    return found


def verdict(out, job, truth):
    """What the files hold, read by nothing but Python's standard library; 'ok', or the first difference."""
    names = [name for name, _ in job["columns"]]
    cost = names.index(COST)
    found = {}
    for customer, paths in files_by_customer(out, job["customers"]).items():
        rows_found, total = 0, Decimal(0)
        for path in paths:
            with gzip.open(path, "rt", newline="") as file:
                rows = csv.reader(file)
                if next(rows, None) != names:
                    return f"{path.name}: another header"
                for row in rows:
                    rows_found += 1
                    total = EXACT.add(total, Decimal(row[cost] or 0))
        found[customer] = rows_found, total
    place = 2 if job["input"] == "parquet" else 1
    for customer in sorted(set(truth) | set(found)):
        rows, total = found.get(customer, (0, Decimal(0)))
        wanted = truth.get(customer, (0, "0", "0"))
        if rows != wanted[0]:
            return f"{customer}: {rows} rows, not {wanted[0]}"
        if total != Decimal(wanted[place]):
            return f"{customer}: cost {total}, not {wanted[place]}"
    return "ok"


def contenders(args):
    """What can run here: name and the command's kind; and what can't, with the reason."""
    able, missing, checked = [(f"apportion, {level}", ("own", level)) for level in LEVELS], [], {}
    for name, (library, _) in PEERS.items():
        if library not in checked:
            # In a process of its own: some of these libraries end the process that they can't live in.
            tried = subprocess.run([sys.executable, "-c", f"import {library}"], capture_output=True, text=True)
            checked[library] = tried.returncode == 0
            if tried.returncode:
                said = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
                missing.append(f"{library} is missing here ({said}); going on without it")
        if checked[library]:
            able.append((name, ("peer", name)))
    return able, missing


def command_of(args, who, job, scratch):
    kind, name = who
    if kind == "own":
        settings = settings_of(job, name, scratch)
        return [args.binary, "deliver", "--config", settings, "--threads", job["threads"], "--spool", scratch / "spool"]
    path = scratch / "job.json"
    path.write_text(json.dumps(job))
    return [sys.executable, __file__, "--job", path, "--peer", name]


def run_once(args, who, job, scratch, truth):
    """One run of one contender; `truth` only where its files shall be read."""
    out = Path(job["out"])
    shutil.rmtree(scratch, ignore_errors=True)
    out.mkdir(parents=True)
    log = scratch / "log"
    with log.open("wb") as file:
        wall, cpu, memory, code = measured(command_of(args, who, job, scratch), file)
    result = {"wall": wall, "cpu": cpu, "memory": memory, "check": None}
    paths = [path for paths in files_by_customer(out, job["customers"]).values() for path in paths]
    result["bytes"] = sum(path.stat().st_size for path in paths)
    # 3: delivered, with something to look at, as columns that the source doesn't have.
    if code not in ((0, 3) if who[0] == "own" else (0,)):
        said = (log.read_text(errors="replace").strip().splitlines() or ["without a word"])[-1]
        result["check"] = f"ended with {code}: {said[:300]}"
    elif truth is not None:
        result["check"] = verdict(out, job, truth)
    shutil.rmtree(scratch, ignore_errors=True)
    return result


# ---------------------------------------------------------------- the table


def machine():
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found[1] if found else platform.machine()
    except OSError:
        model = platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def table(heading, results):
    """Medians, with ratios to the fastest peer that was right: below 1 is faster."""
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "memory", "bytes")}
        for name, runs in results.items()
    }
    wrong = lambda runs: [run["check"] for run in runs if run["check"] not in (None, "ok")]
    checks = {name: next(iter(wrong(runs)), "ok") for name, runs in results.items()}
    right = [name for name in results if name in PEERS and checks[name] == "ok"]
    best = {key: min((medians[name][key] for name in right), default=None) for key in ("wall", "cpu")}
    lines = ["", f"**{heading}**", ""]
    lines += ["| | wall s | of fastest peer | CPU s | of leanest peer | peak MiB | output MB | check |"]
    lines += ["|---|--:|--:|--:|--:|--:|--:|---|"]
    ratio = lambda value, key: f"{value / best[key]:.2f}" if best[key] else "no peer"
    for name in sorted(results, key=lambda name: (checks[name] != "ok", medians[name]["wall"])):
        run, seen = medians[name], "ok" if checks[name] == "ok" else "WRONG"
        lines.append(
            f"| {name} | {run['wall']:.2f} | {ratio(run['wall'], 'wall')}"
            f" | {run['cpu']:.2f} | {ratio(run['cpu'], 'cpu')} | {run['memory']:.0f} | {run['bytes'] / 1e6:.1f} | {seen} |"
        )
    lines += ["", *(f"WRONG: {name}: {said}" for name, said in checks.items() if said != "ok")]
    return "\n".join(lines), all(checks[name] == "ok" for name in results if name not in PEERS)


def say(text):
    print(text, flush=True)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/apportion", help="the program [target/release/apportion]")
    parser.add_argument("--size", choices=SIZES, default="small", help="small: 100,000 line items; medium: 1,000,000")
    parser.add_argument("--reps", type=int, default=3, help="runs of each contender [3]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for every contender [the machine's]")
    parser.add_argument("--accounts", type=int, default=200, help="accounts in the month [200]")
    parser.add_argument("--customers", type=int, default=40, help="customers [40]")
    parser.add_argument("--seed", type=int, default=1, help="other seeds make other months [1]")
    parser.add_argument("--inputs", nargs="+", choices=["parquet", "csv"], default=["parquet", "csv"], help="[both]")
    parser.add_argument("--folder", type=Path, help="where the months are kept for the next time [removed at the end]")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(args, folder):
    args.binary = str(Path(args.binary).resolve())
    able, missing = contenders(args)
    versions = subprocess.run([args.binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    for library in dict.fromkeys(library for library, _ in PEERS.values()):
        if any(PEERS.get(name, ("",))[0] == library for name, _ in able):
            versions += f", {library} {importlib.metadata.version(library)}"
    columns = eco_columns(args.binary)
    base = folder / f"{args.size}-{args.accounts}-{args.customers}-{args.seed}"
    months = {kind: base / kind for kind in ("csv", "parquet")}
    files = {kind: make_month(args, f"cur1-{kind}", month) for kind, month in months.items()}
    customers = customers_of(months["csv"])
    truth = truth_of(files["csv"], customers)
    rows = sum(known[0] for known in truth.values())
    say(f"{SIZES[args.size]:,} line items, {rows:,} of them in {len(truth)} shares")
    say(f"{args.threads} threads; medians of {args.reps}")
    say(f"{machine()}\n{versions}")
    for line in missing:
        say(line)
    fine = True
    for kind in args.inputs:
        scratch = folder / "run"
        job = {"input": kind, "files": files[kind], "source": str(months[kind] / "source"), "columns": columns}
        job |= {"customers": customers, "threads": args.threads, "out": str(scratch / "out"), "scratch": str(scratch)}
        results = {name: [] for name, _ in able}
        for repetition in range(args.reps):
            for name, who in able:
                print(f"run {repetition + 1} from {kind}: {name}", file=sys.stderr, flush=True)
                results[name].append(run_once(args, who, job, scratch, None if repetition else truth))
        printed, right = table(f"{args.size}, from {kind if kind == 'parquet' else 'csv.gz'}", results)
        say(printed)
        fine = fine and right
    return 0 if fine else 1


def main():
    args = parsed()
    if args.job:
        PEERS[args.peer][1](json.loads(args.job.read_text()))
        return 0
    if args.folder:
        return compare(args, args.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="apportion-peers-") as folder:
        return compare(args, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
