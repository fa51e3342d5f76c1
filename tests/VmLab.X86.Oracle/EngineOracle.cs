using System.Runtime.InteropServices;

namespace VmLab.X86.Oracle;

/// <summary>
/// Runs cases on both of our engines and compares every byte of what comes out, what the manuals leave undefined included. A case
/// is a few instructions in a row, each drawn as for the host's processor, with the state of the first.
/// </summary>
public sealed unsafe class EngineOracle : IDisposable
{
    const ulong Longest = 6;
    const int MostReports = 50;

    readonly CaseDraw _draw;
    readonly GuestCpu _interpreter, _translator;
    readonly CpuImage* _before = Allocate(), _other = Allocate(), _expected = Allocate(), _actual = Allocate();

    public EngineOracle(ulong seed)
    {
        _draw = new CaseDraw(seed);
        _interpreter = new GuestCpu(_draw.ReadOnlyPage);
        _translator = new GuestCpu(_draw.ReadOnlyPage, translates: true);
    }

    /// <summary>Blocks translated so far.</summary>
    public ulong TranslatedBlocks => _translator.TranslatedBlocks;

    /// <summary>Runs the cases of these numbers.</summary>
    /// <returns>A line for each difference, up to 50.</returns>
    public IReadOnlyList<string> Run(ulong first, ulong count)
    {
        var reports = new List<string>();
        for (ulong number = first; number < first + count && reports.Count < MostReports; number++)
        {
            List<Case> cases = Draw(number);
            if (cases.Count == 0) continue;
            *_expected = *_before;
            *_actual = *_before;
            _interpreter.Run(_expected);
            _translator.Run(_actual);
            if (Differences() is { } differences)
                reports.Add($"case {number}: {differences}\n  {string.Join("\n  ", cases)}\n{Comparison.Inputs(_before)}");
        }
        return reports;
    }

    public void Dispose()
    {
        _interpreter.Dispose();
        _translator.Dispose();
        foreach (nint image in (ReadOnlySpan<nint>)[(nint)_before, (nint)_other, (nint)_expected, (nint)_actual])
            NativeMemory.AlignedFree((void*)image);
    }

    /// <summary>The first instruction's state, and the code of all of them.</summary>
    List<Case> Draw(ulong number)
    {
        var cases = new List<Case>();
        int length = 0;
        for (ulong i = 0; i < Longest; i++)
        {
            CpuImage* image = cases.Count == 0 ? _before : _other;
            if (_draw.Draw(number * Longest + i, image) is not { } drawn) continue;
            if (cases.Count > 0 && drawn.Bitness != cases[0].Bitness) continue;
            int bytes = drawn.Instruction.Length;
            if (length + bytes > CpuImage.CodeLength) break;
            var code = new Span<byte>(_before->Code, CpuImage.CodeLength);
            if (cases.Count == 0) code[bytes..].Fill(CaseLayout.Filler);
            else new ReadOnlySpan<byte>(image->Code, bytes).CopyTo(code[length..]);
            length += bytes;
            cases.Add(drawn);
        }
        return cases;
    }

    string? Differences()
    {
        var expected = new ReadOnlySpan<byte>(_expected, CpuImage.Size);
        var actual = new ReadOnlySpan<byte>(_actual, CpuImage.Size);
        int same = expected.CommonPrefixLength(actual);
        if (same == CpuImage.Size) return null;
        same &= ~7;
        return $"at byte {same} of the image the interpreter has {MemoryMarshal.Read<ulong>(expected[same..]):X}, "
            + $"translated code {MemoryMarshal.Read<ulong>(actual[same..]):X}";
    }

    static CpuImage* Allocate() => (CpuImage*)NativeMemory.AlignedAlloc(CpuImage.Size, 64);
}
