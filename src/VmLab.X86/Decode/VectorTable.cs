using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of an MMX or SSE instruction: a row names an operation.</summary>
static unsafe class VectorTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f)
    {
        Handler handler = VectorMoveTable.Find(f);
        if (handler == null) handler = VectorIntegerTable.Find(f);
        if (handler == null) handler = VectorFloatTable.Find(f);
        if (handler == null) handler = VectorStateTable.Find(f);
        return handler == null || IsAllowed(f) ? handler : &Sse.Refuse;
    }

    /// <summary>Target := operation(target, source), operands 0 and 1, both XMM or both MMX.</summary>
    public static Handler Apply<TOp>(in Form f)
        where TOp : IVector => Apply<TOp, TOp>(f);

    /// <summary>As the other, with an operation of its own for MMX registers.</summary>
    public static Handler Apply<TOp, TMmx>(in Form f)
        where TOp : IVector
        where TMmx : IVector => IsMmx(f, 0) ? Mmx<TMmx, Low<W64>>(f) : Xmm<TOp, Whole>(f);

    public static Handler Xmm<TOp, TLoad>(in Form f)
        where TOp : IVector
        where TLoad : ILoad => Source<XmmBody<TOp, TLoad>>(SetControl(f.SetVectorA(0)), 1, TLoad.IsAligned);

    public static Handler Mmx<TOp, TLoad>(in Form f)
        where TOp : IVector
        where TLoad : ILoad => Source<MmxBody<TOp, TLoad>>(SetControl(f.SetVectorA(0)), 1, isAligned: false);

    /// <summary>Chooses by the kind of a source operand, and sets B if it is a register.</summary>
    /// <param name="isAligned">A memory operand must be aligned to 16 bytes.</param>
    public static Handler Source<TBody>(in Form f, int operand, bool isAligned)
        where TBody : IVectorBody
    {
        if (!f.IsMemory(operand))
        {
            if (f.IsImmediate(operand))
            {
                f.SetImmediate(operand);
                return TBody.Of<Immediate>();
            }
            Iced.Intel.Register register = f.Instruction.GetOpRegister(operand);
            if (register.IsXMM() || register.IsMM()) f.SetVectorB(operand);
            else f.SetB(operand);
            if (register.IsXMM()) return TBody.Of<XmmRegister>();
            return register.IsMM() ? TBody.Of<MmxRegister>() : TBody.Of<Register>();
        }
        if (isAligned) return f.Address switch
        {
            AddressKind.Base => TBody.Of<AlignedMemory<BaseAddress>>(),
            AddressKind.Full => TBody.Of<AlignedMemory<FullAddress>>(),
            AddressKind.Narrow32 => TBody.Of<AlignedMemory<Address32>>(),
            _ => TBody.Of<AlignedMemory<Address16>>(),
        };
        return f.Address switch
        {
            AddressKind.Base => TBody.Of<Memory<BaseAddress>>(),
            AddressKind.Full => TBody.Of<Memory<FullAddress>>(),
            AddressKind.Narrow32 => TBody.Of<Memory<Address32>>(),
            _ => TBody.Of<Memory<Address16>>(),
        };
    }

    /// <summary>A handler for each kind of source operand.</summary>
    public interface IVectorBody
    {
        static abstract Handler Of<TSource>()
            where TSource : ISource;
    }

    struct XmmBody<TOp, TLoad> : IVectorBody
        where TOp : IVector
        where TLoad : ILoad
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &Sse.Apply<TOp, TLoad, TSource>;
    }

    struct MmxBody<TOp, TLoad> : IVectorBody
        where TOp : IVector
        where TLoad : ILoad
    {
        public static Handler Of<TSource>()
            where TSource : ISource => &X86.Mmx.Apply<TOp, TLoad, TSource>;
    }

    public static bool IsMmx(in Form f, int operand) =>
        f.Instruction.GetOpKind(operand) == OpKind.Register && f.Instruction.GetOpRegister(operand).IsMM();

    public static bool IsXmm(in Form f, int operand) =>
        f.Instruction.GetOpKind(operand) == OpKind.Register && f.Instruction.GetOpRegister(operand).IsXMM();

    /// <summary>Sets the immediate from the last operand, if it is one.</summary>
    public static Form SetControl(in Form f)
    {
        int last = f.Instruction.OpCount - 1;
        return f.IsImmediate(last) ? f.SetImmediate(last) : f;
    }

    /// <summary>Whether the mode lets it run; if not, Extra says to <see cref="Sse.Refuse"/> what it is.</summary>
    static bool IsAllowed(in Form f)
    {
        bool isSse = f.Instruction.Mnemonic is Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr, isMmx = false;
        for (int i = 0; i < f.Instruction.OpCount; i++)
        {
            isSse |= IsXmm(f, i);
            isMmx |= IsMmx(f, i);
        }
        if ((f.Mode & (isSse ? CodeMode.SseOff : CodeMode.FloatOff)) == 0) return true;
        f.Op->Extra = isSse ? (byte)1 : (byte)0;
        return false;
    }
}
