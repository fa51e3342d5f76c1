using System.Globalization;
using VmLab.Core;
using VmLab.Devices.Storage;

namespace VmLab.Faults;

/// <summary>The moment of the injection.</summary>
public sealed record OnceInjected : Trigger
{
    internal override ulong DueAt(ulong now, string target) => now;
}

/// <summary>A guest time since the lab's start.</summary>
public sealed record AtTime(TimeSpan Time) : Trigger
{
    internal override ulong DueAt(ulong now, string target)
    {
        var due = (ulong)Time.TotalNanoseconds;
        if (due >= now) return due;
        throw new LabException($"The fault is to strike {target} at {Time.TotalSeconds} s, and it is {now / 1e9} s already.");
    }
}

/// <summary>Something that happens on a machine, after the injection, and perhaps again and again.</summary>
/// <remarks>
/// A fault of the same machine strikes exactly there: behind a console's byte, before a request to a disk is done, before an
/// instruction, behind an access to memory. Faults of other machines strike at the quantum's end.
/// </remarks>
public abstract record CountedTrigger(string Machine) : Trigger
{
    /// <summary>Which occurrence, from 1.</summary>
    public int Count { get; init; } = 1;

    /// <summary>The n-th occurrence, from 1.</summary>
    public CountedTrigger Nth(int count) => this with { Count = Require.InRange(count, 1, int.MaxValue) };

    /// <summary>Whether this is it.</summary>
    /// <param name="tail">What the trigger remembers from one to the next.</param>
    internal abstract bool IsMet(Happening what, ref string tail);

    internal override ulong DueAt(ulong now, string target) => ulong.MaxValue;
}

/// <summary>A text on a machine's console, after the injection.</summary>
public sealed record ConsoleShows(string Machine, string Text) : CountedTrigger(Machine)
{
    // The tail is the console's last characters, as many as are waited for.
    internal override bool IsMet(Happening what, ref string tail)
    {
        if (what is not ConsoleByte { Value: var value }) return false;
        tail += (char)value;
        if (tail.Length > Text.Length) tail = tail[1..];
        if (tail != Text) return false;
        tail = "";
        return true;
    }
}

/// <summary>A request to a disk, when its time has come and before it is done.</summary>
/// <param name="First">First of the sectors of which it must touch one; a flush has none.</param>
/// <param name="End">First sector behind them.</param>
public sealed record DiskAsked(string Machine, string DiskName, DiskOperations Operations, ulong First, ulong End) : CountedTrigger(Machine)
{
    internal override bool IsMet(Happening what, ref string tail) =>
        what is DiskUse { Request: var request } use && use.Disk == DiskName && (Operations & request.Operation) != 0
        && (request.Operation == DiskOperations.Flushes || request.Sector < End && request.Sector + request.Count > First);
}

/// <summary>A place in a guest's memory: of its kernel, by name, or by linear address.</summary>
public abstract record PlaceTrigger(string Machine, string? Name, ulong? Address) : CountedTrigger(Machine)
{
    /// <summary>How the place is called.</summary>
    internal string Place => Name ?? string.Create(CultureInfo.InvariantCulture, $"0x{Address:x}");

    internal override bool IsMet(Happening what, ref string tail) => what is PlaceMet { Place: var place } && place == this with { Count = 1 };
}

/// <summary>The processor is about to execute the instruction at a place.</summary>
public sealed record CodeReached(string Machine, string? Name, ulong? Address) : PlaceTrigger(Machine, Name, Address);

/// <summary>An instruction or a delivery has touched some of the bytes from a place on.</summary>
public sealed record MemoryTouched(string Machine, string? Name, ulong? Address, ulong Length, MemoryAccess Access)
    : PlaceTrigger(Machine, Name, Address);

/// <summary>A frame that a machine sends to a network.</summary>
/// <remarks>A fault of the same network strikes before the frame goes on its way; others strike at the quantum's end.</remarks>
public sealed record FrameSeen(string Network, FrameMatch Match) : CountedTrigger(Network)
{
    internal override bool IsMet(Happening what, ref string tail) =>
        what is FrameSent sent && Match.Matches(sent.Sender, sent.Receiver, sent.Frame.Span);
}

/// <summary>Something that a trigger may wait for has happened on a machine.</summary>
abstract record Happening(string Machine);

sealed record ConsoleByte(string Machine, byte Value) : Happening(Machine);

sealed record DiskUse(string Machine, string Disk, DiskRequest Request) : Happening(Machine);

/// <param name="Receiver">The machine that alone it is for.</param>
sealed record FrameSent(string Network, string Sender, string? Receiver, Values<byte> Frame) : Happening(Network);

/// <param name="Place">With a count of 1.</param>
sealed record PlaceMet(PlaceTrigger Place) : Happening(Place.Machine);
