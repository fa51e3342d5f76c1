using System.Collections.Immutable;
using VmLab.Networks;

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

    /// <summary>The networks between the machines.</summary>
    public ImmutableArray<LinkSpec> Links { get; private init; } = [];

    /// <summary>Where machines run that can be migrated.</summary>
    public ImmutableArray<HostSpec> Hosts { get; private init; } = [];

    /// <summary>How far machines run between meetings at most. Without links they meet only for the script's sake.</summary>
    internal static TimeSpan Quantum => TimeSpan.FromMilliseconds(10);

    /// <summary>How far machines run between meetings: no further than the fastest frame takes.</summary>
    internal TimeSpan Lookahead => Links.Select(link => link.LatencyTime).Append(Quantum).Min();

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
        RequireFree(machine.Name);
        if (machine.HostName is { } host && Hosts.All(spec => spec.Name != host))
            throw new LabException($"{machine.Name} is to run on {host}, which is no host of the fleet: define it before, with .Host(...).");
        return this with { Machines = Machines.Add(machine) };
    }

    /// <summary>Adds a host, for machines to run on and to be migrated to: <c>vm.On(host)</c>.</summary>
    /// <exception cref="LabException">The name is taken.</exception>
    public Fleet Host(string name, out HostRef host, Func<HostSpec, HostSpec>? define = null)
    {
        host = new HostRef(name);
        RequireFree(name);
        var spec = new HostSpec(name);
        return this with { Hosts = Hosts.Add(define is null ? spec : define(spec)) };
    }

    /// <summary>Connects machines by a switch, and names the network for the script: <c>lab[lan]</c>.</summary>
    /// <remarks>
    /// Each machine gets a network card for it, and for the asking an address, 10.0.N.1 and up for the N-th network from 0, and
    /// the other machines' names.
    /// </remarks>
    /// <exception cref="LabException">The name is taken, or a machine is not in the fleet, or named twice.</exception>
    public Fleet Lan(string name, out LinkRef lan, IEnumerable<VmRef> machines, Func<LinkSpec, LinkSpec>? define = null)
    {
        lan = new LinkRef(name);
        return With(LinkKind.Lan, name, [.. machines.Select(machine => machine.Name)], define);
    }

    /// <summary>Connects two machines by a cable.</summary>
    /// <inheritdoc cref="Lan"/>
    public Fleet Wire(string name, out LinkRef wire, VmRef one, VmRef other, Func<LinkSpec, LinkSpec>? define = null)
    {
        wire = new LinkRef(name);
        return With(LinkKind.Wire, name, [one.Name, other.Name], define);
    }

    /// <summary>Connects two hosts by a cable, over which machines are migrated; its frames have up to 9000 bytes.</summary>
    /// <inheritdoc cref="Lan"/>
    public Fleet Wire(string name, out LinkRef wire, HostRef one, HostRef other, Func<LinkSpec, LinkSpec>? define = null)
    {
        wire = new LinkRef(name);
        return With(LinkKind.Wire, name, [one.Name, other.Name], define, ofHosts: true);
    }

    /// <summary>The same fleet with other guests in its machines.</summary>
    internal Fleet WithGuests(Func<Guest, Guest> change) => this with
    {
        Machines = [.. Machines.Select(machine => machine.Guest is { } guest ? machine.Boot(change(guest)) : machine)],
    };

    public bool Equals(Fleet? other) =>
        other is not null && Name == other.Name && RootSeed == other.RootSeed && Machines.SequenceEqual(other.Machines)
        && Links.SequenceEqual(other.Links) && Hosts.SequenceEqual(other.Hosts);

    public override int GetHashCode() => HashCode.Combine(Name, RootSeed, Machines.Length, Links.Length);

    void RequireFree(string name)
    {
        if (Machines.Any(other => other.Name == name))
            throw new LabException($"Fleet \"{Name}\" has a machine named \"{name}\" already: give each its own name.");
        if (Hosts.Any(other => other.Name == name))
            throw new LabException($"Fleet \"{Name}\" has a host named \"{name}\" already: give each its own name.");
    }

    Fleet With(LinkKind kind, string name, IReadOnlyList<string> machines, Func<LinkSpec, LinkSpec>? define, bool ofHosts = false)
    {
        const int MostLinks = 256;
        string network = $"The network \"{name}\" of fleet \"{Name}\"";
        if (Links.Any(other => other.Name == name)) throw new LabException($"{network} is there already: give each its own name.");
        if (Links.Length == MostLinks) throw new LabException($"{network} is one too many: a fleet has {MostLinks} at most.");
        if (machines.Count is < 2 or > LinkSpec.MostPorts)
            throw new LabException($"{network} has {machines.Count} machines: it takes 2 to {LinkSpec.MostPorts}.");
        if (machines.GroupBy(machine => machine).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new LabException($"{network} names {twice.Key} twice: a machine has one place on a network.");
        IEnumerable<string> known = ofHosts ? Hosts.Select(host => host.Name) : Machines.Select(machine => machine.Name);
        if (machines.Except(known).FirstOrDefault() is { } stranger)
            throw new LabException($"{network} names {stranger}, which is no {(ofHosts ? "host" : "machine")} of the fleet: "
                + $"define it before, with {(ofHosts ? ".Host(...)" : ".Vm(...)")}.");

        IEnumerable<LinkPort> ports = machines.Select((machine, place) => new LinkPort(
            machine, FleetNames.CardOf(Links.Length, (byte)(place + 1)), FleetNames.AddressOf(Links.Length, (byte)(place + 1))));
        var link = new LinkSpec(name, kind, Links.Length, [.. ports]) { JoinsHosts = ofHosts };
        return this with
        {
            Links = Links.Add(define is null ? link : define(link)),
            Machines = [.. Machines.Select(machine => link.Ports.FirstOrDefault(port => port.Machine == machine.Name) is { } port
                ? machine.Nic(port.Card) : machine)],
        };
    }
}

/// <summary>A machine of a fleet, by name; good in every lab of that fleet.</summary>
public sealed record VmRef(string Name)
{
    public override string ToString() => Name;
}
