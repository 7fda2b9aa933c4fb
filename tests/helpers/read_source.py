"""The samples of a source from names and contents: selected, packed and read as `millrace init` does it."""

from tests.helpers.archive_of import archive_of


def read_source(source, given_files, /, **options):
    """Return all samples that `source` reads from these files with these options."""
    stated = source.Options(**options)
    chosen = source.select(sorted(given_files), stated)
    with archive_of({name: given_files[given] for name, given in chosen.items()}) as archive:
        return list(source.read(archive, stated))


def described(source, given_files, /, **options):
    """Return how `source` says that it reads these files."""
    stated = source.Options(**options)
    chosen = source.select(sorted(given_files), stated)
    with archive_of({name: given_files[given] for name, given in chosen.items()}) as archive:
        return source.describe(archive, stated)
