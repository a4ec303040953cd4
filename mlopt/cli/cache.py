"""``mlopt cache``: place, size, entries, and pruning."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mlopt.cli.console import print_json, print_result, print_text, table
from mlopt.cli.options import COMMAND, GROUP, Debug, GroupHelp, Json
from mlopt.errors import ConfigError

if TYPE_CHECKING:
    from mlopt.store.cache import CacheEntry

app = typer.Typer(**GROUP)

OlderThan = Annotated[
    float | None,
    typer.Option("--older-than", min=0, metavar="DAYS", help="Remove what was unused so long."),
]
MaxSize = Annotated[
    float | None,
    typer.Option("--max-size", min=0, metavar="MB", help="Remove the oldest until this holds."),
]
All = Annotated[bool, typer.Option("--all", help="Remove everything.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

COLUMNS = {"kind": "kind", "key": "key", "size": "size", "used": "last used"}
SHOWN_OF_KEY = 12
HOUR_S, DAY_S = 3600, 86_400


@app.callback(invoke_without_command=True)
def cache(
    context: typer.Context, _help: GroupHelp = False, json: Json = False, _debug: Debug = False
) -> None:
    """Show where built artifacts are kept, and how large they are."""
    if context.invoked_subcommand is not None:
        return
    from mlopt import api

    listing = api.cache_entries()
    if json:
        print_json(listing.document())
        return
    print_text(f"{listing.directory}: {_total(listing.entries)}\n")
    if listing.entries:
        now = time.time()
        print_result(table([_row(entry, now) for entry in listing.entries], COLUMNS, {"size"}))


@app.command(**COMMAND)
def prune(
    older_than: OlderThan = None,
    max_size: MaxSize = None,
    everything: All = False,
    yes: Yes = False,
    _debug: Debug = False,
) -> None:
    """Remove entries; what a run needs is built again."""
    from mlopt import api

    wanted = _wanted(older_than, max_size, everything)
    if wanted and not yes and not _confirmed(wanted):
        print_text("nothing was removed\n")
        return
    removed = api.prune_cache(older_than_days=older_than, max_mb=max_size, everything=everything)
    print_text(f"removed {_total(removed)}\n")


def _confirmed(wanted: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"there is no terminal to ask on. To remove {wanted}, add --yes.")
    return typer.confirm(f"Remove {wanted}?", err=True)


def _wanted(older_than: float | None, max_size: float | None, everything: bool) -> str:
    """What is to be removed, in words; empty where nothing says so, which the API refuses."""
    if everything:
        return "all entries"
    words = [] if older_than is None else [f"entries unused for {older_than:g} days"]
    words += [] if max_size is None else [f"the oldest entries beyond {max_size:g} MB"]
    return " and ".join(words)


class _Row(NamedTuple):
    kind: str
    key: str
    size: str
    used: str


def _row(entry: CacheEntry, now: float) -> _Row:
    from mlopt.types.budget import format_quantity

    size = format_quantity("size_bytes", entry.size_bytes)
    return _Row(entry.kind, entry.key[:SHOWN_OF_KEY], size, _age(now - entry.last_used))


def _total(entries: list[CacheEntry]) -> str:
    from mlopt.types.budget import format_quantity

    size = format_quantity("size_bytes", sum(entry.size_bytes for entry in entries))
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}, {size}"


def _age(seconds: float) -> str:
    if seconds >= DAY_S:
        return f"{seconds / DAY_S:.0f} days ago"
    return f"{seconds / HOUR_S:.0f} hours ago" if seconds >= HOUR_S else "within the hour"
