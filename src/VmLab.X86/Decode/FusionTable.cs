using Iced.Intel;

namespace VmLab.X86;

/// <summary>Joins CMP or TEST of registers and immediates to the conditional branch behind it: one dispatch instead of two.</summary>
static unsafe class FusionTable
{
    /// <summary>Gives the first of a block's last two ops a handler that does both, where there is one.</summary>
    public static void Fuse(in Instruction first, in Instruction last, Op* ops)
    {
        bool isJump = last.IsJccShortOrNear && ops[1].Extra == BranchTable.IsJumpWithin, isStop = ops->Length == 0;
        if (!isJump || isStop || first.Op0Kind != OpKind.Register) return;
        if (first.Mnemonic == Mnemonic.Cmp) Fuse<Cmp>(first, last.ConditionCode, ops);
        else if (first.Mnemonic == Mnemonic.Test) Fuse<Test>(first, last.ConditionCode, ops);
    }

    static void Fuse<TOp>(in Instruction first, ConditionCode condition, Op* ops)
        where TOp : IBinary
    {
        switch (first.Op0Register.GetSize())
        {
            case 1: Fuse<TOp, W8>(first, condition, ops); break;
            case 2: Fuse<TOp, W16>(first, condition, ops); break;
            case 4: Fuse<TOp, W32>(first, condition, ops); break;
            default: Fuse<TOp, W64>(first, condition, ops); break;
        }
    }

    static void Fuse<TOp, W>(in Instruction first, ConditionCode condition, Op* ops)
        where TOp : IBinary
        where W : IWidth
    {
        if (first.Op1Kind == OpKind.Register) ops->Run = ConditionTable.Find<Body<TOp, W, Register>>(condition);
        else if (first.Op1Kind != OpKind.Memory) ops->Run = ConditionTable.Find<Body<TOp, W, Immediate>>(condition);
    }

    struct Body<TOp, W, TSource> : IConditional
        where TOp : IBinary
        where W : IWidth
        where TSource : ISource
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.CompareAndJumpIf<TOp, W, TSource, TCondition>;
    }
}
