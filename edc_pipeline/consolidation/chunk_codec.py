"""A chunk of the table as it lies in the file: packed here, on a thread of ours, and handed to
HDF5 as it is. HDF5's own filters pack on one thread and hold everybody up meanwhile.

Each codec gives what its HDF5 filter would give, so every reader unpacks it as its own.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import blosc2
import numpy as np

from edc_pipeline.consolidation.layout import CHUNK_ROWS, FILTERS
from edc_pipeline.consolidation.names import Codec
from edc_pipeline.consolidation.rows import Array

# Rows of a block, which Blosc shuffles and packs for itself. Left to itself it takes 131 kB, which
# is no whole number of 512 rows and cannot be read column by column (`bit_planes`); in these a file
# is 4 % smaller, and unpacked as fast.
BLOCK_ROWS: Final = 4_096

# Blosc shuffles elements of up to 255 bytes; its HDF5 filter takes wider ones as single bytes.
_WIDEST: Final = 255
_HEAD_BYTES: Final = 32  # of a Blosc chunk
_CODECS: Final = {"blosc2-lz4": blosc2.Codec.LZ4, "zstd": blosc2.Codec.ZSTD}

# Without it blosc2 keeps Python's lock while it packs, and nothing else goes on.
blosc2.set_releasegil(True)


def pack(block: Array, codec: Codec) -> bytes:
    """One chunk: the records, padded to a whole chunk with zeros."""
    if len(block) < CHUNK_ROWS:
        whole = np.zeros(CHUNK_ROWS, block.dtype)
        whole[: len(block)] = block
        block = whole
    raw = block.view(np.uint8)
    if codec == "zlib":
        return zlib.compress(_shuffled(raw, block.dtype.itemsize), FILTERS[codec]["complevel"])
    return _blosc(raw, block.dtype.itemsize, codec)


def _blosc(raw: Array, itemsize: int, codec: Codec) -> bytes:
    settings = blosc2.CParams(
        codec=_CODECS[codec],
        clevel=FILTERS[codec]["complevel"],
        typesize=itemsize if itemsize <= _WIDEST else 1,
        filters=[blosc2.Filter.BITSHUFFLE],
        filters_meta=[0],
        nthreads=1,
        blocksize=BLOCK_ROWS * itemsize,
    )
    frame = blosc2.SChunk(chunksize=raw.nbytes, contiguous=True, cparams=settings)
    frame.append_data(raw)
    packed: bytes = frame.to_cframe()
    return packed


def unpack(
    stored: bytes | memoryview, dtype: np.dtype[Any], codec: Codec, room: Array | None = None
) -> Array:
    """The records of a whole chunk, in `room` for one if that is given and the codec can use it.
    Any exception of the codec: the chunk is damaged."""
    if codec == "zlib":
        raw = _unshuffled(zlib.decompress(stored), dtype.itemsize)
        return np.frombuffer(raw, dtype)
    frame = blosc2.schunk_from_cframe(stored)
    out = np.empty(CHUNK_ROWS, dtype) if room is None else room
    if frame.nchunks != 1 or frame.nbytes != out.nbytes:
        raise ValueError(f"{frame.nchunks} pieces of {frame.nbytes} bytes are no chunk of {dtype}")
    # `frame.decompress_chunk` keeps Python's lock, and two threads took as long as one. This writes
    # as many bytes as the chunk itself says.
    chunk = frame.get_chunk(0)
    if len(chunk) < _HEAD_BYTES or blosc2.get_cbuffer_sizes(chunk)[0] != out.nbytes:
        raise ValueError(f"its piece is not of {out.nbytes} bytes")
    blosc2.decompress2(chunk, dst=out.view(np.uint8), nthreads=1)
    return out


def _shuffled(raw: Array, itemsize: int) -> bytes:
    """HDF5's byte shuffle: the first bytes of all records, then the second …"""
    return raw.reshape(-1, itemsize).T.tobytes()


def _unshuffled(raw: bytes, itemsize: int) -> bytes:
    return np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
