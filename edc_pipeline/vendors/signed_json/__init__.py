"""Any signed JSON: a webhook of whatever sender, its proof and its columns set in feeds.yaml.

Proof (`verify`), by default HMAC-SHA256 over the raw body, in hex, in the header X-Signature:

    verify:
      scheme: hmac_sha256            # or secret_header, secret_path, sha256_fields
      header: X-Signature
      prefix: "sha256="              # what stands before the signature
      encoding: hex                  # or base64
      signed: "{timestamp}.{body}"   # default "{body}"; then a stamp is asked for as well
      timestamp_header: X-Timestamp
      timestamp_unit: s              # or ms, us, ns

`sha256_fields` is Zerodha Kite's postback: `checksum` is the SHA-256 of the fields named and the
secret, one behind the other. It proves these fields alone, not the rest of the body:

    verify: { scheme: sha256_fields, fields: [order_id, order_timestamp], checksum: checksum }

A stamp counts only inside the signed text, within 5 minutes of our clock. A request that comes
again while its stamp is good is answered and not taken twice. Where there is no stamp only a
sender's own id can tell (`idempotency`): `{path: id}` in the body, or `{header: X-Event-Id}`, which
no signature covers.

The columns are `mapping`'s business, see `mapping.py`; `sample`, a body as it will come, is read at
start and has to give an event. The secret stands in EDC_SIGNED_JSON_SECRET, or in the variable that
the feed's `secret` names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jmespath
import msgspec

from edc_pipeline.vendors.contract import (
    Decode,
    Delivery,
    FeedSpec,
    IdentityRule,
    Reading,
    Subscription,
    Vendor,
    Webhook,
    quarantined,
)
from edc_pipeline.vendors.proof import (
    NO_SIGNATURE,
    STAMP_UNITS,
    WRONG_SIGNATURE,
    check_secret,
    check_signature,
    check_stamp,
    digest_of,
    same,
)
from edc_pipeline.vendors.read_only import opens
from edc_pipeline.vendors.signed_json.mapping import BadMapping, compiled, read_mapped

_OPTIONS: Final = ("verify", "idempotency", "mapping", "sample", "sources")
_SCHEMES: Final = ("hmac_sha256", "secret_header", "secret_path", "sha256_fields")
_VERIFY_KEYS: Final = {
    "hmac_sha256": (
        *("header", "prefix", "encoding", "signed"),
        *("timestamp_header", "timestamp_unit"),
    ),
    "secret_header": ("header",),
    "secret_path": (),
    "sha256_fields": ("fields", "checksum"),
}
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9._:!&*/ -]{0,59}(?<! )", re.ASCII)
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
# Read at start: the time does not matter, so no clock is needed.
_SAMPLE_READ_AT: Final = 0


def decoder(subscription: Subscription) -> Decode:
    try:
        mappings = compiled(subscription.options.get("mapping"))
    except BadMapping as error:  # the settings are checked at start; a journal of another version
        why = " ".join(str(error).split())[:200]
        return lambda _frame, _received_at: quarantined(why)

    def decode(frame: bytes, received_at: int) -> Reading:
        return read_mapped(mappings, frame, subscription, received_at)

    return decode


def _verify(call: Delivery, secret: str, now_ns: int, options: Mapping[str, Any]) -> str | None:
    rules = options.get("verify") or {}
    match rules.get("scheme", "hmac_sha256"):
        case "secret_header":
            return check_secret(call.headers.get(_header(rules, "X-Secret")), secret)
        case "secret_path":
            return check_secret(call.path, secret)
        case "sha256_fields":
            return _check_fields(call.body, secret, rules)
    told = call.headers.get(_header(rules, "X-Signature"))
    prefix = rules.get("prefix", "")
    if told is not None and not told.startswith(prefix):
        return NO_SIGNATURE
    stamp = _stamp(call, rules)
    wrong = check_signature(
        told and told[len(prefix) :],
        _signed(call, rules, stamp),
        secret,
        rules.get("encoding", "hex"),
    )
    if wrong is None and _stamps(rules):
        return check_stamp(stamp, rules.get("timestamp_unit", "s"), now_ns)
    return wrong


def _header(rules: Mapping[str, Any], usual: str) -> str:
    return str(rules.get("header", usual)).lower()


def _stamps(rules: Mapping[str, Any]) -> bool:
    return "{timestamp}" in rules.get("signed", "{body}")


def _stamp(call: Delivery, rules: Mapping[str, Any]) -> str:
    return call.headers.get(rules.get("timestamp_header", "X-Timestamp").lower(), "")


def _signed(call: Delivery, rules: Mapping[str, Any], stamp: str) -> bytes:
    before, _, after = str(rules.get("signed", "{body}")).partition("{body}")
    head, tail = (part.replace("{timestamp}", stamp) for part in (before, after))
    return head.encode("utf-8", "surrogatepass") + call.body + tail.encode("utf-8", "surrogatepass")


def _check_fields(body: bytes, secret: str, rules: Mapping[str, Any]) -> str | None:
    try:
        said = msgspec.json.decode(body)
        told = str(said[rules.get("checksum", "checksum")])
        fields = [str(said[name]) for name in rules["fields"]]
    except (*_UNREADABLE, KeyError, TypeError, IndexError):
        return NO_SIGNATURE
    text = "".join((*fields, secret)).encode("utf-8", "surrogatepass")
    return None if same(told.lower(), hashlib.sha256(text).hexdigest()) else WRONG_SIGNATURE


def _idempotency_keys(call: Delivery, options: Mapping[str, Any]) -> Sequence[str]:
    keys = []
    rules, by = options.get("verify") or {}, options.get("idempotency") or {}
    if _stamps(rules):
        keys.append(digest_of(_stamp(call, rules).encode("utf-8", "surrogatepass"), call.body))
    if "header" in by and (told := call.headers.get(str(by["header"]).lower())):
        keys.append(f"header {told}")
    if "path" in by:
        try:
            told = jmespath.compile(by["path"]).search(msgspec.json.decode(call.body))
        except (*_UNREADABLE, jmespath.exceptions.JMESPathError):
            told = None
        if told is not None and not isinstance(told, bool):
            keys.append(f"path {told}")
    return keys


def _check_options(options: Mapping[str, Any]) -> list[str]:
    wrong = [
        f"no such option {k!r}; allowed: {', '.join(_OPTIONS)}"
        for k in options
        if k not in _OPTIONS
    ]
    wrong += _verify_mistakes(options.get("verify") or {})
    wrong += _idempotency_mistakes(options.get("idempotency") or {})
    sources = options.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
        wrong.append("sources: a list of addresses is needed")
    try:
        compiled(options.get("mapping"))
    except BadMapping as error:
        return wrong + str(error).splitlines()
    if options.get("mapping") and not options.get("sample"):
        wrong.append("sample: give a body as it will come, so that the mapping can be tried on it")
    elif options.get("sample"):
        wrong += _sample_mistakes(options)
    return wrong


def _sample_mistakes(options: Mapping[str, Any]) -> list[str]:
    sample = options["sample"]
    frame = sample.encode() if isinstance(sample, str) else msgspec.json.encode(sample)
    reading = decoder(Subscription("", options=options))(frame, _SAMPLE_READ_AT)
    if reading.faults:
        return [f"sample: {fault}" for fault in reading.faults]
    return [] if reading.events else ["sample: the mapping finds no event in it"]


def _verify_mistakes(rules: Any) -> list[str]:
    if not isinstance(rules, Mapping):
        return ["verify: `key: value` lines are needed here"]
    scheme = rules.get("scheme", "hmac_sha256")
    if scheme not in _SCHEMES:
        return [f"verify.scheme = {scheme!r}: must be one of {', '.join(_SCHEMES)}"]
    allowed = _VERIFY_KEYS[scheme]
    wrong = [
        f"verify: {scheme} has no {key!r}; it has: {', '.join(allowed) or 'nothing to set'}"
        for key in rules
        if key != "scheme" and key not in allowed
    ]
    wrong += [
        f"verify.{key} = {value!r:.60}: text is needed"
        for key, value in rules.items()
        if key in allowed and key != "fields" and not isinstance(value, str)
    ]
    if wrong:
        return wrong
    if scheme == "sha256_fields":
        fields = rules.get("fields")
        if (
            not isinstance(fields, list)
            or not fields
            or not all(isinstance(f, str) for f in fields)
        ):
            wrong.append("verify.fields: name the fields, as [order_id, order_timestamp]")
    if rules.get("encoding", "hex") not in {"hex", "base64"}:
        wrong.append(f"verify.encoding = {rules['encoding']!r}: must be hex or base64")
    if rules.get("timestamp_unit", "s") not in STAMP_UNITS:
        units = ", ".join(STAMP_UNITS)
        wrong.append(f"verify.timestamp_unit = {rules['timestamp_unit']!r}: must be one of {units}")
    signed = rules.get("signed", "{body}")
    if signed.count("{body}") != 1:
        wrong.append(f"verify.signed = {signed!r}: must hold {{body}} once")
    elif not _stamps(rules) and {"timestamp_header", "timestamp_unit"} & rules.keys():
        wrong.append(
            "verify: a time stamp proves nothing outside the signed text;"
            ' signed: "{timestamp}.{body}"'
        )
    return wrong


def _idempotency_mistakes(by: Any) -> list[str]:
    if not isinstance(by, Mapping) or not set(by) <= {"header", "path"}:
        return ["idempotency: {path: id} or {header: X-Event-Id} is needed"]
    if not all(isinstance(value, str) for value in by.values()):
        return ["idempotency: text is needed"]
    try:
        jmespath.compile(by.get("path", "@"))
    except jmespath.exceptions.JMESPathError:
        return [f"idempotency.path = {by['path']!r} is no JMESPath expression"]
    return []


def _check_symbol(_: str, symbol: str) -> str | None:
    if _SYMBOL.fullmatch(symbol):
        return None
    return "is no symbol; write it in upper case, as the mapping gives it"


_COUNTED: Final = IdentityRule("counted", "all columns that are mapped; event_id where it is")

VENDOR: Final = Vendor(
    name="signed_json",
    title="any signed JSON",
    secret="EDC_SIGNED_JSON_SECRET",  # noqa: S106 - the variable's name, not its value
    feeds={
        "events": FeedSpec(
            name="events",
            title="events by a mapping of your own",
            url="",
            asset_class="equity",
            event_types=("trade", "quote", "ref_px"),
            identity={"trade": _COUNTED, "quote": _COUNTED, "ref_px": _COUNTED},
            check_options=_check_options,
            options_help="verify, idempotency, mapping, sample, sources",
            webhook=Webhook(verify=_verify, idempotency_keys=_idempotency_keys),
        )
    },
    decoder=decoder,
    open_session=opens(decoder),
    check_symbol=_check_symbol,
    spell=lambda _, symbol: symbol,
    symbol_of=lambda _, symbol: symbol.strip().upper(),
    limits="as set: webhook.per_second, webhook.body_kib, webhook.at_once",
    free_plan="all of it",
)
