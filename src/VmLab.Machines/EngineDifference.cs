using System.Globalization;
using System.Text;
using Iced.Intel;
using VmLab.X86;
using Decoder = Iced.Intel.Decoder;

namespace VmLab.Machines;

/// <summary>Tells how two machines on different engines differ, and by which code.</summary>
sealed class EngineDifference(Machine subject, Machine reference)
{
    // The longest block that the engines have.
    const int MostInstructions = 64, LongestInstruction = 15;

    readonly IntelFormatter _formatter = new();
    readonly StringBuilder _text = new();

    /// <summary>Of machines that are the same at an instant before.</summary>
    /// <param name="start">Where they were the same, to be run from again.</param>
    /// <param name="time">The first instant at which they differ.</param>
    public string Report(MachineMoment start, ulong time)
    {
        Line($"{subject.Config.Name} differs on the engine {Name(subject)} from {Name(reference)} since {Seconds(time)} s of machine time, "
            + $"count {subject.Retired}:");
        AppendDifferences();
        string states = $"{States(reference)}{States(subject)}";
        AppendCode(start, time);
        return _text.Append(states).ToString().TrimEnd();
    }

    /// <summary>Of machines that do not differ when they run from the step's beginning again.</summary>
    public string Unrepeated(ulong since, ulong time)
    {
        Line($"{subject.Config.Name} differed on the engine {Name(subject)} from {Name(reference)} at {Seconds(time)} s of machine time, "
            + $"having been the same at {Seconds(since)} s, but not when that was run again: it depends on what the engine had kept. "
            + "A smaller step comes closer.");
        return _text.ToString().TrimEnd();
    }

    void AppendDifferences()
    {
        int before = _text.Length;
        foreach (var (name, here, there) in subject.Cpu.DifferencesFrom(reference.Cpu)) Line($"  {name}: {here}, not {there}");
        if (subject.Memory.Ram.FirstDifference(reference.Memory.Ram) is { } address)
            Line($"  memory at {address:x}: {Bytes(subject, address)}, not {Bytes(reference, address)}");
        if (_text.Length == before) Line("  what neither general registers nor memory show: another register, or a device");
    }

    /// <summary>Disassembles the block that ended last, or the one instruction where that is interpreted.</summary>
    void AppendCode(MachineMoment start, ulong time)
    {
        ulong earliest = time - Math.Min(time - start.State.Now, MostInstructions);
        for (ulong begun = earliest; begun < time; begun++)
        {
            GoTo(start, begun);
            if (TranslationHere() is not { } translation || begun + (ulong)translation.Count < time) continue;
            Line($"Code of the guest, a block that began at {Seconds(begun)} s:");
            Disassemble(translation.Guest, subject.Cpu.CodeBits, subject.Cpu.Rip, int.MaxValue);
            Line("Code of the host that it is translated to:");
            Disassemble(translation.Host, 64, translation.HostAddress, int.MaxValue);
            return;
        }
        GoTo(start, time - 1);
        var bytes = new byte[LongestInstruction];
        int length = subject.LinearMemory.Read(subject.Cpu.LinearRip, bytes);
        Line("Code of the guest, an instruction that is interpreted on both:");
        Disassemble(bytes[..length], subject.Cpu.CodeBits, subject.Cpu.Rip, 1);
    }

    void GoTo(MachineMoment start, ulong time)
    {
        subject.Restore(start);
        subject.RunUntil(time);
    }

    TranslatedCode? TranslationHere() => subject.LinearMemory.TryTranslate(subject.Cpu.LinearRip, out ulong physical)
        ? subject.Cpu.TranslationAt(physical)
        : null;

    void Disassemble(byte[] code, int bits, ulong address, int most)
    {
        var decoder = Decoder.Create(bits, code, address);
        var formatted = new StringOutput();
        for (int i = 0; i < most && decoder.IP < address + (ulong)code.Length; i++)
        {
            decoder.Decode(out Instruction instruction);
            _formatter.Format(instruction, formatted);
            Line($"  {instruction.IP:x16} {formatted.ToStringAndReset()}");
        }
    }

    void Line(string line) => _text.Append(line).Append('\n');

    static string States(Machine machine) => $"State on the engine {Name(machine)}:\n{machine.Cpu}\n";

    static string Name(Machine machine) => machine.Config.Engine.ToString().ToLowerInvariant();

    static string Seconds(ulong time) => (time / 1e9).ToString("0.000000000", CultureInfo.InvariantCulture);

    static string Bytes(Machine machine, ulong address)
    {
        Span<byte> bytes = stackalloc byte[8];
        machine.Memory.Ram.Read(address, bytes);
        return Convert.ToHexStringLower(bytes);
    }
}
