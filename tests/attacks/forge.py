"""What an attacker writes: control messages, signatures by any key, and logs with something taken out.

By protocol/README.md. The reader in `tests/formats` gives crc32c, batches and the curve.
"""
import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "formats"))
import curve  # noqa: E402
import reader  # noqa: E402


# --- Ed25519: the signing half
def encode(point):
    inverse = pow(point[2], curve.P - 2, curve.P)
    x, y = point[0] * inverse % curve.P, point[1] * inverse % curve.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Key:
    """A key pair of 32 secret bytes."""

    def __init__(self, seed):
        digest = hashlib.sha512(seed).digest()
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix, self.public = digest[32:], encode(curve.times(self.scalar, curve.BASE))

    def sign(self, context, digest):
        message = context.ljust(20, b"\0") + digest
        nonce = int.from_bytes(hashlib.sha512(self.prefix + message).digest(), "little") % curve.L
        point = encode(curve.times(nonce, curve.BASE))
        challenge = int.from_bytes(hashlib.sha512(point + self.public + message).digest(), "little")
        return point + ((nonce + challenge * self.scalar) % curve.L).to_bytes(32, "little")


# --- Control messages
def varint(number):
    encoded = b""
    while number > 127:
        encoded, number = encoded + bytes([number & 127 | 128]), number >> 7
    return encoded + bytes([number])


def resume(batch, check=None):
    """The end of a batch, as an ack names it; with its own check, or another."""
    own = struct.unpack("<Q", batch.chain[:8])[0]
    end = varint(batch.stream) + varint(batch.epoch) + varint(batch.first + batch.count)
    return end + b"\1" + varint(own if check is None else check)


def ack(*resumes):
    return varint(2) + varint(len(resumes)) + b"".join(resumes)


def welcome(session, *resumes):
    return varint(1) + varint(session) + varint(len(resumes)) + b"".join(resumes)


def bare(content):
    """A control message without a signature, as it goes over a serial line."""
    return b"AFC2" + struct.pack("<I", reader.crc32c(content)) + content


def sealed(agent, key, signed):
    """A signed message around the bytes that are signed: everything from offset 72 on."""
    digest = hashlib.sha256(agent.encode() + b"\0" + signed).digest()
    covered = key.sign(b"afferent control v2", digest) + signed
    return b"AFS1" + struct.pack("<I", reader.crc32c(covered)) + covered


def like(genuine, nonce, agent, key, content):
    """A down message with the place and the times of a genuine one, another content, and whoever's key."""
    place = skip_place(genuine)
    signed = b"\1\0" + genuine[74:90] + nonce + genuine[106:122] + key.public + place + b"\0" + b"\0" + content
    return sealed(agent, key, signed)


def skip_place(genuine):
    """partition, term, offset, time and is_proved of a down message."""
    body = reader.Body(genuine[154:])
    for _ in range(4):
        body.varint()
    body.take(1)
    return genuine[154:154 + body.at]


def offline(genuine_up, nonce, agent, key):
    """A state `offline` with the clocks of a genuine up message."""
    body = reader.Body(genuine_up[154:])
    body.take(33)
    body.varint(), body.varint()
    for _ in range(body.varint()):
        body.counted()
    fields = genuine_up[154:154 + body.at]
    return sealed(agent, key, b"\0\1" + genuine_up[74:90] + nonce + genuine_up[106:122] + key.public + fields + b"\0")


def is_down(message):
    return message[:4] == b"AFS1" and message[72] == 1


def is_hello(message):
    return message[:4] == b"AFS1" and message[72:74] == b"\0\0"


def batches(message):
    """The batches of an MQTT payload."""
    while message[:4] == b"AFB1":
        batch = reader.Batch(message)
        yield batch
        message = message[batch.len:]


# --- Logs
class Segment:
    """A segment file as a list of entries, which can be taken out and renumbered."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            data = file.read()
        self.header, self.entries, self.size = data[:1024], [], len(data)
        at = 1024
        while at + 56 <= len(data):
            crc, length, *_ = struct.unpack("<III", data[at:at + 12])
            if not length or reader.crc32c(self.seed() + data[at + 4:at + 56]) != crc:
                break
            self.entries.append((data[at:at + 56], reader.Batch(data[at + 56:at + 56 + length]), data[at + 56:at + 56 + length]))
            at += 56 + -(-length // 8) * 8

    def seed(self):
        """log_id and generation, with which the crc of an entry's head is seeded."""
        return self.header[16:32] + self.header[32:40]

    def write(self, entries, first=None, stamp=None):
        """Writes these entries, ordinals without a hole, checksums right. `stamp` changes ingest times."""
        ordinal = struct.unpack("<Q", self.header[48:56])[0] if first is None else first
        header = bytearray(self.header)
        for copy in (0, 512):
            header[copy + 48:copy + 56] = struct.pack("<Q", ordinal)
            header[copy + 64:copy + 68] = struct.pack("<I", reader.crc32c(bytes(header[copy:copy + 64])))
        data = bytearray(header)
        for head, batch, encoded in entries:
            fields = bytearray(head[4:])
            fields[12:20] = struct.pack("<Q", ordinal)
            fields[20:28] = struct.pack("<Q", min(struct.unpack("<Q", fields[20:28])[0], ordinal))
            if stamp:
                fields[28:36] = struct.pack("<q", stamp(struct.unpack("<q", fields[28:36])[0]))
            data += struct.pack("<I", reader.crc32c(self.seed() + bytes(fields))) + fields + encoded
            data += bytes(-len(encoded) % 8)
            ordinal += batch.count
        with open(self.path, "wb") as file:
            file.write(bytes(data) + bytes(max(56, self.size - len(data))))
        return ordinal
