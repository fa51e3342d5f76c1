using System.Text.Json.Serialization;
using VmLab.Faults;

namespace VmLab;

/// <summary>Something to go wrong: a value, shared, varied, written down and read again. A lab is given it by Inject.</summary>
/// <remarks>A fault that nothing else is said of strikes at once, for good.</remarks>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "fault")]
[JsonDerivedType(typeof(RegisterFlip), "register-flip")]
[JsonDerivedType(typeof(CpuStall), "cpu-stall")]
[JsonDerivedType(typeof(MemoryFlip), "memory-flip")]
[JsonDerivedType(typeof(ClockJump), "clock-jump")]
[JsonDerivedType(typeof(ClockDrift), "clock-drift")]
[JsonDerivedType(typeof(PowerCut), "power-cut")]
[JsonDerivedType(typeof(PowerReset), "power-reset")]
[JsonDerivedType(typeof(PowerNmi), "power-nmi")]
public abstract record Fault
{
    /// <summary>What it waits for.</summary>
    public Trigger Trigger { get; init; } = Trigger.AtOnce;

    /// <summary>How long it lasts, in guest time; <see langword="null"/> is for good, or as the fault has it.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>After what guest time it strikes again; <see langword="null"/> is never.</summary>
    public TimeSpan? Period { get; init; }

    /// <summary>How likely each strike is, 0 to 1.</summary>
    public double Probability { get; init; } = 1;

    /// <summary>Waits for a guest time since the lab's start.</summary>
    public Fault At(TimeSpan time) => When(Trigger.At(time));

    public Fault When(Trigger trigger) => this with { Trigger = trigger };

    public Fault For(TimeSpan duration) => this with { Duration = Core.Require.InRange(duration, 1.Microseconds, TimeSpan.MaxValue) };

    public Fault Every(TimeSpan period) => this with { Period = Core.Require.InRange(period, 1.Microseconds, TimeSpan.MaxValue) };

    /// <param name="probability">0 to 1.</param>
    public Fault WithProbability(double probability) => this with { Probability = Core.Require.InRange(probability, 0, 1) };

    /// <summary>Faults of a machine's processor.</summary>
    public static CpuFaults Cpu(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a machine's memory.</summary>
    public static MemoryFaults Memory(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a machine's clock.</summary>
    public static ClockFaults Clock(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a machine's power.</summary>
    public static PowerFaults Power(VmRef vm) => new(vm.Name);
}

/// <summary>What a fault waits for: a value.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "trigger")]
[JsonDerivedType(typeof(OnceInjected), "injected")]
[JsonDerivedType(typeof(AtTime), "time")]
[JsonDerivedType(typeof(ConsoleShows), "console")]
public abstract record Trigger
{
    /// <summary>The moment of its injection.</summary>
    public static Trigger AtOnce { get; } = new OnceInjected();

    /// <summary>A guest time since the lab's start.</summary>
    public static Trigger At(TimeSpan time) => new AtTime(Core.Require.InRange(time, TimeSpan.Zero, TimeSpan.MaxValue));

    /// <summary>The byte that completes a text on a machine's console.</summary>
    public static ConsoleShows Console(VmRef vm, string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        return new ConsoleShows(vm.Name, text);
    }
}
