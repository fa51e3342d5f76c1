using VmLab.Core;
using VmLab.X86;

namespace VmLab.Machines;

/// <summary>A bit of RAM that keeps its value.</summary>
/// <param name="Physical">Guest-physical address of the byte.</param>
/// <param name="Bit">0 to 7.</param>
public readonly record struct StuckBit(ulong Physical, int Bit, bool Value);

/// <summary>Bits of RAM that keep their value, whatever is written.</summary>
/// <remarks>They fall back behind the instruction that wrote them; what devices and page walks write, when a device acts next.</remarks>
public sealed class StuckBits(GuestMemory ram, MachineHooks hooks) : ISnapshot<StuckBits.State>
{
    [Schema("stuck-bits", version: 1)]
    public readonly record struct State(Values<StuckBit> Bits);

    readonly List<(StuckBit Bit, IDisposable Watch)> _bits = [];

    public void Add(StuckBit bit)
    {
        var watch = new Watch(bit.Physical, 1, MemoryAccess.Write, IsPhysical: true);
        _bits.Add((bit, hooks.Watch(watch, _ =>
        {
            Enforce();
            return false;
        })));
        Enforce();
    }

    public void Remove(StuckBit bit)
    {
        int index = _bits.FindIndex(stuck => stuck.Bit == bit);
        if (index < 0) return;
        _bits[index].Watch.Dispose();
        _bits.RemoveAt(index);
    }

    public State Save() => new([.. _bits.Select(stuck => stuck.Bit)]);

    public void Restore(State state)
    {
        foreach ((_, IDisposable watch) in _bits) watch.Dispose();
        _bits.Clear();
        foreach (StuckBit bit in state.Bits) Add(bit);
    }

    internal void Enforce()
    {
        Span<byte> value = stackalloc byte[1];
        foreach ((StuckBit bit, _) in _bits)
        {
            ram.Read(bit.Physical, value);
            byte mask = (byte)(1 << bit.Bit), right = (byte)(bit.Value ? value[0] | mask : value[0] & ~mask);
            if (right == value[0]) continue;
            value[0] = right;
            ram.Write(bit.Physical, value);
        }
    }
}
