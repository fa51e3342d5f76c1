using Iced.Intel;

namespace VmLab.X86;

// Addresses, and the look at the TLB before each access.
sealed unsafe partial class Translator
{
    const int ReadTag = 0, WriteTag = 8, ExecuteTag = 16, Page = 24, EntryShift = 5;

    static readonly bool s_hasRotation = System.Runtime.Intrinsics.X86.Bmi2.X64.IsSupported;

    /// <summary>Whether an address can be computed by one LEA and a segment's base.</summary>
    static bool HasAddress(in Instruction i)
    {
        bool isShort = DisplacementOf(i) is >= int.MinValue and <= int.MaxValue;
        if (i.IsIPRelativeMemoryOperand) return isShort && i.MemoryBase == Iced.Intel.Register.RIP;
        bool isAbsolute = i.MemoryBase == Iced.Intel.Register.None && i.MemoryIndex == Iced.Intel.Register.None;
        return isShort && !i.IsVsib && !(isAbsolute && i.MemoryDisplSize == 4);
    }

    /// <summary>What is added to an address's registers; RIP is the start of the page here.</summary>
    public static long DisplacementOf(in Instruction i) =>
        (long)(i.IsIPRelativeMemoryOperand ? i.IPRelativeMemoryAddress : i.MemoryDisplacement64);

    /// <summary>Computes an effective address, without the segment's base; the flags stay.</summary>
    /// <param name="isWide">64 bits are wanted of it; the others are 0.</param>
    void EmitAddress(in Window bytes, int target, bool isWide)
    {
        if (bytes.Base == Iced.Intel.Register.RIP)
        {
            _e.Load(Host.R14, Place.State(StateOffset.Rip));
            _e.Lea(target, Host.R14, -1, 0, (int)bytes.First, isWide);
            return;
        }
        int baseRegister = AddressRegister(bytes.Base, Host.R14), index = AddressRegister(bytes.Index, Host.R15);
        bool isNarrow = (bytes.Base != Iced.Intel.Register.None ? bytes.Base : bytes.Index).GetSize() == 4;
        int shift = System.Numerics.BitOperations.Log2((uint)bytes.Scale);
        _e.Lea(target, baseRegister, index, shift, (int)bytes.First, isWide && !isNarrow);
    }

    int AddressRegister(Iced.Intel.Register register, int scratch)
    {
        if (register == Iced.Intel.Register.None) return -1;
        int guest = Form.OffsetOf(register) >> 3, host = GuestRegister.HostOf(guest);
        if (host >= 0) return host;
        _e.Load(scratch, GuestRegister.Home(guest));
        return scratch;
    }

    /// <summary>Finds the operand of an instruction in the host's memory, by R14, or leaves for its op. The host's flags are lost.</summary>
    void EmitAccess(in Instruction i, int tag, int bytes, Op* op)
    {
        if (TryEmitWindow(op)) return;
        EmitLinear(Window.Of(i, isWritten: tag == WriteTag));
        EmitLookup(tag, bytes, op);
        _operand = Place.At(Host.R14);
    }

    /// <summary>Finds quadwords that are pushed or popped, as <see cref="EmitAccess"/>.</summary>
    void EmitStackAccess(bool isPush, int count, Op* op)
    {
        if (TryEmitWindow(op)) return;
        EmitLinear(Window.OfStack(isPush, count));
        EmitLookup(isPush ? WriteTag : ReadTag, 8 * count, op);
        _operand = Place.At(Host.R14);
    }

    /// <summary>Puts the linear address of the first byte into R14.</summary>
    void EmitLinear(in Window bytes)
    {
        GuardFlags();
        EmitAddress(bytes, Host.R14, isWide: true);
        if (bytes.Segment != Segment.Ds)
            _e.Modrm(new(0x03, IsWide: true), Host.R14, Place.State(StateOffset.SegmentBases + 8 * bytes.Segment));
    }

    /// <summary>From the linear address in R14 to the host address there.</summary>
    void EmitLookup(int tag, int bytes, Op* op)
    {
        GuardFlags();
        _flags = _flags.Clobbered;
        EmitEntry();
        _e.Modrm(new(0x33, IsWide: true), Host.R14, Place.At(Host.R15, tag));    // XOR: on a hit, the offset in the page
        _e.Immediate(Operation.Cmp, Place.Register(Host.R14), 4096 - bytes);
        ExitIf(Condition.Above, op);
        _e.Modrm(new(0x03, IsWide: true), Host.R14, Place.At(Host.R15, Page));
    }

    /// <summary>Puts the address of the TLB's entry for the linear address in R14 into R15.</summary>
    void EmitEntry()
    {
        if (s_hasRotation) EmitBytes(0xC4, 0x43, 0x7B, 0xF0, 0xFE, 12 - EntryShift);   // RORX R15D, R14D
        else
        {
            _e.Modrm(new(0x8B), Host.R15, Place.Register(Host.R14));
            _e.Modrm(new(0xC1), 5, Place.Register(Host.R15));                          // SHR
            _e.Byte(12 - EntryShift);
        }
        _e.Immediate(Operation.And, Place.Register(Host.R15), Tlb.IndexMask << EntryShift, isWide: false);
        _e.Modrm(new(0x03, IsWide: true), Host.R15, Place.State(StateOffset.Tlb));
    }
}
