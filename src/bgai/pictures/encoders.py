"""libvips' encoders: images to finished files, in each format as this package writes it."""

from __future__ import annotations

import mmap
import threading

import pyvips

from bgai.mapped import forget
from bgai.pictures.decoders import reason
from bgai.pictures.encoding import Encoding

AVIF_DEPTH = 12
_AVIF_EFFORT = 2  # of 9: more take many times as long
_POLL_SECONDS = 0.1


def save_apart(
    image: pyvips.Image,
    target: pyvips.Target,
    suffix: str,
    encoding: Encoding,
    keep: int,
    rows: mmap.mmap,
    big: bool,
) -> None:
    """Run an encoder in a thread of its own, where Ctrl-C can stop it; its rows do not count as memory."""
    failures: list[pyvips.Error] = []
    thread = threading.Thread(target=_try_to_save, args=(failures, image, target, suffix, encoding, keep, big))
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            forget(rows)
        forget(rows)
    except BaseException:
        image.set_kill(True)
        thread.join()
        raise
    if failures:
        raise OSError(reason(failures[0])) from failures[0]


def _try_to_save(
    failures: list[pyvips.Error],
    image: pyvips.Image,
    target: pyvips.Target,
    suffix: str,
    encoding: Encoding,
    keep: int,
    big: bool,
) -> None:
    try:
        _save(image, target, suffix, encoding, keep, big)
    except pyvips.Error as error:
        # Its traceback would keep the image, and with it the rows' place on the disk, for as long as the error lives.
        failures.append(error.with_traceback(None))


def _save(
    image: pyvips.Image, target: pyvips.Target, suffix: str, encoding: Encoding, keep: int, big: bool = False
) -> None:
    quality = encoding.quality
    match suffix:
        case ".png":
            image.pngsave_target(target, keep=keep)
        case ".jpg" | ".jpeg":
            image.jpegsave_target(target, Q=quality, subsample_mode="off", keep=keep)
        case ".webp":
            image.webpsave_target(
                target,
                Q=quality,
                smart_subsample=True,
                lossless=encoding.lossless,
                exact=encoding.keep_clear_colours,
                keep=keep,
            )
        case ".gif":
            # The frames keep their number; a palette is made for those that need another one.
            image.gifsave_target(target, keep_duplicate_frames=True, keep=keep)
        case ".avif":
            depth = AVIF_DEPTH if image.format == "ushort" else 8
            options = {"lossless": True} if encoding.lossless else {"Q": quality, "subsample_mode": "off"}
            image.heifsave_target(target, compression="av1", bitdepth=depth, effort=_AVIF_EFFORT, keep=keep, **options)
        case _:
            floating = image.format == "float"
            big = big or image.width * image.height * image.bands * (4 if floating else 2) > 2**32
            predictor = "float" if floating else "horizontal"
            image.tiffsave_target(target, compression="deflate", predictor=predictor, bigtiff=big, keep=keep)
