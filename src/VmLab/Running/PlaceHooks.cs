using VmLab.Faults;
using VmLab.Machines;
using VmLab.X86;

namespace VmLab.Running;

/// <summary>The breakpoints and watches of one machine that faults wait for.</summary>
sealed class PlaceHooks
{
    readonly Dictionary<(PlaceTrigger Place, ulong Address), IDisposable> _armed = [];
    PoweredMachine? _machine;

    /// <summary>Arms what is wanted, and nothing else.</summary>
    public void Arm(PoweredMachine machine, IReadOnlyCollection<(PlaceTrigger Place, ulong Address)> wanted)
    {
        if (_machine != machine) _armed.Clear();   // they went with the machine that had them
        _machine = machine;
        foreach (var place in _armed.Keys.Except(wanted).ToArray())
        {
            _armed[place].Dispose();
            _armed.Remove(place);
        }
        foreach (var place in wanted)
            if (!_armed.ContainsKey(place)) _armed[place] = Arm(machine, place.Place, place.Address);
    }

    static IDisposable Arm(PoweredMachine machine, PlaceTrigger place, ulong address)
    {
        MachineHooks hooks = machine.Machine.Pc.Hooks;
        return place is MemoryTouched memory
            ? hooks.Watch(new Watch(address, memory.Length, memory.Access, IsPhysical: false), _ => Meet())
            : hooks.BreakAt(address, Meet);

        bool Meet()
        {
            machine.Meet(new PlaceMet(place));
            return false;
        }
    }
}
