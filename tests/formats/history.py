"""A unified log from offset 0 on, held against itself."""
import json
import struct

from notation import STREAM, attestation, endorsement, fields_of, quote, sha256


class Log:
    def __init__(self, log_id, entries, keys):
        self.log_id, self.problems, self.running = log_id, [], bytes(32)
        self.end, self.lanes, self.named, self.covered = 0, {}, {}, {}
        # The newest attestation, and offset and term of each opening.
        self.newest, self.terms = None, []
        # Of each lane the stretches that are declared lost, or that the collector has found missing.
        self.holes = [(batch.source if kind == "loss" else json.loads(fields["source"]), STREAM.index(fields["stream"]),
                       int(fields["epoch"], 16), int(fields["first"]), int(fields["end"]))
                      for _, _, _, batch in entries for kind, fields in batch.said if kind in ("loss", "gap")]
        self.own, self.own_keys = self.find_own(entries, keys)
        for ordinal, stamp, clock_offset, batch in entries:
            self.take(ordinal, stamp, clock_offset, batch)

    def find_own(self, entries, keys):
        for _, _, _, batch in entries:
            for kind, fields in batch.said:
                if kind == "keypinned" and fields["source"] == quote(batch.source):
                    key = bytes.fromhex(fields["key"])
                    if key in keys and batch.is_signed_by(key):
                        return batch.source, [key]
        self.problems.append("no given key is pinned as the log's")
        return None, []

    def hold(self, holds, at, what):
        if not holds:
            self.problems.append(f"offset {at}: {what}")

    def take(self, ordinal, stamp, clock_offset, batch):
        self.hold(ordinal == self.end, ordinal, f"the offset is not {self.end}")
        measured = b"" if clock_offset is None else struct.pack("<q", clock_offset)
        self.running = sha256(self.running + struct.pack("<QqI", ordinal, stamp, batch.count) + batch.chain + measured)
        self.end = ordinal + batch.count
        self.covered[self.end] = (self.running, stamp)
        self.follows(ordinal, batch)
        is_own = batch.source == self.own
        if is_own:
            self.learn_endorsements(batch)
        allowed = self.own_keys if is_own else self.named.get(batch.source, [])
        signer = next((key for key in reversed(allowed) if batch.is_signed_by(key)), None)
        self.hold(signer, ordinal, f"no key of {batch.source} has signed it")
        for at, (kind, fields) in enumerate(batch.said if is_own and signer else []):
            if kind in ("keypinned", "keyreplaced"):
                self.named[json.loads(fields["source"])] = [bytes.fromhex(fields["key"])]
            if kind == "termbegun":
                self.begin(ordinal + at, fields)
            if kind == "attested":
                self.attested(ordinal + at, fields_of(attestation(fields)))

    def follows(self, ordinal, batch):
        lane = batch.source, batch.stream, batch.epoch
        end, chain = self.lanes.get(lane, (0, bytes(32)))
        self.lanes[lane] = batch.first + batch.count, batch.chain
        self.hold(batch.first >= end, ordinal, "its sequences are there already")
        self.hold(batch.first != end or batch.previous == chain, ordinal, "it does not continue the chain")
        while end < batch.first:
            hole = next((hole for hole in self.holes if hole[:3] == lane and hole[3] <= end < hole[4]), None)
            self.hold(hole, ordinal, f"the sequences from {end} on are missing")
            end = hole[4] if hole else batch.first

    def learn_endorsements(self, batch):
        for kind, statement in batch.said:
            if kind != "keyendorsed":
                continue
            fields = fields_of(endorsement(statement))
            by, key = bytes.fromhex(fields["by"]), bytes.fromhex(fields["key"])
            if fields["signed"] == "true" and fields["log"] == self.log_id.hex() and by in self.own_keys:
                self.own_keys.append(key)
                if fields["role"] == "successor" and batch.is_signed_by(key):
                    self.own_keys.remove(by)

    def begin(self, offset, fields):
        self.hold(fields["log"] == self.log_id.hex() and fields["partition"] == "0", offset, "a term of another log")
        self.hold(int(fields["first"]) <= offset, offset, "a term that begins later")
        if int(fields["first"]) == offset:
            self.terms.append((offset, fields["term"]))

    def attested(self, offset, fields):
        end, before = int(fields["end"]), self.newest
        is_signed_by_log = fields["signed"] == "true" and bytes.fromhex(fields["key"]) in self.own_keys
        self.hold(is_signed_by_log, offset, "no attestation of the log's key")
        self.hold(fields["log"] == self.log_id.hex() and fields["partition"] == "0", offset, "an attestation of another log")
        number, previous = (int(before["number"]) + 1, before["digest"]) if before else (0, bytes(32).hex())
        self.hold((int(fields["number"]), fields["previous"]) == (number, previous), offset, "an attestation out of order")
        hash_of, stamp = self.covered.get(end, (b"", None))
        self.hold((fields["hash"], fields["time"]) == (hash_of.hex(), str(stamp)), offset, "an attestation of other entries")
        self.hold(self.terms and self.terms[-1][1] == fields["term"], offset, "an attestation of another term")
        self.newest = fields
