"""A PNG image of few colours, written by hand: a spectrogram in a report needs no imaging library.

Format: Portable Network Graphics, W3C Recommendation 2003 (ISO/IEC 15948), colour type 3.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from hypnograph.errors import HypnographError


def encode_png(index: NDArray[np.uint8], palette: NDArray[np.uint8], *, transparent: int | None = None) -> bytes:
    """Return an image as the bytes of a PNG file.

    Parameters
    ----------
    index : uint8 array, shape (height, width)
        For each pixel its colour's row in `palette`; the first row is the top of the image.
    palette : uint8 array, shape (n_colours, 3)
        Red, green, blue; at most 256 colours.
    transparent
        The colour that is not drawn.

    Raises
    ------
    HypnographError
        If the image is empty, or a pixel has a colour that the palette lacks.
    """
    if index.size == 0 or not 1 <= len(palette) <= 256 or int(index.max()) >= len(palette):
        raise HypnographError(
            f"an image of shape {index.shape} with a palette of {len(palette)} colours cannot be drawn"
        )
    height, width = index.shape
    # Each line of pixels is preceded by its filter's number; 0 is none, the best for palette images.
    lines = np.zeros((height, width + 1), dtype=np.uint8)
    lines[:, 1:] = index
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
    ]
    if transparent is not None:
        chunks.append((b"tRNS", bytes(0 if colour == transparent else 255 for colour in range(transparent + 1))))
    chunks += [(b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
