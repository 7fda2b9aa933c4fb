"""All durable writers of the product, each as numbered versions of what it writes."""

from tests.faults.file_writers import FILE_WRITERS
from tests.faults.growing_writers import GROWING_WRITERS
from tests.faults.registry_writers import REGISTRY_WRITERS

WRITERS = FILE_WRITERS | GROWING_WRITERS | REGISTRY_WRITERS
