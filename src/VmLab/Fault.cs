using System.Text.Json.Serialization;
using VmLab.Core;
using VmLab.Devices.Storage;
using VmLab.Faults;

namespace VmLab;

/// <summary>Something to go wrong: a value, shared, varied, written down and read again. A lab is given it by Inject.</summary>
/// <remarks>A fault that nothing else is said of strikes at once, for good.</remarks>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "fault")]
[JsonDerivedType(typeof(RegisterFlip), "register-flip")]
[JsonDerivedType(typeof(CpuStall), "cpu-stall")]
[JsonDerivedType(typeof(CpuMachineCheck), "cpu-machine-check")]
[JsonDerivedType(typeof(CpuCorrectedError), "cpu-corrected-error")]
[JsonDerivedType(typeof(MemoryFlip), "memory-flip")]
[JsonDerivedType(typeof(ClockJump), "clock-jump")]
[JsonDerivedType(typeof(ClockDrift), "clock-drift")]
[JsonDerivedType(typeof(PowerCut), "power-cut")]
[JsonDerivedType(typeof(PowerReset), "power-reset")]
[JsonDerivedType(typeof(PowerNmi), "power-nmi")]
[JsonDerivedType(typeof(DiskFault), "disk")]
[JsonDerivedType(typeof(DiskRot), "disk-rot")]
[JsonDerivedType(typeof(LinkLoss), "link-loss")]
[JsonDerivedType(typeof(LinkDelay), "link-delay")]
[JsonDerivedType(typeof(LinkDuplicate), "link-duplicate")]
[JsonDerivedType(typeof(LinkCorrupt), "link-corrupt")]
[JsonDerivedType(typeof(LinkReorder), "link-reorder")]
[JsonDerivedType(typeof(LinkSlow), "link-slow")]
[JsonDerivedType(typeof(LinkPartition), "link-partition")]
[JsonDerivedType(typeof(LinkDown), "link-down")]
[JsonDerivedType(typeof(MemoryStuck), "memory-stuck")]
[JsonDerivedType(typeof(ClockLostTicks), "clock-lost-ticks")]
[JsonDerivedType(typeof(DeviceInterruptLoss), "device-interrupt-loss")]
[JsonDerivedType(typeof(DeviceStorm), "device-storm")]
[JsonDerivedType(typeof(DeviceHang), "device-hang")]
[JsonDerivedType(typeof(DeviceUnplug), "device-unplug")]
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

    /// <summary>Whether it is one that the verbs make: what is read from a file may be any.</summary>
    internal virtual bool IsSound =>
        !(Period < 1.Microseconds) && !(Duration < 1.Microseconds) && Probability is >= 0 and <= 1 && Trigger is not CountedTrigger { Count: < 1 };

    /// <summary>Waits for a guest time since the lab's start.</summary>
    public Fault At(TimeSpan time) => When(Trigger.At(time));

    public Fault When(Trigger trigger) => this with { Trigger = trigger };

    public Fault For(TimeSpan duration) => this with { Duration = Require.InRange(duration, 1.Microseconds, TimeSpan.MaxValue) };

    public Fault Every(TimeSpan period) => this with { Period = Require.InRange(period, 1.Microseconds, TimeSpan.MaxValue) };

    /// <param name="probability">0 to 1.</param>
    public Fault WithProbability(double probability) => this with { Probability = Require.InRange(probability, 0, 1) };

    /// <summary>Faults of a machine's processor.</summary>
    public static CpuFaults Cpu(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a machine's memory.</summary>
    public static MemoryFaults Memory(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a machine's clock.</summary>
    public static ClockFaults Clock(VmRef vm) => new(vm.Name);

    /// <summary>Faults of a disk.</summary>
    /// <param name="disk">Its name, as the fleet has it.</param>
    public static DiskFaults Disk(VmRef vm, string disk) => new(vm.Name, disk);

    /// <summary>Faults of a network.</summary>
    public static LinkFaults Link(LinkRef link) => new(link.Name);

    /// <summary>Faults of a virtio device.</summary>
    /// <param name="device">A disk's name, or <c>nic0</c>, <c>entropy0</c>, <c>console0</c>, <c>balloon0</c>.</param>
    public static DeviceFaults Device(VmRef vm, string device) => new(vm.Name, device);

    /// <summary>Faults of a machine's power.</summary>
    public static PowerFaults Power(VmRef vm) => new(vm.Name);
}

/// <summary>What a fault waits for: a value.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "trigger")]
[JsonDerivedType(typeof(OnceInjected), "injected")]
[JsonDerivedType(typeof(AtTime), "time")]
[JsonDerivedType(typeof(ConsoleShows), "console")]
[JsonDerivedType(typeof(DiskAsked), "disk")]
[JsonDerivedType(typeof(CodeReached), "code")]
[JsonDerivedType(typeof(MemoryTouched), "memory")]
[JsonDerivedType(typeof(FrameSeen), "frame")]
public abstract record Trigger
{
    /// <summary>The moment of its injection.</summary>
    public static Trigger AtOnce { get; } = new OnceInjected();

    /// <summary>A guest time since the lab's start.</summary>
    public static Trigger At(TimeSpan time) => new AtTime(Require.InRange(time, TimeSpan.Zero, TimeSpan.MaxValue));

    /// <summary>The byte that completes a text on a machine's console.</summary>
    public static ConsoleShows Console(VmRef vm, string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        return new ConsoleShows(vm.Name, text);
    }

    /// <summary>A write to a disk, a discard among them, when its time has come and before it is done.</summary>
    /// <param name="at">The sectors of which it must touch one; any where it is left out.</param>
    public static DiskAsked DiskWrite(VmRef vm, string disk, SectorRange? at = null) => Asked(vm, disk, DiskOperations.Writes, at);

    /// <summary>A read of a disk.</summary>
    /// <inheritdoc cref="DiskWrite"/>
    public static DiskAsked DiskRead(VmRef vm, string disk, SectorRange? at = null) => Asked(vm, disk, DiskOperations.Reads, at);

    /// <summary>A flush of a disk's write cache, before it is done.</summary>
    public static DiskAsked DiskFlush(VmRef vm, string disk) => Asked(vm, disk, DiskOperations.Flushes, null);

    /// <summary>The guest's kernel is about to execute the first instruction of a function, on whatever behalf.</summary>
    /// <param name="symbol">Of the kernel or of a module; looked up when the kernel's symbols are in memory.</param>
    public static CodeReached Symbol(VmRef vm, string symbol)
    {
        ArgumentException.ThrowIfNullOrEmpty(symbol);
        return new CodeReached(vm.Name, symbol, null);
    }

    /// <summary>The guest is about to execute the instruction at a linear address.</summary>
    public static CodeReached Code(VmRef vm, ulong address) => new(vm.Name, null, address);

    /// <summary>An instruction or delivery has touched some of the bytes from a kernel's symbol on.</summary>
    /// <param name="length">In bytes.</param>
    public static MemoryTouched Watch(VmRef vm, string symbol, ulong length = 8, MemoryAccess access = MemoryAccess.Write)
    {
        ArgumentException.ThrowIfNullOrEmpty(symbol);
        return new MemoryTouched(vm.Name, symbol, null, Require.InRange(length, 1UL, ulong.MaxValue), access);
    }

    /// <inheritdoc cref="Watch(VmRef, string, ulong, MemoryAccess)"/>
    /// <param name="address">Linear, in whatever address space.</param>
    public static MemoryTouched Watch(VmRef vm, ulong address, ulong length = 8, MemoryAccess access = MemoryAccess.Write) =>
        new(vm.Name, null, address, Require.InRange(length, 1UL, ulong.MaxValue), access);

    /// <summary>A frame that a machine sends to a network, before it goes on its way.</summary>
    public static FrameSeen Frame(LinkRef link, FrameMatch match) => new(link.Name, match);

    /// <summary>When a fault that waits for it is due, in nanoseconds of lab time; never, until what it counts has happened.</summary>
    /// <exception cref="LabException">Its time is over.</exception>
    internal abstract ulong DueAt(ulong now, string target);

    static DiskAsked Asked(VmRef vm, string disk, DiskOperations operation, SectorRange? at) =>
        new(vm.Name, disk, operation, (at ?? SectorRange.All).First, (at ?? SectorRange.All).End);
}
