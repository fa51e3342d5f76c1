using System.Globalization;
using VmLab.X86;

namespace VmLab.Machines.Gdb;

/// <summary>A machine as gdb's target. What only reads cannot be told by the guest, and takes no guest time.</summary>
/// <param name="met">Told, on the machine's thread, of a breakpoint or watch that is met; the machine goes on when it returns.</param>
/// <param name="changed">Told of what changes the run.</param>
/// <param name="textStart">Finds where the kernel's first segment lies.</param>
sealed class MachineTarget(Machine machine, Action<Stop> met, Action<string> changed, Func<ulong?> textStart) : IDebugTarget
{
    const int MostStops = 1024;

    readonly GdbRegisters _registers = new(machine.Cpu);
    readonly Dictionary<(StopKind Kind, ulong Linear, int Length), IDisposable> _stops = [];

    public void ReadRegister(int number, Span<byte> value) => _registers.Read(number, value);

    public bool TryWriteRegister(int number, ReadOnlySpan<byte> value)
    {
        if (!_registers.TryWrite(number, value)) return false;
        changed($"gdb set {TargetDescription.Registers[number].Name}");
        return true;
    }

    public int ReadMemory(ulong linear, Span<byte> bytes) => machine.LinearMemory.Read(linear, bytes);

    public int WriteMemory(ulong linear, ReadOnlySpan<byte> bytes)
    {
        int written = machine.LinearMemory.Write(linear, bytes);
        if (written > 0) changed(string.Create(CultureInfo.InvariantCulture, $"gdb wrote {written} bytes at {linear:x16}"));
        return written;
    }

    public bool TryAddStop(StopKind kind, ulong linear, int length)
    {
        if (_stops.ContainsKey((kind, linear, length))) return true;
        if (_stops.Count == MostStops) return false;
        _stops.Add((kind, linear, length), kind == StopKind.Execute
            ? machine.Hooks.BreakAt(linear, () => Meet(new Stop(StopCause.Breakpoint, kind, linear)))
            : machine.Hooks.Watch(
                new Watch(linear, (ulong)length, AccessOf(kind), IsPhysical: false), _ => Meet(new Stop(StopCause.Watch, kind, linear))));
        return true;
    }

    public void RemoveStop(StopKind kind, ulong linear, int length)
    {
        if (_stops.Remove((kind, linear, length), out IDisposable? hook)) hook.Dispose();
    }

    public void RemoveStops()
    {
        foreach (IDisposable hook in _stops.Values) hook.Dispose();
        _stops.Clear();
    }

    public ulong? TextStart() => textStart();

    public string? Monitor(string command) => command switch
    {
        "" or "help" => "info   where the machine stands\nexits  how often the monitor handled what\nhelp   this\n",
        "info" => Info(),
        "exits" => Exits(),
        _ => null,
    };

    static MemoryAccess AccessOf(StopKind kind) => kind switch
    {
        StopKind.Write => MemoryAccess.Write,
        StopKind.Read => MemoryAccess.Read,
        _ => MemoryAccess.Any,
    };

    // gdb's stops hold nobody else: the machine stands still inside the call, and goes on after it.
    bool Meet(Stop stop)
    {
        met(stop);
        return false;
    }

    string Info() => string.Create(CultureInfo.InvariantCulture,
        $"""
        {machine.Config.Name}: {machine.Status}, {machine.Config.Memory} of memory
        machine time {machine.Now / 1e9:0.000000000} s, {machine.Retired} counts

        """);

    string Exits() => string.Concat(machine.Exits.All.Select(exit => $"{exit.Count,12} {exit.Reason}\n"));
}
