using Iced.Intel;

namespace VmLab.X86;

/// <summary>A body that is specialised by a condition.</summary>
unsafe interface IConditional
{
    static abstract Handler Of<TCondition>()
        where TCondition : ICondition;
}

/// <summary>Chooses the handler of a conditional move, set or jump.</summary>
static unsafe class ConditionTable
{
    public static Handler Find<TBody>(ConditionCode condition)
        where TBody : IConditional => condition switch
        {
            ConditionCode.o => TBody.Of<IfOverflow>(),
            ConditionCode.no => TBody.Of<Unless<IfOverflow>>(),
            ConditionCode.b => TBody.Of<IfBelow>(),
            ConditionCode.ae => TBody.Of<Unless<IfBelow>>(),
            ConditionCode.e => TBody.Of<IfEqual>(),
            ConditionCode.ne => TBody.Of<Unless<IfEqual>>(),
            ConditionCode.be => TBody.Of<IfBelowOrEqual>(),
            ConditionCode.a => TBody.Of<Unless<IfBelowOrEqual>>(),
            ConditionCode.s => TBody.Of<IfSign>(),
            ConditionCode.ns => TBody.Of<Unless<IfSign>>(),
            ConditionCode.p => TBody.Of<IfParity>(),
            ConditionCode.np => TBody.Of<Unless<IfParity>>(),
            ConditionCode.l => TBody.Of<IfLess>(),
            ConditionCode.ge => TBody.Of<Unless<IfLess>>(),
            ConditionCode.le => TBody.Of<IfLessOrEqual>(),
            _ => TBody.Of<Unless<IfLessOrEqual>>(),
        };

    /// <summary>CMOVcc and SETcc.</summary>
    /// <returns><see langword="null"/> when the instruction is neither.</returns>
    public static Handler Find(in Form f)
    {
        ConditionCode condition = f.Instruction.ConditionCode;
        if (condition == ConditionCode.None || f.Instruction.FlowControl != FlowControl.Next) return null;
        if (f.Instruction.OpCount == 1) return SetIf(f, condition);
        if (f.Instruction.OpCount != 2 || !f.Instruction.Op0Register.IsGPR()) return null;
        return f.SetA(0).Width(0) switch
        {
            2 => MoveIf<W16>(f, condition),
            4 => MoveIf<W32>(f, condition),
            _ => MoveIf<W64>(f, condition),
        };
    }

    static Handler MoveIf<W>(in Form f, ConditionCode condition)
        where W : IWidth
    {
        if (f.SetSource(1) == SourceKind.Register) return Find<MoveBody<W, Register>>(condition);
        return f.Address switch
        {
            AddressKind.Base => Find<MoveBody<W, Memory<BaseAddress>>>(condition),
            AddressKind.Full => Find<MoveBody<W, Memory<FullAddress>>>(condition),
            AddressKind.Narrow32 => Find<MoveBody<W, Memory<Address32>>>(condition),
            _ => Find<MoveBody<W, Memory<Address16>>>(condition),
        };
    }

    static Handler SetIf(in Form f, ConditionCode condition)
    {
        if (f.IsMemory(0)) return f.Address switch
        {
            AddressKind.Base => Find<SetMemoryBody<BaseAddress>>(condition),
            AddressKind.Full => Find<SetMemoryBody<FullAddress>>(condition),
            AddressKind.Narrow32 => Find<SetMemoryBody<Address32>>(condition),
            _ => Find<SetMemoryBody<Address16>>(condition),
        };
        f.SetA(0);
        return Find<SetBody>(condition);
    }

    struct MoveBody<W, TSource> : IConditional
        where W : IWidth
        where TSource : ISource
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Moves.MoveIf<W, TCondition, TSource>;
    }

    struct SetBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Moves.SetIf<TCondition>;
    }

    struct SetMemoryBody<TAddress> : IConditional
        where TAddress : IAddress
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Moves.SetMemoryIf<TCondition, TAddress>;
    }
}
