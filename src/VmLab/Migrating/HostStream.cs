using System.Buffers.Binary;
using System.IO.Hashing;
using VmLab.Core;
using VmLab.Networks;

namespace VmLab.Migrating;

/// <summary>One end of a stream of bytes between two hosts, over frames of a wire that may get lost, damaged, late and double.</summary>
/// <remarks>
/// Segments are numbered, acknowledged up to the first that is missing, sent again when three later ones were acknowledged or after a time,
/// and as many are under way as the wire has carried without loss. Simplified from TCP: segments and not bytes are numbered, both ends
/// begin at 0, and neither ends. Source: RFC 9293 §3.4, RFC 5681 §3, RFC 6298 §2, §5.
/// </remarks>
/// <param name="session">Tells streams over one wire apart.</param>
/// <param name="random">Spreads the times at which something is sent again, lest it meets a wire that fails in a rhythm in step.</param>
sealed class HostStream(uint session, MacAddress own, MacAddress other, Rng random)
{
    /// <summary>What a segment carries at most: a frame has then the 9000 bytes of a jumbo frame.</summary>
    public const int MostPayload = 9000 - HeaderSize;

    const int KindAt = 4, NumberAt = 5, LengthAt = 9, ChecksumAt = 11, HeaderSize = 15;   // behind the frame's own
    const ushort EtherType = 0x88B5;        // IEEE 802, local experimental
    const byte Data = 1, Acknowledgement = 2;
    const int FirstWindow = 16, MostWindow = 512, LeastWindow = 4, Duplicates = 3;
    const ulong LeastTimeout = 2_000_000, MostTimeout = 200_000_000;

    readonly Queue<Segment> _underWay = new();
    readonly SortedDictionary<uint, byte[]> _early = [];
    readonly MemoryStream _toSend = new();
    int _taken;             // of what is to be sent
    uint _next, _expected;
    double _window = FirstWindow, _threshold = MostWindow;
    Rng _random = random;
    ulong _smoothed, _timeout = MostTimeout / 4, _spread, _recoverUntil;
    int _repeated;
    bool _owesAnswer, _missesNext;

    sealed class Segment(uint number, byte[] payload)
    {
        public uint Number => number;
        public byte[] Payload => payload;
        public ulong SentAt { get; set; }
        public int Times { get; set; }
    }

    /// <summary>Whether the next bytes could go at once.</summary>
    public bool HasRoom => _underWay.Count + (_toSend.Length - _taken) / MostPayload < (int)_window;

    /// <summary>Lab time at which something is to be sent again; the end of time where nothing is under way.</summary>
    public ulong NextAt => _underWay.TryPeek(out Segment? oldest) ? oldest.SentAt + _timeout + _spread : ulong.MaxValue;

    public void Write(ReadOnlySpan<byte> bytes) => _toSend.Write(bytes);

    /// <summary>Whether a frame is one of a stream, and of which.</summary>
    public static bool IsOne(ReadOnlySpan<byte> frame, out uint session)
    {
        session = 0;
        if (frame.Length < Frames.HeaderLength + HeaderSize || Frames.EtherTypeOf(frame) != EtherType) return false;
        ReadOnlySpan<byte> body = frame[Frames.HeaderLength..];
        session = BinaryPrimitives.ReadUInt32LittleEndian(body);
        return BinaryPrimitives.ReadUInt16LittleEndian(body[LengthAt..]) <= body.Length - HeaderSize
            && Checksum(body) == BinaryPrimitives.ReadUInt32LittleEndian(body[ChecksumAt..]);
    }

    /// <summary>Takes a frame of this stream.</summary>
    /// <param name="deliver">Takes the bytes that are at their place now.</param>
    /// <returns>Whether something has come that was not here before.</returns>
    public bool Receive(ReadOnlySpan<byte> frame, ulong now, Action<byte[]> deliver)
    {
        ReadOnlySpan<byte> body = frame[Frames.HeaderLength..];
        uint number = BinaryPrimitives.ReadUInt32LittleEndian(body[NumberAt..]);
        if (body[KindAt] == Acknowledgement) return Acknowledge(number, now);
        _owesAnswer = true;
        byte[] bytes = body.Slice(HeaderSize, BinaryPrimitives.ReadUInt16LittleEndian(body[LengthAt..])).ToArray();
        if (number < _expected || number - _expected >= MostWindow * 2 || !_early.TryAdd(number, bytes)) return false;
        while (_early.Remove(_expected, out byte[]? payload))
        {
            _expected++;
            deliver(payload);
        }
        return true;
    }

    /// <summary>Sends what may be sent, and again what may be lost.</summary>
    public void Work(ulong now, Action<byte[]> send)
    {
        if (_owesAnswer) send(Frame(Acknowledgement, _expected, []));
        _owesAnswer = false;
        if (NextAt <= now)
        {
            Shrink(LeastWindow);
            _timeout = Math.Min(_timeout * 2, MostTimeout);
            _spread = _random.NextBelow(_timeout / 2);
            Repeat(now, send);
        }
        else if (_repeated >= Duplicates && now >= _recoverUntil)
        {
            Shrink((int)_window / 2);
            _recoverUntil = now + _smoothed;
            _repeated = 0;
            Repeat(now, send);
        }
        else if (_missesNext) Repeat(now, send);
        _missesNext = false;
        while (_underWay.Count < (int)_window && _taken < _toSend.Length)
        {
            int length = (int)Math.Min(MostPayload, _toSend.Length - _taken);
            var segment = new Segment(_next++, _toSend.GetBuffer().AsSpan(_taken, length).ToArray());
            _taken += length;
            _underWay.Enqueue(segment);
            Send(segment, now, send);
        }
        if (_taken < _toSend.Length) return;
        _toSend.SetLength(0);
        _taken = 0;
    }

    bool Acknowledge(uint expected, ulong now)
    {
        if (!_underWay.TryPeek(out Segment? oldest)) return false;
        if (expected <= oldest.Number)
        {
            _repeated++;
            return false;
        }
        _repeated = 0;
        while (_underWay.TryPeek(out Segment? segment) && segment.Number < expected)
        {
            if (segment.Times == 1) Measure(now - segment.SentAt);
            _window = Math.Min(MostWindow, _window + (_window < _threshold ? 1 : 1 / _window));
            _underWay.Dequeue();
        }
        _missesNext = now < _recoverUntil;
        return true;
    }

    void Measure(ulong time)
    {
        _smoothed = _smoothed == 0 ? time : (7 * _smoothed + time) / 8;
        _timeout = Math.Clamp(3 * _smoothed, LeastTimeout, MostTimeout);
        _spread = 0;
    }

    void Shrink(int window)
    {
        _threshold = Math.Max(_window / 2, LeastWindow);
        _window = Math.Max(window, LeastWindow);
    }

    void Repeat(ulong now, Action<byte[]> send)
    {
        if (_underWay.TryPeek(out Segment? oldest)) Send(oldest, now, send);
    }

    void Send(Segment segment, ulong now, Action<byte[]> send)
    {
        segment.SentAt = now;
        segment.Times++;
        send(Frame(Data, segment.Number, segment.Payload));
    }

    byte[] Frame(byte kind, uint number, byte[] payload)
    {
        byte[] frame = new byte[Math.Max(Frames.Least, Frames.HeaderLength + HeaderSize + payload.Length)];
        Frames.WriteHeader(frame, other, own, EtherType);
        Span<byte> body = frame.AsSpan(Frames.HeaderLength);
        BinaryPrimitives.WriteUInt32LittleEndian(body, session);
        body[KindAt] = kind;
        BinaryPrimitives.WriteUInt32LittleEndian(body[NumberAt..], number);
        BinaryPrimitives.WriteUInt16LittleEndian(body[LengthAt..], (ushort)payload.Length);
        payload.CopyTo(body[HeaderSize..]);
        BinaryPrimitives.WriteUInt32LittleEndian(body[ChecksumAt..], Checksum(body));
        return frame;
    }

    // Of all but itself.
    static uint Checksum(ReadOnlySpan<byte> body)
    {
        var sum = new Crc32();
        sum.Append(body[..ChecksumAt]);
        sum.Append(body[HeaderSize..]);
        return sum.GetCurrentHashAsUInt32();
    }
}
