using VmLab.Machines.Gdb;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>A target of bytes alone: every register holds its number, and memory is a page at 1000h.</summary>
sealed class FakeTarget : IDebugTarget
{
    public const ulong Start = 0x1000;

    public byte[] Memory { get; } = [.. Enumerable.Range(0, 4096).Select(i => (byte)i)];

    public List<string> Done { get; } = [];

    public ulong? Text { get; set; }

    public void ReadRegister(int number, Span<byte> value)
    {
        value.Clear();
        value[0] = (byte)number;
    }

    public bool TryWriteRegister(int number, ReadOnlySpan<byte> value)
    {
        if (number >= TargetDescription.FirstControl) return false;
        Done.Add($"{TargetDescription.Registers[number].Name}={Convert.ToHexStringLower(value)}");
        return true;
    }

    public int ReadMemory(ulong linear, Span<byte> bytes)
    {
        int length = Overlap(linear, bytes.Length);
        if (length > 0) Memory.AsSpan((int)(linear - Start), length).CopyTo(bytes);
        return length;
    }

    public int WriteMemory(ulong linear, ReadOnlySpan<byte> bytes)
    {
        int length = Overlap(linear, bytes.Length);
        if (length > 0) bytes[..length].CopyTo(Memory.AsSpan((int)(linear - Start)));
        return length;
    }

    public bool TryAddStop(StopKind kind, ulong linear, int length)
    {
        Done.Add($"add {kind} {linear:x} {length}");
        return true;
    }

    public void RemoveStop(StopKind kind, ulong linear, int length) => Done.Add($"remove {kind} {linear:x} {length}");

    public void RemoveStops() => Done.Add("remove all");

    public ulong? TextStart() => Text;

    public string? Monitor(string command) => command == "info" ? "all is well\n" : null;

    int Overlap(ulong linear, int length) =>
        linear < Start || linear - Start >= (ulong)Memory.Length ? 0 : (int)Math.Min((ulong)length, (ulong)Memory.Length - (linear - Start));
}
