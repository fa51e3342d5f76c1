using System.Runtime.InteropServices;

namespace VmLab.X86;

/// <summary>One decoded instruction: the function that executes it, and its operands.</summary>
/// <remarks>
/// A handler returns the next op, or <see langword="null"/> when control leaves the block, with the reason in
/// <see cref="CpuState.Leave"/>. A and B are byte offsets into <see cref="CpuState"/>; what they mean is the
/// handler's affair.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Op
{
    public delegate*<CpuState*, Op*, Op*> Run;
    public byte A, B;

    /// <summary>
    /// Byte offsets of the address's base and index registers; the Zero register where there is none.
    /// </summary>
    public byte Base, Index;

    /// <summary>Scale of the index as a shift, and the segment whose base is added.</summary>
    public byte Shift, Segment;

    /// <summary>Bytes of the instruction.</summary>
    public byte Length;

    /// <summary>A condition, a rounding mode, a second register: the handler knows.</summary>
    public byte Extra;

    /// <summary>Bytes from the block's first instruction to this one.</summary>
    public ushort Offset;

    /// <summary>Instructions of the block behind this one.</summary>
    public ushort After;

    /// <summary>An address through SP or BP, or the SS override: its faults are #SS.</summary>
    public bool IsStack;

    /// <summary>What #AC asks of the operand's address, in bytes; 0 where that follows from its size.</summary>
    public byte Alignment;

    public long Displacement;

    /// <summary>An immediate operand, or the branch target relative to the block's first instruction.</summary>
    public ulong Immediate;

    /// <summary>
    /// The block that this op continues with, once known: in the same frame it is followed as it is, elsewhere its key is checked.
    /// </summary>
    public Block* Link;
}

/// <summary>A run of instructions within one page, entered at its start only. Its ops follow it in memory.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Block
{
    /// <summary>Host address of the first byte, and the mode in the top byte.</summary>
    public ulong Key;

    /// <summary>Instructions, which is what it takes from the budget.</summary>
    public int Count;

    /// <summary>Bytes of guest code.</summary>
    public int Length;

    /// <summary>Where translated code enters it, with the budget still to be taken; unused without a translator.</summary>
    public byte* Native;

    /// <summary>Nobody can see what arithmetic flags were when it was entered, once its budget is taken.</summary>
    public bool OverwritesFlags;

    /// <summary>What it touches lies in two pages too often for accesses to share a look at the TLB.</summary>
    public bool DoesWithoutWindows;

    public static Op* Ops(Block* block) => (Op*)(block + 1);

    /// <summary>Not when it lies in two pages: what it was decoded from must be compared at every visit.</summary>
    public static bool MayBeLinked(Block* block) => (block->Key & CodeKey.Single) == 0;
}

/// <summary>A line of the block cache.</summary>
public unsafe struct BlockSlot
{
    public ulong Key;
    public Block* Block;
}
