#!/usr/bin/env python3
"""A reader of Afferent's formats, written from protocol/README.md and from nothing else.

    reader.py [--key HEX]… [--source NAME] [--longest BYTES] FILE…

It prints what each file holds, a field a line (see text.rs), or `refused: …`, and exits with 1 when it has refused one. Where
there are several, `file: NAME` stands before each. It checks magics, checksums, names, limits, and signatures by arithmetic
of its own: those of batches by the given keys, those of signed messages for the source with that name. A unified log that
begins at offset 0 is held against itself (offsets, chains, keys, terms, attestations), and what is wrong with it is printed
as `problem: …`. A file whose name begins with `serial-line` is what came over a line whose longest frame has so many bytes;
one whose name begins with `signatures` has vectors of key, hash and signature of a batch. It needs Python 3.9 and its
standard library.
"""
import os
import struct
import sys

from curve import is_signed
from history import Log
from messages import clock, control, fragment, serial_line, signed_message, vectors
from notation import (STREAM, Body, Refused, attestation, check, check_crc, crc32c, endorsement, quote, sha256, source_of,
                      subject_of, time_of, truth, unit_of)


# --- Batch and segment
class Batch:
    def __init__(self, data):
        check(len(data) >= 256 and data[:4] == b"AFB1" and data[72] == 1, "no batch")
        self.codec, self.stream, self.synchronised, body_len, decoded_len, self.count, self.first = struct.unpack(
            "<BBBIIIQ", data[73:96])
        check(self.stream < 2 and self.synchronised < 2 and body_len == decoded_len <= 1048320, "a batch's header")
        check(1 <= self.count <= 65536 and self.first + self.count < 2**64, "a batch's sequences")
        check(self.codec == 1 or (self.codec, self.stream, body_len) == (255, 1, 32), "a batch's codec")
        check(256 + body_len <= len(data), "a batch that was cut")
        self.len, data = 256 + body_len, data[:256 + body_len]
        self.crc = struct.unpack("<I", data[4:8])[0]
        check_crc(data, "a batch")
        self.epoch, self.time_first, self.time_last, self.monotonic, self.wall = struct.unpack("<QqqQq", data[96:136])
        check(time_of(self.time_first) <= time_of(self.time_last) and time_of(self.wall) >= 0, "a batch's times")
        self.boot, self.previous, self.source = data[136:152], data[152:184], source_of(data[185:185 + data[184]])
        check(not any(data[185 + data[184]:256]), "zeros of a batch")
        self.signature, self.body = data[8:72], data[256:]
        self.chain = self.body if self.codec == 255 else sha256(data[72:])
        self.said = []

    def is_signed_by(self, key):
        return is_signed(b"afferent batch v1", self.chain, key, self.signature)

    def text(self, keys):
        signed_by = next((key.hex() for key in keys if self.is_signed_by(key)), "nobody")
        lines = [f"source: {self.source}", f"stream: {STREAM[self.stream]}", f"epoch: {self.epoch:016x}",
                 f"first: {self.first}", f"count: {self.count}", f"time_first: {self.time_first}",
                 f"time_last: {self.time_last}", f"synchronised: {truth(self.synchronised)}",
                 f"monotonic: {self.monotonic}", f"wall: {self.wall}", f"boot: {self.boot.hex()}",
                 f"previous: {self.previous.hex()}", f"chain: {self.chain.hex()}", f"crc: {self.crc:08x}",
                 f"signed_by: {signed_by}"]
        return lines + (["events: removed"] if self.codec == 255 else self.events())

    def events(self):
        body, time, times, lines = Body(self.body), 0, [], []
        subjects = body.list(lambda: subject_of(body.counted()), 1024)
        units = body.list(lambda: unit_of(body.counted()), 128)
        for sequence in range(self.first, self.first + self.count):
            time += body.zigzag()
            times.append(time_of(time))
            lines.append(f"event: sequence={sequence} time={time} subject={quote(body.one_of(subjects))} {body.body(units)}")
        check((self.time_first, self.time_last) == (min(times), max(times)), "the earliest or the latest time of a batch")
        self.said = body.said
        return body.to_the_end(lines)


def segment(data, keys):
    copies = [copy for copy in (data[:512], data[512:1024]) if copy[:9] == b"AFFSEG1\n\2" and copy[9] < 2 and copy[10] < 2 and
              crc32c(copy[:64]) == struct.unpack("<I", copy[64:68])[0] and not any(copy[11:16] + copy[68:])]
    check(copies, "both headers of a segment are damaged")
    head = min(copies, key=lambda copy: copy[32:40][::-1])
    kind, stream = head[9], head[10]
    log_id, (generation, epoch, first, begun) = head[16:32], struct.unpack("<QQQq", head[32:64])
    lines = [f"segment: {['ring', 'unified'][kind]}", f"stream: {STREAM[stream]}", f"log_id: {log_id.hex()}",
             f"generation: {generation}", f"epoch: {epoch:016x}", f"first_ordinal: {first}", f"begun: {time_of(begun)}"]

    def claim(at):
        fields = struct.unpack("<IIIIQQqQQ", data[at:at + 56]) if at + 56 <= len(data) else None
        ok = fields and fields[1] and fields[3] and crc32c(log_id + head[32:40] + data[at + 4:at + 56]) == fields[0]
        return fields if ok else None

    def entry(at):
        fields = claim(at)
        try:
            batch = Batch(data[at + 56:at + 56 + fields[1]]) if fields else None
        except Refused:
            return None
        whole = batch and (batch.len, batch.crc, batch.count) == fields[1:4]
        return (fields, batch) if whole and not any(data[at + 56 + batch.len:at + 56 + -(-batch.len // 8) * 8]) else None

    at, corrupt, entries = 1024, [], []
    while True:
        found = entry(at)
        if found:
            (ordinal, acked_end, stamp, other_epoch, other_end), batch = found[0][4:], found[1]
            clock_offset = struct.unpack("<q", struct.pack("<Q", other_epoch))[0] if kind == 1 and other_end == 1 else None
            beside = (f"other_epoch={other_epoch:016x} other_end={other_end}" if kind == 0 else
                      f"clock_offset={'unknown' if clock_offset is None else clock_offset}")
            lines.append(f"entry: at={at} ordinal={ordinal} acked_end={acked_end} stamp={time_of(stamp)} {beside}")
            lines += batch.text(keys)
            entries.append((ordinal, stamp, clock_offset, batch))
            at += 56 + -(-batch.len // 8) * 8
            continue
        later = next((place for place in range(at + 8, len(data), 8) if entry(place)), None)
        if later is None:
            break
        corrupt.append(f"corrupt: from={at} to={later}")
        at = later
    if not any(data[at:at + 56]):
        tail = f"tail: clean at={at}"
    else:
        tail = f"tail: torn at={at} claimed={claim(at)[3] if claim(at) else 'unknown'}"
    lines += corrupt + [tail]
    if len(copies) < 2 or copies[0] != copies[1]:
        lines.append("problem: the two copies of the header are not the same")
    if kind == 1 and first == 0:
        log = Log(log_id, entries, keys)
        lines += [f"running: {log.running.hex()}"] + [f"problem: {problem}" for problem in log.problems]
    return lines


def witness(data):
    check(len(data) == 2048, "a witness's length")
    check(crc32c(data[12:]) == struct.unpack("<I", data[8:12])[0], "the crc of a witness")
    count, version, generation = struct.unpack("<I16xQQ", data[12:48])
    lanes = [data[at:at + 32] for at in range(80, 80 + 32 * count, 32)]
    check(count <= 32 and data[64] < 2 and not any(data[65:80] + data[80 + 32 * count:]), "a witness")
    lines = ["kind: witness", f"log_id: {data[16:32].hex()}", f"version: {version}", f"generation: {generation}",
             f"boot: {data[48:64].hex()}", f"is_clean: {truth(data[64])}"]
    for stream, is_current, is_resealed, zeros, epoch, released_end, end in (struct.unpack("<BBB5sQQQ", lane) for lane in lanes):
        check(max(stream, is_current, is_resealed) < 2 and not any(zeros), "a lane of a witness")
        lines.append(f"lane: stream={STREAM[stream]} epoch={epoch:016x} released_end={released_end} end={end}"
                     f" is_current={truth(is_current)} is_resealed={truth(is_resealed)}")
    return lines


# --- Files
def read(name, data, keys, source, longest):
    if os.path.basename(name).startswith("serial-line"):
        return serial_line(data, longest)
    if os.path.basename(name).startswith("signatures"):
        return vectors(data)
    if len(data) in (213, 146) and data[0] == 1:
        statement = attestation(data) if len(data) == 213 else endorsement(data)
        return [field.replace("=", ": ") for field in statement.split(" ")]
    if data.startswith(b"AFFSEG1\n"):
        return segment(data, keys)
    if data.startswith(b"AFFWIT1\n"):
        return witness(data)
    readers = {b"AFB1": lambda: Batch(data).text(keys), b"AFC2": lambda: control(data),
               b"AFS1": lambda: signed_message(data, source), b"AFT1": lambda: clock(data), b"AFF1": lambda: fragment(data)}
    check(data[:4] in readers, "an unknown beginning")
    return readers[data[:4]]()


def main(arguments):
    keys, source, longest, refused = [], "", 4608, False
    while arguments and arguments[0].startswith("--"):
        option, value, *arguments = arguments
        if option == "--key":
            keys.append(bytes.fromhex(value))
        elif option == "--source":
            source = value
        elif option == "--longest":
            longest = int(value)
        else:
            sys.exit(f"unknown: {option}")
    for name in arguments:
        with open(name, "rb") as file:
            data = file.read()
        try:
            lines = read(name, data, keys, source, longest)
        except Refused as why:
            lines, refused = [f"refused: {why}"], True
        lines = [f"file: {os.path.basename(name)}"] + lines if len(arguments) > 1 else lines
        sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode())
    return int(refused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
