using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Networks;

namespace VmLab.Running;

/// <summary>A frame that a machine sent.</summary>
/// <param name="Time">Lab time at which it left the card, in nanoseconds.</param>
readonly record struct SentFrame(ulong Time, Values<byte> Frame);

/// <summary>One machine's place on one network.</summary>
/// <param name="Outbox">What the machine has sent in this quantum.</param>
/// <param name="Inbox">What is under way to it.</param>
sealed record MachinePort(MacAddress Card, List<SentFrame> Outbox, PortQueue Inbox);

/// <summary>Where the network cards of one machine lead, over all its power-ons.</summary>
/// <remarks>Used on the machine's thread while it runs, and by the lab between quanta.</remarks>
/// <param name="unplugged">Cards that lead nowhere.</param>
sealed class MachinePorts(ImmutableArray<MachinePort> ports, ImmutableArray<MacAddress> unplugged)
{
    /// <summary>Lab time of the next arrival, in nanoseconds.</summary>
    public ulong NextAt
    {
        get
        {
            ulong next = ulong.MaxValue;
            foreach (MachinePort port in ports) next = Math.Min(next, port.Inbox.NextAt);
            return next;
        }
    }

    /// <summary>Plugs the cables into a machine that has been powered on, or is as it was at a moment.</summary>
    public void Plug(PoweredMachine machine)
    {
        foreach (MachinePort port in ports)
            machine.Machine.Plug(port.Card, frame => port.Outbox.Add(new SentFrame(machine.Now, new Values<byte>(frame.Span))));
    }

    /// <summary>Hands over what has arrived.</summary>
    public void Deliver(IMachine machine, ulong now)
    {
        foreach (MachinePort port in ports)
            while (port.Inbox.TryTake(now, out Values<byte> frame)) machine.Receive(port.Card, frame.Span);
    }

    /// <summary>The machine's clock stood still: what arrived in the meantime arrives now.</summary>
    public void HoldUntil(ulong now)
    {
        foreach (MachinePort port in ports) port.Inbox.HoldUntil(now);
    }

    /// <summary>A machine is powered on: what arrived while it was off met nobody.</summary>
    public void PowerOn(IMachine machine, ulong now)
    {
        foreach (MacAddress card in unplugged) machine.SetLink(card, isUp: false);
        foreach (MachinePort port in ports)
        {
            if (!port.Inbox.IsUp) machine.SetLink(port.Card, isUp: false);
            while (port.Inbox.TryTake(now, out _)) { }
        }
    }
}
