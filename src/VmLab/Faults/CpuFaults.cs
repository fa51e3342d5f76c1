using VmLab.Core;

namespace VmLab.Faults;

/// <summary>What can go wrong with a machine's processor.</summary>
public readonly record struct CpuFaults(string Machine)
{
    /// <summary>Flips a bit of a general register.</summary>
    /// <param name="register">0 to 15, as the processor numbers them; drawn from the seed where it is left out.</param>
    /// <param name="bit">0 to 63; drawn where it is left out.</param>
    public Fault FlipRegister(int? register = null, int? bit = null) => new RegisterFlip(
        Machine, register is { } number ? Require.InRange(number, 0, 15, nameof(register)) : null,
        bit is { } at ? Require.InRange(at, 0, 63, nameof(bit)) : null);

    /// <summary>Stops the processor for a while, of which the devices and the clock take no notice.</summary>
    public Fault Stall(TimeSpan duration) => new CpuStall(Machine).For(duration);
}

/// <inheritdoc cref="CpuFaults.FlipRegister"/>
public sealed record RegisterFlip(string Machine, int? Register, int? Bit) : MachineFault(Machine)
{
    static readonly string[] s_names =
        ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];

    internal override string Strike(Struck target, ref Rng random)
    {
        int register = Register ?? (int)random.NextBelow(16), bit = Bit ?? (int)random.NextBelow(64);
        target.Machine.Cpu.SetRegister(register, target.Machine.Cpu.Register(register) ^ 1UL << bit);
        return $"bit {bit} of {s_names[register]} flipped";
    }
}

/// <inheritdoc cref="CpuFaults.Stall"/>
public sealed record CpuStall(string Machine) : MachineFault(Machine)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.IsStalled = true;
        return "processor stalls";
    }

    internal override string Lift(Struck target)
    {
        target.Machine.IsStalled = false;
        return "processor goes on";
    }
}
