"""Damage as files meet it: bits, bytes and lines lost, doubled, swapped, or replaced by what readers trip over."""

import random

TOKENS = [
    b'"', b'""', b",", b"\t", b";", b":", b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b" ", b"\\", b"'", b"#", b"@data\n",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xc3", b"\x81", b"\x1c", b"\x0c",
    b"NA", b"NaN", b"null", b"inf", b"-1e400", b"1_000", b"007", b"?", b"{", b"}", b"[[[[", b"]", b"\\u0000", b"\\ud800",
    b"true", b"\xd9\xa3", b"9" * 400,
]  # fmt: skip


def mutated(content, rng):
    """Return `content` with one to three random faults.

    Args:
        content: Bytes of a good file, not empty.
        rng: A seeded `random.Random`; equal seeds give equal faults.
    """
    for _ in range(rng.choice([1, 1, 2, 3])):
        content = rng.choice(FAULTS)(content, rng)
    return content


def mutations(content, count, seed):
    """Yield `count` damaged copies of a good file, the same ones for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield mutated(content, rng)


def _flip_bit(content, rng):
    if not content:
        return content
    position = rng.randrange(len(content))
    return _replaced(content, position, position + 1, bytes([content[position] ^ 1 << rng.randrange(8)]))


def _insert_token(content, rng):
    position = rng.randint(0, len(content))
    return _replaced(content, position, position, rng.choice(TOKENS))


def _overwrite(content, rng):
    start, end = _span(content, rng, 4)
    return _replaced(content, start, end, rng.choice(TOKENS))


def _random_bytes(content, rng):
    start, end = _span(content, rng, 3)
    return _replaced(content, start, end, rng.randbytes(end - start))


def _delete(content, rng):
    start, end = _span(content, rng, rng.choice([1, 1, 5, 40]))
    return _replaced(content, start, end, b"")


def _double(content, rng):
    start, end = _span(content, rng, rng.choice([1, 5, 40]))
    return _replaced(content, start, start, content[start:end])


def _cut_off(content, rng):
    return content[: rng.randint(0, len(content))]


def _swap_lines(content, rng):
    lines = content.split(b"\n")
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _double_line(content, rng):
    lines = content.split(b"\n")
    lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"\n".join(lines)


def _drop_line(content, rng):
    lines = content.split(b"\n")
    del lines[rng.randrange(len(lines))]
    return b"\n".join(lines)


def _other_line_ends(content, rng):
    return content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n"]), rng.choice([1, 3, -1]))


def _replaced(content, start, end, piece):
    return content[:start] + piece + content[end:]


def _span(content, rng, longest):
    start = rng.randint(0, len(content))
    return start, min(len(content), start + rng.randint(1, longest))


FAULTS = [
    _flip_bit, _insert_token, _insert_token, _overwrite, _random_bytes, _delete, _double, _cut_off, _swap_lines,
    _double_line, _drop_line, _other_line_ends,
]  # fmt: skip
