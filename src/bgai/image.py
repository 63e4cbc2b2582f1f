from bgai.errors import ImageError
import numpy as np, pyvips
def read_rgb8(path):
    try:
        im=pyvips.Image.new_from_file(str(path))
        return im.colourspace('srgb')[:3].numpy() if im.bands>=3 else np.repeat(im.numpy()[...,None] if im.bands==1 else im[0].numpy()[...,None],3,2)
    except pyvips.Error as e: raise ImageError(str(e))
