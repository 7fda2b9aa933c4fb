"""Commands about where work runs: `doctor` says where that is and whether it is fit, `repro` runs candidates there.

May import what other commands may. Begin with `pipeline/commands/machines/doctor.py`.
"""
