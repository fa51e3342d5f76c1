using VmLab.Faults;

namespace VmLab;

// Faults: who is struck by what, and where machines stop for it.
public sealed partial class Lab
{
    /// <summary>Guest time between two looks for symbols that are not in a machine's memory yet, in nanoseconds.</summary>
    const ulong SymbolSearchPeriod = 100_000_000;

    /// <summary>Whether the lab fails if its script ends before every fault has struck; else that is a line of the timeline.</summary>
    public bool FailOnUnfired { get; set; }

    /// <summary>Makes something go wrong: at once, or when its trigger says.</summary>
    /// <remarks>The fault belongs to the lab's state: it is in moments, and comes back with them.</remarks>
    /// <exception cref="LabException">The lab has no such machine, disk or network, or the fault's time is over.</exception>
    public void Inject(Fault fault)
    {
        RequireOpen();
        if (fault.Trigger is FrameSeen seen) _ = this[new LinkRef(seen.Network)];
        else if (fault.Trigger is CountedTrigger trigger) RequirePlace(this[trigger.Machine], trigger);
        if (fault is LinkFault linkFault)
        {
            foreach (string name in linkFault.Machines) _ = this[name];
            this[new LinkRef(linkFault.Network)].Arm(linkFault);
            _injected.Add(fault);
            return;
        }
        if (fault is not MachineFault machineFault) throw new LabException($"A lab has no place for a {fault.GetType().Name}.");
        Vm machine = this[machineFault.Machine];
        machineFault.RequireTarget(machine);
        machine.Faults.Arm(machineFault, Nanoseconds);
        _injected.Add(fault);
        if (fault.Trigger is not PlaceTrigger place) return;
        FindPlaces(this[place.Machine]);
        ArmPlaces();
    }

    /// <inheritdoc cref="Inject(Fault)"/>
    public void Inject(FaultPlan plan)
    {
        foreach (Fault fault in plan.Faults) Inject(fault);
    }

    /// <exception cref="InvariantException">A fault has not struck, and that is to be a failure.</exception>
    internal void RequireFired()
    {
        if (FailOnUnfired && Unfired is [var first, ..]) throw new InvariantException(Untold(first), Report());
    }

    void NoteUnfired()
    {
        foreach (Fault fault in Unfired)
            Add(fault is MachineFault { Machine: var name } ? this[name] : null, $"warning: {Untold(fault)}");
    }

    static string Untold(Fault fault) => $"a fault never struck: {fault.GetType().Name}, which waited for {fault.Trigger}";

    /// <summary>The machine starts anew, and with it the search for the places that faults wait for.</summary>
    internal void ForgetPlaces(Vm machine)
    {
        foreach (Vm other in _machines) other.Faults.ForgetPlaces(machine.Name);
        FindPlaces(machine);
        ArmPlaces();
    }

    static void RequirePlace(Vm machine, CountedTrigger trigger)
    {
        if (trigger is DiskAsked { DiskName: var disk }) machine.Spec.RequireDisk(disk);
    }

    // Symbols appear as a kernel is unpacked and as modules are loaded.
    void LookForPlaces(ulong before)
    {
        if (before / SymbolSearchPeriod != Nanoseconds / SymbolSearchPeriod)
            foreach (Vm machine in _machines) FindPlaces(machine);
        ArmPlaces();
    }

    void FindPlaces(Vm machine)
    {
        foreach (Vm other in _machines) other.Faults.FindPlaces(machine.Name, Find);

        ulong? Find(string symbol) =>
            machine.Linux.FindSymbols() is { } symbols && symbols.TryFind(symbol, out ulong address) ? address : null;
    }

    void ArmPlaces()
    {
        var wanted = _machines.SelectMany(machine => machine.Faults.Places).ToLookup(place => place.Place.Machine);
        foreach (Vm machine in _machines)
            if (machine.IsRunning) machine.Places.Arm(machine.Powered, [.. wanted[machine.Name].Distinct()]);
    }
}
