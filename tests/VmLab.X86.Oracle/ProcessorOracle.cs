using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace VmLab.X86.Oracle;

/// <summary>What a run of cases showed.</summary>
/// <param name="Announced">Forms that CPUID announces.</param>
/// <param name="Tested">Those of them that ran.</param>
/// <param name="Untested">Those of them that did not.</param>
/// <param name="Reports">The first difference of each form, or of random bytes.</param>
public sealed record OracleResult(int Announced, int Tested, long Cases, long Differences, IReadOnlyList<Form> Untested, IReadOnlyList<string> Reports)
{
    public override string ToString() => $"forms announced={Announced} tested={Tested} cases={Cases} differences={Differences}";
}

/// <summary>Runs cases on the host's processor and on ours, and compares all that a user program can see.</summary>
[SupportedOSPlatform("linux")]
public sealed unsafe class ProcessorOracle : IDisposable
{
    const int MostReports = 200;

    readonly CaseDraw _draw;
    readonly HostCpu _host;
    readonly GuestCpu _guest;
    readonly CpuImage* _before = (CpuImage*)NativeMemory.AlignedAlloc(HostCpu.MaxCases * CpuImage.Size, 64);
    readonly CpuImage* _ours = (CpuImage*)NativeMemory.AlignedAlloc(CpuImage.Size, 64);
    readonly Case[] _cases = new Case[HostCpu.MaxCases];
    readonly HashSet<Form> _tested = [];
    readonly Dictionary<string, string> _reports = [];
    long _count, _differences;

    public ProcessorOracle(ulong seed)
    {
        _draw = new CaseDraw(seed);
        _host = new HostCpu(_draw.ReadOnlyPage);
        _guest = new GuestCpu(_draw.ReadOnlyPage);
    }

    /// <summary>Runs the cases of these numbers.</summary>
    public OracleResult Run(ulong first, ulong count)
    {
        for (ulong number = first; number < first + count;)
        {
            int batch = 0;
            for (; batch < HostCpu.MaxCases && number < first + count; number++)
            {
                if (_draw.Draw(number, _before + batch) is not { } drawn) continue;
                _cases[batch++] = drawn;
            }
            RunBatch(batch);
        }
        Form[] untested = [.. Forms.Announced.Where(form => !_tested.Contains(form))];
        return new OracleResult(Forms.Announced.Count, _tested.Count, _count, _differences, untested, [.. _reports.Values]);
    }

    public void Dispose()
    {
        _host.Dispose();
        _guest.Dispose();
        NativeMemory.AlignedFree(_before);
        NativeMemory.AlignedFree(_ours);
    }

    void RunBatch(int count)
    {
        Buffer.MemoryCopy(_before, _host.Cases, HostCpu.MaxCases * CpuImage.Size, count * CpuImage.Size);
        _host.Run(count);
        for (int i = 0; i < count; i++)
        {
            Case test = _cases[i];
            _count++;
            if (test.Form is { } form) _tested.Add(form);
            *_ours = _before[i];
            _guest.Run(_ours);
            if (Comparison.Differences(test, _before + i, _host.Cases + i, _ours) is not { } differences) continue;
            _differences++;
            string key = $"{test.Instruction.Code} {test.Bitness}";
            if (_reports.Count < MostReports) _reports.TryAdd(key, $"{test}\n{differences}{Comparison.Inputs(_before + i)}");
        }
    }
}
