"""What is said beside batches: control messages, signed messages, and what else is on a serial line."""
import struct

from curve import is_signed
from notation import (STREAM, Body, Refused, attestation, check, check_crc, crc32c, endorsement, quote, sha256, source_of,
                      time_of, truth)


def lane(body):
    return f"stream={body.one_of(STREAM)} epoch={body.varint():016x}"


def held(body):
    return f"held: {lane(body)} first={body.varint()} end={body.varint()}"


def resume(body):
    return f"{lane(body)} end={body.varint()} check={f'{body.varint():016x}' if body.bool() else 'none'}"


def content(body):
    kind = body.one_of(["hello", "welcome", "ack", "nack", "ask", "common", "again"])
    resumes = lambda label: [f"{label}: {line}" for line in body.list(lambda: resume(body))]
    return [f"kind: {kind}"] + {
        "hello": lambda: [f"session: {body.u32()}"] + body.list(lambda: held(body)),
        "welcome": lambda: [f"session: {body.u32()}"] + resumes("resume"),
        "ack": lambda: resumes("resume"),
        "nack": lambda: [f"lane: {lane(body)}", f"from: {body.varint()}"],
        "ask": lambda: resumes("end"),
        "common": lambda: [f"end: {resume(body)}"],
        "again": lambda: [f"lane: {lane(body)}", f"first: {body.varint()}", f"end: {body.varint()}"],
    }[kind]()


def control(data):
    check(len(data) <= 1536, "a control message that is too long")
    check_crc(data, "a control message")
    body = Body(data[8:])
    return body.to_the_end(content(body))


def signed_message(data, source):
    check(154 < len(data) <= 4096, "a signed message's length")
    check_crc(data, "a signed message")
    direction, kind, key, body = data[72], data[73], data[122:154], Body(data[154:])
    check((direction, kind) in ((0, 0), (0, 1), (1, 0)), "a direction or a kind")
    signed = is_signed(b"afferent control v2", sha256(source.encode() + b"\0" + data[72:]), key, data[8:72])
    lines = [f"direction: {['up', 'down'][direction]}", f"source: {source}", f"signed: {truth(signed)}",
             f"log_id: {data[74:90].hex()}", f"nonce: {data[90:106].hex()}", f"answer: {data[106:122].hex()}",
             f"key: {key.hex()}"]
    lines += down(body) if direction else up(body)
    return body.to_the_end(lines + (["kind: state", f"online: {truth(body.bool())}"] if kind else content(body)))


def up(body):
    lines = [f"instance: {body.take(16).hex()}", f"boot: {body.take(16).hex()}", f"synchronised: {truth(body.bool())}",
             f"monotonic: {body.varint()}", f"wall: {time_of(body.zigzag())}"]
    return lines + body.list(lambda: f"former: {quote(source_of(body.counted()))}")


def down(body):
    lines = [f"partition: {body.u32()}", f"term: {body.varint():016x}", f"offset: {body.varint()}",
             f"time: {time_of(body.zigzag())}", f"is_proved: {truth(body.bool())}"]
    lines += body.list(lambda: f"endorsement: {endorsement(body.take(146))}", 4)
    return lines + ([f"attestation: {attestation(body.take(213))}"] if body.bool() else [])


# --- On a serial line
def clock(data):
    check(len(data) > 30 and data[4] < 2, "a clock message")
    lines = [f"kind: clock {['request', 'reply'][data[4]]}", f"boot: {data[5:21].hex()}",
             f"tick: {struct.unpack('<Q', data[21:29])[0]}"]
    if data[4] == 0:
        check(data[29] == len(data) - 30, "a clock request's length")
        return lines + [f"name: {source_of(data[30:])}"]
    check(len(data) == 38 and data[29] < 2, "a clock reply")
    return lines + [f"synchronised: {truth(data[29])}", f"time: {time_of(struct.unpack('<q', data[30:])[0])}"]


def fragment(data):
    check(len(data) > 12, "a fragment's length")
    crc, length, at = struct.unpack("<IHH", data[4:12])
    check(length >= 256 and at % 32 == 0 and at < length and len(data) - 12 == min(32, length - at), "a fragment's place")
    return ["kind: fragment", f"crc: {crc:08x}", f"len: {length}", f"at: {at}", f"piece: {data[12:].hex()}"]


def frame(data, longest):
    """The payload of a frame without its zero byte."""
    check(len(data) <= longest, "too-long")
    out, at = b"", 0
    while at < len(data):
        code = data[at]
        check(at + code <= len(data), "encoding")
        out += data[at + 1:at + code]
        at += code
        out += b"\0" if code < 255 and at < len(data) else b""
    check(len(out) >= 4 and crc32c(out[:-4]) == struct.unpack("<I", out[-4:])[0], "checksum")
    return out[:-4]


def serial_line(data, longest):
    *parts, pending = data.split(b"\0")
    lines = []
    for part in filter(None, parts):
        try:
            lines.append(f"frame: {frame(part, longest).hex()}")
        except Refused as why:
            lines.append(f"noise: {why}")
    return lines + [f"pending: {len(pending)}"]


def vectors(data):
    check(len(data) % 128 == 0, "the length of vectors")
    lines = []
    for at in range(0, len(data), 128):
        key, digest, signature = data[at:at + 32], data[at + 32:at + 64], data[at + 64:at + 128]
        accepted = is_signed(b"afferent batch v1", digest, key, signature)
        lines += [f"key: {key.hex()}", f"hash: {digest.hex()}", f"signature: {signature.hex()}", f"accepted: {truth(accepted)}"]
    return lines
