namespace VmLab;

/// <summary>A name in a guest's kernel, and what lies there now: <c>lab[vm].Linux.Symbol("jiffies").UInt64</c>.</summary>
/// <param name="Address">Linear address as the guest runs it.</param>
/// <param name="Memory">The kernel's address space.</param>
public readonly record struct GuestSymbol(string Name, ulong Address, VmMemory Memory)
{
    public byte Byte => Memory.Read8(Address);

    public ushort UInt16 => Memory.Read16(Address);

    public uint UInt32 => Memory.Read32(Address);

    public int Int32 => (int)UInt32;

    public ulong UInt64 => Memory.Read64(Address);

    public long Int64 => (long)UInt64;

    /// <summary>The characters there, up to a zero byte.</summary>
    public string Text => Memory.ReadText(Address);

    public static implicit operator ulong(GuestSymbol symbol) => symbol.Address;

    public override string ToString() => $"{Name} at 0x{Address:x16}";
}
