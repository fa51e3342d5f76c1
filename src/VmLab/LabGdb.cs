using VmLab.Introspection;

namespace VmLab;

// What gdb does to a lab as a whole: it may be waited for, hold it, and end it.
public sealed partial class Lab
{
    /// <summary>gdb ended it: every await ends as if cancelled.</summary>
    public bool IsKilledByGdb => _machines.Exists(machine => machine.IsKilledByGdb);

    bool IsHeldByGdb => _machines.Exists(machine => machine.IsHeldByGdb);

    void AwaitGdb(GdbOption option)
    {
        Vm machine = option.Machine is { } name ? this[name] : _machines[0];
        int port = machine.Gdb(option.Port, waits: true).Port;
        string symbols = machine.Linux.FindSymbols() is { } found ? $"-ex 'symbol-file {SymbolFile.Store(found)}' " : "";
        _options.Observer?.Preparing(this, $"{machine.Name} waits for gdb: gdb {symbols}-ex 'target remote :{port}'");
    }

    // A machine that gdb holds would hold the quantum, and so the lab's stop.
    void DropGdb()
    {
        foreach (Vm machine in _machines) machine.DropGdb();
    }
}
