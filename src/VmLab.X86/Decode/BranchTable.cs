using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of a near branch.</summary>
static unsafe class BranchTable
{
    /// <param name="isInside">Whether an offset from the block's start lies in the block's own page, so that a link may lead there.</param>
    /// <returns><see langword="null"/> when the instruction is no near branch.</returns>
    public static Handler Find(in Form f, Func<ulong, bool> isInside)
    {
        ref readonly Instruction i = ref f.Instruction;
        if (IsNarrow(f)) return Narrow(f);
        switch (i.FlowControl)
        {
            case FlowControl.ConditionalBranch when i.ConditionCode != ConditionCode.None && i.IsJccShortOrNear:
                return SetTarget(f, isInside)
                    ? ConditionTable.Find<JumpBody>(i.ConditionCode)
                    : ConditionTable.Find<JumpAcrossBody>(i.ConditionCode);
            case FlowControl.ConditionalBranch:
                SetTarget(f, isInside);
                return Loop(f);
            case FlowControl.UnconditionalBranch when i.IsJmpShortOrNear:
                return SetTarget(f, isInside) ? &Branches.End : &Branches.EndAcross;
            case FlowControl.Call when i.IsCallNear:
                f.Op->IsStack = true;
                return SetTarget(f, isInside)
                    ? i.StackPointerIncrement switch { -2 => &Branches.Call<W16>, -4 => &Branches.Call<W32>, _ => &Branches.Call<W64> }
                    : i.StackPointerIncrement switch { -2 => &Branches.CallAcross<W16>, -4 => &Branches.CallAcross<W32>, _ => &Branches.CallAcross<W64> };
            case FlowControl.IndirectBranch when i.IsJmpNearIndirect:
                return f.Width(0) switch { 2 => Jump<W16>(f), 4 => Jump<W32>(f), _ => Jump<W64>(f) };
            case FlowControl.IndirectCall when i.IsCallNearIndirect:
                return f.Width(0) switch { 2 => Call<W16>(f), 4 => Call<W32>(f), _ => Call<W64>(f) };
            case FlowControl.Return when i.Mnemonic == Mnemonic.Ret:
                f.Op->IsStack = true;
                if (i.OpCount == 1) f.Op->Immediate = i.Immediate16;
                return (i.StackPointerIncrement - (int)f.Op->Immediate) switch { 2 => &Branches.Return<W16>, 4 => &Branches.Return<W32>, _ => &Branches.Return<W64> };
            default:
                return null;
        }
    }

    /// <summary>Puts the target, relative to the block's start, where the handler looks.</summary>
    static bool SetTarget(in Form f, Func<ulong, bool> isInside)
    {
        ulong target = f.Instruction.NearBranchTarget - f.BlockStart;
        if (!f.IsLong) target = (ulong)(int)target;
        f.Op->Immediate = target;
        return isInside(target);
    }

    /// <summary>A direct branch of 16 bits in wider code: the target loses its upper half, wherever the code lies.</summary>
    static bool IsNarrow(in Form f) =>
        f.Instruction.Op0Kind == OpKind.NearBranch16 && (f.Mode & (CodeMode.Code64 | CodeMode.Code32)) != 0;

    static Handler Narrow(in Form f)
    {
        ref readonly Instruction i = ref f.Instruction;
        f.Op->Immediate = i.NearBranchTarget - f.BlockStart;
        f.Op->IsStack = i.IsCallNear;
        if (i.IsCallNear) return &Branches.CallNarrow;
        if (i.IsJmpShortOrNear) return &Branches.JumpNarrow;
        if (i.IsJccShortOrNear) return ConditionTable.Find<JumpNarrowBody>(i.ConditionCode);
        f.Op->B = 1;
        return Loop(f);
    }

    static Handler Loop(in Form f)
    {
        string code = f.Instruction.Code.ToString();
        f.Op->Extra = code.Contains("RCX", StringComparison.OrdinalIgnoreCase) ? (byte)64
            : code.Contains("ECX", StringComparison.OrdinalIgnoreCase) ? (byte)32
            : (byte)16;
        return f.Instruction.Mnemonic switch
        {
            Mnemonic.Loop => &Branches.Loop<LoopAlways>,
            Mnemonic.Loope => &Branches.Loop<LoopWhileEqual>,
            Mnemonic.Loopne => &Branches.Loop<LoopWhileNotEqual>,
            _ => &Branches.Loop<JumpIfCountZero>,
        };
    }

    static Handler Jump<W>(in Form f)
        where W : IWidth => f.SetSource(0) == SourceKind.Register
        ? &Branches.JumpTo<W, Register>
        : f.Address switch
        {
            AddressKind.Base => &Branches.JumpTo<W, Memory<BaseAddress>>,
            AddressKind.Full => &Branches.JumpTo<W, Memory<FullAddress>>,
            AddressKind.Narrow32 => &Branches.JumpTo<W, Memory<Address32>>,
            _ => &Branches.JumpTo<W, Memory<Address16>>,
        };

    static Handler Call<W>(in Form f)
        where W : IWidth => f.SetSource(0) == SourceKind.Register
        ? &Branches.CallTo<W, Register>
        : f.Address switch
        {
            AddressKind.Base => &Branches.CallTo<W, Memory<BaseAddress>>,
            AddressKind.Full => &Branches.CallTo<W, Memory<FullAddress>>,
            AddressKind.Narrow32 => &Branches.CallTo<W, Memory<Address32>>,
            _ => &Branches.CallTo<W, Memory<Address16>>,
        };

    struct JumpBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.JumpIf<TCondition>;
    }

    struct JumpNarrowBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.JumpNarrowIf<TCondition>;
    }

    struct JumpAcrossBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.JumpAcrossIf<TCondition>;
    }
}
