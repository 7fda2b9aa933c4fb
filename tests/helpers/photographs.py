"""Pictures with the details of photographs, made of noise: what tests of copies need where no real ones are."""

import numpy as np
from PIL import Image


def photographs(number, side, seed=0):
    """Return pictures with large forms, small ones and colours, uint8, shape (number, side, side, 3)."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        layers = np.zeros((side, side, 3))
        for grains, weight in zip((4, 9, 20), rng.dirichlet((4, 3, 2)), strict=True):
            noise = Image.fromarray(rng.integers(0, 256, (grains, grains, 3), dtype=np.uint8))
            layers += weight * np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), float)
        tones = 255 * np.clip(layers / 255, 0, 1) ** rng.uniform(0.4, 2.5, 3)  # another light in each
        made.append(np.rint(30 + 0.75 * tones).astype(np.uint8))
    return np.stack(made)
