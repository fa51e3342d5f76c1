using System.Buffers.Binary;
using System.IO.Hashing;
using VmLab.Core;

namespace VmLab.Guests.Channel;

/// <summary>Makes messages of the bytes that a guest's second serial port sends, whatever they are.</summary>
/// <remarks>What is no whole frame is dropped and counted; the memory it takes is that of one frame.</remarks>
public sealed class ChannelDecoder : ISnapshot<ChannelDecoder.State>
{
    /// <summary>The frame begun.</summary>
    [Schema("channel-decoder", version: 1)]
    public readonly record struct State(Values<byte> Frame, bool IsEscaped, bool IsTooLong, long Dropped);

    readonly byte[] _frame = new byte[ChannelFrame.MostBytes];
    int _length;
    bool _isEscaped, _isTooLong;

    /// <summary>Frames dropped for a wrong checksum, an unknown kind or their length. Empty ones do not
    /// count.</summary>
    public long Dropped { get; private set; }

    /// <summary>Takes the next bytes, and returns the messages that they complete.</summary>
    public IReadOnlyList<ChannelMessage> Feed(ReadOnlySpan<byte> bytes)
    {
        List<ChannelMessage>? messages = null;
        foreach (byte value in bytes)
        {
            if (value == ChannelFrame.Flag)
            {
                if (TakeFrame() is { } message) (messages ??= []).Add(message);
            }
            else if (value == ChannelFrame.Escape) _isEscaped = true;
            else Append(value);
        }
        return messages ?? (IReadOnlyList<ChannelMessage>)[];
    }

    /// <summary>Forgets the frame begun: after the machine was reset.</summary>
    public void Reset() => (_length, _isEscaped, _isTooLong) = (0, false, false);

    public State Save() => new(new Values<byte>(_frame.AsSpan(0, _length)), _isEscaped, _isTooLong, Dropped);

    public void Restore(State state)
    {
        (_length, _isEscaped, _isTooLong, Dropped) = (state.Frame.Count, state.IsEscaped, state.IsTooLong, state.Dropped);
        state.Frame.Span.CopyTo(_frame);
    }

    void Append(byte value)
    {
        if (_length == _frame.Length) _isTooLong = true;
        else _frame[_length++] = _isEscaped ? (byte)(value ^ ChannelFrame.EscapeBit) : value;
        _isEscaped = false;
    }

    ChannelMessage? TakeFrame()
    {
        ReadOnlySpan<byte> frame = _frame.AsSpan(0, _length);
        ChannelMessage? message = _isTooLong ? null : Parse(frame);
        if (message is null && _length > 0) Dropped++;
        Reset();
        return message;
    }

    static ChannelMessage? Parse(ReadOnlySpan<byte> frame)
    {
        const int Overhead = ChannelFrame.HeaderSize + ChannelFrame.ChecksumSize;
        if (frame.Length < Overhead) return null;
        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(frame[^ChannelFrame.ChecksumSize..]);
        if (Crc32.HashToUInt32(frame[..^ChannelFrame.ChecksumSize]) != checksum) return null;

        var kind = (ChannelKind)BinaryPrimitives.ReadUInt32LittleEndian(frame);
        uint id = BinaryPrimitives.ReadUInt32LittleEndian(frame[4..]),
            argument = BinaryPrimitives.ReadUInt32LittleEndian(frame[8..]);
        byte[] payload = frame[ChannelFrame.HeaderSize..^ChannelFrame.ChecksumSize].ToArray();
        return kind switch
        {
            ChannelKind.Ready => new ChannelReady(argument, IsStart: id == 0),
            ChannelKind.Output => new ChannelOutput(id, payload),
            ChannelKind.Error => new ChannelError(id, payload),
            ChannelKind.Exited => new ChannelExited(id, (int)argument),
            ChannelKind.FileContent => new ChannelFileContent(id, payload),
            ChannelKind.FileEnd => new ChannelFileEnd(id, argument),
            ChannelKind.Stored => new ChannelStored(id),
            ChannelKind.Failed => new ChannelFailed(id, (int)argument, GuestErrors.Describe((int)argument)),
            ChannelKind.Taken => new ChannelTaken(argument),
            _ => null,
        };
    }
}
