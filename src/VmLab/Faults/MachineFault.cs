using VmLab.Core;
using VmLab.Machines;

namespace VmLab.Faults;

/// <summary>A fault of one machine: it strikes between two instructions, exactly when it is due.</summary>
public abstract record MachineFault(string Machine) : Fault
{
    /// <summary>It is of what stays as it is without power.</summary>
    internal virtual bool OutlivesPower => false;

    /// <summary>Sees to it that the machine has what is to be struck.</summary>
    /// <exception cref="LabException">It has not.</exception>
    internal virtual void RequireTarget(Vm vm)
    {
    }

    /// <summary>Does it to the machine.</summary>
    /// <param name="random">The machine's own stream for faults.</param>
    /// <returns>What was done, for the timeline.</returns>
    internal abstract string Strike(Struck target, ref Rng random);

    /// <summary>Takes it back when its duration is over.</summary>
    /// <returns>What was done, or <see langword="null"/> where nothing is to be taken back.</returns>
    internal virtual string? Lift(Struck target) => null;
}

/// <summary>What a machine's fault may get at.</summary>
sealed class Struck(Machine machine, Running.MachineClock clock)
{
    public Machine Machine => machine;

    /// <summary>How lab time leads to machine time.</summary>
    public Running.MachineClock Clock { get; set; } = clock;
}
