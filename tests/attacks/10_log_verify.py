"""B.10: `log verify` on logs from which an insider has taken something, with offsets and checksums made right again."""
import os
import shutil

import forge
from proofs import COMPLETE, NOT_SOUND, SOUND, Span, attestations, certificate, copy, filled, verdict, verify
from rig import Rig, attack, expect, held, is_control, main, segments


def only_segment(data):
    return segments(os.path.join(data, "log", "0"))[0]


def rewrite(data, keeps):
    """Writes the log with the entries that `keeps` keeps, offsets and checksums right; gives how many are gone."""
    path = only_segment(data)
    for index in [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".idx")]:
        os.remove(os.path.join(os.path.dirname(path), index))
    segment = forge.Segment(path)
    kept = [entry for number, entry in enumerate(segment.entries) if keeps(number, entry, segment.entries)]
    segment.write(kept)
    return len(segment.entries) - len(kept)


def last(text):
    return text.strip().splitlines()[-1]


def refuted(rig, collector, key, name, what, keeps, *more):
    attack(what)
    expect("`log verify` says that the log is not as it was written, exit code 1.")
    data = copy(rig, collector, name)
    gone = rewrite(data, keeps)
    is_control(gone > 0, f"{gone} of the log's batches are gone, and every checksum is right")
    code, text = verify(data, "--key", key, *more)
    causes = [line for line in text.splitlines() if line.startswith("refuted")]
    held(code == NOT_SOUND, f"exit code {code}: {causes[0] if causes else last(text)}", text)


def has_breakdown(batch):
    return any(" breakdown " in line for line in batch.events())


def middle(number, entry, entries):
    """Everything but one batch with breakdowns of press-88 in the middle."""
    own = [at for at, (_, batch, _) in enumerate(entries) if batch.source == "press-88" and has_breakdown(batch)]
    return number != own[len(own) // 2]


def no_agent(_number, entry, _entries):
    return entry[1].source != "press-90"


def no_last_of_agent(number, entry, entries):
    """Without the last batch of press-90, which leaves no hole in its lane."""
    return number != max(at for at, (_, batch, _) in enumerate(entries) if batch.source == "press-90")


def no_tail(number, _entry, entries):
    return number < len(entries) // 2


def body(rig: Rig):
    span = Span()
    collector, known, agents = filled(rig)
    key = os.path.join(collector.data, "collector.pub")
    witness = attestations(rig, collector)
    code, text = verify(collector.data, "--key", key)
    is_control(code == SOUND, f"the log as it is: exit code {code}: {last(text)[:220]}", text)

    refuted(rig, collector, key, "deleted", "A batch with breakdowns is taken out of the middle, and what follows is renumbered.", middle)
    refuted(rig, collector, key, "dropped", "All batches of one agent, press-90, are taken out, and the rest is renumbered.", no_agent)
    refuted(rig, collector, key, "shortened", "The last batch of press-90 is taken out: its lane has no hole.", no_last_of_agent)

    attack("The second half of the log is cut off. What is left is an older log, in itself as good as it was.")
    expect("Alone it cannot be told, and the last line says so; a witness from outside refutes it, and so does an agent's ring.")
    data = copy(rig, collector, "cut")
    rewrite(data, no_tail)
    code, text = verify(data, "--key", key)
    is_control("cannot tell whether the log's tail was cut off" in text, f"without a witness, exit code {code}: … {last(text)[-190:]}", text)
    code, text = certificate(data, span, "--key", key, until=known)
    held(code != COMPLETE, f"the certificate, exit code {code}: {verdict(text)}", text)
    code, text = verify(data, "--key", key, "--witness", witness)
    causes = [line for line in text.splitlines() if line.startswith("refuted")]
    held(code == NOT_SOUND, f"with the witness, exit code {code}: {causes[0] if causes else last(text)}", text)
    code, text = verify(data, "--key", key, "--ring", os.path.join(agents[0].data, "ring"))
    causes = [line for line in text.splitlines() if line.startswith("refuted")]
    held(code == NOT_SOUND, f"with the agent's ring, exit code {code}: {causes[0] if causes else last(text)}", text)

    attack("The segment's first entry is damaged so that no batch of the log counts any more.")
    expect("`log verify` does not call 0 batches sound.")
    data = copy(rig, collector, "nothing")
    with open(only_segment(data), "r+b") as file:
        file.seek(0)
        file.write(bytes(1024))
    code, text = verify(data, "--key", key)
    held(code != SOUND, f"exit code {code}: {last(text)}", text)
    shutil.rmtree(data)


main(body)
