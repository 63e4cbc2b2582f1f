"""A page that enlarges a picture, for a Space of the Hugging Face Hub or any machine: `python app.py`."""

from __future__ import annotations

import functools

import gradio
from PIL import Image

import bgai
import bgai.pil

MAX_PIXELS = 2_000_000  # half a minute on the two cores of a free Space
_WEIGHTS = {"Photograph or JPEG": "photo", "Clean and sharp": "bgai"}


@functools.cache
def open_upscaler(scale: int, weights: str) -> bgai.Upscaler:
    return bgai.Upscaler(scale, weights, memory=2**31)


def enlarge(picture: Image.Image | None, scale: int, kind: str) -> tuple[Image.Image, Image.Image]:
    """The picture as bicubic interpolation enlarges it, and as the network does."""
    if picture is None:
        raise gradio.Error("Choose a picture first.")
    if picture.width * picture.height > MAX_PIXELS:
        raise gradio.Error(f"The picture has more than {MAX_PIXELS / 1e6:g} megapixels.")
    try:
        enlarged = bgai.pil.upscale(picture, upscaler=open_upscaler(scale, _WEIGHTS[kind]))
    except bgai.BgaiError as error:
        raise gradio.Error(str(error)) from error
    return picture.convert(enlarged.mode).resize(enlarged.size, Image.Resampling.BICUBIC), enlarged


demo = gradio.Interface(
    enlarge,
    [
        gradio.Image(type="pil", image_mode=None, label="Picture"),
        gradio.Radio([2, 3, 4], value=2, label="Times"),
        gradio.Radio(list(_WEIGHTS), value="Photograph or JPEG", label="Kind of picture"),
    ],
    gradio.ImageSlider(label="Bicubic, and BGAI", format="png"),
    title="BGAI",
    description="Sharp, faithful enlargements of pictures by an efficient super-resolution network.",
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
