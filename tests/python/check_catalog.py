"""Reads a stillair catalogue as its users do (astropy, pyarrow) and compares the two formats with each other and with what was put in.

    python check_catalog.py FOLDER EXPECTED.json

FOLDER holds catalog.fits and catalog.parquet; EXPECTED.json the rows and columns that the Rust test wrote. Exits 1 with the reason.
"""

import json
import math
import sys
import warnings

import astropy.units as u
import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable, Table

warnings.simplefilter("error", u.UnitsWarning)

folder, expected_path = sys.argv[1:3]
expected = json.load(open(expected_path))
columns = expected["columns"]
names = [c["name"] for c in columns]


def same(a, b):
    if a is None or a is np.ma.masked or (isinstance(a, float) and math.isnan(a)):
        return b is None
    return b is not None and (a == b or (isinstance(b, str) and str(a) == b))


# 1. FITS: structure, columns, units, UCDs, descriptions, values
with fits.open(f"{folder}/catalog.fits") as hdus:
    hdus.verify("exception")
    header = hdus["CATALOG"].header
    assert [header[f"TTYPE{i + 1}"] for i in range(len(names))] == names
    for i, c in enumerate(columns):
        assert header.get(f"TUNIT{i + 1}", "") == c["unit"], c
        assert header[f"TUCD{i + 1}"] == c["ucd"] and header[f"TCOMM{i + 1}"] == c["description"], c
        assert check_ucd(c["ucd"], check_controlled_vocabulary=True), f"not a UCD1+ word: {c['ucd']}"
        if c["unit"]:
            u.Unit(c["unit"], format="fits")
    for bit, name, meaning in expected["flags"]:
        assert header[f"FLAG{bit}"] == name and header[f"FLAGM{bit}"] == meaning, name
    for card, value in expected["cards"].items():
        assert header[card] == value, (card, header[card], value)
    assert "DATE" not in header

table = Table.read(f"{folder}/catalog.fits")
assert table.colnames == names
for got, want in zip(table, expected["rows"], strict=True):
    for name in names:
        value = got[name]
        if value is np.ma.masked:
            value = None
        elif hasattr(value, "item"):
            value = value.item()
        assert same(value, want[name]), ("FITS", want["id"], name, value, want[name])

quantities = QTable.read(f"{folder}/catalog.fits")
for c in columns:
    if c["unit"]:
        assert u.Unit(quantities[c["name"]].unit) == u.Unit(c["unit"]), c

# 2. Parquet through pyarrow: the same names, values, and metadata
arrow = pq.read_table(f"{folder}/catalog.parquet")
assert arrow.column_names == names
for c in columns:
    metadata = {k.decode(): v.decode() for k, v in (arrow.schema.field(c["name"]).metadata or {}).items()}
    assert metadata.get("unit", "") == c["unit"] == metadata.get("ivoa:unit", ""), (c, metadata)
    assert metadata["ucd"] == c["ucd"] == metadata["ivoa:ucd"], (c, metadata)
    assert metadata["description"] == c["description"], (c, metadata)
for got, want in zip(arrow.to_pylist(), expected["rows"], strict=True):
    for name in names:
        assert same(got[name], want[name]), ("Parquet", want["id"], name, got[name], want[name])
assert json.loads(arrow.schema.metadata[b"stillair"]) == expected["header"]
assert pq.ParquetFile(f"{folder}/catalog.parquet").metadata.row_group(0).column(1).compression == "ZSTD"

# 3. Parquet through astropy: units by its own header and by the VOTable that TOPCAT reads
for how in ({"format": "parquet"}, {"format": "parquet.votable"}):
    read = Table.read(f"{folder}/catalog.parquet", **how)
    assert read.colnames == names
    for c in columns:
        assert u.Unit(read[c["name"]].unit or "") == u.Unit(c["unit"]), (how, c)
        assert read[c["name"]].description == c["description"], (how, c)
read = QTable.read(f"{folder}/catalog.parquet", format="parquet")
assert read["ra"].unit == u.deg
assert read.meta["exposure"] == expected["header"]["exposure"]

print(f"{len(table)} rows, {len(names)} columns agree")
