"""B.9: what can be forged with what lies in the data directory, and with a stranger's key."""
import os
import shutil

import forge
from proofs import COMPLETE, NOT_SOUND, REFUTED, Span, attestations, certificate, copy, filled, verdict, verify
from rig import Rig, attack, expect, held, is_control, main, run


def body(rig: Rig):
    span = Span()
    collector, known, _ = filled(rig, agents=("press-88",))
    key = open(os.path.join(collector.data, "collector.pub"), encoding="utf-8").read().strip()
    witness = attestations(rig, collector)

    attack("The private key is taken away from the directory.")
    expect("Nothing changes: verifying reads public keys only.")
    bare = copy(rig, collector, "bare")
    os.remove(os.path.join(bare, "collector.key"))
    code, text = certificate(bare, span, "--key", key, until=known)
    held(code == COMPLETE, f"exit code {code}: {verdict(text)}", text)

    attack("Somebody puts a key of his own in the place of collector.pub and collector.key.")
    expect("Against the key that the reader names, nothing changes; the stranger's key, named, refutes.")
    swapped = copy(rig, collector, "swapped")
    own = os.urandom(32)
    with open(os.path.join(swapped, "collector.key"), "wb") as file:
        file.write(own)
    stranger = forge.Key(own).public.hex()
    with open(os.path.join(swapped, "collector.pub"), "w", encoding="utf-8") as file:
        file.write(stranger + "\n")
    code, text = certificate(swapped, span, "--key", key, until=known)
    held(code == COMPLETE, f"by the true key, exit code {code}: {verdict(text)}", text)
    code, text = certificate(swapped, span, "--key", stranger, until=known)
    held(code == REFUTED, f"by the stranger's, exit code {code}: {verdict(text)}", text)

    attack("A stranger writes a whole log, with a collector and an agent of the same names and keys of his own, without the "
           "breakdowns that he does not like.")
    expect("It is complete in itself, and the verdict says by which key; whoever names the true key, or has a witness, refutes it.")
    forged_span = Span()
    forged, until, _ = filled(rig, "forged", agents=("press-88",))
    code, text = certificate(forged.data, forged_span, until=until)
    is_control(code == COMPLETE and "with the key found there" in text, f"without --key, exit code {code}: {verdict(text)}, with the key found there")
    code, text = certificate(forged.data, forged_span, "--key", key, until=until)
    held(code == REFUTED, f"with --key, exit code {code}: {verdict(text)}", text)
    code, text = verify(forged.data, "--key", key)
    held(code == NOT_SOUND, f"log verify with --key, exit code {code}: {text.strip().splitlines()[-1]}", text)

    attack("An insider with the collector's private key removes the log and begins another one with it.")
    expect("The new log alone is sound; the attestations that were kept outside refute it.")
    again = copy(rig, collector, "again")
    shutil.rmtree(os.path.join(again, "log"))
    os.makedirs(os.path.join(again, "log"))
    collector.data, collector.name = again, "again"
    collector.start()
    collector.stop()
    code, text = verify(again, "--key", key)
    print(f"          without a witness: exit code {code}: {text.strip().splitlines()[-1][:200]}")
    code, text = verify(again, "--key", key, "--witness", witness)
    held(code == NOT_SOUND, f"with the witness: exit code {code}: {text.strip().splitlines()[-1][:300]}", text)
    print("          A log that was re-chained with the collector's key, breakdown by breakdown: "
          "certificate::tests::witnesses::\n          a_log_that_was_made_anew_with_the_collectors_key_is_refuted_by_a_witness_and_by_nothing_else")
    code, _ = run("collector", "certificate", "--machine", "88-C", "--data", again, *span.until(known), "--key", key, "--witness", witness)
    held(code != COMPLETE, f"and there is no certificate: exit code {code}")


main(body)
