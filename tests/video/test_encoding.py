"""Which codec and format of pixels an output gets."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")

from bgai.errors import OutputError, UsageError
from bgai.video.colours import Colours
from bgai.video.encoding import VideoEncoding, choose_encoding
from bgai.video.source import Scan

SOURCE = Scan(
    times=(0, 1),
    last_duration=1,
    time_base=Fraction(1, 25),
    rate=Fraction(25),
    size=(24, 32),
    format="yuv420p",
    codec="h264",
    lossless=False,
    aspect=None,
    colour_tags=(1, 1, 1, 1),
    display_matrix=None,
    interlaced=0,
    extras=(),
    damage="",
)


def choose(
    name: str = "out.mp4", codec: Any = None, crf: int | None = None, scale: int = 2, **facts: Any
) -> tuple[VideoEncoding, tuple[str, ...]]:
    return choose_encoding(replace(SOURCE, **facts), scale, Colours(1, 1, 1, 1), Path(name), codec, crf)


def test_the_codec_follows_the_container_and_the_depth() -> None:
    assert choose()[0].codec == "h264"
    assert choose("out.WEBM")[0].codec == "vp9"
    assert choose(format="yuv420p10le")[0].codec == "hevc"
    deep, notes = choose("out.webm", format="yuv420p10le")
    assert (deep.codec, deep.format, notes) == ("av1", "yuv420p10le", ())


@pytest.mark.parametrize(
    ("format", "codec", "expected"),
    [
        ("yuv420p", "h264", "yuv420p"),
        ("yuvj422p", "h264", "yuv422p"),
        ("yuv444p", "hevc", "yuv444p"),
        ("rgb24", "h264", "yuv444p"),
        ("nv12", "vp9", "yuv420p"),
        ("gray", "h264", "yuv420p"),
        ("gray10le", "hevc", "yuv420p10le"),
        ("gray", "ffv1", "gray"),
        ("yuv422p10le", "prores", "yuv422p10le"),
        ("yuv422p10le", "h264", "yuv422p10le"),
        ("p010le", "av1", "yuv420p10le"),
        ("rgb24", "ffv1", "bgr0"),
    ],
)
def test_the_format_is_the_nearest_that_the_codec_has(format: str, codec: Any, expected: str) -> None:
    encoding, notes = choose("out.mkv", codec, format=format)
    assert (encoding.format, notes) == (expected, ())


def test_what_is_lost_is_said() -> None:
    assert choose(format="yuv420p12le", codec="h264")[1] == ("12 bits a sample become 10",)
    assert choose(format="yuva420p")[1] == ("transparency is left out",)


def test_odd_sides_are_cut_where_the_codec_needs_it() -> None:
    encoding, notes = choose(size=(25, 33), scale=3)
    assert (encoding.size, notes) == ((74, 98), ("99 x 75 is cut to 98 x 74: h264 needs even sides",))
    assert choose(size=(25, 33), scale=3, codec="vp9")[0].size == (75, 99)
    assert choose(size=(25, 33), scale=2)[1] == ()
    assert choose(size=(25, 33), scale=3, format="yuv444p")[1] == ()


def test_the_quality_is_checked() -> None:
    assert choose()[0].stream_options()["crf"] == "18"
    assert choose(crf=0)[0].stream_options()["crf"] == "0"
    assert "crf" not in choose("out.mkv", "ffv1")[0].stream_options()
    with pytest.raises(UsageError, match="crf 52: expected 0 to 51 for h264"):
        choose(crf=52)
    assert choose("out.mkv", "av1", 63)[0].crf == 63
    with pytest.raises(UsageError, match="ffv1 has no such setting"):
        choose("out.mkv", "ffv1", 20)


def test_frames_that_a_codec_cannot_have_are_refused() -> None:
    choose(size=(1080, 1920), scale=2)[0].check()
    with pytest.raises(OutputError, match=r"h264 cannot encode frames of 40000 x 40000 .*smaller scale"):
        choose(size=(20000, 20000))[0].check()


@pytest.mark.parametrize("rate", [Fraction(90000), Fraction(1, 60), Fraction(30000, 1001), Fraction(1234567, 50000)])
def test_any_rate_of_frames_can_be_encoded(rate: Fraction) -> None:
    for codec in ("h264", "hevc", "av1", "vp9", "ffv1", "prores"):
        encoding, _ = choose("out.mov" if codec == "prores" else "out.mkv", codec, size=(48, 64), rate=rate)
        encoding.check()
        assert 1 <= encoding.rate <= 120
