"""The test vectors of the ledger format, as published in docs/explanation/ledger.md."""

from __future__ import annotations

from typing import Any

ORIGIN = "clinic.example/audit"
SEED = bytes.fromhex("241e11b3a7f5d78663ed6f62c87b7554a241f047fb12b98bf8af7f4e47e99256")
PUBLIC = bytes.fromhex("ad8e878eddbef2b30a8f041a16ec5403558866baf002e67b33f3c1da802c8e55")
KEY_ID = bytes.fromhex("7a1259fb")
VKEY = "clinic.example/audit+7a1259fb+Aa2Oh47dvvKzCo8EGhbsVANViGa68ALmezPzwdqALI5V"
INGEST_KEY = b"\x42" * 32
A = bytes(range(16))
B = bytes(range(0x10, 0x20))

# writer, s, SHA-256 of the body, leaf hash
ENTRIES = [
    (A, 0, "02e38e4176891f31d89dbdef103641350ce403fd76db6f7857119be734c2156f",
     "583dc27fe8169d705360672e283660c7ccdc3cb8b29a64f10e69095f621cd412"),
    (A, 1, "8a59b979bfd80b2b282fb66e2bdc6f4d47297146e9f43f739aca460e5bb15e2b",
     "9e618192fcfedaa67b111e80917d8290730fe74bd1f847550eea27a80440f542"),
    (B, 0, "38bf10ae5a0cea372ca5c95768df65eea15399ae68d2208d31eec509edb8e61f",
     "771493b19858d0b663180e4f84d91078a41a14ad2f7e38916e5769042a528413"),
    (A, 2, "d7058ad67d9ff940e8c50bc591f61b00300b52dab0c48ec7f29180cb90a231b9",
     "9f94796a251fb62cec5901696d1b441548c2deb439d232b4d88043ee75f3a049"),
    (B, 1, "0e42aab18c85b9faa107a18a19f6ece49b7d168c73207b21139ed8f1cbeaa6fa",
     "8c6275abdf5f37798b41749e40e9b9711827b362a3f7eee7fa35b647384f5ef3"),
]  # fmt: skip
LEAVES = [bytes.fromhex(row[3]) for row in ENTRIES]
MAC_0 = "0f869d26cd39ac7b0c47488fa0f9f223"

ROOT_3 = bytes.fromhex("00a4d2938fa66447db4ab7c688784dfa6248b5b08a44d9ae77e2bdd45b4ecef7")
ROOT_5 = bytes.fromhex("ac6061a1660a938fa31da727190daee0825fbc5dc7d68c28662d8fd98d091600")
NODE_01 = bytes.fromhex("784ef88c14f96c4502398d9ec31b2dfaea78ebe49dd5c1a05e0e8a7923dd5769")
INCLUSION_2_OF_5 = [LEAVES[3], NODE_01, LEAVES[4]]
CONSISTENCY_3_5 = [LEAVES[2], LEAVES[3], NODE_01, LEAVES[4]]

NOTE_5 = """\
clinic.example/audit
5
rGBhoWYKk4+jHacnGQ2u4IJfvF3H1owoZi2P2Y0JFgA=
sealed 2026-03-01T12:00:05Z

\u2014 clinic.example/audit ehJZ++64oxxataroEew2E4BtuYmi7M9BL0G+ZiAZDmY22OT3tQaQQrb7SJHzVbQHkuwaUN9BLBmZDb+BtU668YHeCw0=
"""
NOTE_3 = """\
clinic.example/audit
3
AKTSk4+mZEfbSrfGiHhN+mJItbCKRNmud+K91FtOzvc=
sealed 2026-03-01T12:00:03Z

\u2014 clinic.example/audit ehJZ+zwpP94HDXcERlD+Ip/E0148FsskPwZNo+KKqzX4TB8F2nwYvFGJRkhjPe/f8fyfMfwbn8N4IhkTCuh75/z+jwg=
"""


def event(i: int) -> dict[str, Any]:
    """Event `i` of the vectors; the order of its members is not the canonical one."""
    return {
        "resourceType": "AuditEvent",
        "id": f"v{i}",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "action": "R",
        "recorded": f"2026-03-01T12:00:0{i}.000Z",
        "outcome": "0",
        "agent": [{"who": {"reference": "Practitioner/p1"}, "requestor": True}],
        "source": {"observer": {"display": 'José "Açaí"'}},
        "entity": [{"what": {"reference": f"Patient/{i}"}}],
    }
