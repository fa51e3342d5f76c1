using Iced.Intel;
using VmLab.Core;

namespace VmLab.X86;

// How a block ends: each way leads on within translated code where it can.
sealed unsafe partial class Translator
{
    static int LinkOffset
    {
        get
        {
            Op op;
            return (int)((byte*)&op.Link - (byte*)&op);
        }
    }

    /// <summary>Translates the instruction that ends the block.</summary>
    /// <returns><see langword="false"/> when it is for the interpreter.</returns>
    bool EmitEnd(in Instruction i, int index)
    {
        Op* op = _ops + index;
        switch (i.Code)
        {
            case Code.Jmp_rel8_64 or Code.Jmp_rel32_64:
                EmitStraight(op, TargetOf(i));
                return true;
            case Code.Call_rel32_64:
                EmitCall(i, op);
                return true;
            case Code.Retnq or Code.Retnq_imm16:
                EmitReturn(op, i.OpCount == 1 ? i.Immediate16 : 0);
                return true;
            case Code.Jmp_rm64 or Code.Call_rm64 when i.Op0Kind == OpKind.Register || HasAddress(i):
                EmitIndirect(i, op);
                return true;
        }
        if (!i.IsJccShortOrNear || i.Op0Kind == OpKind.NearBranch16) return false;
        RestoreFlags(i.RflagsRead);
        byte* taken = _e.JumpIf(i.ConditionCode - ConditionCode.o);
        FlagTracker flags = _flags;
        EmitStraight(op + 1, (int)i.NextIP);
        _e.Land(taken);
        _flags = flags;
        EmitStraight(op, TargetOf(i));
        return true;
    }

    /// <summary>A direct target, in bytes from the start of the page.</summary>
    static int TargetOf(in Instruction i) => (int)i.NearBranchTarget;

    static bool IsInside(int target) => (uint)target < GuestMemory.PageSize;

    /// <summary>Goes on at a fixed place.</summary>
    /// <param name="op">Whose link leads there.</param>
    /// <param name="target">In bytes from the start of the page.</param>
    void EmitStraight(Op* op, int target)
    {
        if (IsInside(target)) EmitChain(op, target);
        else
        {
            EmitFetch(op, target);
            EmitArrival(op, target);
        }
    }

    /// <summary>Goes on in the same page. What is linked there is dropped with it, so the jump is for good.</summary>
    void EmitChain(Op* op, int target)
    {
        ulong key = KeyAt(target);
        Block* next = key == _block->Key ? _block : _blocks.Find(key);
        byte* native = next == _block ? _prologue : next == null || next->Native == _blocks.Untranslated ? null : Writable(next->Native);
        bool skipsPrologue = next != null && next->OverwritesFlags && !_flags.InState && _flags.Recipe.Kind != Remaking.None;
        if (!skipsPrologue) SaveFlags();
        nint jump = 0, body = 0;
        if (native == null)
        {
            _e.Jump(_e.At);
            jump = (nint)_e.At;
            _departures.Add(new(jump, (nint)op, 0, target, 0, _flags));
        }
        if (skipsPrologue)
        {
            EmitBudget(next, target);
            _e.Jump(native == null ? _e.At : native + PrologueBytes);
            body = (nint)_e.At;
        }
        else if (native != null) _e.Jump(native);
        if (native != null) return;
        AddCrossroad(key, new(jump, body));
    }

    /// <summary>Goes on in the same page by the op's link, which the interpreter may have made.</summary>
    void EmitLinked(Op* op, int target)
    {
        _e.MoveImmediate(Host.R14, (ulong)op);
        _e.Load(Host.R15, Place.At(Host.R14, LinkOffset));
        _e.Modrm(new(0x85, IsWide: true), Host.R15, Place.Register(Host.R15));   // TEST
        byte* isNone = _e.JumpIf(Condition.Equal);
        _e.JumpThrough(Place.At(Host.R15, Stubs.NativeOffset));
        _e.Land(isNone);
        EmitMove(target);
        _e.Jump(_stubs.Link);
    }

    /// <summary>Finds the host address of code in another page, and leaves for the op if the TLB has none; it goes to the spill.</summary>
    void EmitFetch(Op* op, int target)
    {
        SaveFlags();
        _e.Load(Host.R14, Place.State(StateOffset.Rip));
        _e.Lea(Host.R14, Host.R14, -1, 0, target);
        EmitLookup(ExecuteTag, 1, op);
        _e.Store(Place.State(StateOffset.Spill), Host.R14);
    }

    /// <summary>Goes to the code that <see cref="EmitFetch"/> found.</summary>
    void EmitArrival(Op* op, int target)
    {
        EmitMove(target & ~0xFFF);
        _e.Load(Host.R14, Place.State(StateOffset.Spill));
        _e.MoveImmediate(Host.R15, (ulong)op);
        _e.Load(Host.R15, Place.At(Host.R15, LinkOffset));
        _e.Modrm(new(0x85, IsWide: true), Host.R15, Place.Register(Host.R15));
        _e.JumpIf(Condition.Equal, _stubs.Find);
        _e.Modrm(new(0x0B, IsWide: true), Host.R14, Place.State(StateOffset.ModeKey));   // OR: the key
        _e.Modrm(new(0x3B, IsWide: true), Host.R14, Place.At(Host.R15, Stubs.KeyOffset));
        _e.JumpIf(Condition.NotEqual, _stubs.Find);
        _e.JumpThrough(Place.At(Host.R15, Stubs.NativeOffset));
    }

    void EmitCall(in Instruction i, Op* op)
    {
        SaveFlags();
        int target = TargetOf(i);
        bool isInside = IsInside(target);
        if (!isInside) EmitFetch(op, target);
        EmitPushReturn(i, op);
        if (isInside) EmitChain(op, target);
        else EmitArrival(op, target);
    }

    void EmitPushReturn(in Instruction i, Op* op)
    {
        EmitStackAccess(isPush: true, 1, op);
        _e.Load(Host.R15, Place.State(StateOffset.Rip));
        _e.Lea(Host.R15, Host.R15, -1, 0, (int)i.NextIP);
        _e.Store(_operand, Host.R15);
        _e.Lea(Host.R13, Host.R13, -1, 0, -8);
        if (!IsInside((int)i.NextIP)) return;
        EmitReturnSlot();
        _e.MoveImmediate(Host.R14, KeyAt((int)i.NextIP));
        _e.Store(Place.StateBehind(Host.R15, StateOffset.Returns), Host.R14);
        _landings.Add(((nint)_e.LeaOfCode(Host.R14), (int)i.NextIP));
        _e.Store(Place.StateBehind(Host.R15, StateOffset.Returns + 8), Host.R14);
    }

    /// <summary>Puts half the offset in <see cref="CpuState.Returns"/> into R15 that belongs to the return address at the stack pointer.</summary>
    void EmitReturnSlot()
    {
        _e.Modrm(new(0x8B), Host.R15, Place.Register(Host.R13));
        _e.Immediate(Operation.And, Place.Register(Host.R15), 8 * CpuState.CachedReturns - 8, isWide: false);
    }

    /// <summary>Where a return comes to that finds itself in <see cref="CpuState.Returns"/>.</summary>
    void EmitLanding(byte* lea, int place)
    {
        _e.Land(lea);
        ulong key = KeyAt(place);
        Block* next = _blocks.Find(key);
        if (next != null && next->Native != _blocks.Untranslated) _e.Jump(Writable(next->Native));
        else
        {
            _e.Jump(_stubs.Find);
            AddCrossroad(key, new((nint)_e.At, 0));
        }
    }

    /// <summary>The key of a block in the present one's page.</summary>
    ulong KeyAt(int place) => _block->Key - _blockStart + (ulong)place;

    void AddCrossroad(ulong key, Crossroad crossroad)
    {
        if (!_crossroads.TryGetValue(key, out List<Crossroad>? waiting)) _crossroads[key] = waiting = [];
        waiting.Add(crossroad);
    }

    void EmitReturn(Op* op, int released)
    {
        SaveFlags();
        EmitStackAccess(isPush: false, 1, op);
        _e.Load(Host.R14, _operand);
        _e.Store(Place.State(StateOffset.Spill), Host.R14);
        EmitLookup(ExecuteTag, 1, op);
        EmitPage();
        EmitReturnSlot();
        _e.Lea(Host.R13, Host.R13, -1, 0, 8 + released);
        _e.Modrm(new(0x0B, IsWide: true), Host.R14, Place.State(StateOffset.ModeKey));   // OR: the key
        _e.Modrm(new(0x3B, IsWide: true), Host.R14, Place.StateBehind(Host.R15, StateOffset.Returns));
        _e.JumpIf(Condition.NotEqual, _stubs.Find);
        _e.JumpThrough(Place.StateBehind(Host.R15, StateOffset.Returns + 8));
    }

    /// <summary>JMP and CALL to where a register or memory says.</summary>
    void EmitIndirect(in Instruction i, Op* op)
    {
        SaveFlags();
        if (i.Op0Kind == OpKind.Memory)
        {
            EmitAccess(i, ReadTag, 8, op);
            _e.Load(Host.R14, _operand);
        }
        else
        {
            int guest = Form.OffsetOf(i.Op0Register) >> 3, host = GuestRegister.HostOf(guest);
            _e.Load(Host.R14, host >= 0 ? Place.Register(host) : GuestRegister.Home(guest));
        }
        _e.Store(Place.State(StateOffset.Spill), Host.R14);
        EmitLookup(ExecuteTag, 1, op);
        if (i.Code == Code.Call_rm64)
        {
            _e.Store(Place.State(StateOffset.SpillFlags), Host.R14);
            EmitPushReturn(i, op);
            _e.Load(Host.R14, Place.State(StateOffset.SpillFlags));
        }
        EmitPage();
        _e.Jump(_stubs.Find);
    }

    /// <summary>Makes RIP the start of the page of the address in the spill.</summary>
    void EmitPage()
    {
        _e.Load(Host.R15, Place.State(StateOffset.Spill));
        _e.Immediate(Operation.And, Place.Register(Host.R15), ~0xFFF);
        _e.Store(Place.State(StateOffset.Rip), Host.R15);
    }
}
