using VmLab.X86.Floating;

namespace VmLab.X86;

/// <summary>The ops that lead from the interpreter to translated code.</summary>
/// <remarks>
/// Both engines share blocks, links, budget and state. A block's first op counts its visits and becomes the way into its
/// translation; translated code goes back by naming the op to go on with, at any instruction.
/// </remarks>
static unsafe class TranslatorOps
{
    /// <summary>Counts a visit, and has the block translated at the last of them.</summary>
    public static Op* Warm(CpuState* s, Op* op)
    {
        if (--op->Immediate > 0) return op + 1;
        if (Vcpu.Of(s).Translate((Block*)op - 1)) return Enter(s, op);
        op->Run = &Pass;
        return op + 1;
    }

    /// <summary>Runs translated code, at the host address in <see cref="Op.Immediate"/>.</summary>
    /// <returns>The op to go on with, or <see langword="null"/> with the reason in <see cref="CpuState.Leave"/>.</returns>
    public static Op* Enter(CpuState* s, Op* op)
    {
        s->Rip &= ~0xFFFUL;   // the way back adds what is to be added
        ulong flags = Flags.Arithmetic(s);
        s->HostFlags = Pack(flags);
        s->HostMxcsr = (s->Mxcsr | FloatContext.DefaultMxcsr) & ~FloatContext.ExceptionFlags;   // code that could trap is not translated
        Op* next = ((delegate* unmanaged<CpuState*, ulong, Op*>)s->EnterTranslated)(s, op->Immediate);
        Flags.SetArithmetic(s, Unpack(s->HostFlags));
        s->Mxcsr |= s->HostMxcsr & FloatContext.ExceptionFlags;
        s->EngineExits[(int)ReasonOf(s, next)]++;
        return next;
    }

    /// <summary>Counts that accesses which share a look at the TLB lay in two pages; at the last of them, their block does without.</summary>
    public static Op* Cross(CpuState* s, Op* op)
    {
        if (--op->Immediate == 0 && op->Link->Key != 0) Vcpu.Of(s).Narrow(op->Link);
        return (Op*)op->Displacement;
    }

    /// <summary>A block that cannot be translated.</summary>
    public static Op* Pass(CpuState* s, Op* op) => op + 1;

    // A block's first op is of no instruction.
    static EngineExit ReasonOf(CpuState* s, Op* next) =>
        next != null ? next->Length == 0 ? EngineExit.Block : EngineExit.Instruction
        : s->Leave == Leave.Link ? EngineExit.Link : EngineExit.Search;

    // AH is the low byte of RFLAGS, AL is OF.
    static ushort Pack(ulong flags) => (ushort)((flags & 0xFF) << 8 | flags >> 11 & 1);

    static ulong Unpack(ushort flags) => (uint)flags >> 8 | (flags & 1U) << 11;
}
