"""The collections and items of one STAC API, in an SQLite file."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = dict[str, object]

_SCHEMA = """
CREATE TABLE collections (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE items (
    collection TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) WITHOUT ROWID;
"""
_SELECT_ITEMS = """
SELECT body FROM items
WHERE (?1 IS NULL OR collection IN (SELECT value FROM json_each(?1)))
  AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))
"""


class Missing(LookupError):
    """There is no such collection or item."""


class Exists(ValueError):
    """There is such a collection or item already."""


def create(path: Path) -> None:
    """Make an empty database.

    Raises:
        sqlite3.OperationalError: there is one already.
    """
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    finally:
        connection.close()


class Store:
    """What is read from and written to a database that `create` made. Bodies are kept exactly as given."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def collections(self) -> list[Json]:
        """Every collection, in the order of their ids."""
        return [_load(row) for row in self._connection.execute("SELECT body FROM collections ORDER BY id")]

    def collection(self, collection_id: str) -> Json:
        """One collection.

        Raises:
            Missing: there is none of that id.
        """
        row = self._connection.execute("SELECT body FROM collections WHERE id = ?", [collection_id]).fetchone()
        if row is None:
            raise Missing(f"there is no collection {collection_id!r}")
        return _load(row)

    def item(self, collection_id: str, item_id: str) -> Json:
        """One item.

        Raises:
            Missing: there is no such collection or item.
        """
        self.collection(collection_id)
        query = "SELECT body FROM items WHERE collection = ? AND id = ?"
        row = self._connection.execute(query, [collection_id, item_id]).fetchone()
        if row is None:
            raise Missing(f"there is no item {item_id!r} in the collection {collection_id!r}")
        return _load(row)

    def items(self, collections: Sequence[str] | None, ids: Sequence[str] | None) -> list[Json]:
        """The items of these collections (of all) that have one of these ids (any), in no special order.

        Raises:
            Missing: one of the collections is unknown.
        """
        for collection_id in collections or []:
            self.collection(collection_id)
        wanted = [json.dumps(values) if values else None for values in (collections, ids)]
        return [_load(row) for row in self._connection.execute(_SELECT_ITEMS, wanted)]

    def add_collection(self, body: Json) -> None:
        """Add a collection.

        Raises:
            Exists: there is one of that id.
        """
        self._insert("INSERT INTO collections VALUES (?, ?)", [(_id(body), json.dumps(body))])

    def add_items(self, collection_id: str, bodies: Iterable[Json]) -> None:
        """Add all of these items, or none.

        Raises:
            Missing: there is no such collection.
            Exists: it holds an item of one of these ids.
        """
        self.collection(collection_id)
        rows = [(collection_id, _id(body), json.dumps(body)) for body in bodies]
        self._insert("INSERT INTO items VALUES (?, ?, ?)", rows)

    def put_items(self, collection_id: str, bodies: Iterable[Json]) -> None:
        """Add all of these items, each in the place of the one of its id, if there is one.

        Raises:
            Missing: there is no such collection.
        """
        self.collection(collection_id)
        rows = [(collection_id, _id(body), json.dumps(body)) for body in bodies]
        self._insert("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", rows)

    def replace_collection(self, collection_id: str, body: Json) -> None:
        """Put another body in the place of a collection's.

        Raises:
            Missing: there is no such collection.
        """
        self.collection(collection_id)
        self._write("UPDATE collections SET body = ? WHERE id = ?", [json.dumps(body), collection_id])

    def replace_item(self, collection_id: str, item_id: str, body: Json) -> None:
        """Put another body in the place of an item's.

        Raises:
            Missing: there is no such collection or item.
        """
        self.item(collection_id, item_id)
        query = "UPDATE items SET body = ? WHERE collection = ? AND id = ?"
        self._write(query, [json.dumps(body), collection_id, item_id])

    def delete_collection(self, collection_id: str) -> None:
        """Delete a collection and its items.

        Raises:
            Missing: there is no such collection.
        """
        self.collection(collection_id)
        self._write("DELETE FROM collections WHERE id = ?", [collection_id])

    def delete_item(self, collection_id: str, item_id: str) -> None:
        """Delete an item.

        Raises:
            Missing: there is no such collection or item.
        """
        self.item(collection_id, item_id)
        self._write("DELETE FROM items WHERE collection = ? AND id = ?", [collection_id, item_id])

    def _insert(self, query: str, rows: Sequence[tuple[str, ...]]) -> None:
        try:
            with self._connection:
                self._connection.executemany(query, rows)
        except sqlite3.IntegrityError as error:
            raise Exists(f"{', '.join(row[-2] for row in rows[:5])}: the id is taken") from error

    def _write(self, query: str, values: list[str]) -> None:
        with self._connection:
            self._connection.execute(query, values)


def _id(body: Json) -> str:
    return str(body["id"])


def _load(row: tuple[str]) -> Json:
    body: Json = json.loads(row[0])
    return body
