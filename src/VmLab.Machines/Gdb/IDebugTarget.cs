namespace VmLab.Machines.Gdb;

/// <summary>What a debugger wants to be stopped by.</summary>
public enum StopKind
{
    /// <summary>An instruction about to be executed.</summary>
    Execute,
    Write,
    Read,

    /// <summary>A read or a write.</summary>
    Access,
}

/// <summary>Why a machine stands still.</summary>
public enum StopCause
{
    /// <summary>gdb has come, or asked for it.</summary>
    Request,
    Step,
    Breakpoint,
    Watch,

    /// <summary>The machine was switched off, or reset.</summary>
    PoweredOff,

    /// <summary>The machine shut down in a triple fault, or got stuck.</summary>
    Crashed,
}

/// <param name="Kind">Of the watch that was met.</param>
/// <param name="Address">Linear address that the watch was met at.</param>
public readonly record struct Stop(StopCause Cause, StopKind Kind = StopKind.Execute, ulong Address = 0);

/// <summary>What gdb lets a machine do next.</summary>
public enum Resume
{
    Continue,

    /// <summary>One count: an instruction, an iteration of a repetition, or the delivery of an interrupt.</summary>
    Step,

    /// <summary>gdb is gone, and the machine runs on.</summary>
    Detach,

    /// <summary>The lab is to end.</summary>
    Kill,
}

/// <summary>A machine as gdb sees it: registers by the numbers of <see cref="TargetDescription"/>, memory by linear address.</summary>
public interface IDebugTarget
{
    /// <summary>Reads a register, which is as long as its description says, least byte first.</summary>
    void ReadRegister(int number, Span<byte> value);

    /// <returns><see langword="false"/>: this register, or this value, is not to be written from outside.</returns>
    bool TryWriteRegister(int number, ReadOnlySpan<byte> value);

    /// <returns>How many bytes, from the first on, are mapped and were read.</returns>
    int ReadMemory(ulong linear, Span<byte> bytes);

    /// <returns>How many bytes, from the first on, are mapped and were written.</returns>
    int WriteMemory(ulong linear, ReadOnlySpan<byte> bytes);

    /// <param name="length">Of a watch, in bytes.</param>
    /// <returns><see langword="false"/>: there are too many.</returns>
    bool TryAddStop(StopKind kind, ulong linear, int length);

    void RemoveStop(StopKind kind, ulong linear, int length);

    void RemoveStops();

    /// <summary>Where the kernel's first segment lies, as KASLR put it; <see langword="null"/> where that is unknown.</summary>
    ulong? TextStart();

    /// <summary>What <c>monitor COMMAND</c> prints; <see langword="null"/>: there is no such command.</summary>
    string? Monitor(string command);
}
