"""What to do about each code with which a request, a run or an item ends; `docs/reference/codes.md` is made from it."""

from typing import Final

_TABLE: Final[tuple[tuple[str, str], ...]] = (
    (
        "bad-request bad-filter bad-window bad-datetime bad-href",
        "correct the message; the reason names the field",
    ),
    (
        "bad-scene",
        "give the name of a Sentinel-1 product, such as that of its `.SAFE` folder",
    ),
    (
        "file-exists bad-folder",
        "look at the file or the folder that the reason names; nothing there was changed",
    ),
    (
        "bad-product",
        "give a product's folder, its `manifest.safe` or a zip of it",
    ),
    (
        "not-offered",
        "look at which station has the file (`--station`); it may have been evicted there",
    ),
    (
        "not-allowed",
        "add the task and the owner to `[caller.NAME]` in `AUXIP_OWNERS_FILE`, if the caller may ask for them",
    ),
    (
        "foreign-place",
        "name the owner in `env`, or copy the archive there: it is not below the owner's prefix",
    ),
    (
        "in-catalog",
        "expand it with `auxip.unzip_decompress`: an item of the catalog references the archive",
    ),
    (
        "bad-setting",
        "correct the setting that is named",
    ),
    (
        "bad-usage",
        "correct the command line; `auxip COMMAND --help` lists its options",
    ),
    (
        "redis-unreachable redis-unauthorized redis-tls redis-bad-answer",
        "correct the host, the password or the scheme in `AUXIP_REDIS_URL`; the reason says which",
    ),
    (
        "redis-unavailable",
        "wait, or look at the log of the server: it answers, but cannot serve now",
    ),
    (
        "evicted-soon",
        "a warning in `report.json` and the log: correct what its item failed with, and run it again before the "
        "station removes the item",
    ),
    (
        "unknown-collection",
        "create the collection (`auxip collection create NAME`), or correct its name",
    ),
    (
        "bad-parameter",
        "correct the parameters of the named query; the reason names them",
    ),
    (
        "unknown-run unknown-item unknown-sweep unknown-station unknown-query",
        "look the name up: `auxip runs`, `auxip show`, `AUXIP_SWEEPS_FILE`, `AUXIP_STATIONS_FILE`, "
        "`AUXIP_QUERIES_FILE`",
    ),
    (
        "unknown-property",
        "correct the name of the property, or ask the station's operator to add it to the queryables: the station does "
        "not know it, and answers 500, or finds nothing, which is only a notice of the run",
    ),
    (
        "nothing-found too-many-items search-timeout",
        "widen or narrow the search; if it is a replay, the station no longer has the item",
    ),
    (
        "station-unauthorized catalog-unauthorized staging-unauthorized s3-denied",
        "check the credentials; if `auxip runs` names the system, its items wait until the credentials are accepted",
    ),
    (
        "station-not-found catalog-not-found staging-not-found",
        "check the URL; if it is right, the station offers what it does not have",
    ),
    (
        "station-refused catalog-refused staging-refused",
        "correct what the reason says: it is the answer of the other side",
    ),
    (
        "station-unavailable catalog-unavailable staging-unavailable station-rate-limited "
        "catalog-rate-limited staging-rate-limited s3-unavailable",
        "wait, run again",
    ),
    (
        "station-incomplete",
        "search again later, or for less; the reason says whether the station has sent fewer items than it counts, "
        "or cannot send all. A STAC API must not state an estimate as its count (pgSTAC's `context` `auto` does "
        "beyond 100,000 items)",
    ),
    (
        "station-bad-answer catalog-bad-answer staging-bad-answer station-foreign-link",
        "tell the operator of the API: its answer is not STAC, OData or statusInfo, is incomplete, or is too large "
        "(`AUXIP_MAX_ANSWER_BYTES`, `page_size`)",
    ),
    (
        "bad-item bad-validity no-generation-time no-assets bad-checksum unsupported-href unsafe-asset-name "
        "unsafe-item-id reserved-item-id",
        "tell the station's operator: the station describes the item wrongly",
    ),
    (
        "foreign-href",
        "check `trusted_domains`, `allowed_hosts` and `allow_private`: the station points to a host or an address "
        "that is not its own",
    ),
    (
        "station-busy",
        "nothing: the limits of the station are reached, and the step is tried again later",
    ),
    (
        "not-online",
        "run again later: the station fetches the product from its archive",
    ),
    (
        "size-mismatch checksum-mismatch",
        "run again; if it stays, tell the station's operator: the bytes are not those that the station announced, "
        "and were deleted",
    ),
    (
        "source-missing",
        "tell the station's operator: its `s3://` href leads to no object",
    ),
    (
        "foreign-bucket",
        "if the bucket may be copied from, name it in `AUXIP_S3_SOURCE_BUCKETS`; else tell the station's operator",
    ),
    (
        "s3-full",
        "make room in the store, or raise the bucket's quota: items wait for that, and nothing was lost. If the "
        "store still takes small objects, run again then",
    ),
    (
        "too-large",
        "raise the setting that the reason names, if the size is right",
    ),
    (
        "catalog-refused-item",
        "ask the station to correct the item: the catalog does not accept it. The reason names the field; if the "
        "catalog answered 500 to this item alone, as pgSTAC does to what its database refuses, its log says why",
    ),
    (
        "other-owner",
        "use a collection of your own: the item belongs to another owner",
    ),
    (
        "catalog-other-object",
        "delete the object that the catalog's href of the asset leads to, and run again: it is another object",
    ),
    (
        "archive-unsafe archive-damaged archive-limit archive-empty archive-encrypted archive-method "
        "archive-type-mismatch archive-checksum name-collision",
        "look at the problems that the reason lists; the archive is kept, and the catalog points to it",
    ),
    (
        "no-such-member",
        "correct the patterns of `members`: none matches a file of the archive, which is kept; the reason has the "
        "names of some files",
    ),
    (
        "unsupported-archive",
        "correct the name: it is not that of a .zip, .tar, .tgz, .tar.gz or .DBL",
    ),
    (
        "unproven",
        'nothing, if you meant `unreadable_checksums = "stage"`: the item is staged, and no checksum of the '
        "station proves the assets that are listed",
    ),
    (
        "left-out",
        "nothing, if you meant `AUXIP_ARCHIVE_ON_UNSAFE=skip`: the item is expanded without the members that "
        "are listed",
    ),
    (
        "archive-missing prefix-taken unknown-prefix bad-prefix",
        "look at the objects that are named; nothing was overwritten",
    ),
    (
        "already-staged",
        "nothing: the item was skipped",
    ),
    (
        "repaired",
        "nothing for the item; ask what damaged the store: the catalog had the item, and its objects were "
        "missing or wrong",
    ),
    (
        "no-such-asset",
        "nothing, or correct `asset_names`: the item was skipped, since it has none of them",
    ),
    (
        "claimed-elsewhere claim-lost",
        "nothing: another worker does it, and this one waits",
    ),
    (
        "system-unavailable",
        "look at the system that `auxip runs` names; what waits for it continues by itself when it can be used",
    ),
    (
        "worker-killed",
        "find out why its worker died three times (in most cases it ran out of memory), and run again",
    ),
    (
        "ledger-lost",
        "send the request again: the database of the ledger was lost with what it knew of this request; what is done "
        "is kept",
    ),
    (
        "id-taken",
        "send the request under a new id: this one belongs to another request",
    ),
    (
        "cancelled",
        "nothing: the run was cancelled; if you want it again, what is done is kept",
    ),
    (
        "run-expired",
        "find out why its queues do not move, and run again: the run was not done within `AUXIP_KEEP_RUNS_DAYS`",
    ),
    (
        "not-done not-staged catalog-mismatch s3-mismatch s3-changed s3-bad-key",
        "run again; if it stays, something else writes there",
    ),
    (
        "bad-message bad-arguments unknown-task",
        "correct the message at its sender; the reason names the place, and `auxip dead show` has the whole message",
    ),
    (
        "message-too-large message-rejected",
        "remove the cause that the reason names; then `auxip dead replay` puts the message on its queue again",
    ),
    (
        "many-failed",
        "find the cause; then replay this letter, which does the whole request again",
    ),
    (
        "ambiguous-id",
        "type more of the id: several ids begin so; `--json` of the list has the whole ids",
    ),
    (
        "unknown-letter not-replayable",
        "look the id up: `auxip dead`; if its payload cannot be read, run the request again",
    ),
    (
        "not-cancelled",
        "`auxip show RUN` says how the run ended: it is closed, or was cancelled before",
    ),
    (
        "job-running",
        "nothing: the staging service is working on it, and is polled",
    ),
    (
        "job-failed job-dismissed job-lost",
        "run again; the reason is what the staging service said",
    ),
    (
        "job-timeout",
        "raise `AUXIP_STAGING_JOB_TIMEOUT`, or ask the service's operator; the next run finds what the service "
        "still finishes",
    ),
    (
        "job-mismatch",
        "delete the item from the catalog, and run again: the staging service holds something else than the "
        "station offers, and stages nothing that the catalog shows",
    ),
    (
        "step-timeout",
        "raise `AUXIP_STEP_TIMEOUT`, or ask why it takes so long",
    ),
    (
        "internal-error",
        "report it: it is a bug of this software, and the worker's log has the traceback",
    ),
    (
        "local-stack process-ended workers-silent",
        "read the last lines of the log, which are shown: the embedded stack of `auxip up` could not start",
    ),
)

ADVICE: Final[dict[str, str]] = {code: advice for codes, advice in _TABLE for code in codes.split()}
"""Each code and what to do about it, for people: in the report, in answers and on the command line."""


def advice_for(code: str) -> str:
    """Return what to do about a code; an empty text for one that is not of the table, such as none."""
    return ADVICE.get(code, "")
