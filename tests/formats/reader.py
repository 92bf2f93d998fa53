#!/usr/bin/env python3
"""A reader of Afferent's batches and segments, written from protocol/README.md and from nothing else.

    reader.py [--key HEX]… FILE…      prints what each file holds, a field a line (see text.rs)

It checks magics, checksums, chain hashes, signatures by the given keys, attestations and the running hash. It needs Python
3.9 and its standard library.
"""
import hashlib
import json
import struct
import sys

# --- Ed25519 by the rules of "Signatures": plain integers, affine where it may be slow, extended where it must be quick.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
SMALL = [0, 1, P - 1] + [int.from_bytes(bytes.fromhex(y), "little") for y in (
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")]


def point(encoded):
    """The point of 32 bytes, or None when rule 2, 3 or 4 refuses them."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= P or y in SMALL:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * ROOT % P
    if v * x * x % P != u:
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        q = add(q, p) if n & 1 else q
        p, n = add(p, p), n >> 1
    return q


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(context, digest, key, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    big_r, a = point(r), point(key)
    if s >= L or big_r is None or a is None:
        return False
    message = context.ljust(20, b"\0") + digest
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(big_r, times(k, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# --- Checksums, numbers, texts
def crc32c(data, table=[]):
    if not table:
        for byte in range(256):
            for _ in range(8):
                byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
            table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


class Refused(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Refused(what)


def time_of(number):
    check(0 <= number <= 253402300799999999, "a time")
    return number


sha256 = lambda data: hashlib.sha256(data).digest()
quote = lambda text: json.dumps(text, ensure_ascii=False)
def decimal(number):
    return repr(number).replace("e+", "e").replace("e-0", "e-")


STREAM = ["critical", "samples"]
ENUMS = {
    "stream": STREAM,
    "quality": ["good", "uncertain", "bad"],
    "severity": ["debug", "info", "warning", "error", "fatal"],
    "state": ["not-available", "out-of-service", "not-executing", "executing"],
    "transition": ["raised", "cleared", "acknowledged", "shelved", "unshelved"],
    "lost": ["evicted", "corrupt", "torn-tail", "device-full", "refused", "vanished", "vanished-at-least"],
    "previous": ["none", "clean", "crash", "power-loss"],
    "resealed": ["diverged", "other-key"],
}
# Kind, then its fields as `name:notation`, in the order of the tables; `enum=name` where the two differ.
BODIES = {
    1: "breakdown code:text severity:enum message:text",
    2: "recovery code:text message:text",
    3: "state state:enum reason:text",
    4: "alarm condition:text transition:enum priority:varint message:text",
    5: "loss stream:enum epoch:hex first:varint end:varint reason:enum=lost chain:32",
    6: "clockstep before:time after:time",
    8: "derived kind:text json:text",
    9: "progress stream:enum epoch:hex end:varint check:hex ticks:ticks",
}
LIFE_CYCLES = [
    "started previous:enum version:text repairs:text", "stopped reason:text", "linkup peer:text",
    "linkdown peer:text reason:text", "keypinned source:text key:32", "refused source:text reason:text",
    "gap source:text stream:enum epoch:hex first:varint end:varint", "disktrouble message:text",
    "configured message:text", "attested attestation:attestation", "trimmed until:varint rule:text",
    "emptied stream:enum until:varint rule:text",
    "lanekept source:text stream:enum epoch:hex end:varint time_last:time chain:32",
    "termbegun log:16 partition:varint term:hex first:varint", "heartbeat instance:16 lanes:lanes",
    "resealed stream:enum epoch:hex first:varint reason:enum=resealed", "ringreplaced message:text",
    "conflict source:text boots:boots addresses:text",
    "rolledback source:text term:hex until:varint end:varint time:time", "retired source:text who:text why:text",
    "keyreplaced source:text key:32 who:text", "keyendorsed endorsement:endorsement", "alias source:text former:text",
]


class Body:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        check(self.at + count <= len(self.data), "the body ends early")
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                check(value < 2**64, "a varint of more than 64 bits")
                return value
        raise Refused("a varint of more than ten bytes")

    def zigzag(self):
        value = self.varint()
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1

    def counted(self):
        return self.take(self.varint())

    def one_of(self, names):
        number = self.varint()
        check(number < len(names), "an unknown variant")
        return names[number]

    def field(self, name, notation):
        notation, _, enum = notation.partition("=")
        if notation == "enum":
            return self.one_of(ENUMS[enum or name])
        if notation.isdigit():
            return self.take(int(notation)).hex()
        return {
            "text": lambda: quote(self.counted().decode()), "varint": lambda: str(self.varint()),
            "hex": lambda: f"{self.varint():016x}", "time": lambda: str(time_of(self.zigzag())),
            "ticks": self.ticks, "lanes": self.lanes, "boots": lambda: f"{self.take(16).hex()},{self.take(16).hex()}",
        }[notation]()

    def ticks(self):
        if self.one_of(["none", "of"]) == "none":
            return "none"
        return f"mapped events={self.varint()} boot={self.take(16).hex()} offset={self.zigzag()}"

    def lanes(self):
        ends, lanes = Body(self.counted()), []
        while ends.at < len(ends.data):
            stream, epoch, end = STREAM[ends.take(1)[0]], ends.varint(), ends.varint()
            lanes.append(f"{stream}-{epoch:016x}-{end}-{int.from_bytes(ends.take(8), 'little'):016x}")
        return ",".join(lanes)

    def fields(self, line):
        kind, *fields = line.split(" ")
        if kind == "attested":
            return f"{kind} {attestation(self.counted())}"
        if kind == "keyendorsed":
            return f"{kind} {endorsement(self.counted())}"
        return " ".join([kind] + [f"{name}={self.field(name, notation)}" for name, notation in
                                  (field.split(":") for field in fields)])

    def body(self, units):
        variant = self.varint()
        if variant == 0:
            value = [lambda: decimal(struct.unpack("<d", self.take(8))[0]), lambda: str(self.zigzag()),
                     lambda: ["false", "true"][self.take(1)[0]], lambda: quote(self.counted().decode())][self.varint()]()
            return f"sample value={value} unit={quote(units[self.varint()])} quality={self.one_of(ENUMS['quality'])}"
        return self.fields(self.one_of(LIFE_CYCLES) if variant == 7 else BODIES[variant])


def attestation(data):
    check(len(data) == 213 and data[0] == 1, "an attestation")
    partition, term, number, end, time = struct.unpack("<IQQQq", data[49:85])
    signed = is_signed(b"afferent attest v1", sha256(data[:149]), data[1:33], data[149:])
    return (f"key={data[1:33].hex()} log={data[33:49].hex()} partition={partition} term={term:016x} number={number} end={end}"
            f" time={time_of(time)} previous={data[85:117].hex()} hash={data[117:149].hex()}"
            f" digest={sha256(data[:149]).hex()} signed={str(signed).lower()}")


def endorsement(data):
    check(len(data) == 146 and data[0] == 1 and data[1] < 2, "an endorsement")
    signed = is_signed(b"afferent endorse v1", sha256(data[:82]), data[50:82], data[82:])
    return (f"role={['successor', 'colleague'][data[1]]} log={data[2:18].hex()} key={data[18:50].hex()}"
            f" by={data[50:82].hex()} signed={str(signed).lower()}")


# --- Batch and segment
class Batch:
    def __init__(self, data):
        check(len(data) >= 256 and data[:4] == b"AFB1" and data[72] == 1, "no batch")
        self.codec, self.stream, self.synchronised, body_len, decoded_len, self.count, self.first = struct.unpack(
            "<BBBIIIQ", data[73:96])
        check(self.stream < 2 and self.synchronised < 2 and body_len == decoded_len, "a batch's header")
        check(256 + body_len <= len(data), "a batch that was cut")
        self.len, data = 256 + body_len, data[:256 + body_len]
        self.crc = struct.unpack("<I", data[4:8])[0]
        check(crc32c(data[8:]) == self.crc, "a batch's crc")
        self.epoch, self.time_first, self.time_last, self.monotonic, self.wall = struct.unpack("<QqqQq", data[96:136])
        check(0 < data[184] < 64 and not any(data[185 + data[184]:256]), "a source's name")
        self.boot, self.previous, self.source = data[136:152], data[152:184], data[185:185 + data[184]].decode()
        self.signature, self.body = data[8:72], data[256:]
        self.chain = self.body if self.codec == 255 else sha256(data[72:])

    def text(self, keys):
        signed_by = next((key.hex() for key in keys if is_signed(b"afferent batch v1", self.chain, key, self.signature)), "nobody")
        lines = [f"source: {self.source}", f"stream: {STREAM[self.stream]}", f"epoch: {self.epoch:016x}",
                 f"first: {self.first}", f"count: {self.count}", f"time_first: {time_of(self.time_first)}",
                 f"time_last: {time_of(self.time_last)}", f"synchronised: {str(self.synchronised == 1).lower()}",
                 f"monotonic: {self.monotonic}", f"wall: {time_of(self.wall)}", f"boot: {self.boot.hex()}",
                 f"previous: {self.previous.hex()}", f"chain: {self.chain.hex()}", f"crc: {self.crc:08x}",
                 f"signed_by: {signed_by}"]
        return lines + (["events: removed"] if self.codec == 255 else self.events())

    def events(self):
        check(self.codec == 1, "a codec")
        body, time, lines = Body(self.body), 0, []
        subjects = [body.counted().decode() for _ in range(body.varint())]
        units = [body.counted().decode() for _ in range(body.varint())]
        for sequence in range(self.first, self.first + self.count):
            time += body.zigzag()
            lines.append(f"event: sequence={sequence} time={time_of(time)} subject={quote(subjects[body.varint()])} {body.body(units)}")
        check(body.at == len(self.body), "bytes behind the last row")
        return lines


def segment(data, keys):
    copies = [copy for copy in (data[:72], data[512:584]) if copy[:9] == b"AFFSEG1\n\2" and
              crc32c(copy[:64]) == struct.unpack("<I", copy[64:68])[0]]
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

    at, corrupt, running = 1024, [], bytes(32)
    while True:
        found = entry(at)
        if found:
            (ordinal, acked_end, stamp, other_epoch, other_end), batch = found[0][4:], found[1]
            lines.append(f"entry: at={at} ordinal={ordinal} acked_end={acked_end} stamp={time_of(stamp)}"
                         f" other_epoch={other_epoch:016x} other_end={other_end}")
            lines += batch.text(keys)
            running = sha256(running + struct.pack("<QqI", ordinal, stamp, batch.count) + batch.chain)
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
    return lines + corrupt + [tail] + ([f"running: {running.hex()}"] if kind == 1 and first == 0 else [])


def main(arguments):
    keys = []
    while arguments[:1] == ["--key"]:
        keys.append(bytes.fromhex(arguments[1]))
        arguments = arguments[2:]
    for name in arguments:
        with open(name, "rb") as file:
            data = file.read()
        lines = segment(data, keys) if data.startswith(b"AFFSEG1\n") else Batch(data).text(keys)
        sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
