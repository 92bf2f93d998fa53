"""B.11: three verdicts, three exit codes, one page, and a sentence on what it rests on."""
import forge
from proofs import COMPLETE, INCOMPLETE, REFUTED, WRONG, Span, attestations, certificate, copy, filled, verdict
from rig import Rig, attack, expect, held, main, run, segments

import os
import time

LINES_MAX = 70


def page(text):
    return len(text.splitlines()) <= LINES_MAX and sum("It rests on" in line for line in text.splitlines()) == 1


def body(rig: Rig):
    span = Span()
    collector, known, _ = filled(rig, agents=("press-88",))
    key = os.path.join(collector.data, "collector.pub")
    witness = attestations(rig, collector)
    attack("A script that believes exit codes, and a person who believes a page, are given logs that are good, silent and forged.")
    expect(f"0, 1 and 3; 2 for a wrong question; at most {LINES_MAX} lines, with one sentence on keys, heads and witnesses.")

    code, text = certificate(collector.data, span, "--key", key, "--witness", witness, until=known)
    held(code == COMPLETE and page(text), f"good: exit code {code}, {len(text.splitlines())} lines: {verdict(text)}", text)
    rests = " ".join(text[text.index("It rests on"):].split())
    held("signatures" in rests and "attestation" in rests and "witness" in rests, rests)

    code, text = certificate(collector.data, span, "--key", key, until=time.time() + 3600)
    held(code == INCOMPLETE and page(text), f"silent: exit code {code}, {len(text.splitlines())} lines: {verdict(text)}", text)

    data = copy(rig, collector, "forged")
    path = segments(os.path.join(data, "log", "0"))[0]
    segment = forge.Segment(path)
    victim = next(at for at, (_, batch, _) in enumerate(segment.entries) if any(" breakdown " in line for line in batch.events()))
    segment.write(segment.entries[:victim] + segment.entries[victim + 1:])
    code, text = certificate(data, span, "--key", key, until=known)
    held(code == REFUTED and page(text), f"forged: exit code {code}, {len(text.splitlines())} lines: {verdict(text)}", text)

    code, text = certificate(collector.data, span, "--key", "not a key", until=known)
    held(code == WRONG, f"a key that is none: exit code {code}: {text.strip().splitlines()[-1][:160]}", text)
    code, text = certificate(collector.data, span, of=("--machine", "no-such"), until=known)
    held(code == WRONG, f"an unknown machine: exit code {code}: {text.strip().splitlines()[-1][:160]}", text)
    code, text = run("collector", "certificate", "--machine", "88-C", "--data", rig.path("nowhere"), *span.until(known))
    held(code == WRONG, f"no log there: exit code {code}: {text.strip().splitlines()[-1][:160]}", text)


main(body)
