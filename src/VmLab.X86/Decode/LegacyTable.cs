using Iced.Intel;

namespace VmLab.X86;

/// <summary>
/// Chooses the handler of an instruction that 64-bit mode no longer has, or that loads a far pointer.
/// </summary>
static unsafe class LegacyTable
{
    /// <returns><see langword="null"/> when the instruction is none of these.</returns>
    public static Handler Find(in Form f) => f.Instruction.Mnemonic switch
    {
        Mnemonic.Pusha => Stack(f, 2, &LegacyOps.PushAll<W16>),
        Mnemonic.Pushad => Stack(f, 4, &LegacyOps.PushAll<W32>),
        Mnemonic.Popa => Stack(f, 2, &LegacyOps.PopAll<W16>),
        Mnemonic.Popad => Stack(f, 4, &LegacyOps.PopAll<W32>),
        Mnemonic.Daa => &LegacyOps.AdjustPacked<AfterAddition>,
        Mnemonic.Das => &LegacyOps.AdjustPacked<AfterSubtraction>,
        Mnemonic.Aaa => &LegacyOps.AdjustUnpacked<AfterAddition>,
        Mnemonic.Aas => &LegacyOps.AdjustUnpacked<AfterSubtraction>,
        Mnemonic.Aam => Immediate(f, &LegacyOps.AdjustAfterMultiply),
        Mnemonic.Aad => Immediate(f, &LegacyOps.AdjustBeforeDivide),
        Mnemonic.Salc => &LegacyOps.SpreadCarry,
        Mnemonic.Bound => f.SetA(0).Width(0) == 2 ? Bound<W16>(f) : Bound<W32>(f),
        Mnemonic.Into => Into(f),
        Mnemonic.Arpl => Arpl(f),
        Mnemonic.Les => FarPointer(f, Segment.Es),
        Mnemonic.Lds => FarPointer(f, Segment.Ds),
        Mnemonic.Lss => FarPointer(f, Segment.Ss),
        Mnemonic.Lfs => FarPointer(f, Segment.Fs),
        Mnemonic.Lgs => FarPointer(f, Segment.Gs),
        Mnemonic.Call when f.Instruction.IsCallFar => CallFar(f),
        _ => null,
    };

    static Handler Stack(in Form f, byte alignment, Handler handler)
    {
        f.Op->Alignment = alignment;
        f.Op->IsStack = true;
        return handler;
    }

    static Handler Immediate(in Form f, Handler handler)
    {
        f.Op->Immediate = f.Instruction.Immediate8;
        return handler;
    }

    static Handler Into(in Form f)
    {
        f.Op->Immediate = Vector.Overflow;
        return &LegacyOps.InterruptOnOverflow;
    }

    static Handler CallFar(in Form f)
    {
        bool isWide = f.Instruction.Op0Kind == OpKind.FarBranch32;
        f.Op->Immediate = isWide ? f.Instruction.FarBranch32 : f.Instruction.FarBranch16;
        f.Op->Displacement = f.Instruction.FarBranchSelector;
        f.Op->Extra = isWide ? (byte)4 : (byte)2;
        f.Op->IsStack = true;
        return &LegacyOps.CallFarDirect;
    }

    static Handler Bound<W>(in Form f)
        where W : IWidth
    {
        f.Op->Alignment = (byte)W.Bytes;
        return f.Address == AddressKind.Narrow16 ? &LegacyOps.CheckBounds<W, Address16> : &LegacyOps.CheckBounds<W, Address32>;
    }

    static Handler Arpl(in Form f)
    {
        f.SetB(1);
        if (f.IsMemory(0)) return f.Address == AddressKind.Narrow16
            ? &LegacyOps.AdjustPrivilegeInMemory<Address16>
            : &LegacyOps.AdjustPrivilegeInMemory<Address32>;
        f.SetA(0);
        return &LegacyOps.AdjustPrivilege;
    }

    static Handler FarPointer(in Form f, int segment)
    {
        f.SetA(0).Op->Extra = (byte)segment;
        if (f.Width(0) == 2) f.Op->Alignment = 2;
        return f.Width(0) switch { 2 => FarPointer<W16>(f), 4 => FarPointer<W32>(f), _ => FarPointer<W64>(f) };
    }

    static Handler FarPointer<W>(in Form f)
        where W : IWidth => f.Address switch
        {
            AddressKind.Narrow32 => &LegacyOps.LoadFarPointer<W, Address32>,
            AddressKind.Narrow16 => &LegacyOps.LoadFarPointer<W, Address16>,
            _ => &LegacyOps.LoadFarPointer<W, FullAddress>,
        };
}
