"""The catalogue of faults: what can go wrong on the way of a study, and the node's right answer to it.

A test that holds a row carries its number, `@pytest.mark.fault(62)`; `make faults` writes the table of both.

Every row hangs on one decision: the status of a C-STORE says only whether this node has safe custody of the object.
What is not durable is answered with A700, which senders try again; what cannot be identified or contradicts itself with
a failure that they do not; what is durable but no use to the models with Success, and a visible "not analysed" result.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A fault and the answer that is asserted."""

    number: int
    fault: str
    answer: str


NETWORK = (
    Row(1, "connections that never say anything, 200 of them", "closed after `acse_timeout_s`; nobody else notices"),
    Row(2, "one byte of an association request, then silence", "likewise"),
    Row(
        3,
        "a P-DATA header, a part of its body, then silence",
        "closed at the PDU's deadline; no file is left; an archive's likewise",
    ),
    Row(4, "a PDU that arrives a byte a second", "one deadline for the whole PDU, not one for each read"),
    Row(5, "a PDU length of nearly 4 GB, and bytes without end", "refused at the header; memory stays flat"),
    Row(6, "a P-DATA PDU longer than was negotiated", "A-ABORT (provider, invalid parameter value); not stored"),
    Row(7, "a PDU of unknown type", "A-ABORT (provider, unrecognised PDU)"),
    Row(8, "a second association request on an open association", "A-ABORT (provider, unexpected PDU)"),
    Row(
        9,
        "a data set without a command, an unknown presentation context, no Affected SOP Instance UID",
        "A-ABORT; never silence",
    ),
    Row(10, "40 C-STORE requests sent without waiting for answers", "memory bounded: read one at a time, or aborted"),
    Row(
        11,
        "calling AE title, called AE title or address not on the list",
        "A-ASSOCIATE-RJ (1,1,3), RJ (1,1,7), closed before any PDU; an audit line",
    ),
    Row(12, "a listed AE title from another address than its own", "A-ASSOCIATE-RJ (1,1,3)"),
    Row(13, "one association more than the limit", "A-ASSOCIATE-RJ (2,3,2), transient; the others go on"),
    Row(14, "only SOP classes that are not supported", "association accepted, each context refused with 3"),
    Row(15, "a supported SOP class, no common transfer syntax", "presentation context refused with 4"),
    Row(16, "128 presentation contexts of 25 transfer syntaxes", "answered within 250 ms; memory and log stay flat"),
    Row(
        17,
        "a sender killed in the middle of an object (FIN and RST)",
        "no visible file, no partial file, no open study",
    ),
    Row(18, "a sender that releases or aborts in the middle of an object", "likewise"),
    Row(
        19,
        "one study over two senders at once, or over four associations of one",
        "one study, each instance once; each instance restarts the quiet period",
    ),
    Row(20, "one object at the same moment on two associations", "Success for both; one row, one file"),
    Row(
        21,
        "TLS port: plain text, silence, expired or unknown certificate, TLS 1.0 and 1.1, weak ciphers",
        "that handshake fails; others are served meanwhile",
    ),
    Row(22, "peers with maximum PDU lengths from 0 (unlimited) to 1 MiB", "the same bytes stored"),
    Row(
        23, "fragments of one byte, a command in three pieces, command and data set in one PDU", "the same bytes stored"
    ),
    Row(
        24,
        "the clock steps an hour forward or back while receiving or sending",
        "no association ends, no study closes early or stays open for ever",
    ),
)

CONTENT = (
    Row(25, "the same object again", "Success; nothing changes"),
    Row(
        26,
        "the same SOP Instance UID with other bytes",
        "Success; the first stays, the second is kept aside, the operator is told",
    ),
    Row(27, "the same SOP Instance UID in another study or series", "likewise, as a relational mismatch"),
    Row(28, "one Study Instance UID with two Patient IDs", "Success; no analysis, the operator is told"),
    Row(
        29,
        "command, data set and presentation context name different SOP classes or instances",
        "A900; 0122 where it is the presentation context that differs",
    ),
    Row(
        30, "a missing or empty Study, Series or SOP Instance UID", "C01x, and an Error Comment that names the element"
    ),
    Row(
        31,
        "UIDs with path separators, NUL, line feeds, 65 characters, leading zeros, padding",
        "0117 where it is no UID; padding and leading zeros are tolerated; never a path outside the spool",
    ),
    Row(32, "an empty data set", "Cxxx"),
    Row(33, "a data set that ends within its pixel data", "Success and not analysed, with the reason"),
    Row(34, "a data set in another transfer syntax than negotiated", "Cxxx; no endless loop"),
    Row(35, "sequences nested 300 and 100,000 deep", "Cxxx or not analysed; never a crash"),
    Row(
        36,
        "a million empty private items, 200 MB of private bytes",
        "bounded time and memory; kept, or C000 where too much must be parsed to find out whose it is",
    ),
    Row(37, "a deflated bomb", "Deflated is not accepted (presentation context refused with 4)"),
    Row(
        38,
        "a small file whose header or codestream says 65,535 x 65,535 pixels",
        "not analysed; decoded, if at all, in a process of limited memory and time",
    ),
    Row(39, "broken compressed frames", "not analysed; a decoder that crashes takes nothing else with it"),
    Row(40, "a transfer syntax that cannot be decoded here", "not accepted, or not analysed"),
    Row(41, "objects that are no images", "Success and left out; they do not keep a study open for ever"),
    Row(42, "the node's own results come back", "Success; recognised, no new analysis"),
    Row(
        43,
        "multi-frame objects, Number of Frames 0, 1, 10,000, missing",
        "one frame is analysed; more are not, visibly",
    ),
    Row(44, "MONOCHROME1 and Presentation LUT Shape INVERSE", "inverted exactly once"),
    Row(45, "1 bit, palette colour, RGB, the YBR family", "the right grey, or not analysed; never wrong silently"),
    Row(
        46, "12 bits in 16, other high bits, overlays in unused bits", "masked and shifted by Bits Stored and High Bit"
    ),
    Row(
        47,
        "signed pixels, rescale, Modality LUT, VOI LUT, no window, a window of width 0, several windows",
        "Modality LUT, then VOI LUT, then inversion; nothing divides by zero",
    ),
    Row(48, "20,000 x 20,000, 0 x 0, 1 x 1, 1 x n pixels", "not analysed; refused before decoding"),
    Row(
        49, "oblong pixels; Pixel Spacing missing, zero or negative", "resampled, or not analysed; no division by zero"
    ),
    Row(
        50,
        "patient names in every character set, wrong ones, 1000 characters, control characters, right to left",
        "results say them as Unicode; nothing raises; nothing is injected into a log",
    ),
    Row(51, "missing identifiers, wrong VRs, malformed dates and numbers", "read tolerantly, copied as they are"),
    Row(52, "a preamble that is a program or a script", "written as zeros"),
    Row(
        53,
        "chest, side views, burned-in annotation, two bones in one image",
        "outside scope: not analysed, and said to be; else analysed, and the report says what the header tells",
    ),
)

RESOURCES = (
    Row(
        54,
        "no room: at write, fsync, rename, database commit",
        "A700; the association stays usable, nothing partial is left, and it recovers by itself",
    ),
    Row(
        55,
        "an input/output error at fsync; a read-only file system",
        "A700, the node says it is not ready; never Success",
    ),
    Row(
        56,
        "out of file descriptors, threads, memory",
        "A-ASSOCIATE-RJ (2,3,1), transient; who says nothing is closed within a second; the listener survives",
    ),
    Row(
        57,
        "SIGKILL at every transition",
        "each acknowledged instance is there and analysed; each revision has one result set; nothing partial is left",
    ),
    Row(58, "a power cut: what was not flushed is gone", "what was acknowledged is there"),
    Row(
        59,
        "the database locked by another process, deleted, corrupted",
        "A700 after a wait, then again Success; the rows are rebuilt from the spool",
    ),
    Row(
        60,
        "images at the edge of the quiet period, after it, or for ever just within it",
        "a late image makes version 2, which names version 1; a hard limit ends the wait",
    ),
    Row(61, "steps out of order", "refused without a crash"),
    Row(
        62,
        "an archive that is away for hours, rejects, refuses a SOP class, answers any status, or not at all, or stops, "
        "drips or floods in the middle of what it says",
        "each answer has its class: again later, delivered with a warning, or parked for the operator; no try outlasts "
        "its time-out or takes memory",
    ),
    Row(
        63,
        "an archive that takes results and then says it has not, or never says",
        "what failed is sent again, then parked; an unknown transaction is answered 0110",
    ),
    Row(
        64,
        "models that are killed, hang, answer NaN; no GPU",
        "the study fails visibly after a few tries; receiving goes on",
    ),
    Row(
        65,
        "SIGTERM while receiving, analysing, sending",
        "no new work, what is in flight ends within the grace period, exit code 0; the next start goes on",
    ),
    Row(66, "SIGTERM beside a peer that stands still", "the end comes within the grace period"),
    Row(67, "patient data in logs", "none at any level that is used"),
    Row(
        68,
        "10,000 associations, one object each",
        "memory grows by less than 1 MB per 1000; threads and descriptors do not",
    ),
    Row(69, "60 connections at once", "all set up, none of them after a retry, which would take a second"),
    Row(70, "a byte of a kept file changes on disk", "found by its digest before the analysis; not analysed"),
)

SECTIONS = {
    "Network and associations": NETWORK,
    "Content of objects": CONTENT,
    "Resources, crashes, time": RESOURCES,
}
ROWS = tuple(row for rows in SECTIONS.values() for row in rows)

REASONS: dict[int, str] = {}
"""Why a row has no test, by its number: every row has one or the other."""

REMARKS: dict[int, str] = {
    36: "What cannot be told whose it is within the limits is not taken into custody: without a Study Instance UID it "
    "would belong nowhere. Private bytes, and a million items whose sequence has a length, are passed over",
    56: "A spare descriptor is given up for the one connection more. Where no thread is to be had either, the listener "
    "reads its request itself, for a second at most; over TLS it closes without a word, for a handshake takes longer",
    64: "No GPU can be absent: the models are run by ONNX Runtime on the processor, and by nothing else",
}
"""Why an answer is the one it is, where another might be expected."""
