"""The output folder of a run: its manifest, the claim on it, the finished rows, and their repair.

    _run/manifest/000000-0001-5f1c0e9a-0000.parquet   the inputs: id, uri, member, container, offset, size, version, problem,
                                                      pieces, source_id
    _run/manifest/000000.json                         a segment, created once, after its files: rows, the sizes of the parts,
                                                      what was ignored
    data/part-000017.parquet                          the finished rows of part 17, created once; this file commits the part
                                                      and holds in its metadata which rows failed and why
    failed/part-000017.parquet                        the rows of part 17 that could not be done, as that metadata has them,
                                                      without those that a later part redid; can always be rebuilt

The manifest grows by segments: the first listing is segment 0, inputs that a later run finds new are segment 1, and the
inputs of a retry are a segment too, whose rows supersede the earlier rows of the same ids. A part is a range of rows of one
segment: the unit of work, of output and of commit. It is fixed when the segment is committed, so that part 17 has the same
inputs for every attempt, on every machine, for ever. Its files keep their names. That makes the output exactly-once by name:
of two attempts that list at once, or that do one part, the first to create the file decides, and the other one reads it.
"""
