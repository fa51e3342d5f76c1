using VmLab.Core;
using VmLab.Machines;

namespace VmLab.Faults;

/// <summary>What can go wrong with a machine's memory.</summary>
public readonly record struct MemoryFaults(string Machine)
{
    /// <summary>Flips a bit of RAM.</summary>
    /// <param name="physical">Guest-physical address of the byte; drawn from the seed where it is left out.</param>
    /// <param name="bit">0 to 7; drawn where it is left out.</param>
    public Fault Flip(ulong? physical = null, int? bit = null) =>
        new MemoryFlip(Machine, physical, bit is { } at ? Require.InRange(at, 0, 7, nameof(bit)) : null);

    /// <summary>A bit of RAM keeps a value, whatever is written, for as long as the fault or the machine's power lasts.</summary>
    /// <param name="physical">Guest-physical address of the byte.</param>
    /// <param name="bit">0 to 7.</param>
    public Fault Stuck(ulong physical, int bit, bool value) => new MemoryStuck(Machine, physical, Require.InRange(bit, 0, 7), value);
}

/// <inheritdoc cref="MemoryFaults.Flip"/>
public sealed record MemoryFlip(string Machine, ulong? Physical, int? Bit) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Bit is null or (>= 0 and <= 7);

    internal override string Strike(Struck target, ref Rng random)
    {
        GuestMemory ram = target.Machine.Memory.Ram;
        ulong drawn = random.NextBelow(ram.Size.Bytes);
        ulong physical = Physical ?? (drawn < GuestMemory.LowTop ? drawn : drawn - GuestMemory.LowTop + GuestMemory.HighBase);
        int bit = Bit ?? (int)random.NextBelow(8);
        if (!ram.IsRam(physical >> GuestMemory.PageShift)) return $"no RAM at 0x{physical:x}: nothing flipped";
        Span<byte> value = stackalloc byte[1];
        ram.Read(physical, value);
        value[0] ^= (byte)(1 << bit);
        ram.Write(physical, value);
        return $"bit {bit} of memory 0x{physical:x} flipped";
    }
}

/// <inheritdoc cref="MemoryFaults.Stuck"/>
public sealed record MemoryStuck(string Machine, ulong Physical, int Bit, bool Value) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Bit is >= 0 and <= 7;

    StuckBit Stuck => new(Physical, Bit, Value);

    internal override string Strike(Struck target, ref Rng random)
    {
        if (!target.Machine.Memory.Ram.IsRam(Physical >> GuestMemory.PageShift)) return $"no RAM at 0x{Physical:x}: nothing stuck";
        target.Machine.StuckBits.Add(Stuck);
        return $"bit {Bit} of memory 0x{Physical:x} stuck at {(Value ? 1 : 0)}";
    }

    internal override string Lift(Struck target)
    {
        target.Machine.StuckBits.Remove(Stuck);
        return $"bit {Bit} of memory 0x{Physical:x} stuck no more";
    }
}
