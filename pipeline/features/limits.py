"""What hand-made features need of an image; answers in microseconds, without scikit-image."""

from collections.abc import Sequence

MIN_TEXTURE_SIDE_PX = 3
"""A local binary pattern looks one pixel to every side."""


def feature_problems(shape: tuple[int, int, int], groups: Sequence[str], edge_cell_px: int) -> list[str]:
    """Return what stands against computing the features on such images, one message each.

    Args:
        shape: Height, width (pixels) and channels of every image.
        groups: Any of `colour`, `texture`, `edges`.
        edge_cell_px: Side of a cell in the histogram of oriented gradients, in pixels.

    Returns:
        Complete messages for the user; empty if all is well.
    """
    height, width, _channels = shape
    smaller = min(height, width)
    problems = []
    repeated = sorted({group for group in groups if groups.count(group) > 1})
    if repeated:
        problems.append(
            "features.groups names a group twice. Expected each of colour, texture, edges at most once. "
            f"Received: {', '.join(repeated)} more than once. Remove the repetition."
        )
    if "edges" in groups and smaller < edge_cell_px:
        problems.append(
            "features.edge_cell_px is larger than the images. Expected at least one cell of edge_cell_px x "
            f"edge_cell_px pixels. Received: edge_cell_px={edge_cell_px}, images of {height}x{width}. Lower "
            f"edge_cell_px to at most {smaller}, or remove `edges` from features.groups."
        )
    if "texture" in groups and smaller < MIN_TEXTURE_SIDE_PX:
        problems.append(
            f"Texture features need images of at least {MIN_TEXTURE_SIDE_PX}x{MIN_TEXTURE_SIDE_PX} pixels. "
            f"Received: images of {height}x{width}. Remove `texture` from features.groups, or raise "
            "data.image_size."
        )
    return problems


def cells_per_block(shape: tuple[int, int, int], edge_cell_px: int) -> tuple[int, int]:
    """Return how many cells, down and across, share one normalisation: 2x2, fewer where there are fewer."""
    return min(2, shape[0] // edge_cell_px), min(2, shape[1] // edge_cell_px)
