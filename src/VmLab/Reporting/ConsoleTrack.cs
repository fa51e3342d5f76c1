using System.Runtime.InteropServices;
using System.Text;
using VmLab.Core;

namespace VmLab.Reporting;

/// <summary>What a machine's console printed in one branch, and when.</summary>
/// <param name="before">What it had printed when the branch began.</param>
sealed class ConsoleTrack(Values<byte> before)
{
    /// <summary>Past this, the oldest half is dropped.</summary>
    public const int MostBytes = 4 << 20;

    // Bytes that come so close together, in nanoseconds, share a mark: a kernel prints a line at a stroke.
    const ulong Grain = 100_000;

    readonly List<byte> _bytes = [];
    readonly List<Mark> _marks = [];

    public Values<byte> Before { get; private set; } = before;

    /// <summary>How many bytes were dropped.</summary>
    public long Dropped { get; private set; }

    public ReadOnlySpan<byte> Bytes => CollectionsMarshal.AsSpan(_bytes);

    /// <param name="time">Lab time, in nanoseconds.</param>
    public void Add(ulong time, byte value)
    {
        if (_bytes.Count == MostBytes) DropOldest();
        _bytes.Add(value);
        if (_marks is [.., var last] && time - last.Time < Grain) _marks[^1] = last with { Count = last.Count + 1 };
        else _marks.Add(new Mark(time, 1));
    }

    /// <summary>The text as of the branch's beginning, then what each mark added to it.</summary>
    public (string Before, string Text, IReadOnlyList<Mark> Marks) Decode()
    {
        Decoder decoder = Encoding.UTF8.GetDecoder();
        string before = Decode(decoder, Before.Span);
        var text = new StringBuilder();
        var marks = new List<Mark>(_marks.Count);
        ReadOnlySpan<byte> rest = Bytes;
        foreach (Mark mark in _marks)
        {
            string added = Decode(decoder, rest[..mark.Count]);
            rest = rest[mark.Count..];
            text.Append(added);
            marks.Add(mark with { Count = added.Length });
        }
        return (before, text.ToString(), marks);
    }

    static string Decode(Decoder decoder, ReadOnlySpan<byte> bytes)
    {
        var characters = new char[bytes.Length + 4];
        return new string(characters, 0, decoder.GetChars(bytes, characters, flush: false));
    }

    void DropOldest()
    {
        int marks = 0, bytes = 0;
        while (bytes < MostBytes / 2) bytes += _marks[marks++].Count;
        _marks.RemoveRange(0, marks);
        _bytes.RemoveRange(0, bytes);
        Dropped += Before.Count + bytes;
        Before = default;
    }

    /// <summary>Something printed.</summary>
    /// <param name="Time">Lab time, in nanoseconds.</param>
    /// <param name="Count">Bytes, or characters once decoded.</param>
    public readonly record struct Mark(ulong Time, int Count);
}
