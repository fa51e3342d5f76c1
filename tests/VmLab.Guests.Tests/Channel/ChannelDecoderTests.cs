using CsCheck;
using VmLab.Guests.Channel;

namespace VmLab.Guests.Tests.Channel;

public sealed class ChannelDecoderTests
{
    static readonly Gen<byte[]> s_bytes =
        Gen.OneOf(Gen.Byte, Gen.OneOf(ChannelFrame.Flag, ChannelFrame.Escape)).Array[0, 300];

    [Test]
    public void Every_kind_of_message_is_read()
    {
        (ChannelKind Kind, uint Argument, ChannelMessage Message)[] cases =
        [
            (ChannelKind.Exited, 3, new ChannelExited(7, 3)),
            (ChannelKind.FileEnd, 0x1A4, new ChannelFileEnd(7, 0x1A4)),
            (ChannelKind.Stored, 0, new ChannelStored(7)),
            (ChannelKind.Failed, 2, new ChannelFailed(7, 2, "no such file or directory")),
            (ChannelKind.Failed, 999, new ChannelFailed(7, 999, "error 999")),
            (ChannelKind.Taken, 5, new ChannelTaken(5)),
        ];

        var decoder = new ChannelDecoder();
        IEnumerable<ChannelMessage> read =
            cases.SelectMany(one => decoder.Feed(ChannelFrame.Encode(one.Kind, 7, one.Argument, [])));

        Assert.That(read, Is.EqualTo(cases.Select(one => one.Message)));
    }

    [Test]
    public void Ready_tells_a_start_from_an_answer()
    {
        var decoder = new ChannelDecoder();

        ChannelMessage start = decoder.Feed(ChannelFrame.Encode(ChannelKind.Ready, 0, 1, [])).Single();
        ChannelMessage answer = decoder.Feed(ChannelFrame.Encode(ChannelKind.Ready, 1, 1, [])).Single();

        Assert.That(start, Is.EqualTo(new ChannelReady(1, IsStart: true)));
        Assert.That(answer, Is.EqualTo(new ChannelReady(1, IsStart: false)));
    }

    [Test]
    public void Any_payload_comes_through_in_pieces_of_any_size() =>
        Gen.Select(s_bytes, Gen.UInt, Gen.Int[1, 20]).Sample((payload, id, pieceSize) =>
        {
            var decoder = new ChannelDecoder();
            byte[] wire = ChannelFrame.Encode(ChannelKind.Output, id, 0, payload);

            ChannelMessage[] messages = [.. wire.Chunk(pieceSize).SelectMany(piece => decoder.Feed(piece))];

            return messages is [ChannelOutput output] && output.Id == id && output.Bytes.Span.SequenceEqual(payload)
                && decoder.Dropped == 0;
        });

    [Test]
    public void Frame_after_garbage_is_read_whatever_the_garbage() =>
        Gen.Select(s_bytes, s_bytes).Sample((garbage, payload) =>
        {
            var decoder = new ChannelDecoder();
            decoder.Feed(garbage);

            // The garbage may end in an escape, which swallows one flag: two frames, of which the second is always
            // whole.
            byte[] frame = ChannelFrame.Encode(ChannelKind.Output, 1, 0, payload);
            decoder.Feed(frame);
            ChannelMessage[] messages = [.. decoder.Feed(frame)];

            return messages is [ChannelOutput output] && output.Bytes.Span.SequenceEqual(payload);
        });

    [Test]
    public void Changed_byte_is_never_taken_for_a_message() =>
        Gen.Select(s_bytes, Gen.Int[1, 10_000], Gen.Byte[1, 255]).Sample((payload, position, change) =>
        {
            byte[] wire = ChannelFrame.Encode(ChannelKind.Output, 1, 0, payload);
            wire[1 + position % (wire.Length - 2)] ^= change;

            return new ChannelDecoder().Feed(wire).Count == 0;
        });

    [Test]
    public void Endless_frame_takes_no_memory_and_is_dropped_once()
    {
        var decoder = new ChannelDecoder();
        byte[] much = new byte[1 << 20];
        for (int i = 0; i < 20; i++) decoder.Feed(much);

        IReadOnlyList<ChannelMessage> messages = decoder.Feed(ChannelFrame.Encode(ChannelKind.Stored, 1, 0, []));

        Assert.That(messages, Is.EqualTo((ChannelMessage[])[new ChannelStored(1)]));
        Assert.That(decoder.Dropped, Is.EqualTo(1));
    }

    [Test]
    public void Unknown_kind_is_dropped()
    {
        var decoder = new ChannelDecoder();

        Assert.That(decoder.Feed(ChannelFrame.Encode((ChannelKind)0x99, 1, 0, [])), Is.Empty);
        Assert.That(decoder.Dropped, Is.EqualTo(1));
    }

    [Test]
    public void Reset_forgets_the_frame_begun()
    {
        var decoder = new ChannelDecoder();
        decoder.Feed(ChannelFrame.Encode(ChannelKind.Stored, 1, 0, []).AsSpan(..10));
        decoder.Reset();

        Assert.That(
            decoder.Feed(ChannelFrame.Encode(ChannelKind.Stored, 2, 0, [])),
            Is.EqualTo((ChannelMessage[])[new ChannelStored(2)]));
        Assert.That(decoder.Dropped, Is.Zero);
    }

    [Test]
    public void Any_bytes_are_borne() =>
        Gen.Byte.Array[0, 2000].Sample(bytes => { _ = new ChannelDecoder().Feed(bytes); });
}
