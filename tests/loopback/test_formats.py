"""The stanza format, the protocol buffer subset, the handshake and the pairing arithmetic, without a client."""

from __future__ import annotations

import base64
import contextlib
import itertools
import zlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from . import noise, pairing, wire
from .binary import AD_DOMAINS, DOUBLE, SINGLE, BinaryError, Content, Jid, Node, pack, unpack
from .keys import KeyPair, derive, verify

TOKENS = [*filter(None, SINGLE), *itertools.chain(*DOUBLE)]
tokens = st.integers(0, len(TOKENS) - 1).map(lambda index: TOKENS[index])
# The packed alphabets go beyond the 127 characters that can be packed.
texts = st.one_of(
    tokens,
    st.text("0123456789-.", max_size=140),
    st.text("0123456789ABCDEF", max_size=140),
    st.text(max_size=300),
)
names = texts.filter(bool)
jids = st.one_of(
    st.builds(Jid, names, st.sampled_from([*AD_DOMAINS.values()]), st.integers(0, 255)),
    st.builds(Jid, names, st.just("msgr"), st.integers(0, 65535)),
    st.builds(Jid, names, st.just("interop"), st.integers(0, 65535), st.integers(0, 65535)),
    st.builds(Jid, texts, st.sampled_from(["g.us", "broadcast", "newsletter", "s.whatsapp.net"])),
)
attributes = st.dictionaries(names, st.one_of(names, jids), max_size=5)
leaves = st.builds(Node, names, attributes, st.one_of(st.none(), st.binary(min_size=1, max_size=400), jids))
nodes = st.recursive(
    leaves,
    lambda inner: st.builds(Node, names, attributes, st.lists(inner, min_size=1, max_size=4)),
    max_leaves=12,
)


class TestStanzas:
    @given(nodes)
    def test_unpacking_undoes_packing(self, node: Node) -> None:
        assert unpack(pack(node)) == node

    @given(nodes)
    def test_a_compressed_stanza(self, node: Node) -> None:
        assert unpack(b"\x02" + zlib.compress(pack(node)[1:])) == node

    @given(names, texts.filter(bool))
    def test_text_content_comes_back_as_text_or_as_its_bytes(self, tag: str, text: str) -> None:
        assert unpack(pack(Node(tag, content=text))).content in (text, text.encode())

    @given(st.binary(max_size=200))
    def test_garbage_is_refused_or_a_stanza(self, data: bytes) -> None:
        with contextlib.suppress(BinaryError):
            unpack(data)

    @given(nodes, st.data())
    def test_a_cut_stanza_is_refused(self, node: Node, data: st.DataObject) -> None:
        packed = pack(node)
        with pytest.raises(BinaryError):
            unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])

    @pytest.mark.parametrize("content", [b"x" * 255, b"x" * 256, b"x" * (1 << 20), b"x" * ((1 << 20) - 1)])
    def test_lengths_at_the_borders_of_their_encodings(self, content: bytes) -> None:
        assert unpack(pack(Node("enc", content=content))).content == content

    @pytest.mark.parametrize("count", [1, 255, 256, 1000])
    def test_long_lists(self, count: int) -> None:
        content: Content = [Node("key", content=bytes((index % 256,))) for index in range(count)]
        assert unpack(pack(Node("list", content=content))).content == content

    def test_nesting_is_bounded(self) -> None:
        node = Node("a")
        for _ in range(100):
            node = Node("a", content=[node])
        with pytest.raises(BinaryError, match="nested deeper"):
            unpack(pack(node))

    def test_a_compressed_stanza_is_bounded(self) -> None:
        with pytest.raises(BinaryError, match="longer than"):
            unpack(b"\x02" + zlib.compress(bytes(1 << 25)))

    def test_the_token_table(self) -> None:
        assert (len(SINGLE), [len(tokens) for tokens in DOUBLE]) == (236, [256] * 4)
        assert (SINGLE[0], SINGLE[3], SINGLE[25]) == ("", "s.whatsapp.net", "iq")

    def test_known_bytes(self) -> None:
        ping = Node("iq", {"type": "get", "xmlns": "w:p", "to": Jid("", "s.whatsapp.net")})
        expected = [0, 248, 7, *map(SINGLE.index, ("iq", "type", "get", "xmlns", "w:p", "to"))]
        assert pack(ping) == bytes((*expected, 250, 0, SINGLE.index("s.whatsapp.net")))
        device = Node("device", {"jid": Jid("5511", "s.whatsapp.net", 3)})
        assert pack(device).endswith(bytes((247, 0, 3, 255, 2, 0x55, 0x11)))

    @pytest.mark.parametrize("text", ["", "@", "a", "@b", "a@", "1:x@s.whatsapp.net", "1:@s.whatsapp.net"])
    def test_what_is_not_an_address(self, text: str) -> None:
        with pytest.raises(BinaryError, match="is not user@server"):
            Jid.parse(text)

    @given(jids.filter(lambda jid: not set(jid.user) & set(":@") and jid.user != "" and not jid.integrator))
    def test_an_address_reads_back(self, jid: Jid) -> None:
        assert Jid.parse(str(jid)) == jid


@pytest.fixture(scope="module")
def message_class() -> Any:
    """A message with a number, bytes and a repeated number, made with the reference implementation."""
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t")
    message = file.message_type.add(name="M")
    for name, number, kind, label in (("n", 1, 4, 1), ("b", 2, 12, 1), ("r", 300, 4, 3)):
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.M"))


class TestProtocolBuffers:
    @given(n=st.integers(0, 2**64 - 1), b=st.binary(), r=st.lists(st.integers(0, 2**64 - 1), min_size=1))
    def test_the_reference_implementation_reads_and_writes_the_same(
        self, message_class: Any, n: int, b: bytes, r: list[int]
    ) -> None:
        parsed = message_class.FromString(wire.encode((1, n), (2, b), *((300, value) for value in r)))
        assert (parsed.n, parsed.b, list(parsed.r)) == (n, b, r)
        assert wire.decode(message_class(n=n, b=b, r=r).SerializeToString()) == {1: [n], 2: [b], 300: r}

    @given(st.binary(max_size=100))
    def test_garbage_is_refused_or_fields(self, data: bytes) -> None:
        with contextlib.suppress(wire.WireError):
            wire.decode(data)

    def test_missing_and_wrong_fields(self) -> None:
        fields = wire.decode(wire.encode((1, b"abc"), (2, 7)))
        with pytest.raises(wire.WireError, match="expected 32 bytes in field 1"):
            wire.blob(fields, 1, "key", size=32)
        with pytest.raises(wire.WireError, match="expected some bytes in field 3"):
            wire.blob(fields, 3, "key")
        with pytest.raises(wire.WireError, match="field 1 is not a number"):
            wire.number(fields, 1)


class TestNoise:
    @given(
        payload=st.binary(max_size=500),
        certificate=st.binary(max_size=200),
        messages=st.lists(st.binary(max_size=99)),
    )
    def test_both_sides_agree(self, payload: bytes, certificate: bytes, messages: list[bytes]) -> None:
        client_key, server_key = KeyPair.generate(), KeyPair.generate()
        client, server = noise.Initiator(client_key), noise.Responder(server_key, certificate)
        answer = server.hello(client.hello())
        last, at_client = client.finish(answer, payload)
        at_server = server.finish(last)
        assert (at_server.peer, at_server.payload) == (client_key.public, payload)
        assert (at_client.peer, at_client.payload) == (server_key.public, certificate)
        for message in messages:
            assert at_server.receive.decrypt(at_client.send.encrypt(message)) == message
            assert at_client.receive.decrypt(at_server.send.encrypt(message)) == message

    @given(st.data())
    def test_a_changed_bit_anywhere_is_noticed(self, data: st.DataObject) -> None:
        client, server = (
            noise.Initiator(KeyPair.generate()),
            noise.Responder(KeyPair.generate(), b"certificate"),
        )
        last, _ = client.finish(server.hello(client.hello()), b"payload")
        at = data.draw(st.integers(0, 8 * len(last) - 1))
        changed = bytearray(last)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(noise.NoiseError):
            server.finish(bytes(changed))

    def test_another_prologue_is_noticed(self) -> None:
        client, server = (
            noise.Initiator(KeyPair.generate(), b"WA\x06\x02"),
            noise.Responder(KeyPair.generate(), b""),
        )
        with pytest.raises(noise.NoiseError):
            client.finish(server.hello(client.hello()), b"")

    def test_a_point_of_low_order_is_refused(self) -> None:
        hello = wire.encode((noise.CLIENT_HELLO, wire.encode((1, bytes(32)))))
        with pytest.raises(noise.NoiseError, match="unusable public key"):
            noise.Responder(KeyPair.generate(), b"").hello(hello)

    @given(bodies=st.lists(st.binary(max_size=300)), cuts=st.lists(st.integers(0, 2000)))
    def test_frames_come_out_however_the_stream_is_cut(self, bodies: list[bytes], cuts: list[int]) -> None:
        stream = noise.HEADER + b"".join(map(noise.frame, bodies))
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        frames = noise.Frames(noise.HEADER)
        out = [body for start, end in itertools.pairwise(edges) for body in frames.feed(stream[start:end])]
        assert out == bodies

    def test_a_wrong_header_is_refused(self) -> None:
        with pytest.raises(noise.NoiseError, match="connection header"):
            noise.Frames(noise.HEADER).feed(b"WA\x06\x02\0\0\0")


class TestSignatures:
    @given(st.binary(max_size=200))
    def test_a_signature_verifies_and_a_changed_one_does_not(self, message: bytes) -> None:
        pair = KeyPair.generate()
        signature = pair.sign(message)
        assert signature[-1] & 0x80 == 0
        assert verify(pair.public, message, signature)
        assert not verify(pair.public, message + b"x", signature)
        assert not verify(KeyPair.generate().public, message, signature)
        assert not verify(pair.public, message, signature[:-1])

    def test_private_keys_do_not_show(self) -> None:
        pair = KeyPair.generate()
        assert pair.private.hex() not in repr(pair)


class TestPairing:
    @given(
        st.binary(min_size=32, max_size=32), st.sampled_from(["", "https://wa.me/settings/linked_devices#"])
    )
    def test_a_qr_code_reads_back(self, secret: bytes, prefix: str) -> None:
        keys = [bytes((index,)) * 32 for index in range(2)]
        text = prefix + ",".join(["2@ref", *(base64.b64encode(key).decode() for key in (*keys, secret)), "1"])
        code = pairing.QrCode.parse(text)
        assert (code.ref, code.noise_key, code.identity_key, code.secret) == ("2@ref", *keys, secret)
        assert repr(code) == "QrCode(ref='2@ref')"

    @given(st.text(max_size=300))
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(pairing.PairingError):
            pairing.QrCode.parse(text)

    def test_the_device_has_to_sign_what_it_was_offered(self) -> None:
        account, device, other = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
        offer = pairing.offer(account, device.public, b"s" * 32, key_index=1, now=1000.5)

        def answer(details: bytes, signer: KeyPair) -> bytes:
            message = pairing.DEVICE_PREFIX + details + device.public + account.public
            return wire.encode((1, details), (3, bytes(64)), (4, signer.sign(message)))

        offer.check(answer(offer.details, device))
        for bad in (b"", answer(offer.details, other), answer(offer.details + b"\0", device)):
            with pytest.raises(pairing.PairingError):
                offer.check(bad)

    def test_a_typed_code_agrees_on_a_secret(self) -> None:
        account, device, ephemeral = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
        code = pairing.normalise_code(" abcd-1234 ")
        phone = pairing.CodeExchange(account, code, pairing.wrap_with_code(code, ephemeral.public))
        shared = ephemeral.agree(pairing.unwrap_with_code(code, phone.wrapped_key))
        salt, nonce, rest = b"s" * 32, b"n" * 12, b"r" * 32
        key = derive(shared, 32, salt=salt, info=b"link_code_pairing_key_bundle_encryption_key")
        bundle = salt + nonce + AESGCM(key).encrypt(nonce, device.public + account.public + rest, None)
        secret = derive(shared + device.agree(account.public) + rest, 32, info=b"adv_secret")
        assert phone.finish(bundle, device.public) == secret
        with pytest.raises(pairing.PairingError, match="names other keys"):
            phone.finish(bundle, ephemeral.public)
        wrong = pairing.CodeExchange(account, "ABCD1235", pairing.wrap_with_code(code, ephemeral.public))
        with pytest.raises(pairing.PairingError, match="wrong code"):
            wrong.finish(bundle, device.public)
