using VmLab.Core;

namespace VmLab.Faults;

/// <summary>What can go wrong with a machine's power and its buttons.</summary>
public readonly record struct PowerFaults(string Machine)
{
    /// <summary>Cuts the power; the machine stays off until the script powers it on.</summary>
    public Fault Cut() => new PowerCut(Machine);

    /// <summary>Cuts the power and gives it back: the guest starts anew at the quantum's end.</summary>
    public Fault Cycle() => new PowerReset(Machine, "power cycles");

    /// <summary>Presses the reset button: the guest starts anew at the quantum's end.</summary>
    public Fault Reset() => new PowerReset(Machine, "reset button pressed");

    /// <summary>Raises a non-maskable interrupt.</summary>
    public Fault Nmi() => new PowerNmi(Machine);
}

/// <inheritdoc cref="PowerFaults.Cut"/>
public sealed record PowerCut(string Machine) : MachineFault(Machine)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.PowerOff();
        return "power cut";
    }
}

/// <inheritdoc cref="PowerFaults.Reset"/>
public sealed record PowerReset(string Machine, string How) : MachineFault(Machine)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.Reset();
        return How;
    }
}

/// <inheritdoc cref="PowerFaults.Nmi"/>
public sealed record PowerNmi(string Machine) : MachineFault(Machine)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        target.Machine.Cpu.RaiseNmi();
        return "NMI";
    }
}
