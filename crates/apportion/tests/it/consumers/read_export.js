// Reads all exports of a target with Node's own zlib, from manifest to sums; shares no code with the program.
//
// `node read_export.js METHOD TARGET`: the method is gunzipSync or createGunzip. Prints what read_export.py prints.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");

const READ = ["line_item_usage_account_id", "line_item_unblended_cost", "line_item_line_item_description"];
const METHODS = {
  gunzipSync: async (file) => zlib.gunzipSync(fs.readFileSync(file)),
  createGunzip: async (file) => {
    const chunks = [];
    for await (const chunk of fs.createReadStream(file).pipe(zlib.createGunzip())) chunks.push(chunk);
    return Buffer.concat(chunks);
  },
};

// Calls `each` with the cells of every record.
function records(text, each) {
  let cells = [];
  let at = 0;
  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      for (;;) {
        const close = text.indexOf('"', at + 1);
        if (close < 0) throw new Error("a quote is not closed");
        cell += text.slice(at + 1, close);
        at = close + 1;
        if (text[at] !== '"') break;
        cell += '"';
      }
    } else {
      const start = at;
      while (at < text.length && text[at] !== "," && text[at] !== "\n") at++;
      cell = text.slice(start, at);
    }
    cells.push(cell);
    if (text[at] !== ",") {
      each(cells);
      cells = [];
    } else if (at + 1 === text.length) {
      throw new Error("the last line does not end");
    }
    at++;
  }
}

// Decimals as whole numbers of 10^-PLACES.
const PLACES = 40;

function exact(text) {
  const [, sign, whole, fraction = "", exponent = "0"] = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text);
  const zeros = PLACES - fraction.length + Number(exponent);
  if (zeros < 0) throw new Error(`${text} has more than ${PLACES} places`);
  const value = BigInt(whole + fraction) * 10n ** BigInt(zeros);
  return sign === "-" ? -value : value;
}

function plain(value) {
  const digits = (value < 0n ? -value : value).toString().padStart(PLACES + 1, "0");
  const text = `${value < 0n ? "-" : ""}${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`;
  return text.replace(/\.?0+$/, "");
}

async function read(method, files) {
  const accounts = new Map();
  let columns = [];
  for (const file of files) {
    let places = null;
    records((await METHODS[method](file)).toString("utf8"), (cells) => {
      if (places === null) {
        columns = cells.map((name) => [name, "string"]);
        places = READ.map((name) => cells.indexOf(name));
        return;
      }
      if (cells.length !== columns.length) throw new Error(`a row of ${cells.length} cells`);
      const [account, cost, description] = places.map((place) => cells[place]);
      const of = accounts.get(account) ?? { rows: 0, cost: 0n, float: 0, bytes: 0 };
      of.rows += 1;
      of.cost += exact(cost);
      of.float += Number(cost);
      of.bytes += Buffer.byteLength(description);
      accounts.set(account, of);
    });
  }
  const told = [...accounts].map(([account, of]) => [account, { ...of, cost: plain(of.cost) }]);
  return { files: files.length, columns, accounts: Object.fromEntries(told) };
}

async function main(method, target) {
  const exports = {};
  for (const period of fs.readdirSync(path.join(target, "manifests"))) {
    for (const name of fs.readdirSync(path.join(target, "manifests", period))) {
      if (!name.endsWith("-Manifest.json")) continue;
      const manifest = JSON.parse(fs.readFileSync(path.join(target, "manifests", period, name), "utf8"));
      if (manifest.compression !== "GZIP") continue;
      const files = manifest.reportKeys.map((key) => path.join(target, key));
      exports[`manifests/${period}/${name}`] = await read(method, files);
    }
  }
  console.log(JSON.stringify({ version: process.version, exports }));
}

main(...process.argv.slice(2));
