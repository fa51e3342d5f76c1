using System.Collections.Immutable;

namespace VmLab;

/// <summary>
/// Machines to be, and all that lies between them: a value, shared and varied freely. Nothing runs until a lab runs it.
/// </summary>
public sealed record Fleet
{
    Fleet(string name) => Name = name;

    public string Name { get; private init; }

    /// <summary>What every random draw of a run follows from; <see cref="LabOptions.Seed"/> takes its place.</summary>
    public ulong RootSeed { get; private init; }

    public ImmutableArray<MachineSpec> Machines { get; private init; } = [];

    /// <summary>How far machines run between meetings. Without links they meet only for the script's sake.</summary>
    internal static TimeSpan Quantum => TimeSpan.FromMilliseconds(10);

    /// <exception cref="ArgumentException"><paramref name="name"/> is empty.</exception>
    public static Fleet Define(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return new Fleet(name);
    }

    public Fleet Seed(ulong seed) => this with { RootSeed = seed };

    /// <summary>Adds a machine, and names it for the script: <c>lab[alice]</c>.</summary>
    /// <exception cref="LabException">The name is taken, or no host name.</exception>
    public Fleet Vm(string name, out VmRef vm, Func<MachineSpec, MachineSpec> define)
    {
        vm = new VmRef(name);
        return Vm(name, define);
    }

    /// <inheritdoc cref="Vm(string, out VmRef, Func{MachineSpec, MachineSpec})"/>
    public Fleet Vm(string name, Func<MachineSpec, MachineSpec> define) => With(define(new MachineSpec(name)));

    /// <summary>The one way in for every machine.</summary>
    /// <exception cref="LabException">The name is taken.</exception>
    public Fleet With(MachineSpec machine)
    {
        if (Machines.Any(other => other.Name == machine.Name))
            throw new LabException($"Fleet \"{Name}\" has a machine named \"{machine.Name}\" already: give each its own name.");
        return this with { Machines = Machines.Add(machine) };
    }

    /// <summary>The same fleet with other guests in its machines.</summary>
    internal Fleet WithGuests(Func<Guest, Guest> change) => this with
    {
        Machines = [.. Machines.Select(machine => machine.Guest is { } guest ? machine.Boot(change(guest)) : machine)],
    };

    public bool Equals(Fleet? other) =>
        other is not null && Name == other.Name && RootSeed == other.RootSeed && Machines.SequenceEqual(other.Machines);

    public override int GetHashCode() => HashCode.Combine(Name, RootSeed, Machines.Length);
}

/// <summary>A machine of a fleet, by name; good in every lab of that fleet.</summary>
public sealed record VmRef(string Name)
{
    public override string ToString() => Name;
}
