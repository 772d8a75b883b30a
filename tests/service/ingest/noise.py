"""OTLP trace bodies as nobody should write them, but somebody may: for comparing decoders."""

import random
import struct
from collections.abc import Sequence
from pathlib import Path

from service.ingest.otlp.wanted import KEYS, POLICY

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
FIXTURES = Path(__file__).parents[2] / "fixtures"
_TEXTS = (b"", b"a", b"chat", b"12", "é".encode() * 9, b"\xff", b"x" * 70, b"ot=th:c", b'"q"')
_OTHER_KEYS = (b"x", b"", b"server.port", b"gen_ai.agent.namf", b"\xff\xfe", b"k" * 63, b"k" * 64, b"k" * 200)


class Noise:
    """Bodies by chance: well-formed ones in every way that protobuf allows, and some that were damaged."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._captured = [path.read_bytes() for path in sorted(FIXTURES.glob("*/traces*.binpb"))]
        self._captured = [body for body in self._captured if len(body) < 20_000]

    def body(self) -> bytes:
        """One body."""
        pick = self.chance.random()
        if pick < 0.3:
            return self._request()
        if pick < 0.6:
            return self._damaged(self._request())
        if pick < 0.95:
            return self._damaged(self.chance.choice(self._captured))
        return self.chance.randbytes(self.chance.randrange(60))

    def _varint(self, number: int) -> bytes:
        if number == -1 and self.chance.random() < 0.3:
            return b"\xff" * 9 + bytes([self.chance.choice([1, 2, 3, 0x7F])])  # More than 64 bits.
        number &= 2**64 - 1
        out = bytearray()
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
        if len(out) < 4 and self.chance.random() < 0.02:  # Longer than it need be, and now and then than it may be.
            out[-1] |= 128
            out += b"\x80" * self.chance.choice([0] * 60 + [1] * 8 + [8]) + b"\x00"
        return bytes(out)

    def _field(self, number: int, held: bytes) -> bytes:
        return self._varint(number << 3 | _BYTES) + self._varint(len(held)) + held

    def _unknown(self, depth: int = 0) -> bytes:
        number = self.chance.choice([0, 1, 2, 5, 9, 15, 19, 100, 2**29 - 1] if depth else [17, 18, 19, 100, 2**29 - 1])
        kind = self.chance.choice([_VARINT, _FIXED64, _BYTES, _FIXED32, _GROUP][: 5 if depth < 3 else 4])
        if depth == 0 and kind not in (_VARINT, _BYTES) and self.chance.random() < 0.3:
            number = self.chance.choice([1, 2, 5, 9, 15])  # Known, but of another kind.
        tag = self._varint(number << 3 | kind)
        if kind == _VARINT:
            return tag + self._varint(self.chance.getrandbits(self.chance.choice([3, 30, 64])))
        if kind == _BYTES:
            held = self.chance.randbytes(self.chance.choice([0, 3, 40, 200]))
            return tag + self._varint(len(held)) + held
        if kind == _GROUP:
            within = b"".join(self._unknown(depth + 1) for _ in range(self.chance.randrange(3)))
            return tag + within + self._varint(number << 3 | _GROUP_END)
        return tag + self.chance.randbytes(8 if kind == _FIXED64 else 4)

    def _message(self, parts: Sequence[bytes], shuffled: float = 0.3) -> bytes:
        found = list(parts)
        for _ in range(self.chance.choice([0] * 12 + [1, 1, 2])):
            found.insert(self.chance.randint(0, len(found)), self._unknown())
        if self.chance.random() < shuffled:
            self.chance.shuffle(found)
        return b"".join(found)

    def _any(self, depth: int = 0) -> bytes:
        parts = []
        for _ in range(self.chance.choice([1, 1, 1, 1, 0, 2])):
            pick = self.chance.randrange(11)
            if pick < 4:
                parts.append(self._field(1, self.chance.choice(_TEXTS)))
            elif pick == 4:
                parts.append(b"\x10" + self._varint(self.chance.choice([0, 1, 2, 2**32, -1])))
            elif pick < 7:
                parts.append(b"\x18" + self._varint(self.chance.choice([0, 5, -1, self.chance.getrandbits(63)])))
            elif pick == 7:
                parts.append(b"\x21" + struct.pack("<d", self.chance.choice([0.0, -2.5, float("nan"), 1e300])))
            elif pick == 8:
                inner = (self._field(1, self._any(depth + 1)) for _ in range(self.chance.randrange(3)))
                parts.append(self._field(5, b"".join(inner) if depth < 4 else b""))
            elif pick == 9:
                pairs = (self._field(1, self._pair(depth + 1)) for _ in range(self.chance.randrange(3)))
                parts.append(self._field(6, b"".join(pairs) if depth < 4 else b""))
            else:
                parts.append(self.chance.choice([self._field(7, b"\x00\xff"), b"\x40" + self._varint(7)]))
        return self._message(parts)

    def _pair(self, depth: int = 0, keys: Sequence[str] = KEYS) -> bytes:
        name = self.chance.choice(keys).encode() if self.chance.random() < 0.7 else self.chance.choice(_OTHER_KEYS)
        parts = [self._field(1, name)] if self.chance.random() < 0.97 else []
        parts += [self._field(2, self._any(depth)) for _ in range(self.chance.choice([1] * 20 + [0, 2]))]
        if self.chance.random() < 0.03:
            parts.append(self._field(1, self.chance.choice(KEYS).encode()))
        return self._message(parts, 0.15)

    def _span(self) -> bytes:
        chance = self.chance
        good = chance.random() < 0.85
        parts = [
            self._field(1, chance.randbytes(16 if good else chance.randrange(20))),
            self._field(2, chance.randbytes(8) if good else chance.choice([b"", bytes(8), b"\x01" * 9])),
            self._field(5, chance.choice(_TEXTS)),
        ]
        parts += [tag + struct.pack("<Q", chance.choice([0, 1, 2**63 - 1, 2**63, 2**64 - 1, 1_790_000_000 * 10**9]))
                  if chance.random() < 0.1 else tag + struct.pack("<Q", 1_790_000_000 * 10**9 + chance.getrandbits(30))
                  for tag in (b"\x39", b"\x41") for _ in range(chance.choice([1, 1, 1, 1, 1, 1, 2, 0]))]  # fmt: skip
        if chance.random() < 0.5:
            parts.append(self._field(4, chance.choice([b"", bytes(8), chance.randbytes(8), b"\x01" * 3])))
        if chance.random() < 0.2:
            parts.append(self._field(3, chance.choice(_TEXTS)))
        parts += [self._field(9, self._pair()) for _ in range(chance.randrange(8))]
        for _ in range(chance.randrange(3)):  # Events and links, or almost.
            held = self._field(2, b"\xff") + self._field(chance.choice([3, 4]), self._pair())
            parts.append(self._field(chance.choice([11, 13]), held))
        for _ in range(chance.choice([0, 1, 1, 2])):
            code = [b"\x18" + self._varint(chance.choice([0, 1, 2, 7, -1, 2**32 + 2]))] if chance.random() < 0.8 else []
            parts.append(self._field(15, self._message([self._field(2, b"no"), *code])))
        return self._message(parts)

    def _scope(self) -> bytes:
        pairs = (self._field(3, self._pair(keys=(POLICY, *KEYS[:2]))) for _ in range(self.chance.choice([0, 1, 1, 2])))
        return self._field(1, self._message([self._field(1, self.chance.choice(_TEXTS)), *pairs]))

    def _request(self) -> bytes:
        chance = self.chance
        groups = []
        for _ in range(chance.choice([1, 1, 2, 3])):
            parts = [
                self._field(1, self._message([self._field(1, self._pair()) for _ in range(chance.randrange(4))]))
                for _ in range(chance.choice([1, 1, 1, 0, 2]))
            ]
            for _ in range(chance.choice([1, 1, 2])):
                scopes = [self._scope() for _ in range(chance.choice([1, 1, 0, 2]))]
                spans = [self._field(2, self._span()) for _ in range(chance.randrange(4))]
                parts.append(self._field(2, self._message([*scopes, *spans])))
            groups.append(self._field(1, self._message([*parts, self._field(3, b"http://schema")])))
        return self._message(groups)

    def _damaged(self, body: bytes) -> bytes:
        raw, chance = bytearray(body), self.chance
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            if not raw:
                break
            at, kind = chance.randrange(len(raw)), chance.randrange(7)
            if kind == 0:
                raw[at] ^= 1 << chance.randrange(8)
            elif kind == 1:
                raw[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            elif kind == 2:
                del raw[at:]
            elif kind == 3:
                del raw[at : at + chance.randrange(1, 9)]
            elif kind == 4:
                raw[at:at] = chance.randbytes(chance.randrange(1, 9))
            elif kind == 5:
                begin = chance.randrange(len(raw))
                raw[at:at] = raw[begin : begin + chance.randrange(1, 60)]
            else:
                raw[at:at] = b"\xff" * chance.randrange(1, 12)
        return bytes(raw)
