"""Receive: C-STORE and C-ECHO over DICOM associations, bytes kept as sent, Success only for what is durable.

The modules in the order an object passes them. `storage_scp` starts it all; `dispatcher` accepts TCP connections and
hands each to a receiver process, where `listener` makes it an association: `admission` says who may have one,
`presentation` what for. `upper_layer` runs the association's states (PS3.8) and reads whole PDUs within limits, as the
room of that name does for every association; `messages` puts its data values together to messages (PS3.7). Each
C-STORE is a `reception`: `part10` writes the head of a file, the data set follows as it arrives, and `header` then
finds out who it is. `spool` gives the durable file its name, `registry` makes entry and row durable for all that wait,
and only then does a `status` say Success. `archive` is what they share: spool, registry, database. `recovery` gives
files their rows that a crash left without.
"""
