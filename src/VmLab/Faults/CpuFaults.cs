using System.Globalization;
using VmLab.Core;
using VmLab.Devices;

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

    /// <summary>
    /// An error of the hardware that was not corrected: the guest is told by a machine check, or the machine shuts down where the
    /// guest wants to hear of none, or hears of another. Debian's generic kernel logs it and panics; its cloud kernel hears of none.
    /// </summary>
    /// <param name="bank">0 to 3: which of the processor's banks tells of it.</param>
    /// <param name="address">Where in physical memory, if that is known.</param>
    public Fault MachineCheck(int bank = 0, ulong? address = null) =>
        new CpuMachineCheck(Machine, InRange(bank), address);

    /// <summary>
    /// An error of the hardware that was corrected: a bank tells of it to a guest that looks. Debian's generic kernel looks every five
    /// minutes and logs what it finds.
    /// </summary>
    /// <inheritdoc cref="MachineCheck"/>
    public Fault CorrectedError(int bank = 0, ulong? address = null) => new CpuCorrectedError(Machine, InRange(bank), address);

    /// <summary>Stops the processor for a while, of which the devices and the clock take no notice.</summary>
    public Fault Stall(TimeSpan duration) => new CpuStall(Machine).For(duration);

    static int InRange(int bank) => Require.InRange(bank, 0, MachineCheckBanks.BankCount - 1);
}

/// <inheritdoc cref="CpuFaults.FlipRegister"/>
public sealed record RegisterFlip(string Machine, int? Register, int? Bit) : MachineFault(Machine)
{
    static readonly string[] s_names =
        ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];

    internal override bool IsSound => base.IsSound && Register is null or (>= 0 and <= 15) && Bit is null or (>= 0 and <= 63);

    internal override string Strike(Struck target, ref Rng random)
    {
        int register = Register ?? (int)random.NextBelow(16), bit = Bit ?? (int)random.NextBelow(64);
        target.Machine.Cpu.SetRegister(register, target.Machine.Cpu.Register(register) ^ 1UL << bit);
        return $"bit {bit} of {s_names[register]} flipped";
    }
}

/// <inheritdoc cref="CpuFaults.MachineCheck"/>
public sealed record CpuMachineCheck(string Machine, int Bank, ulong? Address) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Bank is >= 0 and < MachineCheckBanks.BankCount;

    internal override string Strike(Struck target, ref Rng random)
    {
        bool isTold = target.Machine.MachineCheck(Bank, Address);
        return $"machine check of bank {Bank}{BankError.Place(Address)}{(isTold ? "" : ", which nobody hears of: the processor shuts down")}";
    }
}

/// <inheritdoc cref="CpuFaults.CorrectedError"/>
public sealed record CpuCorrectedError(string Machine, int Bank, ulong? Address) : MachineFault(Machine)
{
    internal override bool IsSound => base.IsSound && Bank is >= 0 and < MachineCheckBanks.BankCount;

    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.NoteCorrectedError(Bank, Address);
        return $"corrected error in bank {Bank}{BankError.Place(Address)}";
    }
}

/// <summary>How an error that a bank tells of is written.</summary>
static class BankError
{
    public static string Place(ulong? address) =>
        address is { } known ? string.Create(CultureInfo.InvariantCulture, $" at 0x{known:x}") : "";
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
