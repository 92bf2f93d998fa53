"""Checksums, names and the notation of codec 1, with the tables of events; attestations and endorsements."""
import hashlib
import json
import struct

from curve import is_signed


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


def check_crc(data, what):
    check(crc32c(data[8:]) == struct.unpack("<I", data[4:8])[0], f"the crc of {what}")


def time_of(number):
    check(0 <= number <= 253402300799999999, "a time")
    return number


def text_of(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("a text that is not UTF-8")


def source_of(data):
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    check(0 < len(data) < 64 and data[0] != 0x2E and all(byte in letters for byte in data), "a source's name")
    return data.decode()


def subject_of(data):
    path = text_of(data)
    has_control = any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in path)
    check(len(data) < 256 and not has_control and all(path.split("/")), "a subject")
    return path


def unit_of(data):
    check(len(data) <= 32 and all(0x21 <= byte <= 0x7E for byte in data), "a unit")
    return data.decode()


sha256 = lambda data: hashlib.sha256(data).digest()
quote = lambda text: json.dumps(text, ensure_ascii=False)
truth = lambda value: ["false", "true"][value]


def decimal(number):
    check(abs(number) < float("inf"), "a number that is not finite")
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
    1: "breakdown code:text severity:enum message:long",
    2: "recovery code:text message:long",
    3: "state state:enum reason:text",
    4: "alarm condition:text transition:enum priority:varint message:long",
    5: "loss stream:enum epoch:hex first:varint end:varint reason:enum=lost chain:32",
    6: "clockstep before:time after:time",
    8: "derived kind:text json:long",
    9: "progress stream:enum epoch:hex end:varint check:hex ticks:ticks",
    10: "followed stream:enum input:name number:varint horizon:time files:files",
}
LIFE_CYCLES = [
    "started previous:enum version:text repairs:text", "stopped reason:text", "linkup peer:text",
    "linkdown peer:text reason:text", "keypinned source:text key:32", "refused source:text reason:text",
    "gap source:text stream:enum epoch:hex first:varint end:varint", "disktrouble message:text",
    "configured message:text", "attested attestation:attestation", "trimmed until:varint rule:text",
    "emptied stream:enum until:varint rule:text",
    "lanekept source:text stream:enum epoch:hex end:varint time_last:time chain:32",
    "termbegun log:16 partition:u32 term:hex first:varint", "heartbeat instance:16 lanes:lanes",
    "resealed stream:enum epoch:hex first:varint reason:enum=resealed", "ringreplaced message:text",
    "conflict source:text boots:boots addresses:text",
    "rolledback source:text term:hex until:varint end:varint time:time", "retired source:text who:text why:text",
    "keyreplaced source:text key:32 who:text", "keyendorsed endorsement:endorsement", "alias source:text former:text",
    "forgotten source:text", "unread file:text from:varint bytes_least:varint reason:text",
]


class Body:
    """Bytes in the notation of codec 1, read from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0
        # Kind and fields of what was read, as they are printed; of statements their bytes.
        self.said = []

    def take(self, count):
        check(self.at + count <= len(self.data), "the bytes end early")
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

    def u32(self):
        value = self.varint()
        check(value < 2**32, "a number of more than 32 bits")
        return value

    def zigzag(self):
        value = self.varint()
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1

    def counted(self, bytes_max=2**64):
        count = self.varint()
        check(count <= bytes_max, "more bytes than are allowed")
        return self.take(count)

    def text(self, bytes_max=1024):
        return text_of(self.counted(bytes_max))

    def bool(self):
        return self.one_of([False, True])

    def one_of(self, names):
        number = self.varint()
        check(number < len(names), "an unknown variant")
        return names[number]

    def list(self, item, items_max=16):
        count = self.varint()
        check(count <= items_max, "a list that is too long")
        return [item() for _ in range(count)]

    def to_the_end(self, read):
        check(self.at == len(self.data), "bytes are left over")
        return read

    def field(self, name, notation):
        notation, _, enum = notation.partition("=")
        if notation == "enum":
            return self.one_of(ENUMS[enum or name])
        if notation.isdigit():
            return self.take(int(notation)).hex()
        return {
            "text": lambda: quote(self.text()), "long": lambda: quote(self.text(49152)),
            "varint": lambda: str(self.varint()), "u32": lambda: str(self.u32()), "hex": lambda: f"{self.varint():016x}",
            "time": lambda: str(time_of(self.zigzag())), "ticks": self.ticks, "lanes": self.lanes,
            "name": lambda: quote(self.text(64)), "files": self.files,
            "boots": lambda: f"{self.take(16).hex()},{self.take(16).hex()}",
        }[notation]()

    def ticks(self):
        if self.one_of(["none", "of"]) == "none":
            return "none"
        return f"mapped events={self.u32()} boot={self.take(16).hex()} offset={self.zigzag()}"

    def lanes(self):
        ends, lanes = Body(self.counted()), []
        while ends.at < len(ends.data):
            stream, epoch, end = ends.one_of(STREAM), ends.varint(), ends.varint()
            lanes.append(f"{stream}-{epoch:016x}-{end}-{int.from_bytes(ends.take(8), 'little'):016x}")
        check(len(lanes) <= 64, "too many lanes")
        return ",".join(lanes)

    def files(self):
        list_, files = Body(self.counted()), []
        while list_.at < len(list_.data):
            number, device, inode, born, known = (list_.varint() for _ in range(5))
            fingerprint, end, other = list_.take(8).hex(), list_.varint(), list_.varint()
            state, name = list_.one_of(["followed", "finished"]), quote(list_.text(64))
            files.append(f"{number}-{device}-{inode}-{born}-{known}-{fingerprint}-{end}-{other}-{state}-{name}")
        check(len(files) <= 64, "too many files")
        return ",".join(files)

    def fields(self, line):
        kind, *fields = line.split(" ")
        if kind in ("attested", "keyendorsed"):
            statement = self.counted(256)
            self.said.append((kind, statement))
            return f"{kind} {attestation(statement) if kind == 'attested' else endorsement(statement)}"
        read = {name: self.field(name, notation) for name, notation in (field.split(":") for field in fields)}
        check(kind not in ("loss", "gap") or int(read["first"]) <= int(read["end"]), "a range that ends before it begins")
        check(1 <= int(read.get("priority", 1)) <= 1000, "a priority")
        self.said.append((kind, read))
        return " ".join([kind] + [f"{name}={value}" for name, value in read.items()])

    def body(self, units):
        variant = self.varint()
        if variant == 7:
            return self.fields(self.one_of(LIFE_CYCLES))
        if variant > 0:
            check(variant in BODIES, "an unknown variant")
            return self.fields(BODIES[variant])
        value = self.one_of([lambda: decimal(struct.unpack("<d", self.take(8))[0]), lambda: str(self.zigzag()),
                             lambda: truth(self.bool()), lambda: quote(self.text())])()
        self.said.append(("sample", {}))
        return f"sample value={value} unit={quote(self.one_of(units))} quality={self.one_of(ENUMS['quality'])}"


def attestation(data):
    check(len(data) == 213 and data[0] == 1, "an attestation")
    partition, term, number, end, time = struct.unpack("<IQQQq", data[49:85])
    signed = is_signed(b"afferent attest v1", sha256(data[:149]), data[1:33], data[149:])
    return (f"key={data[1:33].hex()} log={data[33:49].hex()} partition={partition} term={term:016x} number={number} end={end}"
            f" time={time_of(time)} previous={data[85:117].hex()} hash={data[117:149].hex()}"
            f" digest={sha256(data[:149]).hex()} signed={truth(signed)}")


def endorsement(data):
    check(len(data) == 146 and data[0] == 1 and data[1] < 2, "an endorsement")
    signed = is_signed(b"afferent endorse v1", sha256(data[:82]), data[50:82], data[82:])
    return (f"role={['successor', 'colleague'][data[1]]} log={data[2:18].hex()} key={data[18:50].hex()}"
            f" by={data[50:82].hex()} signed={truth(signed)}")


def fields_of(line):
    return dict(field.split("=") for field in line.split(" "))
