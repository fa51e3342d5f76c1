using System.Runtime.InteropServices;
using System.Text;
using VmLab.Core;

namespace VmLab;

/// <summary>A machine's first serial port, as a terminal beside it would show it.</summary>
/// <remarks>It keeps the last <see cref="MostBytes"/> bytes; it goes on over resets and power cycles.</remarks>
public sealed class VmConsole : ISnapshot<VmConsole.State>
{
    /// <summary>What was printed, and how far Expect has read.</summary>
    [Schema("console", version: 1)]
    public readonly record struct State(Values<byte> Bytes, string Text, int Expected, int LineStart, bool WasReturn);

    /// <summary>Past this, the oldest quarter is dropped.</summary>
    public const int MostBytes = 16 << 20;

    readonly Vm _vm;
    readonly List<byte> _bytes = [];
    readonly StringBuilder _text = new();
    Decoder _decoder = Encoding.UTF8.GetDecoder();
    string? _cached = "";
    int _expected;
    int _lineStart;
    bool _wasReturn;

    internal VmConsole(Vm vm) => _vm = vm;

    /// <summary>All that the guest printed, as text: UTF-8, line ends as <c>\n</c>.</summary>
    public string Text => _cached ??= _text.ToString();

    /// <summary>All that the guest printed, to the byte.</summary>
    public IReadOnlyList<byte> Bytes => _bytes;

    /// <summary>The last line with anything on it, cut to what a screen holds.</summary>
    public string LastLine => Tail(1).FirstOrDefault("");

    /// <summary>The last lines with anything on them, oldest first.</summary>
    public IReadOnlyList<string> Tail(int lines)
    {
        const int MostScreen = 16 << 10, MostColumns = 200;
        int start = Math.Max(0, _text.Length - MostScreen);
        return [.. _text.ToString(start, _text.Length - start).Split('\n', '\r')
            .Select(line => Printable(line).TrimEnd()).Where(line => line.Length > 0)
            .TakeLast(lines).Select(line => line.Length > MostColumns ? line[..MostColumns] : line)];
    }

    /// <summary>
    /// Waits until the guest prints a text, and returns all it printed from the last match to the end of this one.
    /// </summary>
    /// <param name="text">Searched for after the match of the Expect before, so that each prompt is met once.</param>
    /// <param name="within">Limit in guest time; the lab's own where it is <see langword="null"/>.</param>
    /// <exception cref="LimitReachedException">The text did not come in time.</exception>
    /// <exception cref="MachineStoppedException">The machine stopped before.</exception>
    public Task<string> Expect(string text, TimeSpan? within = null, CancellationToken cancellation = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        int searched = 0;
        return _vm.Lab.Await(_vm.Lab.WaitFor<string>(
            $"{_vm.Name}'s console did not show {Quoted(text)}", within, _vm, needsKernel: false, (out string shown) =>
            {
                shown = "";
                if (_text.Length == searched) return false;
                searched = _text.Length;
                int found = Text.IndexOf(text, _expected, StringComparison.Ordinal);
                if (found < 0) return false;
                int end = found + text.Length;
                shown = Text[_expected..end];
                _expected = end;
                return true;
            }), cancellation);
    }

    /// <summary>
    /// Types for the guest, which gets the bytes as its serial port takes them. A line ends in <c>\n</c>.
    /// </summary>
    public void Send(string text) => _vm.Powered.Machine.SendToConsole(Encoding.UTF8.GetBytes(text));

    public State Save() => new(new Values<byte>(CollectionsMarshal.AsSpan(_bytes)), Text, _expected, _lineStart, _wasReturn);

    public void Restore(State state)
    {
        const int LongestBegun = 3;
        _bytes.Clear();
        _bytes.AddRange(state.Bytes.Span);
        _text.Clear().Append(state.Text);
        _cached = state.Text;
        (_expected, _lineStart, _wasReturn) = (state.Expected, state.LineStart, state.WasReturn);
        _decoder = Encoding.UTF8.GetDecoder();   // knows a character begun, and no more
        ReadOnlySpan<byte> tail = state.Bytes.Span[^Math.Min(LongestBegun, state.Bytes.Count)..];
        _decoder.GetChars(tail, stackalloc char[2 * LongestBegun], flush: false);
    }

    /// <summary>Takes a byte, and says whether it ended a line on which the kernel reports its panic.</summary>
    internal bool Receive(byte value)
    {
        _bytes.Add(value);
        Span<char> characters = stackalloc char[4];
        int count = _decoder.GetChars([value], characters, flush: false);
        foreach (char character in characters[..count]) Append(character);
        if (_bytes.Count > MostBytes) DropOldest();
        return value == '\n' && EndsInPanic();
    }

    bool EndsInPanic()
    {
        const string Panic = "Kernel panic - not syncing";
        const int MostColumns = 1000;
        int length = Math.Min(_text.Length - _lineStart, MostColumns);
        bool panics = length > Panic.Length && _text.ToString(_lineStart, length).Contains(Panic, StringComparison.Ordinal);
        _lineStart = _text.Length;
        return panics;
    }

    // "\r\n" is one line end; a "\r" alone stays, for it is how progress is drawn.
    void Append(char character)
    {
        if (character == '\n' && _wasReturn) _text.Length--;
        _text.Append(character);
        _wasReturn = character == '\r';
        _cached = null;
    }

    void DropOldest()
    {
        _bytes.RemoveRange(0, MostBytes / 4);
        int dropped = _text.Length / 4;
        _text.Remove(0, dropped);
        _expected = Math.Max(0, _expected - dropped);
        _lineStart = Math.Max(0, _lineStart - dropped);
        _cached = null;
    }

    static string Quoted(string text) => $"\"{text.ReplaceLineEndings("\\n")}\"";

    // Escape sequences and control characters must not reach the terminal that a report is printed on.
    internal static string Printable(string line)
    {
        if (!line.Any(char.IsControl)) return line;
        var printable = new StringBuilder(line.Length);
        for (int i = 0; i < line.Length; i++)
        {
            if (line[i] == '\e') i = EndOfEscape(line, i);
            else if (line[i] == '\t') printable.Append("    ");
            else if (!char.IsControl(line[i])) printable.Append(line[i]);
        }
        return printable.ToString();
    }

    static int EndOfEscape(string line, int start)
    {
        int i = start + 1;
        if (i >= line.Length || line[i] != '[') return i;
        for (i++; i < line.Length && !char.IsBetween(line[i], '@', '~'); i++) { }
        return i;
    }
}
