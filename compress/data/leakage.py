"""Find near-duplicates between two splits, by the exact distance of pixels and by a perceptual hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Maximum root mean square difference of the pixels (0 to 255) of near-duplicates.
PIXEL_DISTANCE = 10.0
# Maximum number of the 64 bits in which the hashes of near-duplicates differ. Flat images have similar hashes, so the
# distance of pixels has a maximum too.
HASH_BITS, HASH_PIXEL_DISTANCE = 6, 40.0
HASH = "pHash"  # Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions
SIDE, HASH_SIDE = 8, 32
CHUNK_BYTES = 2**25


@dataclass(frozen=True)
class Pair:
    """An image of a split and its nearest image in another split."""

    index: int
    other: int
    pixel_distance: float


@dataclass(frozen=True)
class Near:
    """The images of a split that have a near-duplicate in another split, in the order of the first split."""

    identical: list[Pair]
    by_pixels: list[Pair]  # includes identical images
    by_hash: list[Pair]

    @property
    def images(self) -> int:
        """Number of images that have a near-duplicate by pixels or by hash."""
        return len({pair.index for pair in (*self.by_pixels, *self.by_hash)})


def near_duplicates(images: np.ndarray, others: np.ndarray) -> Near:
    """The images that have a near-duplicate among `others`; both are uint8 [n, h, w, c] of the same shape.

    No image with a near-duplicate within `PIXEL_DISTANCE` is missed: the distance of averaged blocks is never above the
    distance of pixels, so pixels are compared only if blocks are near. Distances are computed in chunks to save memory.
    """
    by_pixels, by_hash = [], []
    blocks, hashes = _blocks(others), _hashes(others)
    for start, near, bits in _chunks(_blocks(images), blocks, _hashes(images), hashes):
        for row in np.flatnonzero((near <= PIXEL_DISTANCE).any(axis=1)).tolist():
            found = _nearest(images[start + row], others, near[row], PIXEL_DISTANCE)
            if found:
                by_pixels.append(Pair(start + row, *found))
        for row in np.flatnonzero((bits <= HASH_BITS).any(axis=1)).tolist():
            bound = np.where(bits[row] <= HASH_BITS, near[row], np.inf)
            found = _nearest(images[start + row], others, bound, HASH_PIXEL_DISTANCE)
            if found:
                by_hash.append(Pair(start + row, *found))
    return Near([p for p in by_pixels if p.pixel_distance == 0], by_pixels, by_hash)


def _chunks(
    blocks: np.ndarray, others: np.ndarray, hashes: np.ndarray, other_hashes: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield for a few rows at a time: the first row, lower bounds of distances [rows, others], differing hash bits."""
    rows = max(1, CHUNK_BYTES // (4 * len(others)))
    squares = (others**2).sum(axis=1)
    for start in range(0, len(blocks), rows):
        part = blocks[start : start + rows]
        squared = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ others.T
        # float32 rounds these squares by about 0.1. Subtracting 1 keeps all pairs that are near the limit.
        near = np.sqrt(np.maximum(squared - 1, 0))
        differ = np.bitwise_xor(hashes[start : start + rows, None], other_hashes)
        yield start, near, np.bitwise_count(differ)


def _nearest(
    image: np.ndarray, others: np.ndarray, bound: np.ndarray, most: float
) -> tuple[int, float] | None:
    """The nearest other image by pixels and its distance, if at most `most`. `bound` is a lower bound of distances."""
    candidates = np.flatnonzero(bound <= most)
    candidates = candidates[bound[candidates].argsort(kind="stable")]
    best: tuple[int, float] | None = None
    for start in range(0, len(candidates), 64):
        part = candidates[start : start + 64]
        if best and bound[part[0]] >= best[1]:
            break
        apart = others[part].astype(np.float32) - image
        distances = np.sqrt((apart**2).mean(axis=(1, 2, 3)))
        at = int(distances.argmin())
        if distances[at] <= most and (best is None or distances[at] < best[1]):
            best = int(part[at]), float(distances[at])
    return best


def _blocks(images: np.ndarray) -> np.ndarray:
    """Gray means of blocks, each times the square root of its share of the image: float32 [n, blocks]."""
    means, shares = _averaged(images, SIDE)
    return (means * np.sqrt(shares)).reshape(len(images), -1).astype(np.float32)


def _hashes(images: np.ndarray) -> np.ndarray:
    """The pHash of each gray image, uint64 [n]: a bit for each of the 64 lowest frequencies, 1 if above the median."""
    grey, _ = _averaged(images, HASH_SIDE)
    height, width = grey.shape[1:]
    low = _cosines(height) @ grey @ _cosines(width).T
    low = low.reshape(len(images), -1)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    padded = np.zeros((len(images), 64), bool)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1).view(np.uint64).ravel()


def _cosines(side: int) -> np.ndarray:
    """The first rows of the discrete cosine transform, type II: float32 [8, side], fewer if the side is shorter."""
    k = np.arange(min(SIDE, side))[:, None]
    return np.cos(np.pi * k * (2 * np.arange(side) + 1) / (2 * side)).astype(np.float32)


def _averaged(images: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Gray images averaged over at most side x side blocks, float32 [n, rows, columns], and the share of each block."""
    n, height, width, _ = images.shape
    edges = [
        np.arange(min(side, length)) * length // min(side, length) for length in (height, width)
    ]
    averaged = np.empty((n, len(edges[0]), len(edges[1])), np.float32)
    sizes = [np.diff([*e, length]) for e, length in zip(edges, (height, width), strict=True)]
    areas = np.outer(*sizes)
    step = max(1, CHUNK_BYTES // (4 * height * width))
    for start in range(0, n, step):
        grey = images[start : start + step].mean(axis=3, dtype=np.float32)
        summed = np.add.reduceat(np.add.reduceat(grey, edges[0], axis=1), edges[1], axis=2)
        averaged[start : start + step] = summed / areas
    return averaged, areas / (height * width)
