"""What keeps a file whole and on the disk."""

from tests.mutants.mutant import Mutant

DURABLE = "tests/faults/test_durability.py::test_power_cut_after_the_write_takes_nothing_away"
SWEEP = "tests/faults/test_sweep.py::test_sample_of_faults_tears_nothing_and_leaves_nothing"

MUTANTS = (
    Mutant(
        "fsync of a file before its rename",
        "pipeline/runtime/files.py",
        "            os.fsync(file.fileno())\n        temporary.chmod",
        "            pass\n        temporary.chmod",
        (f"{DURABLE}[write_bytes]",),
    ),
    Mutant(
        "fsync of the folder after a rename",
        "pipeline/runtime/files.py",
        "        fsync_dir(path.parent)\n    finally",
        "    finally",
        (f"{DURABLE}[write_bytes]",),
    ),
    Mutant(
        "writing beside and renaming",
        "pipeline/runtime/files.py",
        "        yield temporary\n",
        "        temporary.replace(path)\n        yield path\n        path.rename(temporary)\n",
        ("tests/runtime/test_files.py",),
    ),
    Mutant(
        "removal of what a killed writer left",
        "pipeline/runtime/files.py",
        "    remove_leftovers(path)\n    prefix",
        "    prefix",
        ("tests/runtime/test_files.py",),
    ),
    Mutant(
        "refusal of NaN in JSON",
        "pipeline/runtime/files.py",
        "indent=2, allow_nan=False",
        "indent=2, allow_nan=True",
        ("tests/runtime/test_files.py",),
    ),
    Mutant(
        "fsync of a line that was appended",
        "pipeline/runtime/files.py",
        'bytes fit", str(path))\n        os.fsync(descriptor)\n',
        'bytes fit", str(path))\n',
        (f"{DURABLE}[audit]", f"{DURABLE}[live log]"),
    ),
    Mutant(
        "a look at how much of an appended line was written",
        "pipeline/runtime/files.py",
        "if written != len(lines):",
        "if written < 0:",
        ("tests/faults/test_disk_full.py",),
    ),
    Mutant(
        "the lock of whoever appends",
        "pipeline/runtime/files.py",
        "        lock_descriptor(descriptor, poll_interval=0.01)\n",
        "",
        ("tests/evaluation/test_ledger.py",),
    ),
    Mutant(
        "refusal of a damaged line",
        "pipeline/runtime/files.py",
        "        except ValueError as error:\n            raise damaged(path, number, line) from error\n",
        "        except ValueError:\n            continue\n",
        ("tests/retraining/test_journal.py",),
    ),
    Mutant(
        "fsync of an archive before it is kept",
        "pipeline/fetching/snapshot.py",
        "        os.fsync(file.fileno())\n",
        "        pass\n",
        (f"{DURABLE}[stored archive]",),
    ),
    Mutant(
        "removal of a link that was never renamed",
        "pipeline/gate/decision.py",
        "    remove_leftovers(path)\n",
        "",
        (f"{SWEEP}[settled]",),
    ),
    Mutant(
        "removal of a half-made store",
        "pipeline/tracking/store.py",
        "    remove_leftovers(path)\n",
        "",
        ("tests/faults/test_durability.py::test_half_made_store_of_a_killed_process_is_removed",),
    ),
    Mutant(
        "room for a file before it is mapped",
        "pipeline/features/images.py",
        "        reserve(temporary)\n",
        "",
        ("tests/faults/test_disk_full.py::test_every_mapped_file_gets_its_room",),
    ),
    Mutant(
        "digest of a checkpoint",
        "pipeline/training/fit.py",
        "if content[:head] != MAGIC + hashlib.sha256(payload).digest():",
        "if content[: len(MAGIC)] != MAGIC:",
        ("tests/training/test_fit_checkpoint.py",),
    ),
)
