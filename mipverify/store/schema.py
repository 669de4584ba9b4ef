"""The layout of a run: its folder, and the tables of its SQLite file."""

from __future__ import annotations

FILE = "run.sqlite"
LOCK = "run.lock"
WITNESSES, INPUTS, CERTIFICATES, LOGS = "witnesses", "inputs", "certificates", "logs"
ARTEFACTS = (WITNESSES, INPUTS, CERTIFICATES, LOGS)
OLD_RECORDS = "records.jsonl"  # what runs were before there was a store
UNIVERSAL = "universal.json"  # the answer of `mipverify universal`, which is not a run

APPLICATION_ID = 0x6D697076  # "mipv"
SCHEMA = 1

# A run is about one question, so that there is at most one sample, and one record, an index.
TABLES = """
CREATE TABLE start (
    number INTEGER PRIMARY KEY,
    manifest TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    summary TEXT
);
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE sample (
    position INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    idx INTEGER NOT NULL UNIQUE,
    content TEXT NOT NULL
);
CREATE TABLE record (
    key TEXT PRIMARY KEY REFERENCES sample (key),
    idx INTEGER NOT NULL UNIQUE,
    json TEXT NOT NULL,
    seconds REAL NOT NULL,
    finished TEXT NOT NULL,
    final INTEGER NOT NULL,
    start INTEGER NOT NULL REFERENCES start (number)
);
"""
