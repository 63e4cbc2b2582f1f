"""Ways to damage bytes."""

from __future__ import annotations

from random import Random

_EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x01", b"\x01\0\0\0", b"\0\x01\0\0")


def damaged(content: bytes, random: Random) -> bytes:
    """A copy with one to three damages, more of them near the start, where headers lie."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = random.choice(_DAMAGES)(content, random)
    return content


def flipped(content: bytes, random: Random) -> bytes:
    """With one bit changed."""
    if not content:
        return content
    changed = bytearray(content)
    changed[_place(changed, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(content: bytes, random: Random) -> bytes:
    """Ends early."""
    return content[: random.randrange(len(content))] if content else content


def _overwritten(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    length = random.choice((1, 2, 4, 16, 100))
    new = random.choice((bytes(length), b"\xff" * length, random.randbytes(length)))
    return content[:at] + new + content[at + length :]


def _with_extreme(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + random.choice(_EXTREMES) + content[at + 4 :]


def _without_part(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    return content[:at] + content[at + random.choice((1, 4, 50, 500)) :]


def _with_more(content: bytes, random: Random) -> bytes:
    at = _place(content, random)
    length = random.choice((1, 4, 50, 500))
    return content[:at] + random.choice((random.randbytes(length), content[:length])) + content[at:]


def _with_part_moved(content: bytes, random: Random) -> bytes:
    at, to = _place(content, random), _place(content, random)
    return content[:to] + content[at : at + 40] + content[to + 40 :]


def _place(content: bytes | bytearray, random: Random) -> int:
    ends = (min(len(content), 64), min(len(content), 1000), len(content))
    return random.randrange(max(1, random.choice(ends)))


_DAMAGES = (flipped, flipped, cut, _overwritten, _with_extreme, _without_part, _with_more, _with_part_moved)
