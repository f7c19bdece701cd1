"""Changing a run folder as a forger would, and what a verification finds."""

import pyarrow as pa

from epsball.auditing.manifest import write_manifest
from epsball.results import arrow_bytes


def failed(verification):
    return {finding.check for finding in verification.findings if finding.holds is False}


def changed(folder, column, change):
    """Change one column of the evidence and write the manifest anew, as a forger would."""
    file = folder / "evidence-00000.arrow"
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    values = change(table[column].to_pylist(), table)
    place = table.column_names.index(column)
    file.write_bytes(
        arrow_bytes(table.set_column(place, table.schema.field(column), pa.array(values, table[column].type)))
    )
    write_manifest(folder)
