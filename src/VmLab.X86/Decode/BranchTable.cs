using Iced.Intel;

namespace VmLab.X86;

/// <summary>Chooses the handler of a near branch.</summary>
static unsafe class BranchTable
{
    /// <summary>In <see cref="Op.Extra"/>: a Jcc with both ways in its page, which <see cref="FusionTable"/> may join to what is before it.</summary>
    public const byte IsJumpWithin = 1;

    /// <param name="isInside">Whether an offset from the block's start lies in the block's own page, so that a link may lead there.</param>
    /// <returns><see langword="null"/> when the instruction is no near branch.</returns>
    public static Handler Find(in Form f, Func<ulong, bool> isInside)
    {
        ref readonly Instruction i = ref f.Instruction;
        switch (i.FlowControl)
        {
            case FlowControl.ConditionalBranch when i.ConditionCode != ConditionCode.None && i.IsJccShortOrNear:
                bool isNear = SetTarget(f, isInside) && isInside(i.NextIP - f.BlockStart);
                if (IsChecked(f)) return ConditionTable.Find<JumpCheckedBody>(i.ConditionCode);
                if (!isNear) return ConditionTable.Find<JumpAcrossBody>(i.ConditionCode);
                f.Op->Extra = IsJumpWithin;
                return ConditionTable.Find<JumpBody>(i.ConditionCode);
            case FlowControl.ConditionalBranch:
                SetTarget(f, isInside);
                f.Op->B = i.Op0Kind == OpKind.NearBranch16 ? (byte)1 : (byte)0;
                return Loop(f);
            case FlowControl.UnconditionalBranch when i.IsJmpShortOrNear:
                isNear = SetTarget(f, isInside);
                return IsChecked(f) ? &Branches.JumpChecked : isNear ? &Branches.End : &Branches.JumpAcross;
            case FlowControl.Call when i.IsCallNear:
                f.Op->IsStack = true;
                isNear = SetTarget(f, isInside);
                if (IsChecked(f)) return i.StackPointerIncrement == -2 ? &Branches.CallChecked<W16> : &Branches.CallChecked<W32>;
                return isNear
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

    /// <summary>
    /// Outside 64-bit mode: the target may lie beyond CS, or has 16 bits. The handler finds which in <see cref="Op.Extra"/>.
    /// </summary>
    static bool IsChecked(in Form f)
    {
        bool isNarrow = f.Instruction.Op0Kind == OpKind.NearBranch16;
        if (isNarrow) f.Op->Extra = 16;
        return isNarrow || !f.IsLong && (f.Mode & CodeMode.Flat) == 0;
    }

    /// <summary>Puts the target, relative to the block's start, where the handler looks.</summary>
    static bool SetTarget(in Form f, Func<ulong, bool> isInside)
    {
        ulong target = f.Instruction.NearBranchTarget - f.BlockStart;
        if (f.Instruction.Op0Kind == OpKind.NearBranch16) target = (ulong)(short)target;
        else if (!f.IsLong) target = (ulong)(int)target;
        f.Op->Immediate = target;
        return isInside(target);
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

    struct JumpCheckedBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.JumpCheckedIf<TCondition>;
    }

    struct JumpAcrossBody : IConditional
    {
        public static Handler Of<TCondition>()
            where TCondition : ICondition => &Branches.JumpAcrossIf<TCondition>;
    }
}
