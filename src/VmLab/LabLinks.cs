using System.Collections.Immutable;
using VmLab.Faults;
using VmLab.Machines;
using VmLab.Networks;
using VmLab.Running;

namespace VmLab;

// The networks between the machines.
public sealed partial class Lab
{
    readonly ImmutableArray<Link> _links;

    public IReadOnlyList<Link> Links => _links;

    /// <exception cref="LabException">The lab's fleet has no such network.</exception>
    public Link this[LinkRef link] => _links.FirstOrDefault(other => other.Name == link.Name) ?? throw new LabException(
        $"Lab \"{Fleet.Name}\" has no network \"{link.Name}\"; "
        + $"it has {string.Join(", ", _links.Select(other => other.Name).DefaultIfEmpty("none"))}.");

    /// <summary>Where the network cards of a machine lead.</summary>
    internal MachinePorts PortsOf(MachineSpec machine)
    {
        ImmutableArray<MachinePort> ports =
        [
            .. from link in _links
               from place in Enumerable.Range(0, link.Spec.Ports.Length)
               where !link.Spec.JoinsHosts && link.Spec.Ports[place].Machine == machine.Name
               select new MachinePort(link.Spec.Ports[place].Card, link.Outboxes[place], link.Inboxes[place]),
        ];
        IEnumerable<MacAddress> cards = machine.Devices.OfType<NicSpec>().Select(nic => nic.Address);
        return new MachinePorts(ports, [.. cards.Except(ports.Select(port => port.Card))]);
    }

    ImmutableArray<Link> LinksOf(Fleet fleet)
    {
        var names = new FleetNames(fleet);
        return [.. fleet.Links.Select(spec => new Link(this, spec, names))];
    }

    /// <summary>A frame went by that faults may wait for; those of its own network have looked.</summary>
    internal void Meet(FrameSent frame, Link own)
    {
        foreach (Vm machine in _machines) machine.Faults.Look(frame, Nanoseconds);
        foreach (Link link in _links)
            if (link != own) link.Faults.Look(frame, Nanoseconds);
    }

    void SettleLinks()
    {
        foreach (Link link in _links) link.Settle();
        foreach (Link link in _links) link.StrikeDue();
    }

    void RestoreLinks(LabMoment moment)
    {
        for (int i = 0; i < _links.Length; i++) _links[i].Restore(moment.Links[i]);
    }
}
