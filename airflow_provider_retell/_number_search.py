r"""Find phone numbers in texts, for ``_masking``, and replace each by its last four digits. Pure: no I/O.

*The call's own numbers*, if known, are masked in every notation: with ``+``, ``00``, ``011`` or the country code
alone, without it, with the trunk zero; separators may be inside, and anything but a digit may be next to them.
*Other text that looks like a number* is masked by this table. "guess" means everywhere but in exports, which know
the numbers of their calls:

=============================================  ==========================  ======
what a text holds                              for example                 masked
=============================================  ==========================  ======
``+`` and 7 to 15 digits, however grouped      ``+44 20 7946 0958``        always
``00`` and 7 to 15 digits in groups            ``0044 20 7946 0958``       always
``00`` and 8 to 13 digits side by side         ``00442079460958``          guess
North America's 10 or 11 digits in groups      ``(415) 555-0100``          guess
a trunk zero and 8 to 14 digits in groups      ``020 7946 0958``           guess
10 to 15 digits side by side, also as a float  ``14155550100.0``           guess
seven digits (a range, an order)               ``300-1000``                no
Unix time in seconds or milliseconds           ``1769817600000``           no
12 or 14 digits that are a date and a time     ``20260131100000``          no
a date, a time, an offset                      ``31.01.2026``              no
an IPv4 address                                ``192.168.100.200``         no
an amount, a decimal fraction                  ``1.234.567,89``            no
after capitals and a hyphen, ``#``, "order"    ``ORD-4155550199``          no
an id of Retell, a UUID, 16 and more hex       ``call_14155550199``        no
more than 15 digits without a plus             ``4155550100123456``        no
=============================================  ==========================  ======

An escape of JSON, Python or a URL (``\u00a0``, ``%2B``) counts as the character it stands for, a full-width digit
as a digit, an invisible character as a gap. A date with exactly the digits of the call's own number is masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Final, TypeAlias
from urllib.parse import unquote

SHORTEST: Final = 7
"""The fewest digits of a phone number."""

_WITH_AREA: Final = 10
_MOST_GROUPS: Final = 18
_MOST_READINGS: Final = 5

_PLUS: Final = "+\uff0b"
_INVISIBLE: Final = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_GAP: Final = rf"[\s()./\u2010-\u2015\u2212\uff0d{_INVISIBLE}-]"

_DIGITS: Final = re.compile(r"\d+")
_INSIDE: Final = r"[\s!#%&()*+./?\\_|~\u00a0-\u00bf\u2000-\u206f\u2212\ufeff\uff01-\uff0f-]"
_OWN: Final = re.compile(rf"\d(?<!\d\d)(?:\d|{_INSIDE}{{1,6}}\d|[,']\d){{6,}}")
_COUNTRY: Final = re.compile(r"^(?:[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3})")
"""A country code: none begins with another (https://www.itu.int/pub/T-SP-E.164D)."""

_LEAD: Final = re.compile(rf"[{_PLUS}][( ]{{0,2}}$")
_DECIMAL_ZERO: Final = re.compile(r"\.0+(?![\d.])")
_HEX: Final = "[0-9a-fA-F]"
_BYTE: Final = rf"{_HEX}%[89ABab]"
_ESCAPE: Final = re.compile(
    rf"\\+(?:u(?P<u>{_HEX}{{4}})|x(?P<x>{_HEX}{{2}})|U(?P<U>00(?:0{_HEX}|10){_HEX}{{4}})|[nrtbfv])"
    rf"|%(?:[Ee]{_BYTE * 2}|[CDcd]{_BYTE}|{_HEX}){_HEX}"
)

_Reading: TypeAlias = tuple[str, Sequence[int]]  # without escapes; the places of its characters and its end


def may_hold_a_number(text: str) -> bool:
    """Return whether a text may hold a phone number: a quick check that spares most texts the search."""
    return _OWN.search(text) is not None or "\\" in text or "%" in text


def mask_own(text: str, own: frozenset[str]) -> str:
    """Return a text in which certain numbers, given by their ``spellings``, are masked in any notation."""
    if not own or not may_hold_a_number(text):
        return text
    # Every reading is searched: "50%4155550100" holds no escape, although it looks like one.
    return _replaced(text, lambda plain: _own_numbers(plain, own), _readings(text))


def mask_likely(text: str, *, guess: bool) -> str:
    """Return a text in which everything that looks like a phone number by the table above is masked."""
    if not may_hold_a_number(text):
        return text
    return _replaced(text, lambda plain: _likely_numbers(plain, guess=guess), _readings(text)[-1:])


@lru_cache(maxsize=4096)
def spellings(number: str) -> frozenset[str]:
    """Return the digits of a number in every notation."""
    text = _readings(number)[-1][0].replace("(0)", "")
    forms: set[str] = set()
    for match in _OWN.finditer(text):
        if text[: match.start()].endswith("@"):
            continue  # the host of a SIP address
        groups = _ascii(" ".join(_DIGITS.findall(match[0]))).split()
        # A long group may be a complete number, before an extension.
        for digits in ["".join(groups), *(group for group in groups if len(group) >= _WITH_AREA)]:
            core = digits.lstrip("0")
            forms |= {digits, *(f"{prefix}{core}" for prefix in ("", "0", "00", "011", "1", "001", "0111"))}
            abroad = digits.startswith("00") or any(plus in text for plus in _PLUS)
            if abroad or (core == digits and len(core) > _WITH_AREA):
                national = _COUNTRY.sub("", core, count=1)
                country = core.removesuffix(national)
                forms |= {national, f"0{national}", f"{country}0{national}", f"00{country}0{national}"}
    return frozenset(form for form in forms if len(form.lstrip("0")) >= SHORTEST)


def _own_numbers(text: str, own: frozenset[str]) -> Iterator[tuple[int, int]]:
    for match in _OWN.finditer(text):
        groups = list(_DIGITS.finditer(text, *match.span()))
        at = 0
        while at < len(groups):
            joined, used = "", 0
            for count, group in enumerate(groups[at : at + _MOST_GROUPS], 1):
                joined += _ascii(group[0])
                if joined in own:
                    used = count
            if used:
                yield groups[at].start(), (end := groups[at + used - 1].end())
                at += bool(_DECIMAL_ZERO.match(text, end))
            at += used or 1


@cache
def _no_number() -> re.Pattern[str]:
    """Return the pattern of digits that are not a phone number: the lower half of the table."""
    edge, inside = r"(?<![^\W_])", r"(?![^\W_])"
    month, day, year = r"(?:1[0-2]|0?[1-9])", r"(?:3[01]|[12]\d|0?[1-9])", r"(?:19|20)\d\d"
    orders = ((year, month, day), (day, month, year), (month, day, year))
    date = "|".join(gap.join(parts) for gap in ("-", "/", r"\.") for parts in orders)
    time = r"(?<!\d)(?:[01]?\d|2[0-4]):[0-5]\d(?::\d\d(?:[.,]\d+)?)?(?!\d)"
    stamp = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d){1,2}"
    octet = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
    return re.compile(
        rf"""{edge}{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}{inside}
        |{edge}(?=\d*[a-fA-F]){_HEX}{{16,}}{inside}
        |{edge}(?:call|agent|llm|key|conversation_flow|knowledge_base)_\w{{6,}}
        |(?<![A-Za-z])(?!TEL|FAX|CALL|PHONE)[A-Z]{{2,5}}-\d[\d-]*
        |\#\s?\d+
        |(?<![A-Za-z])(?i:(?:order|invoice|ticket)(?:[\ _-]?(?:id|no|nr|number))?)[\s:=\"'.]{{1,4}}\d+
        |(?<!\d)(?<!\d[./-])(?:{date})(?!\d)
        |{time}
        |(?<![\d.]){octet}(?:\.{octet}){{3}}(?!\.?\d)
        |(?<![{_PLUS}\d.])(?:{stamp}|1\d{{9}}|1\d{{12}})(?!\d)
        |[{_PLUS}]?(?<!\d)\d{{1,3}}(?:[.\ ]\d{{3}})+,\d{{1,2}}(?!\d)
        |(?<![{_PLUS}\d])(?:\d+\.\d{{10,}}|\d{{10,}}\.(?!0+(?![\d.]))\d+)
        |…\d{{1,4}}""",
        re.VERBOSE,
    )


@cache
def _number(*, guess: bool) -> re.Pattern[str]:
    """Return the pattern of a phone number: the upper half of the table, without a lone digit at the end."""
    gap, more = rf"{_GAP}{{1,4}}", rf"(?:{_GAP}{{0,4}}\d)"
    core = rf"(?:\d{{10,}}|1{more}{{10}}(?!\d)|[1-9]{more}{{5,13}}\d(?!\d))"
    always = rf"[{_PLUS}]{_GAP}{{0,2}}(?=[1-9]){core}|(?<!\d)00(?=\d{{0,6}}{gap}\d){_GAP}{{0,4}}(?=[1-9]){core}"
    america = rf"(?<!\d)(?:1{gap})?[2-9]\d\d{gap}[2-9]\d\d{gap}\d{{4}}(?!\d)"
    trunk = rf"(?<!\d)0[1-9](?=\d{{0,3}}{gap}\d){more}{{6,12}}\d(?!\d)"
    plain = r"(?<!\d)(?:00[1-9]\d{6,12}|\d{10,15})(?!\d)"
    return re.compile(f"{always}|{america}|{trunk}|{plain}" if guess else always)


def _likely_numbers(text: str, *, guess: bool) -> Iterator[tuple[int, int]]:
    number = _number(guess=guess)
    if number.search(text):
        hidden = _no_number().sub(lambda found: "\0" * len(found[0]), text)
        yield from (match.span() for match in number.finditer(hidden))


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(each)) if each.isdecimal() else each for each in digits)


def _replaced(text: str, find: Callable[[str], Iterable[tuple[int, int]]], readings: list[_Reading]) -> str:
    """Replace every number found in any reading, including its plus sign, parenthesis and ".0"."""
    found, covered = dict[int, tuple[int, str]](), set[int]()
    for plain, places in reversed(readings):
        for start, end in find(plain):
            lead, zero = _LEAD.search(plain, max(0, start - 3), start), _DECIMAL_ZERO.match(plain, end)
            first, last = lead.start() if lead else start, zero.end() if zero else end
            if plain[first - 1 : first] == "(" and plain.count(")", start, end) > plain.count("(", start, end):
                first -= 1
            first, last = places[first], places[last]
            if covered.isdisjoint(range(first, last)):
                covered.update(range(first, last))
                found[first] = last, "".join(_DIGITS.findall(plain[start:end]))[-4:]
    for first, (last, last_four) in sorted(found.items(), reverse=True):
        text = f"{text[:first]}…{last_four}{text[last:]}"
    return text


def _readings(text: str) -> list[_Reading]:
    """Return a text as it is, then with its escapes decoded, then with the escapes in the result decoded."""
    readings: list[_Reading] = [(text, range(len(text) + 1))]
    while len(readings) < _MOST_READINGS and _ESCAPE.search(text):
        parts, places, before, done = [""], list[int](), readings[-1][1], 0
        for escape in _ESCAPE.finditer(text):
            code = escape[escape.lastgroup or 0]
            character = unquote(code)[0] if code[0] == "%" else chr(int(code, 16)) if escape.lastgroup else " "
            parts += [text[done : escape.start()], character]
            places += before[done : escape.start() + 1]
            done = escape.end()
        text = "".join([*parts, text[done:]])
        readings.append((text, [*places, *before[done:]]))
    return readings
